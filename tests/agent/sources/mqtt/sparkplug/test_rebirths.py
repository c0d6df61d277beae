"""Requests for rebirth: when, whom, how often, and what they say."""

from __future__ import annotations

import pytest

from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.sparkplug import DataType, Metric
from tests.agent.kernels.sparkplug import naive
from tests.agent.sources.mqtt.sparkplug.plant import START_MS, Plant, Speaker, number


@pytest.fixture
def plant() -> Plant:
    return Plant()


def nodes(plant: Plant) -> list[str]:
    return [topic.split("/")[-1] for topic, _ in plant.asked]


def test_a_request_is_an_ncmd_with_rebirth_true_a_time_and_no_number(plant: Plant) -> None:
    plant.take(Speaker(plant).ndata(number("A", 1.0, START_MS)))
    plant.look(2_000)
    ((topic, payload),) = plant.asked
    assert topic == "spBv1.0/plant/NCMD/edge"
    said = naive.read(payload)
    assert (said.timestamp_ms, said.seq) == (START_MS + 2_000, -1)
    assert said.metrics is not None
    (metric,) = said.metrics
    assert metric.name == b"Node Control/Rebirth"
    assert metric.alias is None
    assert metric.datatype == DataType.BOOLEAN
    assert metric.value == (naive.BOOLEAN, 1)


@pytest.mark.parametrize("what", ["alias", "name", "device"])
def test_what_no_birth_had_asks_for_one(plant: Plant, what: str) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS, alias=1)))
    metric = Metric(None if what == "alias" else "B", DataType.DOUBLE, 1.0, START_MS, alias=2)
    sent = node.ddata("press", metric) if what == "device" else node.ndata(metric)
    assert plant.take(sent) == []
    plant.look()
    assert nodes(plant) == ["edge"]
    assert plant.rejected == {"no_birth" if what == "device" else "unknown_metric": 1}


def test_the_known_metrics_of_a_message_with_an_unknown_one_are_taken(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    rows = plant.take(node.ndata(number("B", 1.0, START_MS), number("A", 2.0, START_MS + 1)))
    assert rows == [("edge", "A", 1, 2.0)]


def test_a_node_is_asked_at_most_once_in_the_time_configured(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth())
    for _ in range(130):
        plant.take(node.ndata(number("B", 1.0, START_MS)))
        plant.look(1_000)
    assert nodes(plant) == ["edge"] * 3


def test_a_birth_that_comes_by_itself_needs_not_be_asked_for(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth())
    plant.take(node.ndata(number("B", 1.0, START_MS)), node.nbirth(number("B", 1.0, START_MS)))
    plant.look(1_000)
    assert plant.asked == []


def test_many_nodes_are_asked_one_after_the_other(plant: Plant) -> None:
    plant.take(*(Speaker(plant, name=f"n{i}").ndata() for i in range(20)))
    plant.look(2_000)
    for _ in range(190):
        plant.look(10)
    assert nodes(plant) == [f"n{i}" for i in range(20)]


def test_nobody_is_asked_where_that_is_switched_off() -> None:
    plant = Plant(SparkplugHostConfig(rebirth=False))
    plant.take(Speaker(plant).ndata())
    plant.look(2_000)
    plant.look(60_000)
    assert plant.asked == []
    assert plant.rejected == {"no_birth": 1}


def test_after_a_connection_known_nodes_are_asked_apart_and_after_the_time_to_wait(
    plant: Plant,
) -> None:
    speakers = [Speaker(plant, name=f"n{i}") for i in range(3)]
    plant.take(*(node.nbirth(number("A", 1.0, START_MS)) for node in speakers))
    plant.host.lost()
    plant.now_ms += 30_000
    plant.host.connected()
    assert plant.take(speakers[1].nbirth(number("A", 1.0, START_MS))) != []
    plant.look(1_000)
    assert plant.asked == []
    plant.look(1_000)
    plant.look(99)
    assert nodes(plant) == ["n0"]
    plant.look(1)
    plant.look(200)
    assert nodes(plant) == ["n0", "n2"]


def test_nodes_of_before_a_restart_are_asked_once_there_is_a_connection(plant: Plant) -> None:
    plant.host.expect([("plant", "n1"), ("plant", "n2")])
    plant.look(5_000)
    assert plant.asked == []
    plant.host.connected()
    for _ in range(30):
        plant.look(100)
    assert nodes(plant) == ["n1", "n2"]
