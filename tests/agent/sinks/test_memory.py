"""The far side in memory fails as it is told to."""

from __future__ import annotations

import pytest

from agent.errors import SinkRejected, SinkUnreachable
from agent.lines.parse import parse
from agent.sinks.memory import MemorySink
from tests.conformance.sink import SinkConformance, packet


class FarMemory:
    """What its sinks have taken."""

    holds_anything = True

    def __init__(self) -> None:
        self._sinks: list[MemorySink] = []

    def sink(self) -> MemorySink:
        self._sinks.append(MemorySink())
        return self._sinks[-1]

    def values(self) -> set[float]:
        lines = [line for sink in self._sinks for line in sink.lines]
        return {float(parse(line).fields.get("value", -1)) for line in lines}

    def leave(self) -> None:
        self._sinks[-1].failures.extend(SinkUnreachable("nobody is there") for _ in range(2))

    def come_back(self) -> None:
        self._sinks[-1].failures.clear()


class TestMemorySink(SinkConformance):
    @pytest.fixture
    def far_side(self) -> FarMemory:
        return FarMemory()


def test_it_takes_packets_and_fails_as_told() -> None:
    sink = MemorySink("plant", rejects=lambda line: b"bad" in line, lines_max=2)
    sink.failures.append(SinkUnreachable("away"))
    with pytest.raises(SinkUnreachable):
        sink.send(packet(b"a v=1 1"))
    sink.send(packet(b"a v=1 1", b"b v=1 1"))
    with pytest.raises(SinkRejected, match="wrong"):
        sink.send(packet(b"a v=2 2", b"bad v=1 1"))
    with pytest.raises(SinkRejected) as caught:
        sink.send(packet(b"a v=2 2", b"b v=2 2", b"c v=2 2"))
    assert caught.value.too_large
    assert sink.lines == [b"a v=1 1\n", b"b v=1 1\n"]
    assert (sink.name, sink.attempts) == ("plant", 4)


def test_it_names_wrong_lines_and_leaves_out_what_it_cannot_hold() -> None:
    sink = MemorySink(
        rejects=lambda line: b"bad" in line, names=True, holds=lambda line: b"text" not in line
    )
    assert sink.send(packet(b"a v=1 1", b"text v=1 1")) == 1
    with pytest.raises(SinkRejected) as caught:
        sink.send(packet(b"b v=1 1", b"bad v=1 1"))
    assert caught.value.lines == {1: "a line is wrong"}
    assert sink.lines == [b"a v=1 1\n", b"b v=1 1\n"]
