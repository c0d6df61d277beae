"""The host as a whole: topics, connections, changed configurations, limits, and any bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.sources.mqtt import sparkplug
from agent.sparkplug import MESSAGES, DataType, Metric, encode
from tests.agent.kernels.sparkplug.made import CHANGES, mutated, payloads
from tests.agent.sources.mqtt.sparkplug.plant import START_MS, Plant, Speaker, number

D = DataType
GONE = "0x80310000"


@pytest.fixture
def plant() -> Plant:
    return Plant()


def test_all_messages_of_the_groups_are_subscribed_to() -> None:
    assert Plant().host.filters() == {"spBv1.0/+/#"}
    assert Plant(SparkplugHostConfig(groups=("a", "b"))).host.filters() == {
        "spBv1.0/a/#", "spBv1.0/b/#",
    }  # fmt: skip


def test_commands_and_the_states_of_other_hosts_are_ignored(plant: Plant) -> None:
    others = [
        ("spBv1.0/STATE/scada", b'{"online":true,"timestamp":1}'),
        ("spBv1.0/plant/NCMD/edge", b"\xff"),
        ("spBv1.0/plant/DCMD/edge/press", b"\xff"),
    ]
    assert plant.take(*others) == []
    assert plant.rejected == {}
    assert plant.asked == []


@pytest.mark.parametrize(
    "topic",
    ["spBv1.0/plant", "spBv1.0/plant/NDATA", "spBv1.0/plant/NDATA/edge/press",
     "spBv1.0/plant/DDATA/edge", "spBv1.0/plant/NDATA/", "spBv1.0/plant/NBIRTHS/edge",
     "spBv1.0/plant/NDATA/edge/press/more", "spBv1.0/plant/NDATA/\udcff",
     "spBv1.0/plant/NDATA/" + "edge" * 125],
)  # fmt: skip
def test_a_topic_that_cannot_be_one_is_counted(plant: Plant, topic: str) -> None:
    assert plant.take((topic, b"")) == []
    assert plant.rejected == {"unreadable": 1}


def test_ids_are_taken_letter_by_letter(plant: Plant) -> None:
    one, other = Speaker(plant, name="edge"), Speaker(plant, name="Edge")
    plant.take(one.nbirth(number("a", 1.0, START_MS), number("A", 1.0, START_MS)))
    plant.take(other.nbirth(number("A", 1.0, START_MS)))
    assert len(plant.signals) == 3


def test_nodes_of_one_name_in_two_groups_are_two(plant: Plant) -> None:
    one, other = Speaker(plant, group="one"), Speaker(plant, group="other")
    plant.take(one.nbirth(number("A", 1.0, START_MS)), other.nbirth(number("A", 2.0, START_MS)))
    assert len(plant.take(one.ndeath())) == 1


def test_a_lost_connection_says_nothing_and_forgets_births(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    node.ndata()
    plant.take(node.ndata(number("A", 2.0, START_MS)))
    plant.now_ms += 1_000
    plant.host.lost()
    plant.host.connected()
    assert plant.take(node.ndata(number("A", 3.0, START_MS))) == []
    assert plant.take(node.ndeath()) == []
    plant.look(2_000)
    assert plant.rejected == {"no_birth": 2}


def test_the_first_birth_of_a_connection_counts_from_behind_the_loss(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    plant.now_ms += 1_000
    plant.host.lost()
    rows = plant.rows(node.nbirth(number("A", 1.0, START_MS), time_ms=START_MS + 500))
    assert rows.time_ns.tolist() == [(START_MS + 1_000) * 1_000_000 + 1]


def test_a_changed_configuration_looks_signals_up_anew(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS), number("B", 2.0, START_MS)))
    plant.host.renew(SparkplugHostConfig(metrics=("B",)), plant.resolve)
    sent = [number("A", 3.0, START_MS + 1), number("B", 4.0, START_MS + 1)]
    assert plant.take(node.ndata(*sent)) == [("edge", "B", 1, 4.0)]
    plant.look()
    assert plant.asked == []


def test_a_configuration_with_new_signals_asks_for_their_values(plant: Plant) -> None:
    plant.host.renew(SparkplugHostConfig(metrics=("A",)), plant.resolve)
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS), number("B", 2.0, START_MS)))
    plant.host.renew(SparkplugHostConfig(), plant.resolve)
    plant.look()
    assert len(plant.asked) == 1
    assert plant.take(node.ndata(number("B", 4.0, START_MS + 1))) == [("edge", "B", 1, 4.0)]


def test_nodes_and_devices_are_bounded(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparkplug, "NODES_MAX", 2)
    monkeypatch.setattr(sparkplug, "MEMBERS_MAX", 3)
    sent = [Speaker(plant, name=name).nbirth() for name in "abc"]
    plant.take(*sent, Speaker(plant, name="a").dbirth("d", seq=1), sent[2])
    assert plant.rejected == {"unreadable": 2}
    plant.take(Speaker(plant, name="b").dbirth("d", seq=1))
    assert plant.rejected == {"unreadable": 3}
    assert len(plant.host._nodes) == 2


def test_topics_remembered_are_bounded_and_asked_for_anew(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "TOPICS_MAX", 2)
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    for device in "abcd":
        plant.take(node.dbirth(device, number("B", 1.0, START_MS)))
    assert len(plant.host._addresses) <= 2
    assert plant.take(node.ndata(number("A", 2.0, START_MS))) == [("edge", "A", 0, 2.0)]


def test_a_message_with_more_metrics_than_there_may_be_is_refused(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "METRICS_MAX", 3)
    plant.take(("spBv1.0/plant/NBIRTH/edge", b"\x12\x00" * 4))
    assert plant.rejected == {"unreadable": 1}


def test_many_rows_and_texts_grow_and_are_given_away_whole(plant: Plant) -> None:
    plant.signals_max = 3_000
    node = Speaker(plant)
    names = [f"T{i}" for i in range(3_000)]
    plant.take(node.nbirth(*(Metric(name, D.STRING, name, START_MS) for name in names)))
    sent = [Metric(name, D.STRING, name[::-1], START_MS) for name in names]
    rows = plant.take(node.ndata(*sent), node.ndata(*sent))
    assert [row[3] for row in rows] == [name[::-1] for name in names] * 2


def test_a_compressed_payload_is_refused_with_a_way_out(plant: Plant) -> None:
    assert plant.take(("spBv1.0/plant/NBIRTH/edge", b"\x2a\x02xx")) == []
    assert plant.rejected == {"unreadable": 1}
    assert "compression" in plant.quarantine.newest()[0].reason


def test_a_node_whose_clock_was_set_back_is_asked_for_a_birth(plant: Plant) -> None:
    node = Speaker(plant)
    plant.take(node.nbirth(number("A", 1.0, START_MS)))
    node.ndata()
    behind_ms = START_MS - 3_600_000
    plant.take(node.ndata(number("A", 2.0, behind_ms), time_ms=behind_ms))
    plant.look()
    assert plant.rejected == {"stale": 1}
    assert len(plant.asked) == 1


TOPICS = [
    "/".join(("spBv1.0", "g", message, "n") + (("d",) if message[0] == "D" else ()))
    for message in MESSAGES
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TOPICS),
            st.tuples(payloads().map(encode), st.just([]) | CHANGES).map(lambda one: mutated(*one))
            | st.binary(max_size=20),
            st.integers(0, 3_000),
        ),
        max_size=12,
    )
)
def test_whatever_comes_in_whatever_order_nothing_fails(
    sent: list[tuple[str, bytes, int]],
) -> None:
    plant = Plant(SparkplugHostConfig(metrics=("*",)))
    for topic, payload, pause_ms in sent:
        rows = plant.rows((topic, payload))
        columns = (rows.signal, rows.time_ns, rows.value, rows.status, rows.message)
        assert {len(column) for column in columns} == {len(rows)}
        assert (rows.time_ns >= 0).all()
        missing = np.isnan(rows.value)
        assert (rows.status[missing] >= 0x8000_0000).all()
        plant.look(pause_ms)
    plant.look(60_000)
    assert plant.host._order._held_bytes == 0
    assert not plant.host._order._holding


def test_nodes_that_are_not_to_be_read_are_passed_over_until_the_configuration_says_so() -> None:
    plant = Plant(SparkplugHostConfig(ignore=("plant/edge",)))
    node = Speaker(plant)
    assert plant.take(node.nbirth(number("A", 1.0, START_MS))) == []
    assert plant.rejected == {}
    plant.host.renew(SparkplugHostConfig(), plant.resolve)
    assert plant.take(node.nbirth(number("A", 1.0, START_MS))) != []
