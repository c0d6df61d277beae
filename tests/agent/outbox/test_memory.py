"""The outbox in memory keeps what every outbox must keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agent.outbox.memory import MemoryOutbox, Store
from tests.conformance.fates import FatesConformance
from tests.conformance.order import OrderConformance
from tests.conformance.outbox import Opening, OutboxConformance


class TestMemoryOutbox(OutboxConformance, OrderConformance, FatesConformance):
    @pytest.fixture
    def opening(self) -> Opening:
        store, opened = Store(), list[MemoryOutbox]()

        def opening(sinks: Sequence[str], *, crash: bool = False, **options: Any) -> MemoryOutbox:
            if opened and not crash:
                opened[-1].close()
            opened.append(MemoryOutbox(sinks, store, **options))
            return opened[-1]

        return opening
