"""What else every outbox must keep: crashes, revisions, void ids, too many lines, too old ones.

See `outbox.py`, which has the fixture and the words these tests use.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agent.outbox import VOIDS_MAX
from agent.outbox.intervals import Intervals
from tests.conformance.outbox import (
    NOTHING,
    SIGNALS,
    Clock,
    Opening,
    S,
    dead,
    drain,
    gateway,
    ids,
    put,
    raw,
    ready,
    waiting,
    windows,
)


class FatesConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def opening(self) -> Opening:
        raise NotImplementedError

    def test_acknowledgements_outlive_a_stop_and_are_forgotten_in_a_crash(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1, 2, 3, 4))
        outbox.acknowledge("cloud", 1, 1)
        outbox = opening(["cloud"])
        assert (waiting(outbox, "cloud"), outbox.ledger().lines.acknowledged) == (3, 1)
        outbox.acknowledge("cloud", 2, 2)
        assert outbox.dirty
        outbox.commit(NOTHING)
        outbox.acknowledge("cloud", 3, 3)
        outbox = opening(["cloud"], crash=True)
        assert (waiting(outbox, "cloud"), outbox.ledger().lines.acknowledged) == (2, 2)
        assert ids(outbox, "cloud") == range(3, 5)
        assert outbox.ledger().balanced

    def test_after_a_crash_ids_that_may_have_been_sent_never_come_twice(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"], staged_lines_max=100)
        put(outbox, ready(1, 2))
        outbox.stage(ready(3, 4), early=True)  # sent, and lost before their commit
        assert ids(outbox, "cloud", live=True) == range(1, 5)
        outbox = opening(["cloud"], crash=True, staged_lines_max=100)
        outbox.stage(raw(5), SIGNALS, early=True)
        assert ids(outbox, "cloud", live=True) == range(103, 104)
        assert drain(outbox, "cloud") == (Intervals([(1, 2)]), Intervals([(3, 102)]))
        ledger = outbox.ledger()
        assert (ledger.lines.made, ledger.lines.waiting) == (3, 1)
        assert ledger.balanced
        outbox = opening(["cloud"], crash=True, staged_lines_max=100)
        put(outbox, ready(6))
        outbox = opening(["cloud"])
        put(outbox, ready(7))
        sent, _ = drain(outbox, "cloud")
        assert sent.total == 4
        assert sent.next_in(3) == 203

    def test_a_stop_with_lines_that_no_commit_took_is_as_a_crash(self, opening: Opening) -> None:
        outbox = opening(["cloud"], staged_lines_max=100)
        outbox.stage(ready(1), early=True)
        outbox.acknowledge("cloud", 1, 1)
        outbox = opening(["cloud"], staged_lines_max=100)
        assert outbox.ledger().lines.made == 0
        put(outbox, ready(2))
        assert drain(outbox, "cloud") == (Intervals([(101, 101)]), Intervals([(1, 100)]))

    @pytest.mark.parametrize("committed", [False, True])
    def test_a_revision_replaces_the_window_that_still_waits(
        self, opening: Opening, committed: bool
    ) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.stage(windows(1, 2, 3), SIGNALS, early=True)
        outbox.stage(windows(2, signal=1), early=True)
        if committed:
            outbox.commit(NOTHING)
        outbox.stage(windows(2, 7, rev=1), early=False)
        outbox.commit(NOTHING)
        ledger = outbox.ledger()
        assert (ledger.lines.replaced, ledger.lines.waiting) == (1, 5)
        assert ledger.balanced
        expected = Intervals([(1, 1), (3, 6)]), Intervals([(2, 2)])
        assert drain(outbox, "cloud") == expected
        outbox = opening(["cloud", "plant"])
        assert drain(outbox, "plant") == expected
        assert outbox.ledger().lines.waiting == 0

    def test_a_second_revision_replaces_the_first(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        put(outbox, windows(1), windows(1, rev=1), windows(1, rev=2))
        assert drain(outbox, "cloud") == (Intervals([(3, 3)]), Intervals([(1, 2)]))
        assert outbox.ledger().lines.replaced == 2

    def test_what_is_on_its_way_is_never_replaced_and_goes_before_its_revision(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, windows(1, 2))
        assert ids(outbox, "cloud") == range(1, 3)  # and no answer yet
        put(outbox, windows(1, rev=1))
        assert outbox.ledger().lines.replaced == 0
        assert ids(outbox, "cloud") == range(1, 4)
        outbox.acknowledge("cloud", 1, 2)
        assert ids(outbox, "cloud") == range(3, 4)

    def test_what_one_sink_has_is_not_replaced_for_the_other(self, opening: Opening) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, windows(1))
        outbox.acknowledge("plant", 1, 1)
        put(outbox, windows(1, rev=1))
        assert outbox.ledger().lines.replaced == 0
        assert ids(outbox, "cloud") == range(1, 3)

    def test_a_revision_never_goes_by_the_live_lane(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1), windows(1, rev=1), ready(2), early=True)
        assert ids(outbox, "cloud", live=True) == range(1, 2)
        outbox.acknowledge("cloud", 1, 1)
        assert ids(outbox, "cloud", live=True) == range(3, 4)

    def test_void_ids_are_told_fifty_intervals_at_a_time_until_all_are(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        starts = range(1, 2 * VOIDS_MAX + 11)
        put(outbox, windows(*starts))
        put(outbox, windows(*starts[::2], rev=1))
        void, told = Intervals(), []
        while packet := outbox.packet("cloud", 40, live=False):
            told.append(len(packet.void))
            for interval in packet.void:
                void.add(*interval)
            outbox.acknowledge("cloud", packet.first, packet.last, void=packet.void)
        assert told[:3] == [VOIDS_MAX, 5, 0]
        assert list(void) == [(i, i) for i in starts[::2]]

    def test_what_was_told_void_is_told_again_only_when_it_was_not_acknowledged(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, windows(1, 2), windows(1, rev=1))
        for _ in range(2):
            packet = outbox.packet("cloud", 1, live=False)
            assert packet is not None
            assert packet.void == packet.part(0, 1).void == ((1, 1),)
        outbox.acknowledge("cloud", 2, 2, void=((1, 1),))
        outbox = opening(["cloud"])
        packet = outbox.packet("cloud", 1, live=False)
        assert packet is not None
        assert packet.void == ()

    def test_raw_samples_are_shed_before_windows_and_windows_before_ready_lines(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"], staged_lines_max=4)
        outbox.stage(ready(1), SIGNALS, early=True)
        outbox.stage(windows(1, 2), early=True)
        outbox.stage(raw(1, 2), early=True)
        assert outbox.ledger().lines.dropped == Counter(overload=2)
        outbox.stage(ready(2, 3), early=True)
        assert outbox.ledger().lines.dropped == Counter(overload=4)
        outbox.stage(ready(4, 5), early=True)
        assert outbox.ledger().lines.dropped == Counter(overload=5)
        outbox.commit(NOTHING)
        assert drain(outbox, "cloud") == (Intervals([(6, 9)]), Intervals([(1, 5)]))
        assert outbox.ledger().balanced

    def test_what_is_on_its_way_is_not_shed(self, opening: Opening) -> None:
        outbox = opening(["cloud"], staged_lines_max=2)
        outbox.stage(raw(1, 2), SIGNALS, early=True)
        assert ids(outbox, "cloud", live=True) == range(1, 3)
        outbox.stage(windows(1), early=True)
        assert outbox.ledger().lines.waiting == 2
        outbox.acknowledge("cloud", 1, 2)
        assert outbox.ledger().lines.dropped == Counter(overload=1)

    def test_lines_that_wait_too_long_are_dropped_by_age(self, opening: Opening) -> None:
        clock = Clock()
        outbox = opening(["cloud", "plant"], now_ns=clock, monotonic_ns=clock, age_max_ns=60 * S)
        put(outbox, ready(1, 2))
        clock.now_ns += 30 * S
        put(outbox, ready(3))
        outbox.acknowledge("cloud", 1, 2, [dead(1)])
        clock.now_ns += 31 * S
        outbox.commit(NOTHING)
        ledger = outbox.ledger()
        assert ledger.lines.dropped == Counter(age=1)
        assert ledger.lines.dead_letter == Counter(rejected=1)
        assert (ledger.lines.waiting, ledger.balanced) == (1, True)
        assert drain(outbox, "cloud") == (Intervals([(3, 3)]), Intervals([(1, 1)]))
        assert drain(outbox, "plant") == (Intervals([(3, 3)]), Intervals([(1, 2)]))

    def test_a_clock_that_is_set_forward_ages_nothing_that_was_made_since_the_start(
        self, opening: Opening
    ) -> None:
        clock, monotonic = Clock(), Clock()
        options: dict[str, Any] = {"now_ns": clock, "monotonic_ns": monotonic}
        options["age_max_ns"] = 60 * S
        put(opening(["cloud"], **options), ready(1))
        outbox = opening(["cloud"], **options)
        put(outbox, ready(2), windows(1))
        clock.now_ns += 120 * 86_400 * S  # no battery, and then it heard of the time
        monotonic.now_ns += 60 * S
        put(outbox, ready(3))
        ledger = outbox.ledger()
        assert (ledger.lines.dropped, ledger.lines.waiting) == (Counter(age=1), 3)
        assert drain(outbox, "cloud") == (Intervals([(2, 4)]), Intervals([(1, 1)]))
        put(outbox, ready(4))
        clock.now_ns -= 60 * 86_400 * S  # and back: nothing is older than it says either
        monotonic.now_ns += S
        outbox.commit(NOTHING)
        assert outbox.ledger().lines.waiting == 1

    def test_what_the_gateway_says_of_itself_goes_first_when_there_are_too_many_lines(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"], staged_lines_max=5)
        outbox.stage(gateway(1, 2), SIGNALS, early=True)
        outbox.stage(windows(1), early=True)
        outbox.stage(ready(1, 2), early=True)
        assert outbox.ledger().lines.dropped == Counter()
        outbox.stage(ready(3), early=True)
        assert outbox.ledger().lines.dropped == Counter(overload=2)
        outbox.commit(NOTHING)
        assert drain(outbox, "cloud") == (Intervals([(3, 6)]), Intervals([(1, 2)]))

    def test_one_in_a_hundred_more_lines_are_shed_than_there_are_too_many(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"], staged_lines_max=300)
        for number in range(301):
            outbox.stage(raw(number), SIGNALS, early=True)
        assert (outbox.staged_lines, outbox.ledger().lines.dropped["overload"]) == (297, 4)

    def test_staged_lines_are_those_of_pieces_that_still_need_a_commit(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.stage(raw(1, 2, 3), SIGNALS, early=True)
        outbox.stage(windows(1, 2), early=True)
        outbox.stage(ready(1), early=True)
        outbox.acknowledge("cloud", 1, 6)
        assert outbox.staged_lines == 6
        outbox.acknowledge("plant", 2, 5)
        assert outbox.staged_lines == 4
        outbox.acknowledge("plant", 1, 1)
        assert outbox.staged_lines == 1
        outbox.commit(NOTHING)
        assert outbox.staged_lines == 0
        outbox.stage(raw(4), early=True)
        assert outbox.staged_lines == 1
