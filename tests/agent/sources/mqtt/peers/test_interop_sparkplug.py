"""Our Sparkplug host over an edge node that nobody here wrote: npm's sparkplug-client."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gateway import MqttGateway, Sample
from tests.peers.mosquitto import Broker, running
from tests.peers.sparkplug import EdgeNode, edge_node

MS_NS = 1_000_000
GOOD = 0
BAD = 0x8000_0000
BAD_NO_COMMUNICATION = 0x8031_0000
REBIRTH = "Node Control/Rebirth"

NUMBERS: dict[str, tuple[Any, float]] = {
    "Int8": (-5, -5.0), "Int16": (-500, -500.0), "Int32": (-70_000, -70_000.0),
    "Int64": ("-9007199254740991", -9007199254740991.0), "UInt8": (250, 250.0),
    "UInt16": (65_000, 65_000.0), "UInt32": (4_000_000_000, 4e9),
    "UInt64": ("18446744073709551615", 2.0**64), "Float": (1.5, 1.5), "Double": (0.1, 0.1),
    "Boolean": (True, 1.0), "DateTime": ("1763859600123", 1763859600.123),
}  # fmt: skip
"""Values of every type that is a number: as they are said, and as they arrive."""
TEXTS = {"String": "läuft", "Text": "a\nb", "UUID": "7f2c0f2e-5f0e-4f0e-8a53-2d4d1d0c6f11"}
SKIPPED: dict[str, Any] = {
    "Bytes": "AAEC", "File": "AAEC",
    "DataSet": {"numOfColumns": 1, "columns": ["a"], "types": ["Double"], "rows": [[1.5]]},
    "Template": {"isDefinition": False, "templateRef": "Motor", "metrics": [], "parameters": []},
}  # fmt: skip
FORCE = {"name": "force", "alias": 7, "type": "Double", "value": 1.0}

names = (f"edge-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as it:
        yield it


@pytest.fixture
def edge(broker: Broker, tmp_path: Path) -> Iterator[EdgeNode]:
    """A node in a group of its own."""
    name = next(names)
    with edge_node(tmp_path, url=broker.url(), group=name, node=name) as it:
        yield it


@asynccontextmanager
async def hosting(broker: Broker, edge: EdgeNode, **options: Any) -> AsyncIterator[MqttGateway]:
    """A gateway that hosts the edge node's group."""
    group = edge.options["group"]
    gateway = MqttGateway(
        broker.url(), topics=(), client_id=f"host-{group}", qos=0,
        sparkplug={"groups": (group,), **options},
    )  # fmt: skip
    async with gateway.running():
        await gateway.until(lambda: "connected" in gateway.state, "a connection")
        yield gateway


async def arrived(gateway: MqttGateway, name: str, value: float) -> Sample:
    """The newest sample of a signal, once it is this."""
    await gateway.until(lambda: gateway.last(name) == value, f"{name} to be {value}")
    return gateway.samples(name)[-1]


async def dead(gateway: MqttGateway, name: str) -> Sample:
    """The newest sample of a signal, once it is gone."""
    await gateway.until(
        lambda: gateway.samples(name)[-1].status == BAD_NO_COMMUNICATION, f"the death of {name}"
    )
    found = gateway.samples(name)[-1]
    assert math.isnan(found.value)
    return found


def test_every_type_arrives_as_it_was_said_and_what_is_no_value_is_counted(
    broker: Broker, edge: EdgeNode
) -> None:
    said = {name: value for name, (value, _) in NUMBERS.items()} | TEXTS | SKIPPED
    metrics = [{"name": f"a/{n}", "type": n, "value": value} for n, value in said.items()]

    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=metrics)
            await gateway.until(lambda: bool(gateway.samples("a/UUID")), "the birth")
            found = {name: gateway.last(f"a/{name}") for name in NUMBERS}
            texts = {name: gateway.samples(f"a/{name}")[-1].text for name in TEXTS}
            assert found == {name: value for name, (_, value) in NUMBERS.items()}
            assert texts == TEXTS
            assert gateway.source.rejected() == {"unsupported": len(SKIPPED)}
            statuses = {gateway.samples(f"a/{name}")[-1].status for name in NUMBERS | TEXTS}
            assert statuses == {GOOD}

    asyncio.run(run())


def test_data_comes_by_name_and_by_alias_with_its_own_time(broker: Broker, edge: EdgeNode) -> None:
    device = edge.options["node"] + "-press"
    at_ms = time.time_ns() // MS_NS - 60_000

    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=[{**FORCE, "name": "speed"}])
            await edge.ask("device_birth", device=device, metrics=[{**FORCE, "alias": 8}])
            await arrived(gateway, f"{device}/force", 1.0)
            by_alias = {"alias": 8, "type": "Double", "value": 2.0, "timestamp": at_ms}
            await edge.ask("device_data", device=device, metrics=[by_alias])
            found = await arrived(gateway, f"{device}/force", 2.0)
            assert (found.time_ns, found.status) == (at_ms * MS_NS, GOOD)
            by_name = {"name": "speed", "type": "Double", "value": 3.0}
            await edge.ask("data", metrics=[by_name], timestamp=at_ms + 1)
            found = await arrived(gateway, f"{edge.options['node']}/speed", 3.0)
            assert (found.time_ns, found.status) == ((at_ms + 1) * MS_NS, GOOD)

    asyncio.run(run())


def test_nulls_and_qualities_arrive_as_statuses_and_history_with_its_time(
    broker: Broker, edge: EdgeNode
) -> None:
    quality = {"Quality": {"type": "Int32", "value": 500}}
    at_ms = time.time_ns() // MS_NS - 600_000

    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=[FORCE, {**FORCE, "name": "speed", "alias": 8}])
            await arrived(gateway, "speed", 1.0)
            await edge.ask("data", metrics=[{**FORCE, "value": None}])
            await gateway.until(lambda: len(gateway.samples("force")) == 2, "the null")
            null = gateway.samples("force")[-1]
            assert math.isnan(null.value)
            assert null.status & BAD
            await edge.ask("data", metrics=[{"alias": 8, "type": "Double", "value": 2.0,
                                             "properties": quality}])  # fmt: skip
            await gateway.until(lambda: len(gateway.samples("speed")) == 2, "the stale one")
            assert gateway.samples("speed")[-1].status == BAD_NO_COMMUNICATION
            await edge.ask("data", metrics=[{**FORCE, "value": 5.0, "timestamp": at_ms,
                                             "isHistorical": True}])  # fmt: skip
            assert (await arrived(gateway, "force", 5.0)).time_ns == at_ms * MS_NS

    asyncio.run(run())


def test_a_device_that_dies_takes_its_signals_and_no_others(broker: Broker, edge: EdgeNode) -> None:
    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=[{**FORCE, "name": "speed"}])
            for number, device in enumerate(("press", "oven")):
                metrics = [{**FORCE, "alias": 20 + number}]
                await edge.ask("device_birth", device=device, metrics=metrics)
            await arrived(gateway, "oven/force", 1.0)
            await edge.ask("device_death", device="press")
            await dead(gateway, "press/force")
            assert gateway.last("oven/force") == gateway.last("speed") == 1.0
            await edge.ask("device_birth", device="press", metrics=[{**FORCE, "alias": 22}])
            assert (await arrived(gateway, "press/force", 1.0)).status == GOOD

    asyncio.run(run())


@pytest.mark.parametrize("how", ["stop", "die"])
def test_a_node_that_says_goodbye_or_vanishes_takes_all_its_signals(
    broker: Broker, edge: EdgeNode, how: str
) -> None:
    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=[{**FORCE, "name": "speed"}])
            await edge.ask("device_birth", device="press", metrics=[{**FORCE, "alias": 8}])
            await arrived(gateway, "press/force", 1.0)
            before_ns = time.time_ns()
            await edge.ask(how)
            for name in ("press/force", "speed"):
                assert (await dead(gateway, name)).time_ns >= before_ns - 1000 * MS_NS
            await edge.ask("connect")
            for name in ("press/force", "speed"):
                assert (await arrived(gateway, name, 1.0)).status == GOOD

    asyncio.run(run())


def test_a_connection_that_breaks_off_is_a_death_and_a_birth(
    broker: Broker, edge: EdgeNode
) -> None:
    async def run() -> None:
        async with hosting(broker, edge) as gateway:
            await edge.ask("birth", metrics=[FORCE])
            await arrived(gateway, "force", 1.0)
            await edge.ask("data", metrics=[{**FORCE, "value": 2.0}])
            await arrived(gateway, "force", 2.0)
            await edge.ask("drop")
            await gateway.until(lambda: len(gateway.samples("force")) >= 4, "death and birth")
            assert [s.status for s in gateway.samples("force")[2:]] == [BAD_NO_COMMUNICATION, GOOD]
            assert gateway.last("force") == 2.0

    asyncio.run(run())


def test_a_gap_in_the_sequence_is_counted_and_mended_by_a_rebirth(
    broker: Broker, edge: EdgeNode
) -> None:
    async def run() -> None:
        async with hosting(broker, edge, reorder_ms=200) as gateway:
            await edge.ask("birth", metrics=[FORCE])
            await arrived(gateway, "force", 1.0)
            await edge.ask("lose")
            await edge.ask("data", metrics=[{**FORCE, "value": 2.0}])
            await gateway.until(lambda: asked(edge) == 1, "a request for rebirth")
            assert (await arrived(gateway, "force", 2.0)).status == GOOD
            await gateway.until(lambda: gateway.source.missed() == {"message": 1}, "it is counted")
            await edge.ask("data", metrics=[{**FORCE, "value": 3.0}])
            await arrived(gateway, "force", 3.0)
            assert asked(edge) == 1

    asyncio.run(run())


def test_a_node_that_was_there_before_the_gateway_is_asked_for_its_birth(
    broker: Broker, edge: EdgeNode
) -> None:
    async def run() -> None:
        await edge.ask("birth", metrics=[FORCE])
        await edge.ask("device_birth", device="press", metrics=[{**FORCE, "alias": 8}])
        async with hosting(broker, edge, reorder_ms=200) as gateway:
            await edge.ask("data", metrics=[{"alias": 7, "type": "Double", "value": 2.0}])
            await gateway.until(lambda: asked(edge) == 1, "a request for rebirth")
            await arrived(gateway, f"{edge.options['node']}/force", 2.0)
            await arrived(gateway, "press/force", 1.0)
            assert gateway.source.rejected()["no_birth"] >= 1

    asyncio.run(run())


def test_a_host_that_may_not_ask_does_not(broker: Broker, edge: EdgeNode) -> None:
    async def run() -> None:
        await edge.ask("birth", metrics=[FORCE])
        async with hosting(broker, edge, reorder_ms=0, rebirth=False) as gateway:
            await edge.ask("data", metrics=[FORCE])
            await gateway.until(lambda: "no_birth" in gateway.source.rejected(), "the data")
            await edge.ask("birth", metrics=[{**FORCE, "value": 9.0}])
            await arrived(gateway, "force", 9.0)
        assert asked(edge) == 0

    asyncio.run(run())


def test_seq_goes_round_and_nothing_is_asked_or_missed(broker: Broker, edge: EdgeNode) -> None:
    async def run() -> None:
        async with hosting(broker, edge, reorder_ms=200) as gateway:
            await edge.ask("birth", metrics=[FORCE])
            for value in range(600):
                await edge.ask("data", metrics=[{"alias": 7, "type": "Double", "value": value}])
            await arrived(gateway, "force", 599.0)
            assert gateway.values("force") == [1.0, *map(float, range(600))]
            assert gateway.source.missed() == {}
            assert asked(edge) == 0

    asyncio.run(run())


def test_a_compressed_payload_is_no_value_and_stops_nothing(broker: Broker, edge: EdgeNode) -> None:
    async def run() -> None:
        async with hosting(broker, edge, reorder_ms=200) as gateway:
            await edge.ask("birth", metrics=[FORCE])
            await arrived(gateway, "force", 1.0)
            await edge.ask("data", metrics=[{**FORCE, "value": 2.0}], options={"compress": True})
            await edge.ask("data", metrics=[{**FORCE, "value": 3.0}])
            await arrived(gateway, "force", 3.0)
            assert 2.0 not in gateway.values("force")[:2]

    asyncio.run(run())


def asked(edge: EdgeNode) -> int:
    """How often the node was asked for a rebirth."""
    commands = [one for one in edge.events if one["event"] == "command"]
    return sum(m["name"] == REBIRTH and m["value"] is True for one in commands
               for m in one["metrics"])  # fmt: skip
