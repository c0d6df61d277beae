"""The MQTT source over a network that fails: it is back within seconds, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.gateway import MqttGateway
from tests.peers.mosquitto import Broker, running
from tests.peers.proxy import State, proxied
from tests.peers.sensor import counting

BACK_S = 10.0
"""So soon after a fault has ended, everything is read again."""
STEPS = 10
SILENCE_S = 6.5
"""Longer than a broker's silence passes unasked."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder: Path = tmp_path_factory.mktemp("broker")
    with running(folder, websockets=True) as it:
        yield it


async def suffer(broker: Broker, state: State, last_s: float, **options: object) -> MqttGateway:
    """Read a count while its way becomes this for a while; every step has come, in order, once."""
    async with proxied(broker.port) as proxy:
        proxy.drip_bytes = 50
        options = {"client_id": f"gw-{proxy.port}", **options}
        gateway = MqttGateway(f"mqtt://127.0.0.1:{proxy.port}", **options)
        async with gateway.running():
            await gateway.until(lambda: "connected" in gateway.state, "a connection")
            with counting(broker.port) as sensor:
                await gateway.until(lambda: len(gateway.samples("force")) >= STEPS, "ten steps")
                proxy.become(state)
                await asyncio.sleep(last_s)
                if state == "deaf":  # the broker would let it be for a keep-alive interval
                    proxy.become("cut")
                proxy.become("whole")
                await gateway.fresh("force", BACK_S)
                count = await sensor.ends()
            await gateway.until(lambda: len(gateway.samples("force")) >= count, "the last step")
    found = [(sample.time_ns // 10**6, sample.value) for sample in gateway.samples("force")]
    assert found == [(time_ms, float(n)) for n, time_ms in enumerate(sensor.times_ms)]
    return gateway


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("state", ["cut", "reset", "hole"])
def test_what_was_published_while_the_network_was_away_comes_once_it_is_back(
    broker: Broker, state: State, version: str
) -> None:
    last_s = SILENCE_S if state == "hole" else 2.0
    gateway = asyncio.run(suffer(broker, state, last_s, version=version))
    assert len(gateway.source.connects_s) >= 2


def test_acknowledgements_that_never_arrived_bring_messages_again_and_they_count_once(
    broker: Broker,
) -> None:
    gateway = asyncio.run(suffer(broker, "deaf", 1.0))
    assert gateway.source.redelivered > 0


@pytest.mark.parametrize("state", ["drip", "stall"])
def test_a_network_that_is_slow_or_stalls_loses_nothing(broker: Broker, state: State) -> None:
    asyncio.run(suffer(broker, state, 3.0))
