"""The detectors on the simulated line: what is planted is caught, and little else is said.

The demo's own seed is 1; these are others. The faults come from the seed alone.
"""

from __future__ import annotations

import pytest

from tests.journey.simulated import play

SEEDS = (11, 23, 37, 58, 71)
FALSE_ALARMS_MAX = 1


@pytest.mark.parametrize("seed", SEEDS)
def test_each_planted_fault_is_caught_on_its_own_signal_in_time(seed: int) -> None:
    run = play(seed, 60)
    kinds = {fault.kind for fault in run.faults}
    assert kinds == {"drift", "spike", "stuck", "dropout", "bad_status"}
    assert run.missed() == []
    assert len(run.false_alarms()) <= FALSE_ALARMS_MAX


def test_a_healthy_line_gives_no_alarm_in_ten_minutes() -> None:
    run = play(SEEDS[0], 600, faults=False)
    assert run.anomalies == []
