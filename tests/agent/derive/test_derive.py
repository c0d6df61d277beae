"""Derive: the account of every sample, lost connections, text and raw samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.batch import empty
from agent.derive import AHEAD_MAX_NS, NO_CHECKPOINT, Derive, DetectSettings
from agent.ledger import SampleLedger
from agent.signals import MACHINE_SIGNAL, SECOND_NS
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
    plant, now, sent, forgotten = Plant(), START, 0, 0
    texts = 0
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
        texts += int((plant.collect().samples["signal"] == TEXT).sum())
        ledger = plant.derive.samples
        assert ledger.balanced, ledger
        assert ledger.received == sent
        assert ledger.dropped.total() == ledger.dropped["restart_gap"] == forgotten
        told = sum(int(row["n"]) for row in plant.newest.values())
        assert told + texts == ledger.derived


TEXT = [one.kind for one in SIGNALS].index("text")


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
