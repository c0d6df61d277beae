"""The forwarder: every line reaches the far side once, in order, or is accounted for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.errors import OutboxError, SinkRefused, SinkUnreachable
from agent.forward import Forwarder, Limits
from agent.outbox.memory import MemoryOutbox
from agent.outbox.sqlite import open_outbox
from agent.sinks import Sink
from agent.sinks.influxdb import InfluxdbSink
from agent.sinks.memory import MemorySink
from tests.conformance.outbox import ready
from tests.write_server import Answer, Request, WriteServer

QUICK = Limits(retry_first_s=0.01, retry_max_s=0.05)
PATIENT = Limits(retry_first_s=40, retry_max_s=100)


def lines(*numbers: int) -> list[bytes]:
    return [b"a v=%di %d\n" % (number, number) for number in numbers]


def has_packets(count: int) -> Callable[[MemorySink], bool]:
    return lambda sink: len(sink.packets) == count


def was_tried(times: int) -> Callable[[MemorySink], bool]:
    return lambda sink: sink.attempts == times


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not (held := condition()) and time.monotonic() < deadline:
        pause.wait(0.002)
    return held


@contextmanager
def forwarding(outbox: MemoryOutbox, sink: Sink, limits: Limits = QUICK) -> Iterator[Forwarder]:
    forwarder = Forwarder(outbox, sink, limits=limits)
    forwarder.start()
    try:
        yield forwarder
    finally:
        assert forwarder.stop(drain_s=0.5)


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox(["cloud"])


def test_what_waits_and_what_comes_is_sent_in_order_and_acknowledged(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    outbox.commit(ready(1, 2))
    with forwarding(outbox, sink) as forwarder:
        assert sink.wait_until(lambda sink: len(sink.lines) == 2)
        outbox.commit(ready(3))
        forwarder.wake.set()
        assert eventually(lambda: outbox.ledger().lines.acknowledged == 3)
        assert forwarder.state.startswith("cloud: last write 0.")
        assert forwarder.last_ok_ns is not None
        assert forwarder.next_try_s == 0
    assert sink.lines == lines(1, 2, 3)
    assert sink.closed


def test_a_committed_line_is_on_its_way_without_a_polling_delay(outbox: MemoryOutbox) -> None:
    sink, delays_s = MemorySink(), []
    with forwarding(outbox, sink) as forwarder:
        for number in range(30):
            outbox.commit(ready(number))
            start_s = time.monotonic()
            forwarder.wake.set()
            assert sink.wait_until(has_packets(number + 1))
            delays_s.append(time.monotonic() - start_s)
    assert sorted(delays_s)[15] < 0.02


def test_a_backlog_goes_out_in_packets_of_at_most_lines_max(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    outbox.commit(ready(*range(25)))
    with forwarding(outbox, sink, Limits(lines_max=10)):
        assert sink.wait_until(lambda sink: len(sink.lines) == 25)
    assert [len(packet) for packet in sink.packets] == [10, 10, 5]


def test_the_lag_of_a_packet_sent_in_parts_is_counted_from_its_commit(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(lines_max=1)
    outbox.commit(ready(1, 2))
    with forwarding(outbox, sink) as forwarder:
        assert eventually(lambda: outbox.ledger().lines.acknowledged == 2)
        assert forwarder.lag_ms < 10_000


def test_an_unreachable_far_side_costs_nothing_but_time(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    sink.failures += [SinkUnreachable("nobody there")] * 5
    outbox.commit(ready(1, 2))
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
    outbox.commit(ready(1))
    with forwarding(outbox, sink, PATIENT) as forwarder:
        for attempt, longest_s in enumerate((40, 80, 100, 100, 100)):
            assert sink.wait_until(was_tried(attempt + 1))
            assert eventually(lambda: forwarder.next_try_s > 0)
            assert longest_s / 2 - 5 < forwarder.next_try_s <= longest_s
            assert "cloud unreachable (nobody there); next try in " in forwarder.state
            outbox.commit(ready(2 + attempt))
            forwarder.wake.set()  # new lines are no reason to knock again
            forwarder.try_now()
            assert sink.wait_until(was_tried(attempt + 2))
        assert sink.wait_until(lambda sink: len(sink.lines) == 6)
        assert forwarder.next_try_s == 0


def test_retry_after_is_honoured_within_reason(outbox: MemoryOutbox) -> None:
    outbox.commit(ready(1))
    for asked_s, waited_s in ((20.0, 20.0), (1e9, 600.0)):
        sink = MemorySink()
        sink.failures.append(SinkUnreachable("busy", retry_after_s=asked_s))
        with forwarding(outbox, sink) as forwarder:
            assert eventually(lambda f=forwarder: f.next_try_s > 0)  # type: ignore[misc]
            assert waited_s - 5 < forwarder.next_try_s <= waited_s
            forwarder.try_now()
            assert sink.wait_until(lambda sink: sink.attempts == 2)
        outbox.commit(ready(2))


def test_a_refused_token_keeps_everything_and_is_said_once_with_the_way_out(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    sink.failures += [SinkRefused("no such token", "check the token")] * 4
    outbox.commit(ready(1, 2))
    with forwarding(outbox, sink):
        assert sink.wait_until(lambda sink: len(sink.lines) == 2)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == ["cloud refuses (no such token); its lines are kept (check the token)"]
    assert not outbox.dead_letters()


def test_a_rejected_line_goes_to_dead_letters_and_the_rest_is_written(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink(rejects=lambda line: b"v=3i" in line or b"v=7i" in line)
    outbox.commit(ready(*range(1, 11)))
    with forwarding(outbox, sink):
        assert eventually(lambda: outbox.ledger().lines.waiting == 0)
    assert sink.lines == lines(1, 2, 4, 5, 6, 8, 9, 10)
    dead = [letter for _, letter in outbox.dead_letters()]
    assert [(d.line_id, d.cause, d.line) for d in dead] == [
        (3, "rejected", b"a v=3i 3"), (7, "rejected", b"a v=7i 7"),
    ]  # fmt: skip
    assert outbox.ledger().lines.dead_letter == {"rejected": 2}
    assert outbox.ledger().balanced
    assert sink.attempts < 20
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "does not take line 3: a line is wrong" in errors[0]


def test_a_far_side_that_rejects_every_line_is_not_believed(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink(rejects=lambda line: True)
    outbox.commit(ready(*range(5)))
    with forwarding(outbox, sink, PATIENT) as forwarder:
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert "refuses (it rejects every line: a line is wrong)" in forwarder.state
        assert "check its url, org and bucket" in caplog.text
        assert outbox.ledger().lines.waiting == 5
        sink.rejects = lambda line: b"v=1i" in line
        forwarder.try_now()
        assert eventually(lambda: outbox.ledger().lines.waiting == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 1}


def test_a_long_run_of_rejected_lines_is_not_believed_either(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    limits = Limits(rejected_run_max=10, retry_first_s=40, retry_max_s=100)
    outbox.commit(ready(0))
    with forwarding(outbox, sink, limits) as forwarder:
        assert sink.wait_until(has_packets(1))
        sink.rejects = lambda line: b"v=99i" not in line
        outbox.commit(ready(*range(1, 100)))
        forwarder.wake.set()
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert outbox.ledger().lines.waiting == 99
        assert sink.attempts < 40


def test_a_line_rejected_alone_is_believed_where_others_were_taken(outbox: MemoryOutbox) -> None:
    sink = MemorySink(rejects=lambda line: b"v=2i" in line)
    outbox.commit(ready(1))
    with forwarding(outbox, sink) as forwarder:
        assert sink.wait_until(has_packets(1))
        outbox.commit(ready(2))
        forwarder.wake.set()
        assert eventually(lambda: outbox.ledger().lines.waiting == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 1}


def test_a_packet_too_large_is_halved_until_it_fits_and_what_follows_is_smaller(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(lines_max=13)
    outbox.commit(ready(*range(400)))
    with forwarding(outbox, sink, Limits(lines_max=100, lines_min=5)):
        assert sink.wait_until(lambda sink: len(sink.lines) == 400)
    assert sink.lines == lines(*range(400))
    assert sink.attempts < 75  # of which 31 or more are needed
    assert not outbox.dead_letters()


def test_a_single_line_too_large_is_a_dead_letter(outbox: MemoryOutbox) -> None:
    sink = MemorySink(lines_max=0)
    outbox.commit(ready(1))
    with forwarding(outbox, sink):
        assert eventually(lambda: outbox.ledger().lines.waiting == 0)
    assert outbox.ledger().lines.dead_letter == {"too_large": 1}


def test_a_packet_without_an_answer_is_sent_smaller_and_grows_again(outbox: MemoryOutbox) -> None:
    sink, sizes = MemorySink(), Limits(lines_max=64, lines_min=10, retry_first_s=0.001)
    sink.failures += [SinkUnreachable("no answer within 10 s")] * 5
    outbox.commit(ready(*range(600)))
    with forwarding(outbox, sink, sizes):
        assert sink.wait_until(lambda sink: len(sink.lines) == 600)
    lengths = [len(packet) for packet in sink.packets]
    assert lengths[0] == 10
    assert lengths[:-1] == sorted(lengths[:-1])


def test_an_outbox_that_cannot_be_read_is_reported_and_tried_again(
    outbox: MemoryOutbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, real, calls = MemorySink(), outbox.packet, iter((OutboxError("bad disk"), KeyError("x")))

    def packet(name: str, lines_max: int) -> object:
        if error := next(calls, None):
            raise error
        return real(name, lines_max)

    monkeypatch.setattr(outbox, "packet", packet)
    outbox.commit(ready(1))
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
    outbox.commit(ready(1))
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
    assert forwarder.state == "cloud: last write 9.0 s ago, 2500 ms after its commit"
    assert forwarder.stop()


def test_stopping_sends_what_is_left_and_then_ends(outbox: MemoryOutbox) -> None:
    sink = MemorySink()
    sink.failures.append(SinkUnreachable("nobody there"))
    outbox.commit(ready(*range(50)))
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
    outbox.commit(ready(1))
    forwarder = Forwarder(outbox, sink, limits=PATIENT)
    forwarder.start()
    assert eventually(lambda: forwarder.next_try_s > 0)
    start_s = time.monotonic()
    assert forwarder.stop(drain_s=5)
    assert time.monotonic() - start_s < 1
    assert sink.attempts == 2  # one last time
    assert outbox.ledger().lines.waiting == 1


def test_stopping_does_not_wait_longer_than_told_for_a_far_side_that_is_silent(
    outbox: MemoryOutbox,
) -> None:
    with WriteServer(lambda request: Answer(hole=True)) as server:
        sink = InfluxdbSink("cloud", url=server.url, token="t", outbox=outbox.uuid, timeout_s=2)
        outbox.commit(ready(1))
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
        bad = b"v=77i" in request.body
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
            outbox.commit(ready(*range(3 * step, 3 * step + 3)))
            forwarder.wake.set()
        away.clear()
        forwarder.try_now()
        assert eventually(lambda: outbox.ledger().lines.waiting == 0)
        assert forwarder.stop()
        assert [line + b"\n" for line in server.taken] == lines(*range(77), *range(78, 120))
        assert outbox.ledger().lines.dead_letter == {"rejected": 1}
        assert outbox.ledger().balanced
