"""Shorter pauses for pipelines whose sources have no heartbeat."""

from __future__ import annotations

import pytest

from agent import pipeline
from agent.pipeline import committing, readers


@pytest.fixture(autouse=True)
def _stop_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source in memory has no heartbeat that would let its reader see the stop."""
    monkeypatch.setattr(readers, "STOP_READING_S", 0.1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses between tries."""
    monkeypatch.setattr(readers, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(readers, "RETRY_MAX_S", 0.08)
    monkeypatch.setattr(committing, "RETRY_S", 0.02)
    monkeypatch.setattr(pipeline, "STOP_COMMIT_S", 0.3)
