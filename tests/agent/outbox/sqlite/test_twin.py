"""The outbox on disk against its twin in memory, step by step, and both against the balance."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import Commit, Outbox
from agent.outbox.intervals import Interval
from agent.outbox.memory import MemoryOutbox, Store
from tests.agent.outbox.sqlite import Gateway, seeded
from tests.conformance.outbox import (
    SIGNALS,
    Clock,
    S,
    bodies,
    dead,
    gateway,
    mixed,
    raw,
    ready,
    windows,
)

OPTIONS: dict[str, Any] = {"staged_lines_max": 25, "age_max_ns": 40 * S}
SINKS = (["a", "b"], ["b", "c"], ["a"], ["a", "c"])


class Pair:
    """Both outboxes; whatever is done is done to both."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.monotonic, self.store = Clock(), Clock(), Store()
        self.sinks = ["a", "b"]
        self.options = {"now_ns": self.clock, "monotonic_ns": self.monotonic} | OPTIONS
        self.gateway = Gateway(folder, reserve_bytes=0, **self.options)
        self.twin = MemoryOutbox(self.sinks, self.store, **self.options)
        self.outbox = self.gateway(self.sinks)

    def reopen(self, *, crash: bool) -> None:
        if not crash:
            self.twin.close()
        self.twin = MemoryOutbox(self.sinks, self.store, **self.options)
        self.outbox = self.gateway(self.sinks, crash=crash)

    def both(self, do: Callable[[Outbox], Any]) -> Any:
        """What both answer, which must be the same."""
        expected, answer = do(self.twin), do(self.outbox)
        assert answer == expected
        return expected


def some_lines(rng: random.Random, step: int) -> Lines:
    starts = [rng.randrange(30) for _ in range(rng.randrange(1, 6))]
    match rng.randrange(6):
        case 0:
            said = ready(*range(step, step + rng.randrange(4))).ready
            return Lines(ready=said + rng.choice([gateway(step).ready, ()]) + said)
        case 1:
            return raw(*starts)
        case 2:
            return mixed()
        case 3 | 4:
            return windows(*starts, signal=rng.randrange(2))
        case _:
            return windows(*set(starts), rev=rng.randrange(1, 3), signal=rng.randrange(2))


def send(pair: Pair, rng: random.Random) -> None:
    """One packet to one sink: it is answered in whole, in part, or not at all."""
    sink, lines_max, live = rng.choice(pair.sinks), rng.randrange(1, 12), rng.random() < 0.5

    def packet(outbox: Outbox) -> Any:
        found = outbox.packet(sink, lines_max, live=live)
        return found and (found.runs, found.void, found.made_ns, bodies(found))

    found = pair.both(packet)
    if found is None or rng.random() < 0.3:
        return
    runs, void, _, _ = found
    told = [interval for interval in void if rng.random() < 0.8]
    for first, end in runs[: rng.randrange(1, len(runs) + 1)]:
        answer(pair, rng, sink, first, rng.choice([end, rng.randrange(first, end + 1)]), told)


def answer(
    pair: Pair, rng: random.Random, sink: str, first: int, last: int, told: list[Interval]
) -> None:
    rejected = [dead(i, rng.choice("xy")) for i in range(first, last + 1) if rng.random() < 0.2]
    withheld = rng.randrange(2)
    pair.both(lambda outbox: outbox.acknowledge(sink, first, last, rejected, told, withheld))


def take(pair: Pair, rng: random.Random, step: int) -> None:
    match rng.randrange(20):
        case 0 | 1 | 2 | 3:
            lines, early = some_lines(rng, step), rng.random() < 0.7
            pair.both(lambda outbox: outbox.stage(lines, SIGNALS, early=early))
        case 4 | 5:
            journal = b"%d" % step if rng.random() < 0.5 else b""
            checkpoint = rng.choice([None, None, None, b"", b"state %d" % step])
            commit = Commit(SampleLedger(step, step), journal, checkpoint)
            pair.both(lambda outbox: outbox.commit(commit))
        case 6 | 7 | 8 | 9:
            send(pair, rng)
        case 10:
            passed_ns = rng.choice([S // 2, 3 * S, 15 * S])
            pair.monotonic.now_ns += passed_ns
            pair.clock.now_ns += passed_ns + rng.choice([0, 0, 0, 50 * S])  # it is set at times
        case _ if rng.random() < 0.5:
            pair.sinks = rng.choice(SINKS)
            if rng.random() < 0.5:
                pair.both(lambda outbox: outbox.use_sinks(pair.sinks))
            else:
                pair.reopen(crash=rng.random() < 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_it_does_what_the_outbox_in_memory_does(tmp_path: Path, seed: int) -> None:
    rng, pair = seeded(seed), Pair(tmp_path)
    with closing(pair.gateway):
        for step in range(250):
            take(pair, rng, step)
            ledger = pair.both(lambda outbox: outbox.ledger())
            assert ledger.balanced
            pair.both(lambda outbox: (outbox.staged_lines, outbox.usage().oldest_ns))
            if step % 5 == 4:
                pair.both(lambda outbox: outbox.dead_letters())
                pair.both(lambda outbox: (outbox.checkpoint(), outbox.journal()))
