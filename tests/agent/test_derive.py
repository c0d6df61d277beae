"""Derive: the account of every sample, restarts, lost connections, text and raw samples."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.batch import Batch, empty
from agent.derive import AHEAD_MAX_NS, MACHINE_SIGNAL, NO_CHECKPOINT, Derive, DetectSettings
from agent.detect.anomaly import Anomaly
from agent.ledger import SampleLedger
from agent.signals import SECOND_NS, Path, Signal, SignalTable

SEEDED = settings(max_examples=60, deadline=None, derandomize=True)
START = 1_700_000_000 * SECOND_NS
TENTH = SECOND_NS // 10
LINE = Path("acme", "guiyang", "assembly", "line-1")
BAD = 0x808C_0000
Rows = npt.NDArray[Any]


def signal(name: str, machine: str = "press-01", source: str = "opc", **more: Any) -> Signal:
    return Signal(LINE, machine, name, source, **{"every_ns": SECOND_NS, **more})


SIGNALS = (
    signal("force"),
    signal("strokes", kind="counter"),
    signal("unit", kind="text"),
    signal("power", raw=True),
    signal("zone", machine="oven-01"),
    signal("speed", machine="conveyor-01", source="mqtt", hold_ns=2 * SECOND_NS),
)


class Plant:
    """A table, a ledger and what a restart is given."""

    def __init__(self, *signals: Signal, signals_max: int = 50) -> None:
        self.table = SignalTable(signals_max)
        for one in signals or SIGNALS:
            self.table.add(one)
        self.stored = NO_CHECKPOINT
        self.committed = SampleLedger()
        self.derive = self._derive()
        self.windows: list[Rows] = []
        self.anomalies: list[Anomaly] = []

    def _derive(self) -> Derive:
        started_ns = START + 3600 * SECOND_NS
        return Derive(self.table, DetectSettings(), self.committed.copy(), self.stored, started_ns)

    def take(self, source: str, samples: Sequence[tuple[Any, ...]], alive_ns: int = 0) -> None:
        self.derive.take(source, batch(samples, alive_ns))

    def collect(self) -> Any:
        derived = self.derive.collect()
        self.windows.append(derived.windows)
        self.anomalies += derived.anomalies
        self.committed = self.derive.samples.copy()
        return derived

    def stop(self) -> None:
        self.derive.pause()
        self.collect()
        self.stored = self.derive.checkpoint()
        self.derive = self._derive()

    def crash(self) -> None:
        self.stored = self.derive.checkpoint(kernels=False)
        self.derive = self._derive()

    @property
    def rows(self) -> list[dict[str, Any]]:
        names = self.windows[0].dtype.names or ()
        return [
            dict(zip(names, row, strict=True)) for block in self.windows for row in block.tolist()
        ]


def batch(
    samples: Sequence[tuple[Any, ...]], alive_ns: int = 0, received_ns: int | None = None
) -> Batch:
    """Samples (signal, time_ns, value or text[, status]), received when the newest was made."""
    texts = tuple(value for _, _, value, *_ in samples if isinstance(value, str))
    numbers, times, values, status = [], [], [], []
    found = 0
    for number, time_ns, value, *rest in samples:
        numbers.append(number)
        times.append(time_ns)
        values.append(float(found) if isinstance(value, str) else value)
        found += isinstance(value, str)
        status.append(rest[0] if rest else 0)
    if received_ns is None:
        received_ns = max(alive_ns, *times, 0)
    return Batch(
        np.array(numbers, np.int32), np.array(times, np.int64), np.array(values, np.float64),
        np.array(status, np.uint32), received_ns, alive_ns, texts,
    )  # fmt: skip


def moving(number: int, seconds: float, begin_ns: int = START, seed: int = 1) -> list[Any]:
    """Noise at 10 Hz."""
    values = 50 + np.random.default_rng(seed).normal(size=round(seconds * 10))
    return [(number, begin_ns + i * TENTH, float(value)) for i, value in enumerate(values)]


ACTIONS = st.sampled_from(
    ["take", "take", "take", "take", "lose", "pass_time", "collect", "collect", "stop", "crash"]
)


@SEEDED
@given(st.data())
def test_the_ledger_balances_whatever_happens(data: st.DataObject) -> None:
    plant, now, sent, forgotten = Plant(), START, 0, 0
    for action in data.draw(st.lists(ACTIONS, min_size=5, max_size=40)):
        source = data.draw(st.sampled_from(["opc", "mqtt"]))
        now += data.draw(st.sampled_from([0, TENTH, SECOND_NS, 20 * SECOND_NS]))
        if action == "take":
            samples = _samples(data, source, now)
            alive_ns = data.draw(st.sampled_from([0, now, now - SECOND_NS]))
            plant.derive.take(source, batch(samples, alive_ns, received_ns=now))
            sent += len(samples)
        elif action == "lose":
            plant.derive.lose(source, "cable", now)
        elif action == "pass_time":
            plant.derive.pass_time(source, now)
        elif action == "crash":
            sent = plant.committed.received
            forgotten += plant.committed.pending
            plant.crash()
        elif action == "stop":
            plant.stop()
        if action == "take" and data.draw(st.booleans()):
            continue  # not committed: a crash may come first
        plant.collect()
        ledger = plant.derive.samples
        assert ledger.balanced, ledger
        assert ledger.received == sent
        assert ledger.dropped.total() == ledger.dropped["restart_gap"] == forgotten


def _samples(data: st.DataObject, source: str, now: int) -> list[Any]:
    numbers = [i for i, one in enumerate(SIGNALS) if one.source == source]
    samples = []
    for _ in range(data.draw(st.integers(0, 6))):
        number = data.draw(st.sampled_from(numbers))
        time_ns = now + data.draw(st.sampled_from([0, 0, -1, -TENTH, -5 * SECOND_NS, TENTH]))
        if data.draw(st.integers(0, 20)) == 0:
            time_ns += 10**16  # a clock far ahead
        text = SIGNALS[number].kind == "text"
        value = "A7" if text else data.draw(st.sampled_from([1.0, 2.5, math.nan, math.inf]))
        samples.append((number, time_ns, value, data.draw(st.sampled_from([0, 0, 0, BAD]))))
    return samples


def test_a_restart_goes_on_with_the_same_windows_up_to_the_gap() -> None:
    samples = moving(0, 20.0) + [(1, START + i * SECOND_NS, float(i)) for i in range(20)]
    samples.sort(key=lambda sample: sample[1])
    half = 113
    stop_ns = samples[half - 1][1]
    whole, restarted = Plant(), Plant()
    whole.take("opc", samples, START + 20 * SECOND_NS)
    whole.collect()
    restarted.take("opc", samples[:half], stop_ns)
    restarted.stop()
    restarted.take("opc", samples[half:], START + 20 * SECOND_NS)
    restarted.collect()
    assert restarted.derive.samples.dropped.total() == 0
    assert len(whole.rows) == len(restarted.rows) == 40
    gap_ns = stop_ns // SECOND_NS * SECOND_NS
    for one, other in zip(_sorted(whole.rows), _sorted(restarted.rows), strict=True):
        assert one["n"] == other["n"]
        if one["start_ns"] != gap_ns:
            assert repr(one) == repr(other)
        else:
            assert 0 < other["good"] <= one["good"]


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["signal"], row["start_ns"]))


def test_a_stop_leaves_a_gap_also_for_a_source_that_never_vouched() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 7.0)])
    plant.stop()
    plant.take("opc", [], START + 10 * SECOND_NS)
    plant.collect()
    assert [row["good"] for row in plant.rows] == [0.0] * 10


def test_a_crash_writes_down_the_samples_of_open_windows_as_a_restart_gap() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 1.5), START + SECOND_NS)
    plant.collect()
    assert plant.derive.samples.pending == 5
    plant.crash()
    assert plant.derive.samples.dropped == {"restart_gap": 5}
    assert plant.derive.samples.pending == 0


@pytest.mark.parametrize("change", [{"every_ns": 10 * SECOND_NS}, {"kind": "counter"}])
def test_a_signal_configured_anew_starts_anew_and_its_open_samples_are_counted(
    change: dict[str, Any],
) -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 7.0)], START)
    plant.stop()
    plant.table.add(signal("force", **change))
    plant.derive = Derive(plant.table, DetectSettings(), plant.committed.copy(), plant.stored)
    plant.collect()
    assert plant.derive.samples.dropped == {"restart_gap": 1}
    assert plant.derive.samples.balanced


def test_a_clock_far_ahead_is_set_aside_and_stops_neither_windows_nor_detectors() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    ahead_ns = START + 30 * SECOND_NS + AHEAD_MAX_NS + 10**15
    now_ns = START + 30 * SECOND_NS
    ahead = [(0, ahead_ns, 50.0), (2, ahead_ns, "A7")]
    plant.derive.take("opc", batch(ahead, now_ns, received_ns=now_ns))
    plant.take("opc", [*moving(0, 5.0, now_ns), (0, now_ns + 5 * SECOND_NS, 90.0)])
    derived = plant.collect()
    assert plant.derive.samples.filtered == {"clock_ahead": 2}
    assert [anomaly.detector for anomaly in derived.anomalies] == ["level"]
    assert len(derived.samples) == 0


def test_a_source_that_vouches_for_the_far_future_does_not_stop_its_windows() -> None:
    plant = Plant()
    now_ns = START + 10 * SECOND_NS
    plant.derive.take("opc", empty(now_ns, START + 10**17))
    assert plant.derive.alive_until_ns("opc") == now_ns + AHEAD_MAX_NS


def test_text_goes_out_sample_by_sample_with_its_words_and_without_windows() -> None:
    plant = Plant()
    plant.take("opc", [(2, START, "A7"), (0, START, 1.0), (2, START + 1, "B9", BAD)], START)
    plant.take("opc", [(2, START + 2, "C1")], START + 5 * SECOND_NS)
    derived = plant.collect()
    assert [derived.texts[row["text"]] for row in derived.samples] == ["A7", "B9", "C1"]
    assert derived.samples["status"].tolist() == [0, BAD, 0]
    assert np.isnan(derived.samples["value"]).all()
    assert set(derived.windows["signal"].tolist()) == {0}
    assert plant.derive.samples.derived == 4


def test_a_text_without_a_value_is_a_sample_without_text() -> None:
    plant = Plant()
    plant.take("opc", [(2, START, math.nan, BAD)])
    assert plant.collect().samples["text"].tolist() == [-1]


def test_raw_samples_go_out_beside_their_windows_and_count_once() -> None:
    plant = Plant()
    plant.take("opc", [(3, START, 4.5), (3, START + 1, math.nan, BAD)], START + SECOND_NS)
    derived = plant.collect()
    assert [(row["signal"], row["text"], row["status"]) for row in derived.samples] == [
        (3, -1, 0), (3, -1, BAD),
    ]  # fmt: skip
    assert derived.samples["value"][0] == 4.5
    assert plant.derive.samples.derived == plant.derive.samples.received == 2


def test_a_lost_connection_is_one_anomaly_a_machine_and_over_when_it_is_back() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 1.0), START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    plant.derive.lose("opc", "still", START + 10 * SECOND_NS)
    lost = plant.collect().anomalies
    assert [plant.table[one.signal].machine for one in lost] == ["press-01", "oven-01"]
    assert {plant.table[one.signal].name for one in lost} == {MACHINE_SIGNAL}
    assert {(one.detector, one.start_ns, one.reason) for one in lost} == {
        ("connection", START + SECOND_NS, "cable")
    }
    plant.take("opc", [], START + 30 * SECOND_NS)
    back = plant.collect().anomalies
    assert [one.ended_ns for one in back] == [START + 30 * SECOND_NS] * 2
    assert [one.signal for one in back] == [one.signal for one in lost]
    assert plant.derive.open_anomalies() == []


def test_nothing_is_covered_between_a_lost_connection_and_the_next_sample() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 7.0)], START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 2 * SECOND_NS)
    plant.derive.pass_time("opc", START + 4 * SECOND_NS)
    plant.take("opc", [(0, START + 5 * SECOND_NS, 8.0)], START + 6 * SECOND_NS)
    plant.collect()
    assert [row["good"] for row in plant.rows] == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_a_connection_lost_before_a_restart_is_over_when_it_is_back_after_it() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 1.0), START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    plant.stop()
    assert len(plant.derive.open_anomalies()) == 2
    plant.take("opc", [], START + 60 * SECOND_NS)
    ended = plant.collect().anomalies
    assert [one.ended_ns for one in ended] == [START + 60 * SECOND_NS] * 2
    assert plant.derive.open_anomalies() == []


def test_a_full_signal_table_does_not_stop_the_agent_when_a_connection_is_lost() -> None:
    plant = Plant(*SIGNALS, signals_max=len(SIGNALS))
    plant.take("opc", moving(0, 1.0), START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    assert plant.collect().anomalies == ()


def test_an_anomaly_keeps_its_id_through_a_restart_to_its_end() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    spike_ns = START + 30 * SECOND_NS
    plant.take("opc", [(0, spike_ns, 90.0)], spike_ns)
    plant.stop()
    back = [(0, spike_ns + SECOND_NS + i * TENTH, 50.0 + i % 2) for i in range(60)]
    plant.take("opc", back, spike_ns + 8 * SECOND_NS)
    plant.collect()
    (opened, closed) = plant.anomalies
    label = plant.table[0].label
    assert opened.id(label) == closed.id(label)
    assert (opened.ended_ns, closed.ended_ns) == (None, spike_ns + SECOND_NS)


def test_an_anomaly_open_at_a_crash_ends_with_the_next_start() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    plant.take("opc", [(0, START + 30 * SECOND_NS, 90.0)])
    plant.collect()
    plant.crash()
    plant.collect()
    plant.crash()
    assert plant.collect().anomalies == ()
    (opened, ended) = plant.anomalies
    assert (opened.start_ns, opened.signal) == (ended.start_ns, ended.signal)
    assert (opened.ended_ns, ended.ended_ns) == (None, START + 3600 * SECOND_NS)


def test_a_signal_that_left_the_configuration_is_closed_and_counted() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 29 * SECOND_NS)
    plant.take("opc", [(0, START + 30 * SECOND_NS, 90.0)])
    plant.stop()
    plant.table.add(signal("force", source=""))
    plant.derive = plant._derive()
    plant.collect()
    assert plant.derive.samples.pending == 0
    assert plant.derive.samples.derived == plant.derive.samples.received == 301
    assert plant.anomalies[-1].ended_ns == START + 3600 * SECOND_NS
    plant.take("opc", [], START + 60 * SECOND_NS)
    assert len(plant.collect().windows) == 0


def test_detectors_that_are_switched_off_say_nothing() -> None:
    plant = Plant()
    quiet = Derive(plant.table, DetectSettings(enabled=False), SampleLedger(), NO_CHECKPOINT)
    quiet.take("opc", batch([*moving(0, 30.0), (0, START + 30 * SECOND_NS, 1e6)]))
    assert quiet.collect().anomalies == ()


def test_a_state_of_another_version_is_left_and_its_samples_are_counted_as_lost() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 0.5), START)
    plant.stop()
    with np.load(io.BytesIO(plant.stored)) as file:
        states = {name: file[name] for name in file.files}
    states["silence"] = np.zeros(len(SIGNALS), [("every_ns", np.int64)])
    stored = io.BytesIO()
    np.savez(stored, **states)
    derive = Derive(plant.table, DetectSettings(), plant.committed.copy(), stored.getvalue())
    assert derive.samples.dropped == {"restart_gap": 5}


def test_signals_that_come_later_are_taken_up() -> None:
    plant = Plant(SIGNALS[0])
    plant.take("opc", [(0, START, 1.0)], START)
    for i in range(1, 40):
        plant.table.add(signal(f"extra-{i}"))
    plant.take("opc", [(i, START, 1.0) for i in range(1, 40)], START + SECOND_NS)
    assert sorted(plant.collect().windows["signal"].tolist()) == list(range(40))
