"""Live lines first, what has waited beside them at a bounded rate."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from agent.errors import SinkUnreachable
from agent.forward import Forwarder, Limits
from agent.outbox.memory import MemoryOutbox
from agent.sinks.memory import MemorySink
from tests.agent.forward.support import (
    PATIENT,
    eventually,
    forwarding,
    has_line,
    lines,
    number,
    put,
    stage,
    waiting,
)

LATER_NS = 6 * 10**9


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.ns = 10**18

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> MemoryOutbox:
    """An outbox with 1,000 lines that have waited too long to be live."""
    outbox = MemoryOutbox(["cloud"], now_ns=clock)
    put(outbox, *range(1000))
    clock.ns += LATER_NS
    return outbox


def test_live_lines_go_before_what_has_waited(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    stage(outbox, 2000, 2001)
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert sink.lines == lines(2000, 2001, *range(1000))


def test_what_has_waited_goes_no_faster_than_its_rate_and_live_lines_do_not_wait_for_it(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink()
    limits = Limits(lines_max=20, backlog_lines_per_s=500)
    start_s, slowest_s = time.monotonic(), 0.0
    with forwarding(outbox, sink, limits) as forwarder:
        live = 2000
        while waiting(outbox):
            stage(outbox, live)
            sent_s = time.monotonic()
            forwarder.wake.set()
            assert sink.wait_until(has_line(live))
            slowest_s, live = max(slowest_s, time.monotonic() - sent_s), live + 1
        took_s = time.monotonic() - start_s
    assert 1.9 < took_s < 5  # 1,000 lines at 500 a second; the first packet goes at once
    assert slowest_s < 0.5
    assert max(len(packet) for packet in sink.packets) <= 20


def test_a_low_rate_makes_small_packets_and_not_long_pauses(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    with forwarding(outbox, sink, Limits(backlog_lines_per_s=7)):
        assert sink.wait_until(lambda sink: len(sink.packets) == 2)
    assert [len(packet) for packet in sink.packets][:2] == [7, 7]


def test_what_has_waited_has_its_share_although_live_lines_never_end(
    outbox: MemoryOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, live, real = MemorySink(), iter(range(2000, 10**9)), outbox.packet

    def packet(name: str, lines_max: int, *, live_lane: bool) -> object:
        if live_lane:
            stage(outbox, next(live))
        return real(name, lines_max, live=live_lane)

    monkeypatch.setattr(
        outbox, "packet", lambda name, most, *, live: packet(name, most, live_lane=live)
    )
    limits = Limits(lines_max=100, backlog_share_s=0.02, backlog_lines_per_s=1_000_000)
    forwarder = Forwarder(outbox, sink, limits=limits)
    forwarder.start()
    assert sink.wait_until(has_line(999))
    forwarder.stop(drain_s=0)
    sizes = [len(packet) for packet in sink.packets]
    assert sizes.count(100) == 10
    assert sizes.count(1) > 10  # and live lines went between them
    assert 100 not in {a for a, b in pairwise(sizes) if a == b}


def test_wrong_lines_of_the_backlog_do_not_hold_up_live_lines(outbox: MemoryOutbox) -> None:
    sink, answered = MemorySink(), threading.Event()

    def reject(line: bytes) -> bool:
        answered.wait(0.0005)  # a far side takes its time
        return number(line) < 1000

    limits = Limits(bisect_s=0.05, backlog_lines_per_s=1_000_000)
    slowest_s, live = 0.0, 2000
    with forwarding(outbox, sink, limits) as forwarder:
        stage(outbox, live)
        forwarder.wake.set()
        assert sink.wait_until(has_line(2000))
        sink.rejects = reject
        while waiting(outbox) and live < 2010:
            live += 1
            stage(outbox, live)
            sent_s = time.monotonic()
            forwarder.wake.set()
            assert sink.wait_until(has_line(live), 20)
            slowest_s = max(slowest_s, time.monotonic() - sent_s)
        sink.rejects = lambda line: number(line) < 1000
        assert eventually(lambda: waiting(outbox) == 0, 20)
    assert slowest_s < 2
    assert outbox.ledger().lines.dead_letter["rejected"] + len(set(sink.lines)) >= 1000


def test_lag_is_that_of_live_lines(outbox: MemoryOutbox, clock: Clock) -> None:
    sink = MemorySink()
    forwarder = Forwarder(outbox, sink, limits=PATIENT, now_ns=clock)
    forwarder.start()
    assert eventually(lambda: waiting(outbox) == 0)
    assert forwarder.lag_ms == 0  # what has waited says nothing of it
    sink.failures.append(SinkUnreachable("nobody there"))
    stage(outbox, 2000)
    forwarder.wake.set()
    assert eventually(lambda: forwarder.next_try_s > 0)
    clock.ns += 2 * LATER_NS
    assert forwarder.lag_ms == 12_000
    stage(outbox, 2001)
    forwarder.try_now()
    assert sink.wait_until(has_line(2001))
    assert eventually(lambda: forwarder.lag_ms == 0)
    assert forwarder.stop()
