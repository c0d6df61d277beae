"""What all tests of `andon outbox` begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.cli.outbox.gateway import Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)
