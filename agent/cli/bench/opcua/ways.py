"""Clients that are measured: each reads the bench's server until it is told to end.

Enters: the server's URL. Leaves: what has arrived where the client wants it. Fails: as its library
does.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncua import Client, ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.cli.bench.client import Taken, Way
from agent.cli.bench.opcua.channel import HEADER
from agent.cli.bench.opcua.messages import COUNT_AT

SIGNALS: Final = 1000
IN_FLIGHT: Final = 4
"""PublishRequests of the bare reader."""
TIMEOUT_S: Final = 60.0
"""No client may give up because the server has much to say."""
QUIET_S: Final = 3600.0
"""asyncua's own watchdog asks nothing while others measure."""


async def _andon(url: str, taken: Taken) -> None:
    """Our source: from the wire to `Batch`."""
    from agent.cli.bench.synthetic import CONFIG
    from agent.config import OpcuaConfig
    from agent.signals import Signal
    from agent.sources.opcua import OpcuaSource

    names = [f"signal_{number:04}" for number in range(SIGNALS)]
    nodes = [f"ns=1;i={number}" for number in range(SIGNALS)]
    config = OpcuaConfig.model_validate(
        {
            "name": "bench", "endpoint": url, "machine": "bench", "security": "none",
            "signals": tuple({"name": n, "node": i} for n, i in zip(names, nodes, strict=True)),
        }
    )  # fmt: skip
    signals = [
        Signal(CONFIG.path, "bench", name, "bench", node=node)
        for name, node in zip(names, nodes, strict=True)
    ]
    source = OpcuaSource(config, list(enumerate(signals)))
    await source.connect()
    try:
        async for batch, _ in source.batches():
            taken.add(len(batch))
            if taken.enough.is_set():
                break
    finally:
        await source.close()


async def _asyncua(url: str, taken: Taken) -> None:
    """The way asyncua offers: a handler that is called for each notification."""

    class Handler:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            taken.add(1)

    async with Client(url, timeout=TIMEOUT_S, watchdog_intervall=QUIET_S) as client:
        subscription = await client.create_subscription(250, Handler())
        nodes = [client.get_node(f"ns=1;i={number}") for number in range(SIGNALS)]
        await subscription.subscribe_data_change(nodes)
        await taken.enough.wait()


async def _bare(url: str, taken: Taken) -> None:
    """Nobody: frames are counted and thrown away, to see what the server can offer.

    asyncua opens the session; then its protocol is taken off the connection.
    """
    client = Client(url, timeout=TIMEOUT_S, watchdog_intervall=QUIET_S)
    await client.connect()
    session, wire = client.uaclient.session, client.uaclient.protocol
    assert wire is not None
    assert wire.transport is not None
    parameters = ua.CreateSubscriptionParameters()
    await session._send_request(ua.CreateSubscriptionRequest(Parameters=parameters))
    items = []
    for number in range(SIGNALS):
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor.NodeId = ua.NodeId.from_string(f"ns=1;i={number}")
        item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        items.append(item)
    await session.create_monitored_items(
        ua.CreateMonitoredItemsParameters(1, ua.TimestampsToReturn.Both, items)
    )
    publish = ua.PublishRequest()
    publish.RequestHeader.AuthenticationToken = session.authentication_token
    frame = wire._connection.message_to_binary(struct_to_binary(publish), request_id=1)
    transport = wire.transport
    transport.set_protocol(_Counter(taken, lambda count: transport.write(frame * count)))
    transport.write(frame * IN_FLIGHT)
    await taken.enough.wait()
    transport.abort()


class _Counter(asyncio.Protocol):
    """Counts the notifications in frames, and asks for as many messages as are whole."""

    def __init__(self, taken: Taken, ask: Callable[[int], None]) -> None:
        self._taken = taken
        self._ask = ask
        self._data = bytearray()
        self._is_first = True

    def data_received(self, data: bytes) -> None:
        self._data += data
        whole = 0
        while len(self._data) >= HEADER.size:
            _, chunk, size = HEADER.unpack_from(self._data)
            if len(self._data) < size:
                break
            if self._is_first and size > COUNT_AT:
                self._taken.add(struct.unpack_from("<i", self._data, COUNT_AT)[0])
            self._is_first = chunk == b"F"
            whole += self._is_first
            del self._data[:size]
        self._ask(whole)


WAYS: Final[Mapping[str, Way]] = {
    "andon": _andon,
    "asyncua": _asyncua,
    "bare": _bare,
}
