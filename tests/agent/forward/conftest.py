"""The outbox that the forwarder's tests share."""

from __future__ import annotations

import pytest

from agent.outbox.memory import MemoryOutbox


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox(["cloud"])
