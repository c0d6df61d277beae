"""The order in which every outbox gives its lines out, and what one packet may carry.

See `outbox.py`, which has the fixture and the words these tests use.
"""

from __future__ import annotations

import pytest

from agent.lines import LIVE_NS, Lines
from agent.outbox import KEEP_AHEAD_MAX, RUNS_MAX
from tests.conformance.outbox import (
    NOTHING,
    SIGNALS,
    Clock,
    Opening,
    dead,
    gateway,
    ids,
    put,
    raw,
    read,
    ready,
    runs,
    take,
    windows,
)


class OrderConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def opening(self) -> Opening:
        raise NotImplementedError

    def test_the_end_of_an_anomaly_never_overtakes_its_opening(self, opening: Opening) -> None:
        clock = Clock()
        outbox = opening(["cloud", "plant"], now_ns=clock)
        put(outbox, ready(1))  # it opens, and waits
        clock.now_ns += LIVE_NS
        outbox.stage(windows(1), SIGNALS, early=True)
        outbox.stage(ready(1), early=True)  # it ends
        outbox.stage(windows(2), early=True)
        for committed in (False, True):
            if committed:
                outbox.commit(NOTHING)
            assert ids(outbox, "cloud", live=True) == range(2, 3)
            assert ids(outbox, "plant", live=True) == range(2, 3)
        outbox.acknowledge("cloud", 1, 1)
        assert ids(outbox, "cloud", live=True) == range(2, 5)
        assert ids(outbox, "plant", live=True) == range(2, 3)  # each far side by itself

    def test_live_lines_go_on_behind_a_ready_line_that_has_to_wait(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.stage(ready(1), early=False)
        outbox.stage(ready(2), SIGNALS, early=True)
        outbox.stage(windows(1, 2), early=True)
        assert ids(outbox, "cloud", live=True) == range(3, 5)
        outbox.commit(NOTHING)
        assert ids(outbox, "cloud", live=True) == range(1, 5)

    def test_what_becomes_of_the_older_ready_line_lets_the_younger_go(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"], staged_lines_max=2)
        outbox.stage(ready(1), early=False)
        outbox.stage(ready(2, 3), early=True)
        outbox.commit(NOTHING)
        assert ids(outbox, "cloud", live=True) == range(2, 4)  # the first was shed
        outbox.acknowledge("cloud", 2, 2, [dead(2)])
        assert ids(outbox, "cloud", live=True) == range(3, 4)

    def test_ready_lines_that_wait_go_first_also_after_a_restart_and_to_a_new_sink(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, windows(1, 2), ready(1))
        put(outbox, windows(3), ready(2, 3))
        outbox.stage(ready(4), early=False)  # not committed
        assert runs(outbox, "cloud") == [(3, 3), (5, 6)]
        assert read(outbox, "cloud", 2) == [b"a v=1i 1", b"a v=2i 2"]
        outbox.commit(NOTHING)
        outbox.acknowledge("cloud", 3, 3)
        for restart in (False, True):
            if restart:
                outbox = opening(["cloud", "plant"])
            assert runs(outbox, "cloud") == [(5, 7)]
        assert runs(outbox, "plant") == [(5, 7)]
        outbox.acknowledge("cloud", 5, 7)
        assert runs(outbox, "cloud") == [(1, 2), (4, 4)]
        outbox.acknowledge("plant", 1, 7)
        assert runs(outbox, "cloud", 2) == [(1, 2)]

    def test_what_the_gateway_says_of_itself_goes_live_but_never_before_what_waits(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        both = Lines(ready=ready(1).ready + gateway(2, 3).ready + ready(4).ready)
        put(outbox, windows(1), gateway(1), both, early=True)
        assert ids(outbox, "plant", live=True) == range(1, 7)
        assert runs(outbox, "cloud") == [(3, 3), (6, 6)]
        for first in (3, 6):
            outbox.acknowledge("cloud", first, first)
        outbox = opening(["cloud"])
        assert runs(outbox, "cloud") == [(1, 2), (4, 5)]
        assert read(outbox, "cloud")[1:] == [b"gateway,x=y v=%di %d" % (n, n) for n in (1, 2, 3)]

    def test_a_packet_carries_several_runs_up_to_both_limits(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        put(outbox, windows(*range(4 * RUNS_MAX)))
        for number in range(4, 4 * RUNS_MAX + 1, 4):
            outbox.acknowledge("cloud", number, number)
        first = [(number, number + 2) for number in range(1, 4 * RUNS_MAX, 4)]
        assert runs(outbox, "cloud") == first
        assert runs(outbox, "cloud", 5) == [(1, 3), (5, 6)]
        outbox.acknowledge("cloud", 6, 6)
        assert runs(outbox, "cloud") == [(1, 3), (5, 5), (7, 7), *first[2:-1]]
        packet = outbox.packet("cloud", 7, live=False)
        assert packet is not None
        starts = [int(line.rsplit(b" ", 1)[1]) // 10**9 for line in packet.body.splitlines()]
        assert starts == [0, 1, 2, 4, 6, 8, 9]
        assert [packet.id_of(i) for i in range(7)] == [1, 2, 3, 5, 7, 9, 10]
        assert packet.part(1, 5).runs == ((2, 3), (5, 5), (7, 7))
        take(outbox, "cloud", packet)
        assert runs(outbox, "cloud", 2) == [(11, 11), (13, 13)]

    def test_what_lies_between_the_runs_on_their_way_is_not_on_its_way(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1), windows(1), ready(2), windows(2))
        assert runs(outbox, "cloud") == [(1, 1), (3, 3)]
        put(outbox, windows(1, rev=1))
        assert outbox.ledger().lines.replaced == 1
        outbox.acknowledge("cloud", 1, 3)
        assert runs(outbox, "cloud") == [(4, 5)]
        put(outbox, windows(2, rev=1))
        assert outbox.ledger().lines.replaced == 1

    def test_ready_lines_go_ahead_only_while_the_far_side_can_keep_account(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, raw(*range(2 * KEEP_AHEAD_MAX)), ready(1))
        for number in range(2, 2 * KEEP_AHEAD_MAX, 2):
            outbox.acknowledge("cloud", number, number)
        last = 2 * KEEP_AHEAD_MAX + 1
        assert runs(outbox, "cloud") == [(last, last)]
        outbox.acknowledge("cloud", 2 * KEEP_AHEAD_MAX, 2 * KEEP_AHEAD_MAX)
        assert runs(outbox, "cloud", 2) == [(1, 1), (3, 3)]
        outbox.acknowledge("cloud", 1, 3)
        assert runs(outbox, "cloud") == [(last, last)]
