"""Restarts: what goes on, what a crash takes, and what the configuration changed."""

from __future__ import annotations

from typing import Any

import pytest

from agent.derive import Derive, DetectSettings
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
