from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.line.faults import Fault, Value, plan
from hardware.line.machines import FLOW, Line
from hardware.line.production import VARIABLES
from hardware.line.signals import ANALOG, Signal

TAKT = 17


def produce(seed: int, ticks: int, faults: list[Fault] | None = None) -> list[dict[str, Value]]:
    line = Line(seed, TAKT, iter(faults or []))
    return [line.step()[0] for _ in range(ticks)]


@pytest.fixture(scope="module")
def ten_minutes() -> list[dict[str, Value]]:
    return produce(5, 6000)


def series(ticks: list[dict[str, Value]], key: str) -> NDArray[np.float64]:
    return np.array([readings[key] for readings in ticks if key in readings], dtype=np.float64)


def test_the_same_seed_makes_the_same_readings_and_another_seed_others() -> None:
    assert produce(3, 300, list(plan(3, 60, TAKT))) == produce(3, 300, list(plan(3, 60, TAKT)))
    assert produce(3, 50) != produce(4, 50)


@pytest.mark.parametrize("signal", ANALOG, ids=lambda signal: signal.key)
def test_a_healthy_signal_stays_within_its_normal_spread(
    ten_minutes: list[dict[str, Value]], signal: Signal
) -> None:
    values = series(ten_minutes, signal.key)
    spread = signal.spread(TAKT)
    sent = [tick for tick in range(6000) if signal.sent_at(tick, TAKT)]
    residual = values - signal.course(TAKT)[np.array(sent) % TAKT]
    assert len(values) == len(sent)
    assert abs(residual.std() / signal.noise - 1) < 0.1
    assert np.abs(residual).max() < 6 * signal.noise
    assert np.abs(values - signal.course(TAKT).mean()).max() < 6 * spread
    halves = residual[: len(values) // 2].mean() - residual[len(values) // 2 :].mean()
    assert abs(halves) < 0.5 * signal.noise, "not stationary"


def test_a_healthy_value_never_repeats_as_often_as_a_stuck_one(
    ten_minutes: list[dict[str, Value]],
) -> None:
    for signal in ANALOG:
        values = series(ten_minutes, signal.key)
        run = longest = 1
        for before, now in pairwise(values.tolist()):
            run = run + 1 if before == now else 1
            longest = max(longest, run)
        assert longest <= 5, f"{signal.key} repeats {longest} times"


def test_the_ram_presses_once_a_takt_and_is_counted(ten_minutes: list[dict[str, Value]]) -> None:
    force = series(ten_minutes, "press-01/ram_force")
    strokes = series(ten_minutes, "press-01/strokes")
    assert np.count_nonzero((force[:-1] < 900) & (force[1:] >= 900)) == 353
    assert strokes[-1] - strokes[0] == 353
    assert set(np.diff(strokes)) == {0, 1}


def test_the_meter_counts_the_energy_its_power_makes(ten_minutes: list[dict[str, Value]]) -> None:
    energy = series(ten_minutes, "meter-01/energy")
    hours = (len(energy) - 1) / 3600
    mean_kw = series(ten_minutes, "meter-01/power").mean()
    assert energy[-1] - energy[0] == pytest.approx(mean_kw * hours, rel=0.005)


def test_a_unit_passes_the_machines_in_order_one_takt_after_the_other() -> None:
    ticks = produce(1, 10 * TAKT)
    held: dict[str, Value] = {}
    at_takt = []
    for tick, readings in enumerate(ticks):
        held.update(
            {
                machine: readings[f"{machine}/unit"]
                for machine in FLOW
                if f"{machine}/unit" in readings
            }
        )
        if tick % TAKT == TAKT - 1:
            at_takt.append([held[machine] for machine in FLOW])
    for before, now in pairwise(at_takt):
        assert now[1:] == before[:-1]
        assert now[0] not in before


def test_vision_measures_each_unit_once_and_says_how_it_is(
    ten_minutes: list[dict[str, Value]],
) -> None:
    verdicts = Counter(
        readings["vision-01/verdict"] for readings in ten_minutes if "vision-01/verdict" in readings
    )
    assert verdicts.total() == 353
    assert verdicts["good"] > 320
    assert set(verdicts) <= {"good", "scrap", "rework"}


def test_a_unit_measured_out_of_tolerance_is_scrap() -> None:
    deviation = next(signal for signal in ANALOG if signal.name == "deviation")
    fault = Fault("spike", deviation, 0, 0, TAKT, 25.0)
    verdicts = [readings.get("vision-01/verdict") for readings in produce(1, TAKT, [fault])]
    assert "scrap" in verdicts


def test_an_opcua_machine_reads_every_variable_in_every_tick() -> None:
    keys = {variable.key for variable in VARIABLES}
    assert len(keys) == 11
    for readings in produce(2, 40):
        assert {key for key in readings if key.startswith(("press", "oven"))} == keys
