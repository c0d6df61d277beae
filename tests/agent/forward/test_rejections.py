"""What a far side says of lines: it is believed of one, not of all, however many they are."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from agent.errors import SinkUnreachable
from agent.forward import Limits
from agent.outbox.memory import MemoryOutbox
from agent.sinks.memory import MemorySink
from tests.agent.forward.support import (
    PATIENT,
    eventually,
    forwarding,
    has_packets,
    lines,
    number,
    put,
    stage,
    waiting,
)

STUBBORN = Limits(rejected_run_max=10, retry_first_s=40, retry_max_s=100)


def above(least: int) -> Callable[[bytes], bool]:
    """Whether a line says this number or more."""
    return lambda line: number(line) >= least


def test_a_rejected_line_goes_to_dead_letters_and_the_rest_is_written(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink(rejects=lambda line: number(line) in (3, 7))
    put(outbox, *range(1, 11))
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert sink.lines == lines(1, 2, 4, 5, 6, 8, 9, 10)
    dead = [letter for _, letter in outbox.dead_letters()]
    assert [(d.line_id, d.cause, d.line) for d in dead] == [
        (n, "rejected", lines(n)[0].removesuffix(b"\n")) for n in (3, 7)
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
    put(outbox, *range(5))
    with forwarding(outbox, sink, PATIENT) as forwarder:
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert "refuses (it rejects every line: a line is wrong)" in forwarder.state
        assert "check its url, org and bucket" in caplog.text
        assert waiting(outbox) == 5
        sink.rejects = lambda line: number(line) == 1
        forwarder.try_now()
        assert eventually(lambda: waiting(outbox) == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 1}


def test_a_far_side_that_begins_to_reject_every_line_is_not_believed(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink()
    put(outbox, 0)
    with forwarding(outbox, sink, STUBBORN) as forwarder:
        assert sink.wait_until(has_packets(1))
        sink.rejects = lambda line: True  # somebody has changed the bucket
        put(outbox, *range(1, 100))
        forwarder.wake.set()
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert "it rejects every line, even one it has taken before" in forwarder.state
        assert waiting(outbox) == 99
        assert not outbox.dead_letters()
        assert sink.attempts < 40
        sink.rejects = lambda line: False
        forwarder.try_now()
        assert eventually(lambda: waiting(outbox) == 0)


@pytest.mark.parametrize("count", [11, 500])
def test_a_packet_of_nothing_but_wrong_lines_does_not_block_whatever_its_length(
    outbox: MemoryOutbox, count: int
) -> None:
    sink = MemorySink(rejects=above(1))
    put(outbox, 0)
    with forwarding(outbox, sink, STUBBORN) as forwarder:
        assert sink.wait_until(has_packets(1))
        put(outbox, *range(1, count + 1))
        forwarder.wake.set()
        assert eventually(lambda: waiting(outbox) == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": count}
    assert sink.attempts < 3 * count  # halving costs two a line, proving one in ten lines


def test_after_a_restart_a_right_line_anywhere_in_the_packet_proves_the_far_side_right(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(rejects=lambda line: number(line) not in (60, 61, 62))
    put(outbox, *range(100))
    with forwarding(outbox, sink, Limits(rejected_run_max=10, retry_first_s=0.001)):
        assert eventually(lambda: waiting(outbox) == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 97}
    assert set(lines(60, 61, 62)) == set(sink.lines)


@pytest.mark.parametrize("wrong_is_live", [False, True])
def test_after_a_restart_a_right_line_of_the_other_lane_proves_it_too(wrong_is_live: bool) -> None:
    now_ns = [10**18]
    outbox = MemoryOutbox(["cloud"], now_ns=lambda: now_ns[0])
    sink = MemorySink(rejects=above(100))
    wrong, right = range(100, 150), range(5)
    put(outbox, *(right if wrong_is_live else wrong))
    now_ns[0] += 6 * 10**9
    stage(outbox, *(wrong if wrong_is_live else right))
    limits = Limits(backlog_share_s=0, rejected_run_max=10, retry_first_s=0.01, retry_max_s=0.01)
    with forwarding(outbox, sink, limits):
        assert eventually(lambda: waiting(outbox) == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 50}
    assert sorted(set(sink.lines), key=number) == lines(*right)


def test_what_was_rejected_is_kept_when_the_far_side_goes_away_before_it_has_proved_itself(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(rejects=above(1))
    put(outbox, 0)
    with forwarding(outbox, sink, PATIENT) as forwarder:
        assert sink.wait_until(has_packets(1))

        def reject(line: bytes) -> bool:
            sink.failures.append(SinkUnreachable("away"))
            return True

        sink.rejects = reject
        put(outbox, 1)
        forwarder.wake.set()
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert waiting(outbox) == 1
        sink.failures.clear()
        sink.rejects = above(1)
        forwarder.try_now()
        assert eventually(lambda: outbox.ledger().lines.dead_letter == {"rejected": 1})


def test_lines_that_the_far_side_names_are_dead_letters_at_once(outbox: MemoryOutbox) -> None:
    sink = MemorySink(rejects=lambda line: number(line) in (3, 7), names=True)
    put(outbox, *range(10))
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert [letter.line_id for _, letter in outbox.dead_letters()] == [4, 8]
    assert [letter.line + b"\n" for _, letter in outbox.dead_letters()] == lines(3, 7)
    assert sink.attempts == 1
    assert outbox.ledger().balanced


def test_what_proves_the_far_side_right_is_never_older_than_what_it_has(
    outbox: MemoryOutbox,
) -> None:
    """An older line sent again would undo its own revision."""
    sink = MemorySink(rejects=above(10), names=True)
    with forwarding(outbox, sink) as forwarder:
        for numbers in ((1,), (2, 3, 10, 11), (12,)):
            put(outbox, *numbers)
            forwarder.wake.set()
            assert eventually(lambda: waiting(outbox) == 0)
    assert sink.lines == lines(1, 2, 3, 3)
    assert outbox.ledger().lines.dead_letter == {"rejected": 3}


def test_a_packet_that_holds_wrong_and_withheld_lines_is_settled_whole(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(rejects=lambda line: number(line) == 1, holds=lambda line: number(line) < 1)
    put(outbox, 0)
    with forwarding(outbox, sink) as forwarder:
        assert sink.wait_until(has_packets(1))
        put(outbox, 1, 2, 3)
        forwarder.wake.set()
        assert eventually(lambda: waiting(outbox) == 0)
        assert "refuses" not in forwarder.state
    assert outbox.ledger().lines.dead_letter == {"rejected": 1}
    assert outbox.ledger().sinks["cloud"].withheld == 2


def test_naming_every_line_is_not_believed_either(outbox: MemoryOutbox) -> None:
    sink = MemorySink(rejects=lambda line: True, names=True)
    put(outbox, *range(10))
    with forwarding(outbox, sink, PATIENT) as forwarder:
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert waiting(outbox) == 10


def test_lines_that_the_far_side_cannot_hold_are_acknowledged_and_counted(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(holds=lambda line: number(line) % 2 == 0)
    put(outbox, *range(10))
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert sink.lines == lines(0, 2, 4, 6, 8)
    assert outbox.ledger().sinks["cloud"].withheld == 5
    assert outbox.ledger().lines.acknowledged == 10


def test_a_packet_that_is_withheld_whole_is_no_sign_of_life(outbox: MemoryOutbox) -> None:
    sink = MemorySink(holds=lambda line: False)
    put(outbox, 1)
    with forwarding(outbox, sink) as forwarder:
        assert eventually(lambda: waiting(outbox) == 0)
        assert forwarder.last_ok_ns is None


def test_a_line_rejected_alone_is_believed_where_others_were_taken(outbox: MemoryOutbox) -> None:
    sink = MemorySink(rejects=lambda line: number(line) == 2)
    put(outbox, 1)
    with forwarding(outbox, sink) as forwarder:
        assert sink.wait_until(has_packets(1))
        put(outbox, 2)
        forwarder.wake.set()
        assert eventually(lambda: waiting(outbox) == 0)
    assert outbox.ledger().lines.dead_letter == {"rejected": 1}


def test_a_packet_too_large_is_halved_until_it_fits_and_what_follows_is_smaller(
    outbox: MemoryOutbox,
) -> None:
    sink = MemorySink(lines_max=13)
    put(outbox, *range(400))
    with forwarding(outbox, sink, Limits(lines_max=100, lines_min=5)):
        assert sink.wait_until(lambda sink: len(sink.lines) == 400)
    assert sink.lines == lines(*range(400))
    assert sink.attempts < 75  # of which 31 or more are needed
    assert not outbox.dead_letters()


def test_a_single_line_too_large_is_a_dead_letter(outbox: MemoryOutbox) -> None:
    sink = MemorySink(line_bytes_max=len(lines(12)[0]))
    put(outbox, 1, 12, 123, 45)
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert sink.lines == lines(1, 12, 45)
    assert outbox.ledger().lines.dead_letter == {"too_large": 1}


def test_a_far_side_to_which_everything_is_too_large_is_not_believed(outbox: MemoryOutbox) -> None:
    sink = MemorySink(lines_max=0)
    put(outbox, 1, 2)
    with forwarding(outbox, sink, PATIENT) as forwarder:
        assert eventually(lambda: forwarder.next_try_s > 0)
        assert waiting(outbox) == 2


def test_of_a_packet_with_several_runs_each_line_has_its_own_fate() -> None:
    now_ns = [10**18]
    outbox = MemoryOutbox(["cloud"], now_ns=lambda: now_ns[0])
    put(outbox, *range(1, 31))
    now_ns[0] += 6 * 10**9  # they have waited too long to be live
    for first in range(5, 30, 5):
        outbox.acknowledge("cloud", first, first)
    sink = MemorySink(
        rejects=lambda line: number(line) in (4, 6, 17, 30), holds=lambda line: number(line) != 18
    )
    outbox.acknowledge("cloud", 1, 1)
    with forwarding(outbox, sink):
        assert eventually(lambda: waiting(outbox) == 0)
    assert [letter.line_id for _, letter in outbox.dead_letters()] == [4, 6, 17, 30]
    counted = outbox.ledger().sinks["cloud"]
    assert (counted.acknowledged, counted.dead_letter, counted.withheld) == (26, 4, 1)
    assert outbox.ledger().balanced
    assert set(sink.lines) == set(lines(*({*range(2, 30)} - {4, 6, 17, 18, *range(5, 30, 5)})))
