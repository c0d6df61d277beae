"""The MQTT source over a broker that fails: it ends, hangs, forgets; a reader that dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gateway import MqttGateway
from tests.peers.mosquitto import Broker, running
from tests.peers.sensor import Sensor, counting

BACK_S = 10.0
KEPT: dict[str, Any] = {"persistence": True, "max_queued_messages": 0}


@asynccontextmanager
async def reading(broker: Broker, **options: Any) -> AsyncIterator[tuple[MqttGateway, Sensor]]:
    """A gateway that reads a sensor which counts."""
    gateway = MqttGateway(broker.url(), client_id="gw-1", **options)
    async with gateway.running():
        await gateway.until(lambda: "connected" in gateway.state, "a connection")
        with counting(broker.port) as sensor:
            await gateway.until(lambda: len(gateway.samples("force")) >= 10, "ten steps")
            yield gateway, sensor


async def comes_whole(gateway: MqttGateway, sensor: Sensor) -> None:
    """Every message arrives, in order; one that the broker got twice may come twice."""
    await gateway.fresh("force", BACK_S)
    count = await sensor.ends()
    await gateway.until(lambda: gateway.last("force") == count - 1, "the last step")
    steps = [(sample.time_ns // 10**6, sample.value) for sample in gateway.samples("force")]
    assert list(dict.fromkeys(steps)) == [(t, float(n)) for n, t in enumerate(sensor.times_ms)]
    assert len(steps) - count <= 1


@pytest.mark.parametrize("down_s", [0.0, 3.0])
def test_a_broker_that_restarts_with_what_it_kept_loses_nothing(
    tmp_path: Path, down_s: float
) -> None:
    async def run(broker: Broker) -> None:
        async with reading(broker) as (gateway, sensor):
            broker.stop()
            await gateway.until(lambda: "waiting" in gateway.state, "the loss", BACK_S)
            await asyncio.sleep(down_s)
            broker.start()
            await comes_whole(gateway, sensor)

    with running(tmp_path, **KEPT) as broker:
        asyncio.run(run(broker))


def test_a_broker_that_hangs_is_noticed_and_said_and_what_it_held_comes(tmp_path: Path) -> None:
    async def run(broker: Broker) -> None:
        async with reading(broker) as (gateway, sensor):
            broker.pause()
            try:
                await gateway.until(lambda: "waiting" in gateway.state, "the silence", 15.0)
                assert "says nothing any more" in gateway.state
            finally:
                broker.go_on()
            await comes_whole(gateway, sensor)

    with running(tmp_path, **KEPT) as broker:
        asyncio.run(run(broker))


def test_a_session_that_the_broker_lost_is_said_and_reading_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(broker: Broker) -> None:
        async with reading(broker) as (gateway, sensor):
            broker.restart("kill")
            await gateway.fresh("force", BACK_S)
            await sensor.ends()

    with running(tmp_path) as broker, caplog.at_level(logging.ERROR, "andon"):
        asyncio.run(run(broker))
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "floor: the broker lost this client's session" in said


def test_a_reader_thread_that_dies_is_noticed_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise MemoryError("no room for one more packet")

    async def run(broker: Broker) -> None:
        async with reading(broker) as (gateway, sensor):
            client = gateway.source.source._connection._client  # type: ignore[attr-defined]
            monkeypatch.setattr(client, "loop_read", die)
            await gateway.until(lambda: len(gateway.source.connects_s) == 2, "another", BACK_S)
            await comes_whole(gateway, sensor)

    with running(tmp_path) as broker:
        asyncio.run(run(broker))
