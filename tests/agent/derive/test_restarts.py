"""Restarts: what goes on, what a crash takes, and what the configuration changed."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from agent.derive import Derive, DetectSettings
from agent.derive.checkpoint import pack, unpack
from agent.derive.states import DTYPES
from agent.ledger import SampleLedger
from agent.signals import SECOND_NS
from tests.agent.derive.plant import START, STARTED, TENTH, Plant, moving, signal


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


def test_what_was_journaled_goes_on_after_a_crash_and_the_rest_is_a_restart_gap() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 1.5), START + SECOND_NS)
    plant.take("mqtt", moving(5, 1.5), START + SECOND_NS)
    plant.collect()
    assert plant.derive.samples.pending == 10
    plant.crash(journaled=["opc"])
    assert plant.derive.samples.dropped == {"restart_gap": 5}
    assert plant.derive.samples.pending == 5
    plant.take("opc", [], START + 2 * SECOND_NS)
    plant.take("mqtt", [], START + 2 * SECOND_NS)
    plant.collect()
    assert {key: row["n"] for key, row in plant.newest.items()} == {
        (0, START): 10, (5, START): 10, (0, START + SECOND_NS): 5,
    }  # fmt: skip


def test_late_samples_of_before_a_stop_are_taken_after_it() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 1.0), (0, START + 5 * SECOND_NS, 2.0)], START + 6 * SECOND_NS)
    plant.stop()
    plant.take("opc", [(0, START + 2 * SECOND_NS, 3.0)])
    plant.collect()
    assert plant.newest[0, START + 2 * SECOND_NS]["mean"] == 3.0
    assert plant.derive.samples.filtered.total() == 0


def test_a_revision_goes_on_counting_after_a_restart() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 1.0)], START + 3 * SECOND_NS)
    for number in range(1, 4):
        plant.take("opc", [(0, START + number, 3.0)])
        plant.stop()
    assert [row["rev"] for row in plant.rows if row["start_ns"] == START] == [0, 1, 2, 3]


@pytest.mark.parametrize("change", [{"every_ns": 10 * SECOND_NS}, {"kind": "counter"}])
def test_a_signal_configured_anew_is_closed_and_starts_anew(change: dict[str, Any]) -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 7.0)], START + SECOND_NS // 2)
    plant.table.add(signal("force", **change))
    plant.derive.reconfigure(STARTED)
    plant.collect()
    assert plant.derive.samples.derived == plant.derive.samples.received == 1
    assert [(row["every_ns"], row["good"]) for row in plant.rows] == [(SECOND_NS, 0.5)]
    begin_ns = START + 100 * SECOND_NS
    plant.take("opc", [(0, begin_ns, 8.0)], begin_ns + 10 * SECOND_NS)
    plant.collect()
    assert plant.rows[1]["every_ns"] == change.get("every_ns", SECOND_NS)
    assert plant.derive.samples.balanced


def test_what_did_not_change_does_not_notice_a_new_configuration() -> None:
    plant, other = Plant(), Plant()
    for one in (plant, other):
        one.take("opc", moving(0, 20.05), START + 20 * SECOND_NS)
    plant.table.add(signal("new"))
    plant.derive.reconfigure(STARTED)
    for one in (plant, other):
        one.take("opc", [(0, START + 21 * SECOND_NS, 90.0)], START + 22 * SECOND_NS)
        one.collect()
    assert repr(plant.rows) == repr(other.rows)
    assert plant.anomalies == other.anomalies != []


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
    assert (opened.ended_ns, ended.ended_ns) == (None, STARTED)


@pytest.mark.parametrize("stop", [True, False])
def test_a_signal_that_left_the_configuration_is_closed_and_counted(stop: bool) -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 29 * SECOND_NS)
    plant.take("opc", [(0, START + 30 * SECOND_NS, 90.0)])
    plant.take("opc", [(0, START + 28 * SECOND_NS + 5, 1.0)])
    plant.table.add(signal("force", source=""))
    if stop:
        plant.stop()
    else:
        plant.derive.reconfigure(STARTED)
    plant.collect()
    assert plant.derive.samples.pending == 0
    assert plant.derive.samples.derived == plant.derive.samples.received == 302
    assert sum(row["n"] for row in plant.newest.values()) == 302
    assert plant.anomalies[-1].ended_ns == STARTED
    plant.take("opc", [], START + 60 * SECOND_NS)
    assert len(plant.collect().windows) == 0


def test_a_connection_of_a_source_that_is_gone_is_no_anomaly_any_more() -> None:
    plant = Plant()
    plant.take("mqtt", [], START + SECOND_NS)
    plant.derive.lose("mqtt", "cable", START + 9 * SECOND_NS)
    for one in list(plant.table):
        if one.source == "mqtt":
            plant.table.add(replace(one, source=""))
    plant.derive.reconfigure(STARTED)
    assert plant.collect().anomalies[-1].ended_ns == STARTED
    assert plant.derive.open_anomalies() == []


def test_anomalies_noted_as_open_end_after_a_crash() -> None:
    plant = Plant()
    stored = plant.derive.checkpoint(clean=False, journaled=())
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    plant.take("opc", [(0, START + 30 * SECOND_NS, 90.0)])
    plant.collect()
    documents = [asdict(one) for one in plant.derive.open_anomalies()]
    derive = Derive(plant.table, DetectSettings(), SampleLedger(), stored, STARTED)
    derive.know_open(documents)
    derive.recovered(plant.committed.copy(), STARTED)
    assert [one.ended_ns for one in derive.collect().anomalies] == [STARTED]
    assert derive.samples.balanced


def test_a_detector_knows_after_a_crash_what_it_had_learned() -> None:
    plant = Plant()
    plant.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    plant.collect()
    plant.crash()
    plant.take("opc", [(0, START + 40 * SECOND_NS, 90.0)])
    assert [one.detector for one in plant.collect().anomalies] == ["level"]


@pytest.mark.parametrize("damage", ["version", "fields", "bytes"])
def test_a_state_that_cannot_be_used_is_left_and_its_samples_are_counted_as_lost(
    damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    plant = Plant()
    plant.take("opc", moving(0, 0.5), START)
    plant.collect()
    plant.stored = plant.derive.checkpoint(clean=True, journaled=())
    if damage == "version":
        plant.stored = b"\xff" + plant.stored[1:]
    elif damage == "bytes":
        plant.stored = plant.stored[:40]
    else:
        document, arrays = unpack(plant.stored, DTYPES)
        arrays["silence"] = np.zeros(len(plant.table), [("every_ns", np.int64)])
        plant.stored = pack(document, arrays)
    plant.start()
    assert plant.derive.samples.dropped == {"restart_gap": 5}
    assert "is left" in caplog.text


def test_a_straggler_of_a_removed_signal_is_counted_and_opens_no_window_again() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 7.0)], START + SECOND_NS // 2)
    plant.table.add(replace(plant.table[0], source=""))
    plant.derive.reconfigure(STARTED)
    plant.collect()
    plant.take("opc", [(0, START + SECOND_NS // 3, 8.0), (1, START, 1.0)])
    plant.collect()
    samples = plant.derive.samples
    assert samples.filtered == {"removed": 1}
    assert (samples.derived, samples.pending) == (1, 1)
    assert samples.balanced


def test_a_signal_that_a_topic_brings_back_is_derived_again_and_a_checkpoint_must_follow() -> None:
    plant = Plant()
    whole = plant.table[0]
    plant.take("opc", [(0, START, 7.0)], START + SECOND_NS // 2)
    plant.table.add(replace(whole, source=""))
    plant.derive.reconfigure(STARTED)
    plant.collect()
    assert not plant.derive.take_reconfigured()
    plant.table.add(whole)
    later_ns = START + 100 * SECOND_NS
    plant.take("opc", [(0, later_ns, 8.0)], later_ns + SECOND_NS)
    plant.collect()
    assert plant.derive.samples.filtered == {}
    assert plant.derive.samples.derived == 2
    assert plant.derive.take_reconfigured()
    assert not plant.derive.take_reconfigured()


def test_a_journal_that_is_not_whole_gives_up_open_windows_and_the_ledger_says_so() -> None:
    plant = Plant()
    for second in range(3):
        moment_ns = START + second * SECOND_NS
        plant.take("opc", [(0, moment_ns, 7.0)], moment_ns + SECOND_NS // 2)
    plant.collect()
    state = plant.derive.checkpoint(clean=False, journaled=["opc"])
    committed = plant.derive.samples.copy()
    derive = Derive(plant.table, DetectSettings(), SampleLedger(), state, STARTED)
    derive.recovered(committed.copy(), STARTED, whole=False)
    assert derive.samples.dropped == {"restart_gap": 1}
    assert derive.samples.pending == 0
    assert derive.samples.balanced
