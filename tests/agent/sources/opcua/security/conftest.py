"""A server, a folder of certificates, and a certificate of the server that is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.trust import Trust
from tests.agent.sources.opcua.security.secured import SecuredServer
from tests.agent.trust.certificates import NOW_NS, Pair, server


@pytest.fixture(scope="package")
def plc() -> Iterator[SecuredServer]:
    machine = SecuredServer()
    yield machine
    machine.stop()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "pki", "gw-1", lambda: NOW_NS)


@pytest.fixture
def pinned(trust: Trust) -> Pair:
    pair = server()
    trust.add(pair.certificate)
    return pair
