"""Sparkplug all the way: an edge node that nobody here wrote, the gateway, a reader likewise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.cli.demo.processes import Process
from agent.status import ask_status
from tests.cloud.server import until
from tests.peers.mosquitto import Broker, running
from tests.peers.sparkplug import Reader, edge_node, reader

STARTED_S = 120.0
ARRIVED_S = 30.0
STEPS = 300
"""More than there are sequence numbers."""

GATEWAY = """
[gateway]
name = "gw-1"
path = {{ enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }}
data = "{folder}/gateway"

[[mqtt]]
name = "floor"
url = "{url}"

[mqtt.sparkplug]
groups = ["floor"]
machine = "{{device}}"
raw = true

[[sparkplug]]
name = "scada"
url = "{url}"
group = "cloud"

[[uns]]
name = "namespace"
url = "{url}"
prefix = "uns"
"""


@contextmanager
def agent(folder: Path, broker: Broker) -> Iterator[Process]:
    """`andon run`, connected."""
    config = folder / "agent.toml"
    config.write_text(GATEWAY.format(folder=folder, url=broker.url()))
    process = Process("agent", "agent.cli", ["run", "--json", str(config)], {}, folder / "log")
    try:
        until(lambda: is_connected(folder) or not process.running, STARTED_S)
        assert process.running, process.words()
        yield process
    finally:
        process.stop()


def status(folder: Path) -> dict[str, Any]:
    try:
        return ask_status(folder / "gateway")
    except (OSError, ValueError):
        return {}


def is_connected(folder: Path) -> bool:
    sources = status(folder).get("sources", {})
    return bool(sources) and all(one["state"] == "connected" for one in sources.values())


def told(host: Reader) -> list[tuple[int, float]]:
    """Times and values of the device's metric as a host at the far end knows them."""
    alias, found = "", []
    for message in host.events:
        for metric in message["payload"].get("metrics", ()):
            if metric.get("name") == "force/value":
                alias = metric["alias"]
            if alias and metric.get("alias") == alias and metric["value"] is not None:
                found.append((int(metric["timestamp"]), metric["value"]))
    return list(dict.fromkeys(found))


def bdseqs(host: Reader, kind: str) -> list[int]:
    """The session numbers of births, or deaths, each once."""
    metrics = [one for message in host.messages(kind) for one in message["payload"]["metrics"]]
    return list(dict.fromkeys(int(one["value"]) for one in metrics if one["name"] == "bdSeq"))


@pytest.mark.timeout(300)
def test_what_an_edge_node_says_reaches_readers_through_the_gateway_which_dies_and_is_back(
    tmp_path: Path,
) -> None:
    force: dict[str, Any] = {"name": "force", "alias": 1, "type": "Double"}
    topics = ["spBv1.0/cloud/#", "uns/#"]
    with (
        running(tmp_path / "broker") as broker,
        reader(tmp_path, url=broker.url(), topics=topics) as host,
        edge_node(tmp_path, url=broker.url(), group="floor", node="cell-1") as edge,
    ):
        with agent(tmp_path, broker) as gateway:
            edge.do("birth", metrics=[])
            edge.do("device_birth", device="press", metrics=[{**force, "value": 0.0}])
            now_ms = time.time_ns() // 10**6 + 1
            steps = [(now_ms + n, float(n)) for n in range(STEPS)]
            for time_ms, value in steps:
                said = {"alias": 1, "type": "Double", "value": value, "timestamp": time_ms}
                edge.do("device_data", device="press", metrics=[said])
            until(lambda: len(told(host)) > STEPS, ARRIVED_S)
            assert told(host)[1:] == steps
            assert bdseqs(host, "NDEATH") == []
            gateway._child.kill()
            until(lambda: bdseqs(host, "NDEATH") == bdseqs(host, "NBIRTH"), ARRIVED_S)
        with agent(tmp_path, broker):
            until(lambda: len(bdseqs(host, "NBIRTH")) == 2, ARRIVED_S)
            edge.do("device_data", device="press", metrics=[{**force, "value": -1.0}])
            until(lambda: told(host)[-1][1] == -1.0, ARRIVED_S)
        until(lambda: bdseqs(host, "NDEATH") == bdseqs(host, "NBIRTH"), ARRIVED_S)
    first_session, second_session = bdseqs(host, "NBIRTH")
    assert second_session == first_session + 1
    topic = "uns/acme/guiyang/assembly/line-1/press/force"
    plain = [one["payload"]["value"] for one in host.events if one["topic"] == topic]
    assert [value for value in plain if value is not None][-1] == -1.0
