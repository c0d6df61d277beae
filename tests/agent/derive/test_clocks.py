"""Times that cannot be are moved, counted by cause, and stop nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np

from agent.batch import AHEAD_MAX_NS, BEHIND_MAX_NS, Batch
from agent.derive.clocks import CLOCKS_MAX, retime
from agent.signals import SECOND_NS
from tests.agent.derive.plant import BAD, START, Plant, batch, moving


def moved(*time_ns: int) -> tuple[list[int], Counter[str]]:
    retimed: Counter[str] = Counter()
    samples = [(0, one, 1.0, BAD) for one in time_ns]
    after = retime(batch(samples, received_ns=START), retimed)
    assert after.status.tolist() == [BAD] * len(time_ns)
    return [int(one) - START for one in after.time_ns], retimed


def test_times_from_far_ahead_are_those_of_arrival_with_their_spacing() -> None:
    ahead = START + 3600 * SECOND_NS
    times, retimed = moved(START - 5, ahead - 300, ahead - 200, ahead)
    assert times == [-5, -300, -200, 0]
    assert retimed == {"clock_ahead": 3}


def test_times_of_a_clock_that_was_never_set_are_those_of_arrival() -> None:
    times, retimed = moved(10 * SECOND_NS, 12 * SECOND_NS)
    assert times == [-2 * SECOND_NS, 0]
    assert retimed == {"clock_behind": 2}


def test_each_clock_of_a_batch_keeps_its_spacing() -> None:
    ahead, years = START + 3600 * SECOND_NS, START - 3 * 365 * 86_400 * SECOND_NS
    times, retimed = moved(7, years, ahead, 17, years + 5)
    assert times == [-10, -5, 0, 0, 0]
    assert retimed == {"clock_ahead": 1, "clock_behind": 4}


def test_times_at_the_limits_stay() -> None:
    times, retimed = moved(START + AHEAD_MAX_NS, START - BEHIND_MAX_NS)
    assert times == [AHEAD_MAX_NS, -BEHIND_MAX_NS]
    assert not retimed


def test_times_out_of_all_bounds_do_not_overflow() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    assert moved(int(low), int(high))[0] == [0, 0]
    many = [-(10**17) * number for number in range(1, 3 * CLOCKS_MAX)]
    assert moved(*many)[0] == [0] * len(many)


def test_a_batch_of_sound_times_is_not_touched() -> None:
    sound = batch([(0, START, 1.0)])
    assert retime(sound, Counter()) is sound


def test_a_clock_far_ahead_is_moved_and_stops_neither_windows_nor_detectors() -> None:
    plant = Plant()
    now_ns = START + 30 * SECOND_NS
    plant.take("opc", moving(0, 30.0), now_ns)
    ahead_ns = now_ns + AHEAD_MAX_NS + 10**15
    ahead = [(0, ahead_ns, 50.0), (2, ahead_ns, "A7")]
    plant.derive.take("opc", batch(ahead, now_ns, received_ns=now_ns))
    plant.take("opc", [*moving(0, 5.0, now_ns + 1), (0, now_ns + 5 * SECOND_NS, 90.0)])
    derived = plant.collect()
    assert plant.derive.samples.retimed == {"clock_ahead": 2}
    assert plant.derive.samples.filtered == {}
    assert [anomaly.detector for anomaly in derived.anomalies] == ["level"]
    assert derived.samples["time_ns"].tolist() == [now_ns]


def test_an_empty_batch_has_no_times() -> None:
    nothing = Batch(
        np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint32), START
    )
    assert retime(nothing, Counter()) is nothing
