"""The outbox on disk keeps what every outbox must keep, and does what its twin does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.outbox.sqlite import Gateway
from tests.conformance.fates import FatesConformance
from tests.conformance.order import OrderConformance
from tests.conformance.outbox import Opening, OutboxConformance


class TestSqliteOutbox(OutboxConformance, OrderConformance, FatesConformance):
    @pytest.fixture
    def opening(self, tmp_path: Path) -> Iterator[Opening]:
        gateway = Gateway(tmp_path, reserve_bytes=0)
        yield gateway
        gateway.close()
