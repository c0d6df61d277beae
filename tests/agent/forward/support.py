"""What the forwarder's tests share: lines that say their number, and waiting with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from agent.forward import Forwarder, Limits
from agent.ledger import SampleLedger
from agent.lines import SAMPLE, Lines
from agent.outbox import Commit, Outbox
from agent.signals import Path, Signal
from agent.sinks import Sink
from agent.sinks.memory import MemorySink

SIGNAL = Signal(Path("a", "b", "c", "d"), "e", "f", "opcua")
QUICK = Limits(retry_first_s=0.01, retry_max_s=0.05)
PATIENT = Limits(retry_first_s=40, retry_max_s=100)


def stage(outbox: Outbox, *numbers: int, early: bool = True) -> None:
    """Stage a line for each number."""
    rows = np.zeros(len(numbers), SAMPLE)
    rows["time_ns"], rows["value"], rows["text"] = numbers, numbers, -1
    outbox.stage(Lines(samples=rows), {0: SIGNAL}, early=early)


def put(outbox: Outbox, *numbers: int) -> None:
    """Stage a line for each number and commit them."""
    stage(outbox, *numbers, early=False)
    outbox.commit(Commit(SampleLedger()))


def lines(*numbers: int) -> list[bytes]:
    """The lines of these numbers as a far side gets them."""
    tags = b"enterprise=a,site=b,area=c,line=d,machine=e,signal=f"
    return [b"sample,%b value=%d,status=0i %d\n" % (tags, n, n) for n in numbers]


def number(line: bytes) -> int:
    """The number that a line says."""
    return int(line.split(b" ")[2])


def waiting(outbox: Outbox) -> int:
    return outbox.ledger().lines.waiting


def has_packets(count: int) -> Callable[[MemorySink], bool]:
    return lambda sink: len(sink.packets) == count


def was_tried(times: int) -> Callable[[MemorySink], bool]:
    return lambda sink: sink.attempts == times


def has_line(wanted: int) -> Callable[[MemorySink], bool]:
    return lambda sink: lines(wanted)[0] in sink.lines


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Wait until it is so; False after the deadline."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not (held := condition()) and time.monotonic() < deadline:
        pause.wait(0.002)
    return held


@contextmanager
def forwarding(outbox: Outbox, sink: Sink, limits: Limits = QUICK) -> Iterator[Forwarder]:
    """A forwarder at work, stopped at the end."""
    forwarder = Forwarder(outbox, sink, limits=limits)
    forwarder.start()
    try:
        yield forwarder
    finally:
        assert forwarder.stop(drain_s=0.5)
