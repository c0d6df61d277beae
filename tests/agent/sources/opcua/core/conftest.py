"""A played server in place of the network, and pauses short enough to wait for."""

from __future__ import annotations

import pytest

from tests.agent.sources.opcua.core.played import PlayedServer


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_FIRST_S", 0.05)
    monkeypatch.setattr("agent.sources.opcua.HEAL_LOOK_S", 0.01)
    monkeypatch.setattr("agent.sources.opcua.publishing.LISTEN_S", 0.02)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> PlayedServer:
    """Knows v0 and v1."""
    server = PlayedServer("v0", "v1")
    monkeypatch.setattr("agent.sources.opcua.open_session", server.open_session)
    return server
