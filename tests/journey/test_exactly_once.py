"""Each message is stored exactly once, though broker and gateway end in the middle of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cloud.server import running_cloud, until
from tests.journey.chaos.gateway import Gateway
from tests.journey.chaos.rig import counts_of
from tests.journey.plant import columns
from tests.peers.mosquitto import Broker, running
from tests.peers.sensor import MILLISECOND_NS, Sensor

MESSAGES = 10_000
TOPIC = "line-1/mill-02/current"
"""Its samples are stored one by one (`chaos/gateway.toml`), and its windows too."""
GOOD = 0
CONNECT_S = 60.0
ARRIVED_S = 60.0


@contextmanager
def agent(folder: Path, broker: Broker, **environ: str) -> Iterator[Gateway]:
    """`andon run`, connected."""
    gateway = Gateway(folder, folder / "gateway", {"ANDON_CHAOS_MQTT": broker.url(), **environ})
    try:
        gateway.start()
        until(lambda: is_connected(gateway), CONNECT_S)
        yield gateway
    finally:
        gateway.end(signal.SIGKILL)


def is_connected(gateway: Gateway) -> bool:
    sources = gateway.status().get("sources", {})
    return bool(sources) and all(one["state"] == "connected" for one in sources.values())


def suffer(sensor: Sensor, broker: Broker, gateway: Gateway) -> None:
    """The broker is restarted twice, the agent killed twice: mid-stream, and in a backlog."""
    step = MESSAGES // 5
    sensor.has_sent(step)
    broker.restart()
    sensor.has_sent(2 * step)
    gateway.end(signal.SIGKILL)
    sensor.has_sent(3 * step)
    broker.restart()
    sensor.has_sent(4 * step)
    gateway.start()
    until(lambda: counts_of(gateway.status())[0] > 2 * step, CONNECT_S)
    gateway.end(signal.SIGKILL)
    gateway.start()
    sensor.has_sent(MESSAGES)


@pytest.mark.timeout(300)
def test_ten_thousand_messages_are_stored_once_though_broker_and_gateway_end_midway(
    tmp_path: Path,
) -> None:
    kept = {"persistence": True, "max_queued_messages": 0}
    with running(tmp_path / "broker", **kept) as broker, running_cloud(tmp_path) as cloud:
        ways = {"ANDON_CHAOS_CLOUD": cloud.url, "ANDON_TOKEN": cloud.write_token}
        with agent(tmp_path, broker, **ways) as gateway:
            sensor = Sensor(broker.port, TOPIC, count_max=MESSAGES)
            sensor.start()
            suffer(sensor, broker, gateway)
            until(lambda: is_settled(gateway), ARRIVED_S)
            ledger = gateway.ledger(gateway.ask_ledger())
        samples = columns(cloud, "samples", limit=MESSAGES)
        windows = columns(cloud, "windows", limit=MESSAGES)
        outbox = cloud.get("/v1/gateways")["gateways"][0]

    sent = [time_ms * MILLISECOND_NS for time_ms in sensor.times_ms]
    rows = zip(samples["time_ns"], samples["value"], samples["status"], strict=True)
    # While it has no broker, the gateway says so in the signal: that is no message.
    stored = sorted((time_ns, value) for time_ns, value, status in rows if status == GOOD)
    assert stored == list(zip(sent, map(float, range(MESSAGES)), strict=True))
    assert sum(windows["n"]) == MESSAGES
    assert ledger["balanced"]
    # A broker that was stopped between a message and its acknowledgement is told it once more.
    again = ledger["samples"]["received"] - MESSAGES
    assert 0 <= again <= 2
    assert ledger["samples"]["filtered"] == ({"same_time": again} if again else {})
    assert ledger["samples"]["dropped"] == {}
    assert outbox["holes"] == []


def is_settled(gateway: Gateway) -> bool:
    """Whether all that was sent has been received, derived, and taken by the cloud."""
    received, pending, waiting = counts_of(gateway.status())
    return received >= MESSAGES and pending == waiting == 0
