"""The order of messages: who is overtaken is waited for."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.sources.mqtt.sparkplug import order
from tests.agent.sources.mqtt.sparkplug.plant import START_MS, Plant, Speaker, number


def born(plant: Plant) -> Speaker:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 0.0, START_MS)))
    return node


def data(node: Speaker, value: int) -> tuple[str, bytes]:
    """Data sent so many ms after the start."""
    sent_ms = START_MS + value
    return node.ndata(number("A", float(value), sent_ms), time_ms=sent_ms)


def values(rows: list[tuple[object, ...]]) -> list[object]:
    return [row[3] for row in rows]


@pytest.fixture
def plant() -> Plant:
    return Plant()


def test_messages_that_arrive_in_another_order_are_taken_in_their_own(plant: Plant) -> None:
    node = born(plant)
    one, two, three, four = (data(node, i) for i in range(1, 5))
    assert values(plant.take(one, four)) == [1.0]
    assert values(plant.take(three)) == []
    assert values(plant.take(two)) == [2.0, 3.0, 4.0]
    assert plant.look(10_000) == []
    assert plant.asked == []
    assert plant.rejected == {}
    assert plant.host.missed == {}


@given(st.permutations(range(1, 7)))
def test_every_order_within_the_time_to_wait_brings_the_same(places: list[int]) -> None:
    plant = Plant()
    node = born(plant)
    messages = {i: data(node, i) for i in range(1, 7)}
    rows = plant.take(*(messages[i] for i in places))
    assert values(rows) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_message_that_comes_twice_is_counted_and_nobody_is_asked_for_it(plant: Plant) -> None:
    node = born(plant)
    one, two = data(node, 1), data(node, 2)
    assert values(plant.take(one, one, two, two)) == [1.0, 2.0]
    assert plant.look(10_000) == []
    assert plant.asked == []
    assert plant.rejected == {"repeated": 2}


def test_many_small_messages_that_are_ahead_are_not_held_without_end() -> None:
    plant = Plant()
    for i in range(2_000):
        node = Speaker(plant, name=f"edge-{i}")
        plant.take(*(node.ndata(seq=seq) for seq in range(10, 40)))
    held = sum(len(node.held) for node in plant.host._nodes.values())
    assert held <= order.HELD_BYTES_MAX / 500


def test_numbers_go_on_at_0_behind_255(plant: Plant) -> None:
    node = born(plant)
    rows = plant.take(*(data(node, i) for i in range(600)))
    assert values(rows) == [float(i) for i in range(600)]
    assert plant.rejected == {}
    assert plant.host.missed == {}


def test_when_the_time_to_wait_is_over_what_is_held_is_taken_and_a_rebirth_asked(
    plant: Plant,
) -> None:
    node = born(plant)
    data(node, 1)
    assert plant.take(data(node, 2), data(node, 3)) == []
    assert plant.look(1_999) == []
    assert plant.asked == []
    assert values(plant.look(1)) == [2.0, 3.0]
    assert plant.host.missed == {"message": 1}
    assert len(plant.asked) == 1
    assert values(plant.take(data(node, 4))) == [4.0]


def test_the_time_to_wait_can_be_none() -> None:
    plant = Plant(SparkplugHostConfig(reorder_ms=0))
    node = born(plant)
    data(node, 1)
    assert values(plant.take(data(node, 2))) == [2.0]
    assert plant.host.missed == {"message": 1}


def test_late_data_are_taken_and_a_late_birth_is_not(plant: Plant) -> None:
    node = born(plant)
    birth = node.dbirth("press", number("B", 1.0, START_MS), time_ms=START_MS + 1)
    late = data(node, 2)
    plant.take(data(node, 3))
    assert values(plant.look(2_000)) == [3.0]
    assert values(plant.take(late, birth)) == [2.0]
    assert plant.rejected == {"late": 1}
    assert values(plant.take(data(node, 4))) == [4.0]


def test_a_number_that_comes_twice_is_dropped(plant: Plant) -> None:
    node = born(plant)
    data(node, 1)
    ahead = data(node, 2)
    plant.take(ahead, ahead)
    assert plant.rejected == {"repeated": 1}


def test_devices_that_overtake_their_nodes_birth_are_taken_behind_it(plant: Plant) -> None:
    node = Speaker(plant)
    nbirth = node.nbirth(number("A", 0.0, START_MS))
    dbirth = node.dbirth("press", number("B", 1.0, START_MS))
    ddata = node.ddata("press", number("B", 2.0, START_MS + 1))
    assert plant.take(dbirth, ddata) == []
    assert values(plant.take(nbirth)) == [0.0, 1.0, 2.0]
    assert plant.rejected == {}
    assert plant.look(5_000) == []
    assert plant.asked == []


def test_what_an_older_session_sent_is_dropped_at_the_birth_of_the_new_one(plant: Plant) -> None:
    node = Speaker(plant)
    old = node.ndata(number("A", 9.0, START_MS - 50), seq=7, time_ms=START_MS - 50)
    assert plant.take(old) == []
    assert values(plant.take(node.nbirth(number("A", 0.0, START_MS)))) == [0.0]
    assert plant.rejected == {"no_birth": 1}
    older = node.ndata(number("A", 8.0, START_MS - 50), seq=9, time_ms=START_MS - 40)
    assert plant.take(older) == []
    assert plant.rejected == {"no_birth": 1, "stale": 1}


def test_data_without_a_number_are_taken_as_they_come(plant: Plant) -> None:
    node = born(plant)
    unnumbered = node.ndata(number("A", 5.0, START_MS), seq=None)
    assert values(plant.take(unnumbered, data(node, 6))) == [5.0, 6.0]


def test_a_birth_that_does_not_begin_at_0_is_believed(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 0.0, START_MS), seq=41))
    assert values(plant.take(data(node, 1))) == [1.0]


def test_a_node_that_sends_too_much_ahead_is_waited_for_no_longer(plant: Plant) -> None:
    node = born(plant)
    data(node, 0)
    rows = plant.take(*(data(node, i) for i in range(1, order.HELD_MAX + 2)))
    assert len(rows) == order.HELD_MAX + 1
    assert plant.host.missed == {"message": 1}


def test_all_that_is_held_is_bounded_in_bytes(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "HELD_BYTES_MAX", 100)
    node = born(plant)
    data(node, 0)
    held = itertools.takewhile(lambda rows: not rows, (plant.take(data(node, i)) for i in range(9)))
    assert len(list(held)) < 5
    assert plant.host._order._held_bytes == 0


def test_nodes_are_in_orders_of_their_own(plant: Plant) -> None:
    one, other = Speaker(plant, name="one"), Speaker(plant, name="other")
    plant.take(one.nbirth(number("A", 0.0, START_MS)), other.nbirth(number("A", 0.0, START_MS)))
    data(one, 1)
    assert values(plant.take(data(one, 2), data(other, 1))) == [1.0]
