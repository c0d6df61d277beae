"""How far a source vouches: as near to now as the machines' clocks allow."""

from __future__ import annotations

import numpy as np

from agent.signals import SECOND_NS
from agent.sources.vouch import ALLOWANCE_MAX_NS, FORGET_NS, Vouch

LEAST_NS = SECOND_NS // 4
NOW_NS = 1_800_000_000 * SECOND_NS


def play(vouch: Vouch, lag_ns: int, seconds: int, start_ns: int = NOW_NS) -> list[bool]:
    """A sample each second that lies `lag_ns` back; whether each came late."""
    late = []
    for second in range(seconds):
        now_ns = start_ns + second * SECOND_NS
        sample_ns = now_ns - lag_ns
        vouched_ns = vouch.until(now_ns - SECOND_NS // 10)
        late.append(sample_ns < vouched_ns)
        vouch.take(np.array([sample_ns]), now_ns)
        vouch.until(now_ns)
    return late


def test_machines_in_time_are_vouched_for_with_the_least_allowance() -> None:
    vouch = Vouch(LEAST_NS)
    assert not any(play(vouch, SECOND_NS // 10, 100))
    assert vouch.allowance_ns == LEAST_NS


def test_a_machine_behind_is_late_no_longer_than_it_is_behind() -> None:
    late = play(Vouch(LEAST_NS), 3 * SECOND_NS, 30)
    assert late == [True] * 3 + [False] * 27


def test_a_machine_too_far_behind_is_not_waited_for() -> None:
    vouch = Vouch(LEAST_NS)
    late = play(vouch, ALLOWANCE_MAX_NS + SECOND_NS, 30)
    assert sum(late) == 30
    assert vouch.allowance_ns == LEAST_NS


def test_the_allowance_shrinks_when_the_clock_was_set_right() -> None:
    vouch = Vouch(LEAST_NS)
    play(vouch, 3 * SECOND_NS, 30)
    after_ns = NOW_NS + 31 * SECOND_NS
    seconds = 2 * FORGET_NS // SECOND_NS + 2
    play(vouch, SECOND_NS // 10, seconds, after_ns)
    assert vouch.allowance_ns == LEAST_NS


def test_what_was_vouched_for_is_never_taken_back() -> None:
    vouch = Vouch(LEAST_NS)
    first_ns = vouch.until(NOW_NS)
    vouch.take(np.array([NOW_NS - 5 * SECOND_NS]), NOW_NS)
    assert vouch.until(NOW_NS) == first_ns


def test_a_stall_of_the_sending_side_widens_nothing() -> None:
    vouch = Vouch(LEAST_NS)
    vouch.until(NOW_NS)
    later_ns = NOW_NS + 2 * SECOND_NS
    vouch.take(np.array([NOW_NS + SECOND_NS // 10, later_ns]), later_ns)
    assert vouch.allowance_ns == LEAST_NS
