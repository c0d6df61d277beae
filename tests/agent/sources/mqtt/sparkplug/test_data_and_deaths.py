"""Data of what was born, and what a death does to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.sparkplug import DataType, Metric
from tests.agent.sources.mqtt.sparkplug.plant import START_MS, Plant, Speaker, number

D = DataType
GONE = "0x80310000"


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def node(plant: Plant) -> Speaker:
    """A node with a metric of its own and two devices, all born."""
    node = Speaker(plant)
    plant.take(
        node.nbirth(number("Load", 0.5, START_MS, alias=1)),
        node.dbirth("press", number("Current", 1.0, START_MS, alias=2)),
        node.dbirth("oven", number("Heat", 200.0, START_MS, alias=3)),
    )
    return node


def test_data_of_node_and_devices_come_by_alias_or_by_name(plant: Plant, node: Speaker) -> None:
    rows = plant.take(
        node.ndata(Metric(None, D.DOUBLE, 0.6, START_MS + 1, alias=1)),
        node.ddata("press", number("Current", 1.1, START_MS + 2)),
        node.ddata("oven", number("Heat", 201.0, START_MS + 3, alias=3)),
    )
    assert rows == [
        ("edge", "Load", 1, 0.6), ("press", "Current", 2, 1.1), ("oven", "Heat", 3, 201.0),
    ]  # fmt: skip


def test_rows_say_which_message_brought_them(plant: Plant, node: Speaker) -> None:
    first = [number("Load", float(i), START_MS + i) for i in range(2)]
    rows = plant.rows(
        node.ndata(*first), ("spBv1.0/plant/NCMD/edge", b""), node.ndata(number("Load", 9.0, 5))
    )
    assert rows.message.tolist() == [0, 0, 2]


def test_historical_data_flow_at_their_own_time(plant: Plant, node: Speaker) -> None:
    old = number("Load", 0.1, START_MS - 3_600_000, is_historical=True)
    assert plant.take(node.ndata(old)) == [("edge", "Load", -3_600_000, 0.1)]


def test_the_very_same_alias_of_two_devices_is_told_apart(plant: Plant) -> None:
    """No node may do this, but some do."""
    node = Speaker(plant)
    plant.take(
        node.nbirth(),
        node.dbirth("press", number("A", 1.0, START_MS, alias=1)),
        node.dbirth("oven", number("B", 1.0, START_MS, alias=1)),
    )
    data = Metric(None, D.DOUBLE, 5.0, START_MS, alias=1)
    assert plant.take(node.ddata("oven", data), node.ddata("press", data)) == [
        ("oven", "B", 0, 5.0), ("press", "A", 0, 5.0),
    ]  # fmt: skip


def test_data_that_cannot_be_read_bring_nothing_and_the_next_do(
    plant: Plant, node: Speaker
) -> None:
    sent = [number("Load", 1.0, START_MS), number("Load", 2.0, START_MS)]
    topic, payload = node.ndata(*sent)
    at = payload.rindex(b"\x0a\x04Load")
    broken = payload[:at] + b"\x0b" + payload[at + 1 :]
    assert plant.take((topic, broken)) == []
    assert plant.take(node.ndata(number("Load", 3.0, START_MS))) == [("edge", "Load", 0, 3.0)]
    assert plant.rejected == {"unreadable": 1}


def test_integers_beyond_2_53_are_counted(plant: Plant) -> None:
    plant.take(Speaker(plant).nbirth(Metric("A", D.INT64, 2**60, START_MS)))
    assert plant.host.inexact == 1


def test_a_nodes_death_takes_its_devices_along(plant: Plant, node: Speaker) -> None:
    plant.now_ms += 1_000
    assert sorted(plant.take(node.ndeath())) == [
        ("edge", "Load", 1_000, GONE), ("oven", "Heat", 1_000, GONE),
        ("press", "Current", 1_000, GONE),
    ]  # fmt: skip
    assert plant.take(node.ndeath()) == []


def test_a_devices_death_is_at_its_own_time_and_of_it_alone(plant: Plant, node: Speaker) -> None:
    plant.now_ms += 1_000
    assert plant.take(node.ddeath("press", time_ms=START_MS + 400)) == [
        ("press", "Current", 400, GONE)
    ]
    assert plant.take(node.ddata("oven", number("Heat", 202.0, START_MS + 500))) == [
        ("oven", "Heat", 500, 202.0)
    ]


def test_a_death_of_an_older_session_is_ignored(plant: Plant, node: Speaker) -> None:
    node.bdseq = 1
    plant.take(node.nbirth(number("Load", 0.7, START_MS)))
    assert plant.take(node.ndeath(bdseq=0)) == []
    assert plant.rejected == {"stale": 1}
    assert plant.take(node.ndeath(bdseq=1)) != []


def test_a_death_without_bdseq_is_believed(plant: Plant, node: Speaker) -> None:
    assert len(plant.take(node.say("NDEATH"))) == 3


def test_a_death_is_never_before_the_last_sample(plant: Plant, node: Speaker) -> None:
    ahead = number("Current", 2.0, START_MS + 30_000)
    plant.take(node.ddata("press", ahead))
    rows = plant.rows(node.ndeath())
    times = {plant.read(rows)[i][0]: int(rows.time_ns[i]) for i in range(3)}
    assert times["press"] == (START_MS + 30_000) * 1_000_000 + 1
    assert times["oven"] == START_MS * 1_000_000 + 1


def test_after_a_death_the_birth_brings_the_values_back_later_than_it(
    plant: Plant, node: Speaker
) -> None:
    plant.now_ms += 1_000
    plant.take(node.ndeath())
    behind = number("Load", 0.5, START_MS, is_historical=False)
    rows = plant.rows(node.nbirth(behind, time_ms=START_MS + 200))
    assert rows.time_ns.tolist() == [(START_MS + 1_000) * 1_000_000 + 1]


def test_data_after_a_death_need_a_birth_first(plant: Plant, node: Speaker) -> None:
    plant.take(node.ndeath())
    assert plant.take(node.ndata(number("Load", 1.0, START_MS))) == []
    assert plant.look(2_000) == []
    assert plant.rejected == {"no_birth": 1}


def test_data_of_a_device_after_its_death_need_a_birth_first(plant: Plant, node: Speaker) -> None:
    plant.take(node.ddeath("press"))
    assert plant.take(node.ddata("press", number("Current", 1.0, START_MS))) == []
    assert plant.rejected == {"no_birth": 1}
    reborn = plant.take(node.dbirth("press", number("Current", 3.0, START_MS + 10)))
    assert reborn == [("press", "Current", 10, 3.0)]


def test_what_waited_for_its_turn_is_taken_before_the_death(plant: Plant, node: Speaker) -> None:
    node.ndata()
    ahead = node.ndata(number("Load", 0.9, START_MS + 5))
    rows = plant.take(ahead, node.ndeath())
    assert rows[0] == ("edge", "Load", 5, 0.9)
    assert len(rows) == 4


def test_a_device_that_does_not_come_back_with_its_node_is_gone(
    plant: Plant, node: Speaker
) -> None:
    plant.now_ms += 1_000
    again = node.nbirth(number("Load", 0.5, START_MS))
    plant.take(again, node.dbirth("press", number("Current", 1.0, START_MS)))
    assert plant.look(9_000) == []
    assert plant.look(2_000) == [("oven", "Heat", 1_000, GONE)]


def test_between_its_nodes_birth_and_its_own_a_device_has_no_data(
    plant: Plant, node: Speaker
) -> None:
    late = replace(number("Heat", 1.0, START_MS), alias=3)
    assert plant.take(node.nbirth(), node.ddata("oven", late)) == [("edge", "Load", 0.000001, GONE)]
    assert plant.rejected == {"no_birth": 1}
