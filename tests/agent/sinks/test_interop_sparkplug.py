"""Our edge node over a reader that nobody here wrote: npm's sparkplug-payload and mqtt.js."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.sinks import SparkplugSinkConfig
from agent.errors import SinkUnreachable
from agent.sinks.sparkplug import SparkplugSink
from tests.agent.sinks.lines import (
    NOW_NS,
    PATH,
    S_NS,
    about,
    anomaly,
    gateway,
    live,
    sample,
    state,
    window,
)
from tests.cloud.server import until
from tests.peers.driven import PeerError
from tests.peers.mosquitto import Broker, running
from tests.peers.sparkplug import Reader, reader

NOW_MS = NOW_NS // 10**6
MACHINE = "press-01"
HEARD_S = 10.0
CONTROL = {"bdSeq", "Node Control/Rebirth"}

Message = dict[str, Any]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path / "broker") as it:
        yield it


@pytest.fixture
def host(broker: Broker, tmp_path: Path) -> Iterator[Reader]:
    with reader(tmp_path, url=broker.url()) as it:
        yield it


@pytest.fixture
def sink(broker: Broker, tmp_path: Path) -> Iterator[SparkplugSink]:
    it = make(broker, tmp_path)
    yield it
    it.close()


def make(broker: Broker, folder: Path, **options: Any) -> SparkplugSink:
    config = SparkplugSinkConfig(name="scada", url=broker.url(), **options)
    return SparkplugSink(
        config, "andon-gw-1-to-scada", state=folder / "state", path=PATH, gateway="gw-1",
        now_ns=lambda: NOW_NS,
    )  # fmt: skip


def heard(host: Reader, kind: str, count: int = 1) -> list[Message]:
    """The messages of a kind, once there are so many."""
    until(lambda: len(host.messages(kind)) >= count, HEARD_S)
    return host.messages(kind)


def metrics(message: Message) -> dict[str, Message]:
    """By name, or in data by alias."""
    assert "error" not in message, message
    return {str(one.get("name", one.get("alias"))): one for one in message["payload"]["metrics"]}


def told(host: Reader) -> dict[str, list[tuple[int, Any]]]:
    """What a host knows of each metric, `device/name`: its times and values in order."""
    names: dict[str, str] = {}
    values: dict[str, list[tuple[int, Any]]] = {}
    for message in host.events:
        _, _, kind, _, *device = message["topic"].split("/")
        if kind not in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
            continue
        for metric in metrics(message).values():
            alias = str(metric.get("alias", metric.get("name")))
            if kind.endswith("BIRTH"):
                names[alias] = "/".join([*device, metric["name"]])
            else:
                assert "name" not in metric
            name = names[alias]
            said = (int(metric["timestamp"]), metric["value"])
            if values.setdefault(name, [])[-1:] != [said]:
                values[name].append(said)
    return values


def audit(host: Reader) -> list[int]:
    """Check that every session is as the specification has it; their bdSeq, in order."""
    sessions: list[int] = []
    seq = -1
    for message in host.events:
        _, group, kind, *_ = message["topic"].split("/")
        if group == "STATE" or kind == "NCMD":
            continue
        assert not message["retain"]
        said = message["payload"]
        if kind == "NDEATH":
            assert "seq" not in said
            assert [bdseq(message)] == sessions[-1:]
            seq = -1
            continue
        if kind == "NBIRTH":
            assert int(said["seq"]) == 0
            assert metrics(message)["Node Control/Rebirth"]["value"] is False
            if sessions[-1:] != [bdseq(message)]:
                sessions.append(bdseq(message))
        else:
            assert seq >= 0, "the node was not born"
            assert int(said["seq"]) == (seq + 1) % 256
        assert message["qos"] == 0
        seq = int(said["seq"])
    return sessions


def bdseq(message: Message) -> int:
    found = metrics(message)["bdSeq"]
    assert found["type"] == "Int64"
    return int(found["value"])


def test_births_bring_every_metric_with_name_alias_type_value_and_properties(
    host: Reader, sink: SparkplugSink
) -> None:
    lines = [
        about(), window(NOW_NS - 10 * S_NS, 21.5), sample(NOW_NS, 3.0), state(NOW_NS, "Execute"),
        sample(NOW_NS, "läuft", name="note"), anomaly(NOW_NS, 0.97), gateway(NOW_NS, 5),
    ]  # fmt: skip
    sink.send(live(*lines))
    device = heard(host, "DBIRTH")[0]
    node = host.messages("NBIRTH")[-1]
    assert device["topic"] == f"spBv1.0/acme/DBIRTH/gw-1/{MACHINE}"
    found = metrics(device)
    said = {name: (one["type"], one["value"]) for name, one in found.items()}
    assert said["ram_force/mean"] == ("Double", 21.5)
    assert said["ram_force/n"] == ("Int64", "10")
    assert said["speed/value"] == ("Double", 3)
    assert said["note/text"] == ("String", "läuft")
    assert said["_machine/state"] == ("String", "Execute")
    assert said["ram_force/anomaly/level/active"] == ("Boolean", True)
    assert said["ram_force/anomaly/level/message"] == ("String", 'ram_force is "high", 31 % over')
    assert int(found["ram_force/mean"]["timestamp"]) == NOW_MS - 10_000
    assert found["ram_force/mean"]["properties"]["engUnit"] == {"type": "String", "value": "kN"}
    assert metrics(node)["gateway/received"]["value"] == "5"
    without = [name for name, one in (metrics(node) | found).items() if "alias" not in one]
    assert all(name in CONTROL or name.startswith("Properties/") for name in without)
    aliases = [one["alias"] for one in (metrics(node) | found).values() if "alias" in one]
    assert len(set(aliases)) == len(aliases)
    audit(host)


def test_data_says_aliases_only_and_every_value_comes_in_order(
    host: Reader, sink: SparkplugSink
) -> None:
    for number in range(300):
        sink.send(live(sample(NOW_NS + number * S_NS, float(number)), first=number + 1))
    until(lambda: len(told(host).get(f"{MACHINE}/speed/value", [])) == 300, HEARD_S)
    expected = [(NOW_MS + 1000 * number, number) for number in range(300)]
    assert told(host)[f"{MACHINE}/speed/value"] == expected
    assert audit(host) == [bdseq(host.messages("NBIRTH")[0])]


def test_a_bad_sample_is_null_with_its_quality(host: Reader, sink: SparkplugSink) -> None:
    sink.send(live(sample(NOW_NS, 3.0)))
    sink.send(live(sample(NOW_NS + S_NS, None, 0x8031_0000), first=2))
    (data,) = heard(host, "DDATA")
    (metric,) = data["payload"]["metrics"]
    assert metric["value"] is None
    assert metric["properties"]["Quality"] == {"type": "Int32", "value": 500}


def test_what_has_waited_is_historical_and_what_is_live_is_not(
    host: Reader, sink: SparkplugSink
) -> None:
    sink.send(live(sample(NOW_NS, 1.0)))
    sink.send(live(sample(NOW_NS - 100 * S_NS, 2.0), made_ns=NOW_NS - 100 * S_NS, first=2))
    sink.send(live(sample(NOW_NS + S_NS, 3.0), first=3))
    late, now = heard(host, "DDATA", 2)
    assert [m["isHistorical"] for m in late["payload"]["metrics"]] == [True]
    assert [m.get("isHistorical", False) for m in now["payload"]["metrics"]] == [False]


def test_a_host_that_asks_is_told_everything_again_with_its_newest_values(
    host: Reader, sink: SparkplugSink
) -> None:
    sink.send(live(sample(NOW_NS, 1.0)))
    sink.send(live(sample(NOW_NS + S_NS, 2.0), first=2))
    heard(host, "DDATA")
    host.do("rebirth", group="acme", node="gw-1")
    births = heard(host, "DBIRTH", 2)
    assert metrics(births[1])["speed/value"]["value"] == 2
    sink.send(live(sample(NOW_NS + 2 * S_NS, 3.0), first=3))
    heard(host, "DDATA", 2)
    assert len(audit(host)) == 1


def test_sessions_have_numbers_of_their_own_over_goodbyes_and_broker_restarts(
    broker: Broker, host: Reader, tmp_path: Path
) -> None:
    for number in range(3):
        sink = make(broker, tmp_path)
        sink.send(live(sample(NOW_NS + number * S_NS, float(number)), first=number + 1))
        sink.close()
    heard(host, "NDEATH", 3)
    sessions = audit(host)
    assert sessions == list(range(sessions[0], sessions[0] + 3))
    sink = make(broker, tmp_path)
    sink.send(live(sample(NOW_NS + 3 * S_NS, 3.0), first=4))
    heard(host, "NBIRTH", 4)
    broker.restart()
    until(lambda: is_back(sink, host), HEARD_S)
    sink.close()
    assert bdseq(host.messages("NBIRTH")[-1]) > sessions[-1] + 1


def is_back(sink: SparkplugSink, host: Reader) -> bool:
    """Whether a packet is taken again, and the reader, which reconnects too, has heard of it."""
    births = len(host.messages("NBIRTH"))
    try:
        sink.send(live(sample(NOW_NS + 4 * S_NS, 4.0), first=5))
    except SinkUnreachable:
        return False
    try:
        host.do("rebirth", group="acme", node="gw-1")
        until(lambda: len(host.messages("NBIRTH")) > births, 2.0)
    except (AssertionError, PeerError):
        return False
    return True


def test_a_primary_host_that_goes_offline_ends_the_session_and_what_waits_waits(
    broker: Broker, host: Reader, tmp_path: Path
) -> None:
    sink = make(broker, tmp_path, primary_host="scada-1")
    with pytest.raises(SinkUnreachable, match="scada-1 is not online"):
        sink.send(live(sample(NOW_NS, 1.0)))
    assert host.messages("NBIRTH") == []
    host.do("state", host="scada-1", online=True, timestamp=NOW_MS)
    until(lambda: is_taken(sink, live(sample(NOW_NS, 1.0))), HEARD_S)
    heard(host, "DBIRTH")
    host.do("state", host="scada-1", online=False, timestamp=NOW_MS + 1)
    heard(host, "NDEATH")
    assert not is_taken(sink, live(sample(NOW_NS + S_NS, 2.0), first=2))
    host.do("state", host="scada-1", online=True, timestamp=NOW_MS + 2)
    until(lambda: is_taken(sink, live(sample(NOW_NS + S_NS, 2.0), first=2)), HEARD_S)
    heard(host, "NBIRTH", 2)
    assert len(audit(host)) == 2
    sink.close()


def is_taken(sink: SparkplugSink, packet: Any) -> bool:
    try:
        sink.send(packet)
    except SinkUnreachable:
        return False
    return True
