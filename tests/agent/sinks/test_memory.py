"""The far side in memory fails as it is told to."""

from __future__ import annotations

import pytest

from agent.errors import SinkRejected, SinkUnreachable
from agent.sinks.memory import MemorySink
from tests.conformance.sink import packet


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
