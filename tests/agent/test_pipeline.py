"""The pipeline, between sources and an outbox in memory: order, acknowledgement, outages, stops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from agent import pipeline as pipeline_module
from agent.batch import Batch
from agent.config import Config
from agent.derive import Derive, DetectSettings
from agent.errors import OutboxError, SourceRefused, SourceUnreachable
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox, Store
from agent.pipeline import Pipeline
from agent.report import Reporter
from agent.signals import SECOND_NS, Path, Signal, SignalTable
from agent.sources.memory import MemorySource

PATH = Path("acme", "guiyang", "assembly", "line-1")
START_NS = 1_800_000_000 * SECOND_NS
DEADLINE_S = 10.0
CONFIG = Config.model_validate(
    {
        "gateway": {
            "name": "gw-1",
            "path": {"enterprise": "acme", "site": "guiyang", "area": "assembly", "line": "line-1"},
        },
        "machines": ({"name": "press-01", "model": "Maker 200 t", "order_in_line": 1},),
    }
)


class Outbox(MemoryOutbox):
    """The outbox in memory, which can be told to fail, and notes what was acknowledged when."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(["cloud"], store)
        self.failures: deque[Exception] = deque()
        self.commits: list[Commit] = []
        self.tried = 0
        self.acknowledged_before: list[int] = []
        self.watched: MemorySource | None = None
        self.blocked = threading.Event()
        self.blocked.set()

    def commit(self, commit: Commit) -> None:
        self.tried += 1
        self.blocked.wait(DEADLINE_S)
        if self.watched is not None:
            self.acknowledged_before.append(len(self.watched.acknowledged))
        if self.failures:
            raise self.failures.popleft()
        super().commit(commit)
        self.commits.append(commit)

    def lines(self, measurement: bytes, holding: bytes = b"") -> list[bytes]:
        """The lines of one measurement, in order."""
        lines = [line for _, line in list(self._store.lines)]
        return [line for line in lines if line.startswith(measurement + b",") and holding in line]


class Forward:
    """What the pipeline sees of a forwarder."""

    lag_ms = 12.5

    def __init__(self) -> None:
        self.wake = threading.Event()


class Gateway:
    """One pipeline over these sources; a signal `force` of a machine for each."""

    def __init__(
        self, *sources: MemorySource, outbox: Outbox, interval_s: float = 0.02, queue: int = 100
    ) -> None:
        self.outbox = outbox
        self.forward = Forward()
        self.table = SignalTable(100, outbox.signals())
        for number, source in enumerate(sources, 1):
            self.table.add(
                Signal(PATH, f"press-{number:02}", "force", source.name, every_ns=SECOND_NS)
            )
        settings = DetectSettings(enabled=False)
        derive = Derive(self.table, settings, outbox.ledger().samples, outbox.checkpoint())
        self.pipeline = Pipeline(
            self.table, sources, derive, outbox, [self.forward], Reporter(CONFIG, self.table),
            interval_s, queue,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        stop = asyncio.Event()
        running = asyncio.create_task(self.pipeline.run(stop))
        try:
            yield self.pipeline
        finally:
            stop.set()
            await asyncio.wait_for(running, DEADLINE_S)


def batch(second: float, value: float = 0.0, signal: int = 0) -> Batch:
    """One sample, and time vouched up to it."""
    moment_ns = START_NS + round(second * SECOND_NS)
    return Batch(
        np.array([signal], np.int32), np.array([moment_ns]), np.array([value]),
        np.zeros(1, np.uint32), moment_ns, moment_ns,
    )  # fmt: skip


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _stop_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source in memory has no heartbeat that would let its reader see the stop."""
    monkeypatch.setattr(pipeline_module, "STOP_READING_S", 0.1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses between tries."""
    monkeypatch.setattr(pipeline_module, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(pipeline_module, "RETRY_MAX_S", 0.08)
    monkeypatch.setattr(pipeline_module, "COMMIT_RETRY_S", 0.02)
    monkeypatch.setattr(pipeline_module, "STOP_COMMIT_S", 0.3)


def test_acknowledgements_follow_the_commit_and_the_forwarder_is_woken() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.watched = source
        outbox.blocked.clear()
        gateway = Gateway(source, outbox=outbox)
        async with gateway.running():
            source.feed(*(batch(second) for second in range(5)))
            await until(lambda: outbox.tried > 0 and source.taken == 5, "a commit")
            assert source.acknowledged == []
            assert not gateway.forward.wake.is_set()
            outbox.blocked.set()
            await until(lambda: len(source.acknowledged) == 5, "acknowledged")
        assert source.acknowledged == list(range(5))
        assert gateway.forward.wake.is_set()
        assert outbox.ledger().samples.received == 5

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_an_outbox_that_fails_for_a_while_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.watched = source
        outbox.failures.extend(OutboxError("the disk is full", "make room") for _ in range(5))
        async with Gateway(source, outbox=outbox).running():
            source.feed(*(batch(second) for second in range(10)))
            await until(lambda: len(source.acknowledged) == 10, "acknowledged")
        assert outbox.acknowledged_before[:6] == [0] * 6
        assert len(outbox.lines(b"window")) == 9
        assert outbox.ledger().samples.received == 10
        assert outbox.ledger().balanced

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["the disk is full (make room); nothing is lost, machine sides wait"]


@pytest.mark.usefixtures("impatient")
def test_a_stop_while_the_outbox_fails_acknowledges_nothing_and_keeps_the_old_account() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(0))
            await until(lambda: source.acknowledged == [0], "the first commit")
            before = outbox.ledger()
            outbox.failures.extend(OutboxError("the disk is full") for _ in range(10_000))
            source.feed(*(batch(second) for second in range(1, 6)))
            await until(lambda: outbox.failures[0] is not None and source.taken == 6, "taken")
            tried = outbox.tried
            await until(lambda: outbox.tried > tried + 1, "failing")
        assert source.acknowledged == [0]
        assert outbox.ledger().samples == before.samples
        assert len(outbox.failures) > 9_000, "it gives up"

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_stop_waits_for_an_outbox_that_recovers() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox, interval_s=30).running():
            await until(lambda: len(outbox.commits) == 1, "the first commit")
            source.feed(*(batch(second) for second in range(5)))
            await until(lambda: source.taken == 5, "taken")
            outbox.failures.extend(OutboxError("busy") for _ in range(3))
        assert len(source.acknowledged) == 5
        assert len(outbox.lines(b"window")) == 4
        assert outbox.checkpoint()

    asyncio.run(run())


def test_a_full_queue_makes_the_sources_wait() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.blocked.clear()
        async with Gateway(source, outbox=outbox, queue=3).running():
            await until(lambda: outbox.tried == 1, "the first commit")
            source.feed(*(batch(second) for second in range(50)))
            await until(lambda: source.taken >= 4, "the queue is full")
            before = outbox.tried
            for _ in range(20):
                await asyncio.sleep(0)
            assert source.taken <= 5  # three wait, one is in the reader's hand
            assert outbox.tried == before
            outbox.blocked.set()
            await until(lambda: len(source.acknowledged) == 50, "all taken")

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_mistake_in_one_source_does_not_stop_the_others() -> None:
    class Careless(MemorySource):
        async def close(self) -> None:
            await super().close()
            raise RuntimeError("closing goes wrong too")

    async def run() -> None:
        bad, good, outbox = Careless("bad"), MemorySource("good"), Outbox()
        bad.feed(ValueError("a mistake of ours"), ValueError("and again"), batch(1))
        async with Gateway(bad, good, outbox=outbox).running() as pipeline:
            good.feed(*(batch(second, signal=1) for second in range(5)))
            await until(lambda: len(good.acknowledged) == 5, "the good one")
            await until(lambda: bad.acknowledged == [0], "the bad one, at last")
            assert bad.connects == 3
            assert {state.state for state in pipeline.states.values()} == {"connected"}

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_source_is_tried_again_with_growing_pauses_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moments: list[float] = []

    class Counted(MemorySource):
        async def connect(self) -> None:
            moments.append(time.monotonic())
            await super().connect()

    async def run() -> None:
        source, outbox = Counted("press"), Outbox()
        source.refusals.extend(
            SourceUnreachable("press: no answer", "is it there?") for _ in range(6)
        )
        async with Gateway(source, outbox=outbox).running() as pipeline:
            await until(lambda: source.connects >= 3, "tries")
            assert pipeline.states["press"].reason == "press: no answer (is it there?)"
            await until(lambda: pipeline.states["press"].state == "connected", "connected")
        assert source.closes >= 6

    asyncio.run(run())
    pauses = np.diff(moments)
    assert (pauses[:3] >= np.array([0.01, 0.02, 0.04])).all()
    assert pauses.max() < 1.0
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert said[0].startswith("press: no answer (is it there?); next try in 0.0 s")


@pytest.mark.usefixtures("impatient")
def test_a_lost_connection_is_an_anomaly_of_the_machine_until_it_is_back() -> None:
    async def run() -> None:
        source, outbox = MemorySource("press"), Outbox()
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(1))
            await until(lambda: source.acknowledged == [0], "the first sample")
            source.refusals.extend(SourceRefused("press: not today") for _ in range(3))
            source.go_away()
            anomaly = lambda: outbox.lines(b"anomaly", b"detector=connection")  # noqa: E731
            await until(lambda: len(anomaly()) == 1, "the anomaly")
            await until(lambda: source.connects >= 5, "connected again")
            source.feed(batch(3))
            await until(lambda: len(anomaly()) == 2, "its end")
            opened, ended = anomaly()
            assert b"machine=press-01,signal=_machine" in opened
            assert b"press: the connection is lost" in opened
            assert b"ended_ns" not in opened
            assert b"ended_ns=%di" % (START_NS + 3 * SECOND_NS) in ended
            start = b" %d\n" % (START_NS + SECOND_NS)
            assert opened.endswith(start)
            assert ended.endswith(start)

    asyncio.run(run())


def test_rejected_messages_are_received_and_filtered_by_cause_and_the_ledger_balances() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        source.counts = {"unreadable": 2}
        async with Gateway(source, outbox=outbox).running():
            await until(lambda: outbox.ledger().samples.received == 2, "counted")
            source.counts = {"unreadable": 3, "no_signal": 4}
            source.feed(batch(1), batch(2))
            await until(lambda: outbox.ledger().samples.received == 9, "counted")
        samples = outbox.ledger().samples
        assert samples.filtered == {"unreadable": 3, "no_signal": 4}
        assert outbox.ledger().balanced

    asyncio.run(run())


def test_an_urgent_acknowledgement_does_not_wait_for_the_interval() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox, interval_s=60).running():
            await until(lambda: len(outbox.commits) == 1, "the first commit")
            source.feed(batch(1))
            await until(lambda: source.taken == 1, "taken")
            assert source.acknowledged == []
            source.urgent = True
            source.feed(batch(2))
            await until(lambda: source.acknowledged == [0, 1], "a commit before its time")

    asyncio.run(run())


def test_machines_signals_and_the_gateway_itself_are_said_at_the_start() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox).running():
            await until(lambda: len(outbox.commits) > 3, "commits")
        (machine,) = outbox.lines(b"machine")
        assert b'machine=press-01 model="Maker 200 t",order_in_line=1i' in machine
        (signal,) = outbox.lines(b"signal")
        assert b"machine=press-01,signal=force" in signal
        gateway = outbox.lines(b"gateway")
        assert b"gateway=gw-1" in gateway[0]
        assert b"lag_ms=12.5" in gateway[0]

    asyncio.run(run())


def windows_of(outbox: Outbox) -> dict[int, bytes]:
    return {int(line.split()[-1]) // SECOND_NS: line for line in outbox.lines(b"window")}


def test_a_stop_drains_and_a_restart_goes_on_with_the_same_windows_but_for_the_gap() -> None:
    batches = [batch(tenth / 10, float(tenth * tenth % 17)) for tenth in range(200)]
    cut = 104  # within second 10

    async def play(store: Store, part: list[Batch]) -> Outbox:
        source, outbox = MemorySource(), Outbox(store)
        async with Gateway(source, outbox=outbox, interval_s=0.01).running():
            source.feed(*part)
            await until(lambda: source.taken == len(part), "taken")
        assert len(source.acknowledged) == len(part), "the stop drained"
        return outbox

    async def run() -> None:
        whole = await play(Store(), batches)
        store = Store()
        first = await play(store, batches[:cut])
        assert first.checkpoint()
        assert first.ledger().samples.pending > 0
        restarted = await play(store, batches[cut:])
        expected, found = windows_of(whole), windows_of(restarted)
        assert list(found) == list(expected) == [START_NS // SECOND_NS + i for i in range(19)]
        gap = START_NS // SECOND_NS + 10
        assert {second for second in expected if found[second] != expected[second]} == {gap}
        assert b"n=10i,good=0.9," in found[gap]
        samples = restarted.ledger().samples
        assert (samples.received, samples.dropped) == (200, {})
        assert restarted.ledger().balanced

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_connection_lost_before_a_stop_and_back_after_it_is_an_anomaly_that_ends() -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(1))
            source.refusals.extend(SourceRefused("press: not today") for _ in range(100))
            await until(lambda: source.acknowledged == [0] or source.connects > 1, "tried")
            source.refusals.clear()
            await until(lambda: source.acknowledged == [0], "the first sample")
            source.refusals.extend(SourceRefused("press: not today") for _ in range(100))
            source.go_away()
            await until(lambda: bool(outbox.lines(b"anomaly", b"connection")), "the anomaly")
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(20))
            await until(lambda: source.acknowledged == [0], "connected again")
        assert b"ended_ns" in outbox.lines(b"anomaly", b"connection")[-1]

    asyncio.run(run())
