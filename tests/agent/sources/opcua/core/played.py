"""A server without a network, which speaks when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary

from agent.batch import Batch
from agent.sources.opcua import OpcuaSource
from agent.sources.opcua.session import Limits
from tests.agent.sources.opcua.messages import Item, republished, response

DEADLINE_S = 10.0
GOOD = 0
_CODES = ua.StatusCodes


@dataclass
class PlayedSubscription:
    """items : request of each monitored item, by its id; pending : not published yet."""

    number: int
    session: PlayedSession | None
    items: dict[int, Any] = field(default_factory=dict)
    pending: list[Item] = field(default_factory=list)
    retained: dict[int, list[Item]] = field(default_factory=dict)
    sequence: int = 0
    is_mute: bool = False


class PlayedServer:
    """Variables `ns=2;s=<name>`.

    values : value and time of each; those that are missing are not known
    created : how many items each CreateMonitoredItems asked for
    offset_ns : what its clock is wrong by
    fails : names of services, each of which fails once as it is called, or after it was done
    """

    def __init__(self, *names: str) -> None:
        long_ago_ns = time.time_ns() - 3_600_000_000_000
        self.values = {name: (float(n), long_ago_ns) for n, name in enumerate(names)}
        self.subscriptions: dict[int, PlayedSubscription] = {}
        self.sessions: list[PlayedSession] = []
        self.created: list[int] = []
        self.limits = Limits()
        self.items_max = self.call_max = self.subscriptions_max = 1_000_000
        self.queue_max = 1_000_000
        self.deadbands = self.transfers = True
        self.too_large = ""
        self.offset_ns = 0
        self.fails: dict[str, BaseException] = {}
        self.fails_after: dict[str, BaseException] = {}
        self.items = self.opened = 0

    @property
    def session(self) -> PlayedSession:
        """The present one."""
        return self.sessions[-1]

    @property
    def now_ns(self) -> int:
        return time.time_ns() + self.offset_ns

    async def open_session(self, *_: Any, **__: Any) -> PlayedSession:
        self.sessions.append(PlayedSession(self))
        return self.session

    def write(self, name: str, value: float, status: int = GOOD) -> None:
        """Change a variable; it is published with the next message."""
        self.values[name] = value, self.now_ns
        self.tell(name, status)

    def tell(self, name: str, status: int = GOOD) -> None:
        """Have what a variable says reported."""
        value, time_ns = self.values.get(name, (0.0, self.now_ns))
        for subscription in self.subscriptions.values():
            for item in subscription.items.values():
                if item.ItemToMonitor.NodeId.Identifier == name:
                    handle = item.RequestedParameters.ClientHandle
                    subscription.pending.append((handle, value, time_ns, status))

    def publish(self, *, lost: bool = False) -> None:
        """A message, or keep-alive, of each subscription; `lost`: it does not arrive."""
        for one in self.subscriptions.values():
            items, one.pending = one.pending, []
            number = one.sequence + 1
            if items:
                one.sequence, one.retained[number] = number, items
            session = one.session
            if lost or one.is_mute or session is None or not session.waiting:
                continue
            said = response(number, items, subscription=one.number, published_ns=self.now_ns)
            session.waiting.pop(0).set_result(Buffer(said))


class PlayedSession:
    """What of a `Session` and of asyncua's is used."""

    security = "none"

    def __init__(self, server: PlayedServer) -> None:
        self.server = server
        self.limits = server.limits
        self.waiting: list[asyncio.Future[Buffer]] = []
        self.is_cut = False
        self.client: Any = SimpleNamespace(uaclient=SimpleNamespace(session=self))

    def cut(self) -> None:
        """The connection is lost; subscriptions stay."""
        self.is_cut = True
        for future in self.waiting:
            future.set_exception(ConnectionError("cut"))
        self.waiting.clear()

    def node(self, text: str) -> ua.NodeId | None:
        return ua.NodeId.from_string(text)

    async def look_up(self) -> None:
        await self._called("look_up")

    async def now_ns(self) -> int:
        await self._called("now_ns")
        return self.server.now_ns

    def publish(self, acknowledgements: Sequence[tuple[int, int]]) -> asyncio.Future[Buffer]:
        if self.is_cut:
            raise ConnectionError("cut")
        for subscription, number in acknowledgements:
            self.server.subscriptions[subscription].retained.pop(number, None)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def request(self, request: Any) -> bytes:
        await self._called(type(request).__name__)
        if isinstance(request, ua.RepublishRequest):
            one = self.server.subscriptions[request.Parameters.SubscriptionId]
            number = request.Parameters.RetransmitSequenceNumber
            if number not in one.retained:
                raise ua.uaerrors.BadMessageNotAvailable
            return republished(number, one.retained[number])
        if len(self.server.subscriptions) >= self.server.subscriptions_max:
            raise ua.uaerrors.BadTooManySubscriptions
        self.server.opened += 1
        number = 6 + self.server.opened
        self.server.subscriptions[number] = PlayedSubscription(number, self)
        answer = ua.CreateSubscriptionResponse()
        answer.Parameters.SubscriptionId = ua.UInt32(number)
        answer.Parameters.RevisedPublishingInterval = request.Parameters.RequestedPublishingInterval
        answer.Parameters.RevisedMaxKeepAliveCount = ua.UInt32(1)
        return struct_to_binary(answer)

    async def create_monitored_items(self, request: Any) -> list[ua.MonitoredItemCreateResult]:
        await self._called("create_monitored_items")
        asked = request.ItemsToCreate
        names = [item.ItemToMonitor.NodeId.Identifier for item in asked]
        self.server.created.append(len(asked))
        if len(asked) > self.server.call_max or self.server.too_large in names:
            raise ua.uaerrors.BadTooManyOperations
        one = self.server.subscriptions[request.SubscriptionId]
        results = [self._create(one, item) for item in asked]
        await self._called("create_monitored_items", after=True)
        return results

    def _create(self, one: PlayedSubscription, item: Any) -> ua.MonitoredItemCreateResult:
        server, asked = self.server, item.RequestedParameters
        name, result = item.ItemToMonitor.NodeId.Identifier, ua.MonitoredItemCreateResult()
        status = GOOD
        if name not in server.values:
            status = _CODES.BadNodeIdUnknown
        elif asked.Filter.DeadbandType and not server.deadbands:
            status = _CODES.BadMonitoredItemFilterUnsupported
        elif len(one.items) >= server.items_max:
            status = _CODES.BadTooManyMonitoredItems
        result.StatusCode = ua.StatusCode(ua.UInt32(status))
        if status == GOOD:
            server.items += 1
            one.items[server.items] = item
            value, time_ns = server.values[name]
            one.pending.append((asked.ClientHandle, value, time_ns, GOOD))
            result.MonitoredItemId = ua.UInt32(server.items)
            result.RevisedSamplingInterval = asked.SamplingInterval
            result.RevisedQueueSize = ua.UInt32(min(asked.QueueSize, server.queue_max))
        return result

    async def delete_monitored_items(self, request: Any) -> None:
        await self._called("delete_monitored_items")
        for number in request.MonitoredItemIds:
            self.server.subscriptions[request.SubscriptionId].items.pop(number, None)
        await self._called("delete_monitored_items", after=True)

    async def transfer_subscriptions(self, request: Any) -> list[Any]:
        await self._called("transfer_subscriptions")
        results = []
        for number in request.SubscriptionIds:
            one = self.server.subscriptions.get(number)
            known = one is not None and self.server.transfers
            status = GOOD if known else _CODES.BadSubscriptionIdInvalid
            result = ua.TransferResult(StatusCode=ua.StatusCode(ua.UInt32(status)))
            if one is not None and known:
                one.session = self
                result.AvailableSequenceNumbers = list(one.retained)
            results.append(result)
        return results

    async def delete_subscriptions(self, numbers: Sequence[int]) -> None:
        await self._called("delete_subscriptions")
        for number in numbers:
            self.server.subscriptions.pop(number, None)

    async def read_attributes(self, nodes: Sequence[Any], *_: Any) -> list[ua.DataValue]:
        """No node has a history."""
        await self._called("read_attributes")
        return [ua.DataValue(ua.Variant(1, ua.VariantType.Byte)) for _ in nodes]

    async def close(self, *, delete_subscriptions: bool) -> None:
        mine = [n for n, one in self.server.subscriptions.items() if one.session is self]
        if not self.is_cut and delete_subscriptions:
            for number in mine:
                del self.server.subscriptions[number]
        self.cut()

    async def _called(self, name: str, *, after: bool = False) -> None:
        await asyncio.sleep(0)
        error = (self.server.fails_after if after else self.server.fails).pop(name, None)
        if isinstance(error, ConnectionError):
            self.cut()
        if self.is_cut:
            raise ConnectionError("cut")
        if error is not None:
            raise error


class Listener:
    """Reads a source until it ends; what it read."""

    def __init__(self, server: PlayedServer, source: OpcuaSource) -> None:
        self.server = server
        self.source = source
        self.batches: list[Batch] = []
        self.error: BaseException | None = None

    async def _run(self) -> None:
        try:
            async for batch, _ in self.source.batches():
                self.batches.append(batch)
        except Exception as error:
            self.error = error

    def values(self, signal: int) -> list[float]:
        return [value for batch in self.batches for value in batch.value[batch.signal == signal]]

    def column(self, signal: int, name: str) -> list[int]:
        return [n for b in self.batches for n in getattr(b, name)[b.signal == signal].tolist()]

    async def until(self, condition: Callable[[], Any], what: str, *, speak: bool = True) -> None:
        """Wait for it, while the server publishes."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                if speak and self.error is None:
                    self.server.publish()
                await asyncio.sleep(0.005)
        assert condition(), what

    async def lost(self) -> None:
        """Wait until the source has noticed; then it is closed."""
        await self.until(lambda: self.error, "the loss is not noticed", speak=False)
        await self.source.close()


@asynccontextmanager
async def listening(server: PlayedServer, source: OpcuaSource) -> AsyncIterator[Listener]:
    """Connected and read."""
    await source.connect()
    listener = Listener(server, source)
    task = asyncio.create_task(listener._run())
    try:
        yield listener
    finally:
        if listener.error is None:
            await source.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
