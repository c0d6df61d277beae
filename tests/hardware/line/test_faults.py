import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.line.faults import Bad, Fault, Planter, Value, plan
from hardware.line.signals import ANALOG, MQTT_MACHINES, OPCUA_MACHINES, TICKS_PER_S

TAKT = 17
KINDS = ["bad_status", "drift", "dropout", "spike", "stuck"]
SIGNALS = {signal.key: signal for signal in ANALOG}
seeds = st.integers(0, 2**40)


def samples(fault: Fault, from_tick: int, to_tick: int) -> list[int]:
    return [tick for tick in range(from_tick, to_tick) if fault.signal.sent_at(tick, TAKT)]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(seed=seeds)
def test_a_minute_plants_each_kind_once_on_its_own_signal_and_visible_in_time(seed: int) -> None:
    faults = list(plan(seed, 60, TAKT))
    assert sorted(fault.kind for fault in faults) == KINDS
    assert len({fault.signal.key for fault in faults}) == 5
    for fault in faults:
        assert fault.start_tick >= 22 * TICKS_PER_S
        assert fault.visible_tick <= (38 if fault.kind == "drift" else 50) * TICKS_PER_S
        assert fault.start_tick <= fault.visible_tick < fault.end_tick <= 58 * TICKS_PER_S


@settings(max_examples=60, derandomize=True, deadline=None)
@given(seed=seeds, takt=st.integers(5, 40))
def test_a_machine_has_at_most_one_fault_at_a_time_and_a_rest_between(seed: int, takt: int) -> None:
    faults = list(plan(seed, 200, takt))
    assert len(faults) == 20
    for one, other in itertools.combinations(faults, 2):
        if one.signal.machine == other.signal.machine:
            first, second = sorted((one, other), key=lambda fault: fault.start_tick)
            assert second.start_tick - first.end_tick >= 3 * TICKS_PER_S


@settings(max_examples=60, derandomize=True, deadline=None)
@given(seed=seeds)
def test_kinds_keep_their_wires_durations_and_sizes(seed: int) -> None:
    for fault in plan(seed, 150, TAKT):
        seconds = (fault.end_tick - fault.start_tick) / TICKS_PER_S
        missed = len(samples(fault, fault.start_tick, fault.visible_tick + 1))
        assert fault.signal.sent_at(fault.start_tick, TAKT)
        match fault.kind:
            case "drift":
                assert fault.size is not None
                assert fault.signal.drifts
                assert 12 <= abs(fault.size) <= 18
                assert 10 <= fault.ramp_ticks / TICKS_PER_S <= 15
                assert abs(fault.offset_sigma(fault.visible_tick)) > 4
                earlier = samples(fault, fault.start_tick, fault.visible_tick)
                assert all(abs(fault.offset_sigma(tick)) <= 4 for tick in earlier)
            case "spike":
                assert fault.size is not None
                assert 12 <= abs(fault.size) <= 25
                assert 1 <= len(samples(fault, fault.start_tick, fault.end_tick)) <= 3
                assert fault.visible_tick == fault.start_tick
            case "stuck":
                assert 5 <= seconds <= 8
                assert missed == 10
            case "dropout":
                assert fault.signal.machine in MQTT_MACHINES
                assert 5 <= seconds <= 8
                assert missed == 3
            case "bad_status":
                assert fault.signal.machine in OPCUA_MACHINES
                assert 5 <= seconds <= 8
                assert fault.visible_tick == fault.start_tick
                assert fault.status & 0xC0000000 == 0x80000000


def test_the_schedule_depends_on_the_seed_alone_and_differs_between_seeds() -> None:
    schedules = {seed: list(plan(seed, 60, TAKT)) for seed in range(20)}
    assert schedules[7] == list(plan(7, 60, TAKT))
    signals = {tuple(fault.signal.key for fault in faults) for faults in schedules.values()}
    assert len(signals) > 15


def test_a_run_without_an_end_has_the_faults_of_a_long_run_with_quiet_between_the_periods() -> None:
    endless = list(itertools.islice(plan(3, 0, TAKT), 15))
    assert endless == list(plan(3, 150, TAKT))
    for period in (5, 10):
        ended = max(fault.end_tick for fault in endless[period - 5 : period])
        assert endless[period].start_tick - ended >= 8 * TICKS_PER_S


def test_no_fault_is_planted_too_late_to_be_caught() -> None:
    for seed, seconds in itertools.product(range(20), (30, 40, 50, 60, 75)):
        for fault in plan(seed, seconds, TAKT):
            allowed_s = 20 if fault.kind == "drift" else 5
            assert fault.visible_tick / TICKS_PER_S + allowed_s <= seconds


def spoilt(fault: Fault, clean: dict[int, Value]) -> dict[int, Value | None]:
    """What remains of a signal's clean readings, by tick; None where none was sent."""
    planter = Planter(iter([fault]), TAKT)
    sent: dict[int, Value | None] = {}
    for tick, value in clean.items():
        readings = {fault.signal.key: value}
        planter.apply(tick, readings)
        sent[tick] = readings.get(fault.signal.key)
    return sent


@pytest.mark.parametrize(
    ("fault", "at_tick_4"),
    [
        (Fault("stuck", SIGNALS["meter-01/voltage"], 3, 5, 6), 2.0),
        (Fault("dropout", SIGNALS["meter-01/voltage"], 3, 5, 6), None),
        (Fault("bad_status", SIGNALS["oven-01/belt_speed"], 3, 3, 6, status=0x808C0000), "bad"),
        (Fault("spike", SIGNALS["oven-01/belt_speed"], 3, 3, 6, -20.0), "moved"),
    ],
)
def test_each_kind_spoils_its_readings_and_only_while_it_lasts(
    fault: Fault, at_tick_4: object
) -> None:
    clean: dict[int, Value] = {tick: float(tick) for tick in range(10)}
    if at_tick_4 == "bad":
        at_tick_4 = Bad(0x808C0000)
    if at_tick_4 == "moved":
        at_tick_4 = round(4.0 - 20 * fault.signal.spread(TAKT), fault.signal.decimals)
    sent = spoilt(fault, clean)
    assert sent[4] == at_tick_4
    healthy = [tick for tick in clean if not 3 <= tick < 6]
    assert [sent[tick] for tick in healthy] == [clean[tick] for tick in healthy]


def test_a_drift_rises_holds_and_returns_within_two_seconds() -> None:
    fault = next(fault for fault in plan(1, 60, TAKT) if fault.kind == "drift")
    course = [abs(fault.offset_sigma(t)) for t in range(fault.start_tick, fault.end_tick + 1)]
    top = abs(fault.size or 0)
    assert course[0] == 0
    assert max(course) == top == course[fault.ramp_ticks] == course[-21]
    assert course[-1] == 0
    assert course[: fault.ramp_ticks] == sorted(course[: fault.ramp_ticks])
