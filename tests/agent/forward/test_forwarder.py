"""The forwarder: every line reaches the far side once, in order, or is accounted for."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from agent.errors import OutboxError, SinkRefused, SinkUnreachable
from agent.forward import Forwarder, Limits
from agent.outbox.memory import MemoryOutbox, Store
from agent.outbox.sqlite import open_outbox
from agent.sinks.influxdb import InfluxdbSink
from agent.sinks.memory import MemorySink
from tests.agent.forward.support import (
    PATIENT,
    QUICK,
    eventually,
    forwarding,
    has_packets,
    lines,
    number,
    put,
    stage,
    waiting,
    was_tried,
)
from tests.write_server import Answer, Request, WriteServer


def test_what_waits_and_what_comes_is_sent_in_order_and_acknowledged(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    put(outbox, 1, 2)
    with forwarding(outbox, sink) as forwarder:
        assert sink.wait_until(lambda sink: len(sink.lines) == 2)
        put(outbox, 3)
        forwarder.wake.set()
        assert eventually(lambda: outbox.ledger().lines.acknowledged == 3)
        assert forwarder.state.startswith("cloud (memory): last write 0.")
        assert forwarder.last_ok_ns is not None
        assert forwarder.next_try_s == 0
    assert sink.lines == lines(1, 2, 3)
    assert sink.closed


def test_a_committed_line_is_on_its_way_without_a_polling_delay(outbox: MemoryOutbox) -> None:
    sink, delays_s = MemorySink(), []
    with forwarding(outbox, sink) as forwarder:
        for number in range(30):
            put(outbox, number)
            start_s = time.monotonic()
            forwarder.wake.set()
            assert sink.wait_until(has_packets(number + 1))
            delays_s.append(time.monotonic() - start_s)
    assert sorted(delays_s)[15] < 0.02


def test_a_backlog_goes_out_in_packets_of_at_most_lines_max(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    put(outbox, *range(25))
    with forwarding(outbox, sink, Limits(lines_max=10)):
        assert sink.wait_until(lambda sink: len(sink.lines) == 25)
    assert [len(packet) for packet in sink.packets] == [10, 10, 5]


def test_a_staged_line_is_sent_before_it_is_durable(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    with forwarding(outbox, sink) as forwarder:
        stage(outbox, 1)
        forwarder.wake.set()
        assert sink.wait_until(lambda sink: sink.lines == lines(1))
        assert eventually(lambda: waiting(outbox) == 0)


def test_the_lag_of_a_packet_sent_in_parts_is_counted_from_when_it_was_made(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(lines_max=1)
    put(outbox, 1, 2)
    with forwarding(outbox, sink) as forwarder:
        assert eventually(lambda: outbox.ledger().lines.acknowledged == 2)
        assert forwarder.lag_ms < 10_000


def test_sinks_of_different_speed_do_not_wait_for_each_other() -> None:
    outbox = MemoryOutbox(["cloud", "plant"])
    quick, stuck = MemorySink("cloud"), MemorySink("plant")
    stuck.failures.append(SinkUnreachable("nobody there"))
    put(outbox, *range(20))
    with forwarding(outbox, quick), forwarding(outbox, stuck, PATIENT) as waits:
        assert stuck.wait_until(was_tried(1))
        assert quick.wait_until(lambda sink: len(sink.lines) == 20)
        assert eventually(lambda: outbox.ledger().sinks["cloud"].waiting == 0)
        assert outbox.ledger().sinks["plant"].waiting == 20
        assert waiting(outbox) == 20  # until both have them
        waits.try_now()
        assert eventually(lambda: waiting(outbox) == 0)
    assert stuck.lines == quick.lines


def test_one_sink_can_be_stopped_while_another_goes_on() -> None:
    outbox = MemoryOutbox(["cloud", "plant"])
    goes, stays = MemorySink("cloud"), MemorySink("plant")
    with forwarding(outbox, stays) as kept:
        gone = Forwarder(outbox, goes, limits=QUICK)
        gone.start()
        put(outbox, 1)
        for forwarder in (gone, kept):
            forwarder.wake.set()
        assert goes.wait_until(has_packets(1))
        assert gone.stop()
        outbox.use_sinks(["plant"])
        put(outbox, 2)
        kept.wake.set()
        assert eventually(lambda: waiting(outbox) == 0)
    assert goes.closed
    assert (goes.lines, stays.lines) == (lines(1), lines(1, 2))


def test_a_forwarder_that_was_never_started_lets_go_of_its_sink(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    assert Forwarder(outbox, sink).stop()
    assert sink.closed


def test_void_ids_are_told_with_the_next_packet_that_is_taken() -> None:
    store = Store()
    put(MemoryOutbox(["cloud"], store), 1, 2)  # and a crash: ids sent before it never come twice
    outbox, sink = MemoryOutbox(["cloud"], store), MemorySink()
    sink.failures.append(SinkUnreachable("nobody there"))
    with forwarding(outbox, sink):
        put(outbox, 3)
        assert eventually(lambda: waiting(outbox) == 0)
    told = [void for packet in sink.packets for void in packet.void]
    assert told == [(3, max(packet.last for packet in sink.packets) - 1)]


def test_an_unreachable_far_side_costs_nothing_but_time(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    sink.failures += [SinkUnreachable("nobody there")] * 5
    put(outbox, 1, 2)
    with caplog.at_level(logging.INFO), forwarding(outbox, sink):
        assert sink.wait_until(lambda sink: len(sink.lines) == 2)
    assert sink.lines == lines(1, 2)
    assert sink.attempts == 6
    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "andon.forward"]
    assert said == [
        ("WARNING", "cloud unreachable (nobody there); its lines are kept"),
        ("INFO", "cloud takes lines again"),
    ]


def test_pauses_double_with_jitter_up_to_their_limit_and_can_be_cut_short(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink()
    sink.failures += [SinkUnreachable("nobody there")] * 5
    put(outbox, 1)
    with forwarding(outbox, sink, PATIENT) as forwarder:
        for attempt, longest_s in enumerate((40, 80, 100, 100, 100)):
            assert sink.wait_until(was_tried(attempt + 1))
            assert eventually(lambda: forwarder.next_try_s > 0)
            assert longest_s / 2 - 5 < forwarder.next_try_s <= longest_s
            assert "cloud unreachable (nobody there); next try in " in forwarder.state
            put(outbox, 2 + attempt)
            forwarder.wake.set()  # new lines are no reason to knock again
            forwarder.try_now()
            assert sink.wait_until(was_tried(attempt + 2))
        assert sink.wait_until(lambda sink: len(sink.lines) == 6)
        assert forwarder.next_try_s == 0


def test_retry_after_is_honoured_within_reason(outbox: MemoryOutbox) -> None:
    put(outbox, 1)
    for asked_s, waited_s in ((20.0, 20.0), (1e9, 600.0)):
        sink = MemorySink()
        sink.failures.append(SinkUnreachable("busy", retry_after_s=asked_s))
        with forwarding(outbox, sink) as forwarder:
            assert eventually(lambda f=forwarder: f.next_try_s > 0)  # type: ignore[misc]
            assert waited_s - 5 < forwarder.next_try_s <= waited_s
            forwarder.try_now()
            assert sink.wait_until(lambda sink: sink.attempts == 2)
        put(outbox, 2)


def test_a_refused_token_keeps_everything_and_is_said_once_with_the_way_out(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    sink.failures += [SinkRefused("no such token", "check the token")] * 4
    put(outbox, 1, 2)
    with forwarding(outbox, sink):
        assert sink.wait_until(lambda sink: len(sink.lines) == 2)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == ["cloud refuses (no such token); its lines are kept (check the token)"]
    assert not outbox.dead_letters()


def test_a_packet_without_an_answer_is_sent_smaller_and_grows_again(outbox: MemoryOutbox) -> None:
    sink, sizes = MemorySink(), Limits(lines_max=64, lines_min=10, retry_first_s=0.001)
    sink.failures += [SinkUnreachable("no answer within 10 s")] * 5
    put(outbox, *range(600))
    with forwarding(outbox, sink, sizes):
        assert sink.wait_until(lambda sink: len(sink.lines) == 600)
    lengths = [len(packet) for packet in sink.packets]
    assert lengths[0] == 10
    assert lengths[:-1] == sorted(lengths[:-1])


def test_an_outbox_that_cannot_be_read_is_reported_and_tried_again(
    outbox: MemoryOutbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, real, calls = MemorySink(), outbox.packet, iter((OutboxError("bad disk"), KeyError("x")))

    def packet(name: str, lines_max: int, *, live: bool) -> object:
        if error := next(calls, None):
            raise error
        return real(name, lines_max, live=live)

    monkeypatch.setattr(outbox, "packet", packet)
    put(outbox, 1)
    with forwarding(outbox, sink):
        assert sink.wait_until(lambda sink: len(sink.lines) == 1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        "cloud waits (bad disk); its lines are kept",
        "cloud waits (KeyError('x')); its lines are kept",
    ]
    assert [bool(record.exc_info) for record in errors] == [False, True]  # a defect shows its trace


def test_lag_is_the_age_of_the_line_on_its_way(outbox: MemoryOutbox) -> None:
    now_ns = [1_000_000_000]
    outbox = MemoryOutbox(["cloud"], now_ns=lambda: now_ns[0])
    sink = MemorySink()
    sink.failures.append(SinkUnreachable("nobody there"))
    put(outbox, 1)
    forwarder = Forwarder(outbox, sink, limits=PATIENT, now_ns=lambda: now_ns[0])
    assert forwarder.state == "cloud: nothing sent yet"
    forwarder.start()
    assert eventually(lambda: forwarder.next_try_s > 0)
    now_ns[0] += 2_500_000_000
    assert forwarder.lag_ms == 2500
    forwarder.try_now()
    assert eventually(lambda: forwarder.last_ok_ns == now_ns[0])
    now_ns[0] += 9_000_000_000
    assert eventually(lambda: forwarder.lag_ms == 2500)
    assert forwarder.state == "cloud (memory): last write 9.0 s ago, live lines 2500 ms"
    assert forwarder.stop()


def test_stopping_sends_what_is_left_and_then_ends(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    sink.failures.append(SinkUnreachable("nobody there"))
    put(outbox, *range(50))
    limits = Limits(lines_max=7, retry_first_s=60, retry_max_s=60)
    forwarder = Forwarder(outbox, sink, limits=limits)
    forwarder.start()
    assert sink.wait_until(lambda sink: sink.attempts == 1)
    assert forwarder.stop(drain_s=5)
    assert len(sink.lines) == 50
    assert sink.closed


def test_stopping_while_the_far_side_is_away_ends_at_once_and_keeps_the_lines(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink()
    sink.failures += [SinkUnreachable("nobody there")] * 10
    put(outbox, 1)
    forwarder = Forwarder(outbox, sink, limits=PATIENT)
    forwarder.start()
    assert eventually(lambda: forwarder.next_try_s > 0)
    start_s = time.monotonic()
    assert forwarder.stop(drain_s=5)
    assert time.monotonic() - start_s < 1
    assert sink.attempts == 2  # one last time
    assert waiting(outbox) == 1


def test_stopping_does_not_wait_longer_than_told_for_a_far_side_that_is_silent(
    outbox: MemoryOutbox,
) -> None:
    with WriteServer(lambda request: Answer(hole=True)) as server:
        sink = InfluxdbSink("cloud", url=server.url, token="t", outbox=outbox.uuid, timeout_s=2)
        put(outbox, 1)
        forwarder = Forwarder(outbox, sink)
        forwarder.start()
        assert server.wait_until(lambda server: len(server.requests) == 1)
        start_s = time.monotonic()
        assert not forwarder.stop(drain_s=0.2)
        assert 0.1 < time.monotonic() - start_s < 1
    assert eventually(lambda: forwarder.stop(drain_s=0.1))


def test_a_cloud_stopped_and_started_in_the_middle_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    away = threading.Event()

    def decide(request: Request) -> Answer:
        bad = b"value=77," in request.body
        return Answer(503) if away.is_set() else Answer(422 if bad else 204, b"bad line")

    with (
        WriteServer(decide) as server,
        closing(open_outbox(tmp_path / "outbox.db", ["cloud"])) as outbox,
    ):
        sink = InfluxdbSink("cloud", url=server.url, token="t", outbox=outbox.uuid)
        forwarder = Forwarder(outbox, sink, limits=QUICK)
        forwarder.start()
        for step in range(40):
            (away.set if step in (10, 25) else away.clear if step in (18, 33) else bool)()
            put(outbox, *range(3 * step, 3 * step + 3))
            forwarder.wake.set()
        away.clear()
        forwarder.try_now()
        assert eventually(lambda: waiting(outbox) == 0)
        assert forwarder.stop()
        taken = [line + b"\n" for line in server.taken]
        assert sorted(taken, key=number) == lines(*range(77), *range(78, 120))
        assert outbox.ledger().lines.dead_letter == {"rejected": 1}
        assert outbox.ledger().balanced
