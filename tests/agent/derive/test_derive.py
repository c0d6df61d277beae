"""Derive: the account of every sample, lost connections, text and raw samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.batch import AHEAD_MAX_NS, BAD_NO_COMMUNICATION, empty
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.ledger import SampleLedger
from agent.signals import KINDS, MACHINE_SIGNAL, SECOND_NS, Kind
from tests.agent.derive.plant import (
    BAD,
    SEEDED,
    SIGNALS,
    START,
    TENTH,
    Plant,
    batch,
    moving,
    signal,
)

ACTIONS = st.sampled_from(
    [*["take"] * 6, "lose", "pass_time", "collect", "collect", "stop", "crash"]
)


@SEEDED
@given(st.data())
def test_the_ledger_balances_whatever_happens(data: st.DataObject) -> None:
    plant, now, sent, forgotten, told_before = Plant(), START, 0, 0, 0
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
            told_before += _told(plant)
            plant.windows.clear()  # a window that begins anew after it is no revision
            plant.crash()
        elif action == "stop":
            plant.stop()
        if action == "take" and data.draw(st.booleans()):
            continue  # not committed: a crash may come first
        plant.collect()
        rows = np.concatenate(plant.samples)
        came = rows["status"] != BAD_NO_COMMUNICATION
        texts = int((np.isin(rows["signal"], TEXTS) & came).sum())
        ledger = plant.derive.samples
        assert ledger.balanced, ledger
        assert ledger.received == sent
        assert ledger.dropped.total() == ledger.dropped["restart_gap"] == forgotten
        assert told_before + _told(plant) + texts == ledger.derived


def _told(plant: Plant) -> int:
    return sum(int(row["n"]) for row in plant.newest.values()) if plant.windows else 0


TEXTS = [number for number, one in enumerate(SIGNALS) if one.kind == "text"]


def _samples(data: st.DataObject, source: str, now: int) -> list[Any]:
    numbers = [i for i, one in enumerate(SIGNALS) if one.source == source]
    samples = []
    for _ in range(data.draw(st.integers(0, 6))):
        number = data.draw(st.sampled_from(numbers))
        time_ns = now + data.draw(
            st.sampled_from([0, 0, -1, -TENTH, -5 * SECOND_NS, -90 * SECOND_NS, TENTH])
        )
        if data.draw(st.integers(0, 20)) == 0:
            time_ns += 10**16  # a clock far ahead
        text = SIGNALS[number].kind == "text"
        value = "A7" if text else data.draw(st.sampled_from([1.0, 2.5, math.nan, math.inf]))
        samples.append((number, time_ns, value, data.draw(st.sampled_from([0, 0, 0, BAD]))))
    return samples


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


def test_a_full_signal_table_does_not_stop_the_agent_when_a_connection_is_lost() -> None:
    plant = Plant(*SIGNALS, signals_max=len(SIGNALS))
    plant.take("opc", moving(0, 1.0), START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    assert plant.collect().anomalies == ()


def test_detectors_that_are_switched_off_say_nothing() -> None:
    plant = Plant()
    quiet = Derive(plant.table, DetectSettings(enabled=False), SampleLedger(), NO_CHECKPOINT)
    quiet.take("opc", batch([*moving(0, 30.0), (0, START + 30 * SECOND_NS, 1e6)]))
    assert quiet.collect().anomalies == ()


def test_signals_that_come_later_are_taken_up() -> None:
    plant = Plant(SIGNALS[0])
    plant.take("opc", [(0, START, 1.0)], START)
    for i in range(1, 40):
        plant.table.add(signal(f"extra-{i}"))
    plant.take("opc", [(i, START, 1.0) for i in range(1, 40)], START + SECOND_NS)
    assert sorted(plant.collect().windows["signal"].tolist()) == list(range(40))


def test_a_lost_connection_is_told_of_each_signal_whose_samples_go_out_one_by_one() -> None:
    plant = Plant()
    plant.take("opc", [(2, START, "A7"), (3, START + 5 * SECOND_NS, 4.5)], START + 3 * SECOND_NS)
    plant.collect()
    before = plant.derive.samples.copy()
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    rows = plant.collect().samples
    assert [(row["signal"], row["time_ns"]) for row in rows] == [
        (2, START + 3 * SECOND_NS), (3, START + 5 * SECOND_NS + 1), (6, START + 3 * SECOND_NS),
    ]  # fmt: skip
    assert set(rows["status"].tolist()) == {BAD_NO_COMMUNICATION}
    assert np.isnan(rows["value"]).all()
    assert set(rows["text"].tolist()) == {-1}
    assert plant.derive.samples.received == before.received
    assert plant.derive.samples.derived == before.derived


@pytest.mark.parametrize("restart", ["none", "stop", "crash"])
def test_a_loss_is_told_once_whatever_comes_between(restart: str) -> None:
    plant = Plant()
    plant.take("opc", [(2, START, "A7")], START + 3 * SECOND_NS)
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    assert len(plant.collect().samples) == 4
    if restart == "stop":
        plant.stop()
    elif restart == "crash":
        plant.crash(journaled=["opc"])
    plant.derive.lose("opc", "still", START + 10 * SECOND_NS)
    assert len(plant.collect().samples) == 0
    plant.take("opc", [], START + 20 * SECOND_NS)
    assert len(plant.collect().samples) == 0, "nothing is said when it is back"
    plant.derive.lose("opc", "again", START + 30 * SECOND_NS)
    assert set(plant.collect().samples["time_ns"].tolist()) == {START + 20 * SECOND_NS}


def test_a_source_that_never_vouched_is_missed_from_its_loss_on() -> None:
    plant = Plant()
    plant.derive.lose("opc", "cable", START + 9 * SECOND_NS)
    assert set(plant.collect().samples["time_ns"].tolist()) == {START + 9 * SECOND_NS}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text"])
def test_after_a_loss_no_window_of_any_kind_is_good_until_a_sample_comes_again(kind: Kind) -> None:
    plant = Plant(signal("force", kind=kind))
    plant.take("opc", [(0, START, 7.0)], START + SECOND_NS)
    plant.derive.lose("opc", "cable", START + 2 * SECOND_NS)
    plant.derive.pass_time("opc", START + 3 * SECOND_NS)
    plant.take("opc", [], START + 4 * SECOND_NS)
    plant.take("opc", [(0, START + 5 * SECOND_NS, 8.0)], START + 6 * SECOND_NS)
    plant.collect()
    assert [row["good"] for row in plant.rows] == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_the_level_of_a_waveform_is_watched_as_that_of_an_analog_signal() -> None:
    plant = Plant(signal("vibration", kind="waveform"))
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    plant.take("opc", [(0, START + 30 * SECOND_NS, 90.0)], START + 31 * SECOND_NS)
    plant.collect()
    assert [one.detector for one in plant.anomalies] == ["level"]
    assert all(math.isfinite(row["mean"]) and math.isfinite(row["std"]) for row in plant.rows)
