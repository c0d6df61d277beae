"""Clients that are measured: each reads the bench's broker until it is told to end.

Enters: the broker's URL. Leaves: what has arrived where the client wants it. Fails: as its library
does.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, count, cycle, islice
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from agent.cli.bench.client import Taken, Way
from agent.cli.bench.mqtt import messages

BARE_PAUSE_S: Final = 0.005
"""A reader that is not woken for each message leaves the broker in peace."""
BARE_BYTES: Final = 1 << 22
SUBACK_BYTES: Final = 5


def _andon(table: Mapping[str, Any]) -> Way:
    """Our source, wired as the service does: from the wire to `Batch`."""

    async def way(url: str, taken: Taken) -> None:
        from agent.cli.bench.synthetic import CONFIG
        from agent.cli.service.wiring import Wiring
        from agent.config import MqttConfig
        from agent.signals import SignalTable

        broker = MqttConfig.model_validate({"name": "bench", "url": url} | dict(table))
        config = CONFIG.model_copy(update={"mqtt": (broker,)})
        source = Wiring(SignalTable(config.gateway.signals_max)).build(config, "bench")
        await source.connect()
        taken.begin()
        try:
            async for batch, ack in source.batches():
                taken.add(len(batch))
                ack.call()
                if taken.enough.is_set():
                    break
        finally:
            await source.close()

    return way


async def _paho(url: str, taken: Taken) -> None:
    """The way paho offers: `on_message` in its thread, a document for each message."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    # The faster decoder, where it is installed.
    loads = import_module("orjson" if find_spec("orjson") else "json").loads
    numbers = {messages.topic(number): number for number in range(messages.SIGNALS)}
    samples: list[tuple[int, int, float]] = []
    subscribed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        document = loads(message.payload)
        samples.append((numbers[message.topic], document["ts"] * 1_000_000, document["v"]))
        taken.add(1)
        if len(samples) == messages.SIGNALS:
            samples.clear()

    def on_connect(*_: Any) -> None:
        client.subscribe("floor/#", 0)

    def on_subscribe(*_: Any) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    where = urlsplit(url)
    client.connect_async(where.hostname or "", where.port or 0)
    client.loop_start()
    await subscribed.wait()
    taken.begin()
    await taken.enough.wait()
    client.disconnect()


async def _bare(url: str, taken: Taken) -> None:
    """Nobody: bytes are counted and thrown away, to see what the broker can offer."""
    size = len(messages.publish(messages.topic(0), messages.payload(21.5, 10**12), 0))
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port)) as wire:
        wire.sendall(messages.connect("bare"))
        wire.recv(4)
        wire.sendall(messages.subscribe("floor/#"))
        wire.recv(SUBACK_BYTES)
        wire.setblocking(False)
        taken.begin()
        room, received = bytearray(BARE_BYTES), 0
        while not taken.enough.is_set():
            await asyncio.sleep(BARE_PAUSE_S)
            try:
                received += wire.recv_into(room)
            except BlockingIOError:
                continue
            taken.add(received // size - taken.number)


async def _decoder(_url: str, taken: Taken) -> None:
    """Our Sparkplug host without a wire: the same packets again and again, to samples."""
    from agent.config import SparkplugHostConfig
    from agent.sources.mqtt.packets import publishes
    from agent.sources.mqtt.sparkplug import Host
    from agent.sources.quarantine import Quarantine

    numbers = count()
    host = Host(
        SparkplugHostConfig(),
        lambda group, node, device, metric, kind, unit: (next(numbers), kind),
        time.time_ns,
        lambda topic, payload: None,
        Quarantine("bench", time.time_ns),
    )
    now_ns = time.time_ns()
    blocks = islice(messages.metrics(), 1 + messages.SEQ // messages.TOGETHER)
    birth, *data = [bytes(block.at(now_ns // 1_000_000)) for block in blocks]
    for chunk in chain([birth], cycle(data)):
        found = publishes([chunk], v5=False)
        taken.add(len(host.take(found, np.arange(len(found)), time.time_ns())))
        await asyncio.sleep(0)
        if taken.enough.is_set():
            break


def _topics(**options: object) -> dict[str, Any]:
    payload = {"json": {"value": "v", "time": "ts"}}
    return options | {"topics": ({"topic": messages.TOPIC, "payload": payload},)}


WAYS: Final[Mapping[str, Way]] = {
    "andon": _andon(_topics(qos=0)),
    "qos1": _andon(_topics(qos=1)),
    "qos1_20": _andon(_topics(qos=1, version="3.1.1")),
    "paho": _paho,
    "bare": _bare,
    "sparkplug": _andon({"qos": 0, "sparkplug": {"groups": (messages.GROUP,)}}),
    "sparkplug_decoder": _decoder,
}
