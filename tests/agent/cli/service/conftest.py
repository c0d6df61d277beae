"""A service that follows its files, for the tests of reloads."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.agent.cli.service.living import Running
from tests.agent.config.support import ENVIRON


@pytest.fixture
def service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Running:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO, "andon.service")
    return Running(tmp_path)
