"""What a broker is told of a session, to the bit, with both versions of MQTT."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.sinks import SparkplugSinkConfig
from agent.sinks.sparkplug import SparkplugSink
from tests.agent.sinks.lines import NOW_NS, PATH, S_NS, gateway, live, window
from tests.agent.sinks.sparkplug.reader import read
from tests.agent.sinks.sparkplug.recorder import (
    CONNECT,
    DISCONNECT,
    PUBLISH,
    SUBSCRIBE,
    Connect,
    Recorder,
    connect_of,
    recording,
)

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
NODE_DEATH = "spBv1.0/acme/NDEATH/gw-1"
COMMANDS = b"spBv1.0/acme/NCMD/gw-1"


def session(recorder: Recorder, folder: Path, version: str) -> list[tuple[int, bytes]]:
    """A short life of a node, from its connection to its end: the packets."""
    config = SparkplugSinkConfig.model_validate(
        {"name": "scada", "url": recorder.url, "version": version}
    )
    sink = SparkplugSink(
        config, "andon-to-scada", state=folder, path=PATH, gateway="gw-1", now_ns=lambda: NOW_NS
    )
    sink.send(live(window(NOW_NS, 1.5), gateway(NOW_NS, 1)))
    sink.send(live(window(NOW_NS + 10 * S_NS, 2.5), gateway(NOW_NS + S_NS, 2)))
    sink.close()
    recorder.until_the_end()
    return recorder.packets


def connected(recorder: Recorder) -> Connect:
    return connect_of(recorder.of(CONNECT)[0][1])


@VERSIONS
def test_a_session_is_clean_and_ends_with_its_connection(tmp_path: Path, version: str) -> None:
    with recording() as recorder:
        session(recorder, tmp_path, version)
    said = connected(recorder)
    assert said.level == (5 if version == "5" else 4)
    assert said.clean
    assert said.session_expiry_s == 0


@VERSIONS
def test_the_will_is_the_nodes_death_with_the_births_number(tmp_path: Path, version: str) -> None:
    with recording() as recorder:
        packets = session(recorder, tmp_path, version)
    said = connected(recorder)
    assert (said.will_qos, said.will_retain, said.will_topic) == (1, False, NODE_DEATH)
    will = read(said.will_topic, said.will)
    assert will.seq is None
    (number,) = will.metrics
    assert (number.name, number.datatype, number.value) == ("bdSeq", 4, 0)
    birth = next(body for first, body in packets if first & 0xF0 == PUBLISH)
    assert topic_of(birth) == "spBv1.0/acme/NBIRTH/gw-1"


@VERSIONS
def test_commands_are_subscribed_to_with_qos_1_and_births_are_the_first_that_is_published(
    tmp_path: Path, version: str
) -> None:
    with recording() as recorder:
        packets = session(recorder, tmp_path, version)
    (subscription,) = recorder.of(SUBSCRIBE)
    assert subscription[1].endswith(len(COMMANDS).to_bytes(2) + COMMANDS + b"\1")
    kinds = [first & 0xF0 for first, _ in packets]
    assert kinds.index(CONNECT) < kinds.index(SUBSCRIBE) < kinds.index(PUBLISH)
    told = [topic_of(body).split("/")[2] for _, body in recorder.of(PUBLISH)]
    assert told == ["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH"]


@VERSIONS
def test_all_but_the_death_is_qos_0_and_nothing_is_retained(tmp_path: Path, version: str) -> None:
    with recording() as recorder:
        session(recorder, tmp_path, version)
    firsts = [first for first, _ in recorder.of(PUBLISH)]
    assert firsts == [PUBLISH] * 4 + [PUBLISH | 2]


@VERSIONS
def test_a_death_is_followed_at_once_by_disconnect_with_mqtt_5_asking_for_the_will(
    tmp_path: Path, version: str
) -> None:
    with recording() as recorder:
        packets = session(recorder, tmp_path, version)
    death, disconnect = packets[-2:]
    assert topic_of(death[1]) == NODE_DEATH
    assert disconnect == (DISCONNECT, b"\4" if version == "5" else b"")


def topic_of(body: bytes) -> str:
    return body[2 : 2 + int.from_bytes(body[:2])].decode()
