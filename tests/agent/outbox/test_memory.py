"""The outbox in memory keeps what every outbox must keep."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent.outbox.memory import MemoryOutbox, Store
from tests.conformance.outbox import Opening, OutboxConformance


class TestMemoryOutbox(OutboxConformance):
    @pytest.fixture
    def opening(self) -> Opening:
        store = Store()

        def opening(sinks: Sequence[str]) -> MemoryOutbox:
            return MemoryOutbox(sinks, store)

        return opening
