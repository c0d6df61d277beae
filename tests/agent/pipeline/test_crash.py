"""Crashes at any moment: with a machine side that redelivers, it is as if there had been none.

A crash here is a pipeline that ends without a commit, over a store that keeps the last one. What
was not acknowledged is sent once more, as a broker would.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from agent.batch import Batch
from agent.errors import OutboxError, SourceRefused
from agent.forward import Forwarder
from agent.ledger import Ledger
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox, Store
from agent.signals import SECOND_NS
from agent.sinks.memory import MemorySink, split
from agent.sources import Packets
from agent.sources.memory import MemorySource
from tests.agent.pipeline.gateway import START_NS, Gateway, Outbox, anomalies, batch, until

SECONDS = 12
NEVER = 1_000_000
AHEAD = 3


class Mortal(Outbox):
    """An outbox whose machine dies at its commit number `dies_at`: before it, or right after it."""

    def __init__(self, store: Store, dies_at: int, after: bool) -> None:
        super().__init__(store)
        self.dead = False
        self._dies_at, self._after = dies_at, after

    def commit(self, commit: Commit) -> None:
        if len(self.commits) == self._dies_at:
            if self._after and not self.dead:
                super().commit(commit)
            self.dead = True
        if self.dead:
            raise OutboxError("the machine is off")
        super().commit(commit)

    def close(self) -> None:
        """A dead machine keeps nothing more."""


@dataclass
class Cloud:
    """What the far side holds: of each window the newest, by rev and then by arrival."""

    windows: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    anomalies: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, sink: MemorySink) -> None:
        for packet in sink.packets:
            for line in split(packet):
                head, fields, time = line.rsplit(b" ", 2)
                identity = head + b" " + time
                if line.startswith(b"window,"):
                    rev = int(fields.rsplit(b"rev=", 1)[1].rstrip(b"i"))
                    if rev >= self.windows.get(identity, (0, b""))[0]:
                        self.windows[identity] = rev, fields.rsplit(b",rev=", 1)[0]

    @property
    def n(self) -> int:
        return sum(int(text.split(b",")[0][2:-1]) for _, text in self.windows.values())


def stream(seed: int) -> list[Batch]:
    """Two sources' worth of samples in small batches, some of them late."""
    random = np.random.default_rng(seed)
    batches, at = [], 0.0
    while at < SECONDS:
        step = random.uniform(0.02, 0.4)
        n = random.integers(0, 6)
        times = START_NS + ((at + step * np.sort(random.random(n))) * SECOND_NS).astype(np.int64)
        late = random.random(n) < 0.1
        times[late] -= (random.uniform(0, 3, int(late.sum())) * SECOND_NS).astype(np.int64)
        at += step
        now_ns = START_NS + int(at * SECOND_NS)
        batches.append(
            Batch(
                np.zeros(n, np.int32), times, np.round(random.normal(50, 5, n), 2),
                np.zeros(n, np.uint32), now_ns, now_ns - SECOND_NS // 10,
            )
        )  # fmt: skip
    return batches


async def live(
    store: Store, cloud: Cloud, batches: list[Batch], dies_at: int = NEVER, after: bool = False
) -> Ledger:
    """One life of the agent, until all batches are acknowledged or its machine dies."""
    outbox = Mortal(store, dies_at, after)
    sink = MemorySink("cloud")
    source = MemorySource("broker", redelivers=True)
    gateway = Gateway(source, outbox=outbox, interval_s=0.01)
    forwarder = Forwarder(outbox, sink)
    gateway.forward.wake = forwarder.wake
    forwarder.start()
    async with gateway.running():
        await until(lambda: source.connects == 1, "connected")
        known = {int(number) for packets in source.remembered for number in packets.ids}
        rest = [number for number in range(len(batches)) if number not in known]
        for place in range(0, len(rest), AHEAD):
            for number in rest[place : place + AHEAD]:
                source.feed(batches[number], packets=packets_of(number))
            await committed(source, outbox, place)
        await committed(source, outbox, len(rest))
    forwarder.stop()
    cloud.take(sink)
    ledger = outbox.ledger()
    if not outbox.dead:
        MemoryOutbox.close(outbox)
    return ledger


async def committed(source: MemorySource, outbox: Mortal, batches: int) -> None:
    """Wait until so many batches are acknowledged, or there is nobody who could."""
    await until(lambda: outbox.dead or len(source.acknowledged) >= batches, "acknowledged")


def packets_of(number: int) -> Packets:
    return Packets(np.array([number], np.uint16), np.array([number], np.uint32))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(4))
def test_what_a_crash_interrupts_ends_as_if_it_had_not_been(seed: int) -> None:
    async def run() -> None:
        batches, random = stream(seed), np.random.default_rng(seed)
        whole, broken, store = Cloud(), Cloud(), Store()
        expected = await live(Store(), whole, batches)
        for _ in range(5):
            after = bool(random.random() < 0.5)
            await live(store, broken, batches, int(random.integers(1, 6)), after)
        ledger = await live(store, broken, batches)
        assert ledger.samples.received == expected.samples.received
        assert ledger.samples.dropped == {}
        assert ledger.samples.filtered == expected.samples.filtered
        assert ledger.balanced
        assert broken.n == whole.n == ledger.samples.derived
        assert broken.windows.keys() == whole.windows.keys()

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_without_a_journal_a_crash_takes_open_windows_which_the_ledger_says() -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal="never").running():
            source.feed(batch(0.1), batch(0.2), batch(1.1))
            await until(lambda: len(source.acknowledged) == 3, "committed")
            pending = outbox.ledger().samples.pending
            outbox.failures.extend(OutboxError("the machine is off") for _ in range(10_000))
        assert pending == 1
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal="never").running():
            source.feed(batch(1.2))
            await until(lambda: len(source.acknowledged) == 1, "committed")
        samples = outbox.ledger().samples
        assert samples.dropped == {"restart_gap": 1}
        assert (samples.received, samples.balanced) == (4, True)

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("journal", ["never", "always"])
def test_an_anomaly_that_was_open_at_a_crash_is_known_after_it(journal: str) -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal=journal).running():
            source.feed(batch(1))
            await until(lambda: source.acknowledged == [0], "committed")
            source.refusals.extend(SourceRefused("press: not today") for _ in range(10_000))
            source.go_away()
            await until(lambda: len(anomalies(outbox)) == 1, "the anomaly")
            outbox.failures.extend(OutboxError("the machine is off") for _ in range(10_000))
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal=journal).running():
            if journal == "always":
                assert len(anomalies(outbox)) == 1, "it goes on until the machine is back"
                source.feed(batch(3))
            await until(lambda: len(anomalies(outbox)) == 2, "its end")
        opened, ended = anomalies(outbox)
        assert opened.rsplit(b" ", 1)[1] == ended.rsplit(b" ", 1)[1]
        assert b"ended_ns" in ended

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_journal_that_cannot_be_read_to_its_end_gives_up_open_windows_and_balances(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal="always").running():
            await until(lambda: len(outbox.commits) > 0, "the first checkpoint")
            for number in range(4):
                source.feed(batch(number * 0.3))
                await acknowledged(source, number + 1)
            outbox.failures.extend(OutboxError("the machine is off") for _ in range(10_000))
        assert len(store.committed.journal) > 2
        store.committed.journal[1:] = [b""]
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox, journal="always").running():
            source.feed(batch(1.7))
            await until(lambda: len(source.acknowledged) == 1, "committed")
        samples = outbox.ledger().samples
        assert samples.received == 5
        assert samples.dropped == {"restart_gap": 4 - samples.derived}
        assert samples.balanced

    asyncio.run(run())
    assert "the journal cannot be played" in caplog.text


async def acknowledged(source: MemorySource, batches: int) -> None:
    await until(lambda: len(source.acknowledged) == batches, "committed")


@pytest.mark.parametrize("journal", ["auto", "never"])
@pytest.mark.parametrize("crash", [True, False])
def test_after_a_restart_a_source_is_told_until_when_it_had_vouched_as_committed(
    journal: str, crash: bool
) -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource(), Mortal(store, NEVER, after=False)
        async with Gateway(source, outbox=outbox, journal=journal).running():
            source.feed(batch(1))
            await until(lambda: len(source.acknowledged) == 1, "committed")
            source.feed(batch(2))
            await until(lambda: len(source.acknowledged) == 2, "committed")
            outbox.dead = crash
            source.feed(batch(3))
            await until(lambda: source.taken == 3, "taken")
        assert source.remembered_ns == 0
        if not crash:
            MemoryOutbox.close(outbox)
        again = MemorySource()
        async with Gateway(again, outbox=Outbox(store), journal=journal).running() as pipeline:
            await until(lambda: again.connects == 1, "connected")
            vouched_ns = START_NS + (2 if crash else 3) * SECOND_NS
            assert again.remembered_ns == vouched_ns
            again.feed(batch(5))
            await until(lambda: again.acknowledged == [0], "committed")
            await pipeline.remove(again.name)
            other = MemorySource()
            pipeline.add(other)
            assert other.remembered_ns == START_NS + 5 * SECOND_NS

    asyncio.run(run())
