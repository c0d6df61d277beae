"""Connections that are lost, sources that go wrong, and restarts."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from agent.batch import Batch
from agent.errors import SourceRefused, SourceUnreachable
from agent.kernels.history import HISTORY_SAMPLES
from agent.outbox.memory import Store
from agent.signals import SECOND_NS
from agent.sources.memory import MemorySource
from tests.agent.pipeline.gateway import (
    START_NS,
    Gateway,
    Outbox,
    anomalies,
    batch,
    until,
    windows_of,
)


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
            await until(lambda: len(anomalies(outbox)) == 1, "the anomaly")
            await until(lambda: source.connects >= 5, "connected again")
            source.feed(batch(3))
            await until(lambda: len(anomalies(outbox)) == 2, "its end")
            opened, ended = anomalies(outbox)
            assert b"machine=press-01,signal=_machine" in opened
            assert b"press: the connection is lost" in opened
            assert b"ended_ns" not in opened
            assert b"ended_ns=%di" % (START_NS + 3 * SECOND_NS) in ended
            start = b" %d\n" % (START_NS + SECOND_NS)
            assert opened.endswith(start)
            assert ended.endswith(start)

    asyncio.run(run())


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
            await until(lambda: bool(anomalies(outbox)), "the anomaly")
        source, outbox = MemorySource("press"), Outbox(store)
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(20))
            await until(lambda: source.acknowledged == [0], "connected again")
        assert b"ended_ns" in anomalies(outbox)[-1]

    asyncio.run(run())


def test_samples_too_late_for_their_window_are_said_once_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        source, outbox = MemorySource("press"), Outbox()
        gateway = Gateway(source, outbox=outbox)
        async with gateway.running():
            source.feed(*(batch(second) for second in range(HISTORY_SAMPLES + 10)))
            source.feed(batch(2.5), batch(3.5))
            taken = HISTORY_SAMPLES + 12
            await until(lambda: len(source.acknowledged) == taken, "all of it")
            source.feed(batch(4.5))
            await until(lambda: len(source.acknowledged) == taken + 1, "one more")
        assert outbox.ledger().samples.filtered["late"] == 3

    asyncio.run(run())
    said = [record.message for record in caplog.records if "late" in record.message]
    assert len(said) == 1
    assert said[0].startswith(("1 samples", "2 samples"))
