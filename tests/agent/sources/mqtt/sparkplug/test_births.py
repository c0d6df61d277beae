"""What a birth says, and what becomes of its metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.sources.mqtt.sparkplug import lives
from agent.sparkplug import DataSet, DataType, Metric, Payload, Property, Template, encode
from tests.agent.sources.mqtt.sparkplug.plant import START_MS, Plant, Speaker, number, publishes

D = DataType
GONE, BAD = "0x80310000", "0x80000000"


@pytest.fixture
def plant() -> Plant:
    return Plant()


def test_signals_exist_from_their_birth_on_with_kind_and_unit(plant: Plant) -> None:
    node = Speaker(plant)
    unit = {"engUnit": Property(D.STRING, "A"), "low": Property(D.DOUBLE, 1.0)}
    plant.take(
        node.nbirth(Metric("Running", D.BOOLEAN, True, START_MS)),
        node.dbirth(
            "press",
            number("Current", 1.5, START_MS, properties=unit),
            Metric("Count", D.UINT32, 7, START_MS),
            Metric("Started", D.DATE_TIME, 5_000, START_MS),
            Metric("Program", D.STRING, "A1", START_MS),
        ),
    )
    assert plant.made == {
        ("plant", "edge", "", "Running"): ("discrete", ""),
        ("plant", "edge", "press", "Current"): ("analog", "A"),
        ("plant", "edge", "press", "Count"): ("analog", ""),
        ("plant", "edge", "press", "Started"): ("analog", ""),
        ("plant", "edge", "press", "Program"): ("text", ""),
    }


def test_a_births_values_are_samples(plant: Plant) -> None:
    node = Speaker(plant)
    rows = plant.take(
        node.nbirth(),
        node.dbirth(
            "press",
            number("Current", 1.5, START_MS),
            Metric("Started", D.DATE_TIME, 5_500, START_MS),
            Metric("Program", D.STRING, "A1", START_MS),
            Metric("Null", D.INT8, None, START_MS),
        ),
    )
    assert rows == [
        ("press", "Current", 0, 1.5),
        ("press", "Started", 0, 5.5),
        ("press", "Program", 0, "A1"),
        ("press", "Null", 0, BAD),
    ]


def test_values_of_a_first_birth_are_as_of_the_birth_but_historical_ones(plant: Plant) -> None:
    node = Speaker(plant)
    old = number("A", 1.0, START_MS - 60_000)
    rows = plant.take(node.nbirth(old, replace(old, name="B", is_historical=True)))
    assert rows == [("edge", "A", 0, 1.0), ("edge", "B", -60_000, 1.0)]


def test_values_of_a_birth_said_again_are_at_their_own_times(plant: Plant) -> None:
    node = Speaker(plant)
    metric = number("A", 1.0, START_MS)
    plant.take(node.nbirth(metric))
    plant.now_ms += 5_000
    assert plant.take(node.nbirth(metric)) == [("edge", "A", 0, 1.0)]


def test_control_metrics_and_properties_are_not_signals_unless_asked_for() -> None:
    metrics = [
        Metric("Node Control/Reboot", D.BOOLEAN, False, START_MS),
        Metric("Properties/Hardware Make", D.STRING, "x", START_MS),
        number("A", 1.0, START_MS),
    ]
    plant = Plant()
    assert [row[1] for row in plant.take(Speaker(plant).nbirth(*metrics))] == ["A"]
    asked = Plant(SparkplugHostConfig(metrics=("Properties/*", "B*")))
    rows = asked.take(Speaker(asked).nbirth(*metrics))
    assert rows == [("edge", "Properties/Hardware Make", 0, "x")]
    assert plant.rejected == asked.rejected == {}


def test_data_sets_templates_arrays_and_files_are_counted_and_stop_nothing(plant: Plant) -> None:
    node = Speaker(plant)
    others = [
        Metric("Table", D.DATA_SET, DataSet({"a": D.INT8}, [(1,)]), START_MS),
        Metric("Kind", D.TEMPLATE, Template((), (), None, True), START_MS),
        Metric("Array", D.DOUBLE_ARRAY, [1.0], START_MS),
        Metric("File", D.FILE, b"x", START_MS),
        Metric("New", DataType.UNKNOWN, None, START_MS),
    ]
    rows = plant.take(node.nbirth(*others, number("A", 1.0, START_MS)))
    assert rows == [("edge", "A", 0, 1.0)]
    assert plant.rejected == {"unsupported": 5}


def test_a_metric_that_cannot_be_a_signal_is_counted_and_said_and_the_others_are(
    plant: Plant,
) -> None:
    node = Speaker(plant)
    rows = plant.take(node.nbirth(number("wrong", 1.0, START_MS), number("A", 1.0, START_MS)))
    assert rows == [("edge", "A", 0, 1.0)]
    assert plant.rejected == {"no_signal": 1}
    assert "not a name for a signal" in plant.quarantine.newest()[0].reason


def test_signals_beyond_the_limit_are_counted_and_the_others_are_read(plant: Plant) -> None:
    plant.signals_max = 2
    rows = plant.take(Speaker(plant).nbirth(*(number(name, 1.0, START_MS) for name in "CAB")))
    assert [row[1] for row in rows] == ["A", "B"]
    assert plant.rejected == {"no_signal": 1}


def test_two_nodes_whose_metrics_would_be_one_signal_are_told_apart() -> None:
    plant = Plant(same=True)
    one, other = Speaker(plant, name="one"), Speaker(plant, name="other")
    first = plant.take(one.nbirth(), one.dbirth("press", number("A", 1.0, START_MS)))
    second = plant.take(other.nbirth(), other.dbirth("press", number("A", 2.0, START_MS)))
    assert len(first) == 1
    assert second == []
    assert plant.rejected == {"no_signal": 1}
    assert "{node}-{device}" in plant.quarantine.newest()[0].reason


def test_what_a_new_birth_has_no_more_is_gone(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS), number("B", 2.0, START_MS)))
    plant.now_ms += 1_000
    rows = plant.take(node.nbirth(number("B", 3.0, START_MS + 1_000)))
    assert rows == [("edge", "A", 1_000, GONE), ("edge", "B", 1_000, 3.0)]


def test_a_new_birth_changes_what_aliases_stand_for(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS, alias=1)))
    plant.take(node.nbirth(number("B", 1.0, START_MS, alias=1)))
    data = Metric(None, D.DOUBLE, 5.0, START_MS + 1, alias=1)
    assert plant.take(node.ndata(data)) == [("edge", "B", 1, 5.0)]


def test_an_alias_that_two_metrics_claim_stands_for_none(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(*(number(name, 1.0, START_MS, alias=1) for name in "AB")))
    data = Metric(None, D.DOUBLE, 5.0, START_MS + 1, alias=1)
    assert plant.take(node.ndata(data)) == []
    assert plant.rejected == {"unknown_metric": 1}


def test_a_birth_that_cannot_be_read_changes_nothing(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    topic, payload = node.nbirth(number("B", 1.0, START_MS))
    broken = payload.replace(b"\x0a\x01B", b"\x0b\x01B")
    assert plant.take((topic, broken)) == []
    assert plant.rejected == {"unreadable": 1}
    assert plant.take(node.ndata(number("A", 2.0, START_MS + 1))) == [("edge", "A", 1, 2.0)]


def test_a_metric_without_a_name_is_counted_and_the_others_are_read(plant: Plant) -> None:
    nameless = Metric(None, D.DOUBLE, 1.0, START_MS, alias=4)
    rows = plant.take(Speaker(plant).nbirth(nameless, number("A", 1.0, START_MS)))
    assert rows == [("edge", "A", 0, 1.0)]
    assert plant.rejected == {"unknown_metric": 1}


def test_a_birth_with_more_metrics_than_there_may_be_is_refused(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "METRICS_MAX", 4)
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    plant.take(node.dbirth("press", *(number(name, 1.0, START_MS) for name in "AB")))
    assert plant.rejected == {"unreadable": 1}
    assert "more than 4" in plant.quarantine.newest()[0].reason


def test_a_kept_message_is_not_taken(plant: Plant) -> None:
    sent = publishes([Speaker(plant).nbirth(number("A", 1.0, START_MS))], retained=True)
    assert len(plant.host.take(sent, np.arange(1), plant.now_ns())) == 0
    assert plant.rejected == {"retained": 1}


def test_a_birth_without_a_time_counts_from_its_arrival(plant: Plant) -> None:
    payload = encode(Payload(None, (Metric("A", D.DOUBLE, 1.0),), 0))
    assert plant.take(("spBv1.0/g/NBIRTH/edge", payload)) == [("edge", "A", 0, 1.0)]


def test_a_signal_of_kind_text_takes_numbers_as_they_are_written(plant: Plant) -> None:
    plant.kinds = dict.fromkeys(["A", "B", "C", "D", "E"], "text")
    sent = [
        Metric("A", D.INT16, -2, START_MS),
        Metric("B", D.UINT64, 2**64 - 1, START_MS),
        Metric("C", D.BOOLEAN, True, START_MS),
        number("D", 0.1, START_MS),
        number("E", None, START_MS),
    ]
    rows = plant.take(Speaker(plant).nbirth(*sent))
    assert [row[3] for row in rows] == ["-2", str(2**64 - 1), "true", "0.1", BAD]


def test_a_text_that_is_not_utf_8_or_too_long_is_missing_and_bad(plant: Plant) -> None:
    sent = [Metric(name, D.STRING, text, START_MS) for name, text in (("A", "xyz"), ("B", "ok"))]
    topic, payload = Speaker(plant).nbirth(*sent, Metric("C", D.TEXT, "x" * 10_001, START_MS))
    rows = plant.take((topic, payload.replace(b"xyz", b"x\xffz")))
    assert [row[3] for row in rows] == [BAD, "ok", BAD]


def test_a_metric_cannot_be_a_waveform(plant: Plant) -> None:
    plant.kinds = {"A": "waveform"}
    assert plant.take(Speaker(plant).nbirth(number("A", 1.0, START_MS))) == []
    assert plant.rejected == {"no_signal": 1}


def test_a_birth_that_says_the_same_again_looks_nothing_up(plant: Plant) -> None:
    node = Speaker(plant)
    births = [node.nbirth(number("A", value, START_MS, alias=1)) for value in (1.0, 2.0)]
    plant.take(births[0])
    plant.made.clear()
    assert plant.rows(births[1]).value.tolist() == [2.0]
    assert plant.made == {}
    plant.take(node.nbirth(number("A", 3.0, START_MS, alias=2)))
    assert len(plant.made) == 1


def test_a_metric_for_which_there_was_no_room_is_looked_up_with_each_birth(plant: Plant) -> None:
    plant.signals_max = 1
    node = Speaker(plant)
    metrics = number("A", 1.0, START_MS), number("B", 2.0, START_MS)
    assert len(plant.take(node.nbirth(*metrics))) == 1
    plant.signals_max = 2
    assert len(plant.take(node.nbirth(*metrics))) == 2


def test_names_and_units_of_all_metrics_are_bounded_together(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "LETTERS_MAX", 100_000)
    name = "x" * 30_000
    unit = {"engUnit": Property(D.STRING, name)}
    for i in range(5):
        node = Speaker(plant, name=f"edge-{i}")
        plant.take(node.nbirth(number(name, 1.0, START_MS, properties=unit)))
        plant.take(node.nbirth(number(name, 1.0, START_MS, properties=unit)))
    assert len(plant.made) == 1
    assert plant.rejected == {"unreadable": 8}
    plant.take(Speaker(plant, name="edge-0").nbirth(number("A", 1.0, START_MS)))
    plant.take(Speaker(plant, name="edge-9").nbirth(number(name, 1.0, START_MS, properties=unit)))
    assert len(plant.made) == 3
