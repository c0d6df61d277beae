"""What is committed, when it is acknowledged, and what a stop keeps."""

from __future__ import annotations

import asyncio

import pytest

from agent import pipeline as pipeline_module
from agent.batch import empty
from agent.errors import OutboxError
from agent.pipeline import committing
from agent.sources.memory import MemorySource
from tests.agent.pipeline.gateway import (
    START_NS,
    Gateway,
    Outbox,
    batch,
    until,
)


def test_acknowledgements_follow_the_commit_and_windows_are_offered_before_it() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.watched = source
        outbox.blocked.clear()
        gateway = Gateway(source, outbox=outbox)
        async with gateway.running():
            source.feed(*(batch(second) for second in range(5)))
            await until(lambda: outbox.tried > 0 and source.taken == 5, "a commit")
            assert source.acknowledged == []
            assert outbox.lines(b"window") == []
            live = outbox.packet("cloud", 10, live=True)
            assert live is not None
            assert live.body.startswith(b"window,")
            assert gateway.forward.wake.is_set()
            outbox.blocked.set()
            await until(lambda: len(source.acknowledged) == 5, "acknowledged")
        assert source.acknowledged == list(range(5))
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
    assert said == ["the disk is full (make room); it is tried again, nothing is lost"]


@pytest.mark.usefixtures("impatient")
def test_a_stop_while_the_outbox_fails_acknowledges_nothing_and_keeps_the_old_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        # as soon as it has given up, the outbox works again: too late for what was given up
        monkeypatch.setattr(pipeline_module.log, "error", lambda *_: outbox.failures.clear())
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(0))
            await until(lambda: source.acknowledged == [0], "the first commit")
            before = outbox.ledger()
            outbox.failures.extend(OutboxError("the disk is full") for _ in range(10_000))
            source.feed(*(batch(second) for second in range(1, 6)))
            await until(lambda: source.taken == 6, "taken")
            tried = outbox.tried
            await until(lambda: outbox.tried > tried + 1, "failing")
        assert source.acknowledged == [0]
        assert outbox.ledger().samples == before.samples
        assert not outbox.failures, "it gave up"

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


def test_a_full_queue_makes_the_sources_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "UNCOMMITTED_MAX", 1)

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


def test_what_was_missed_and_recovered_is_counted_beside_the_balance() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        source.lacks, source.regained = {"outage": 1}, {"history": 2}
        async with Gateway(source, outbox=outbox).running() as pipeline:
            await until(lambda: outbox.ledger().samples.missed == {"outage": 1}, "counted")
            source.lacks = {"outage": 1, "server_queue": 4}
            source.regained = {"history": 5}
            await pipeline.remove(source.name)
            other = MemorySource()
            other.regained = {"held": 1}
            pipeline.add(other)
            await until(lambda: "held" in outbox.ledger().samples.recovered, "counted")
        samples = outbox.ledger().samples
        assert samples.missed == {"outage": 1, "server_queue": 4}
        assert samples.recovered == {"history": 5, "held": 1}
        assert samples.received == 0
        assert samples.balanced

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
            await until(lambda: bool(outbox.lines(b"gateway")), "the first commit")
        (machine,) = outbox.lines(b"machine")
        assert b'machine=press-01 model="Maker 200 t",order_in_line=1i' in machine
        (signal,) = outbox.lines(b"signal")
        assert b"machine=press-01,signal=force" in signal
        gateway = outbox.lines(b"gateway")
        assert b"gateway=gw-1" in gateway[0]
        assert b"lag_ms=12.5" in gateway[0]

    asyncio.run(run())


def test_an_idle_gateway_commits_nothing_but_its_own_line() -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(1))
            await until(lambda: source.acknowledged == [0], "the first")
            before = len(outbox.commits)
            source.feed(*(empty(START_NS, START_NS) for _ in range(20)))
            await until(lambda: len(source.acknowledged) == 21, "what vouches for nothing new")
            assert len(outbox.commits) == before

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_stop_waits_for_a_commit_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "WAIT_S", 0.01)

    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        async with Gateway(source, outbox=outbox).running():
            await until(lambda: len(outbox.commits) > 0, "the first commit")
            outbox.blocked.clear()
            tried = outbox.tried
            source.feed(batch(1))
            await until(lambda: outbox.tried > tried, "a commit that hangs")
            slow = asyncio.get_running_loop()
            slow.call_later(4 * pipeline_module.STOP_COMMIT_S, outbox.blocked.set)
        assert source.acknowledged == [0]
        assert outbox.commits[-1].checkpoint is not None, "the stop was clean"

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_stop_ends_although_the_outbox_fails_and_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "UNCOMMITTED_MAX", 2)

    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        gateway = Gateway(source, outbox=outbox, queue=3)
        async with gateway.running():
            await until(lambda: len(outbox.commits) > 0, "the first commit")
            outbox.failures.extend(OutboxError("read-only") for _ in range(100_000))
            source.feed(*(batch(second) for second in range(20)))
            await until(lambda: source.taken >= 5, "all is full")
            tried = outbox.tried
            await until(lambda: outbox.tried > tried + 1, "failing")
        assert source.acknowledged == []

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_mistake_of_ours_in_a_commit_does_not_end_the_pipeline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.failures.extend([MemoryError("no room"), ValueError("a mistake")])
        async with Gateway(source, outbox=outbox).running():
            source.feed(batch(1), batch(2))
            await until(lambda: source.acknowledged == [0, 1], "committed in the end")
        assert outbox.ledger().balanced

    asyncio.run(run())
    assert "unexpected, while committing: MemoryError('no room')" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_a_checkpoint_asked_for_while_one_is_committed_is_taken_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "WAIT_S", 0.01)

    async def run() -> None:
        source, outbox = MemorySource(), Outbox()
        outbox.blocked.clear()
        async with Gateway(source, outbox=outbox).running() as pipeline:
            await until(lambda: outbox.tried == 1, "the first checkpoint is under way")
            pipeline.checkpoint_soon()
            outbox.blocked.set()
            source.feed(batch(1))
            await until(lambda: source.acknowledged == [0], "committed")
            assert [commit.checkpoint is not None for commit in outbox.commits[:2]] == [True, True]

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_what_a_source_rejected_is_counted_once_although_another_takes_its_name() -> None:
    async def run() -> None:
        source, outbox = MemorySource("floor"), Outbox()
        source.counts = {"unreadable": 10}
        async with Gateway(source, outbox=outbox).running() as pipeline:
            await until(lambda: outbox.ledger().samples.received == 10, "counted")
            source.counts = {"unreadable": 13}
            await pipeline.remove("floor")
            other = MemorySource("floor")
            other.counts = {"unreadable": 1}
            pipeline.add(other)
            await until(lambda: outbox.ledger().samples.received == 14, "counted")
        assert outbox.ledger().samples.filtered == {"unreadable": 14}

    asyncio.run(run())


@pytest.mark.usefixtures("impatient")
def test_a_source_is_let_go_only_once_what_it_sent_is_committed() -> None:
    async def run() -> None:
        source, outbox = MemorySource("floor"), Outbox()
        async with Gateway(source, outbox=outbox, interval_s=60).running() as pipeline:
            await until(lambda: len(outbox.commits) > 0, "the first commit")
            outbox.failures.extend(OutboxError("busy") for _ in range(5))
            source.feed(batch(1))
            await until(lambda: source.taken == 1, "taken")
            await pipeline.remove("floor")
            assert source.acknowledged == [0]
            assert not outbox.failures

    asyncio.run(run())
