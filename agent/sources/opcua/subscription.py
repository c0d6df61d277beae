"""One subscription on one server: its monitored items follow the signals, while it lives.

Enters: signals. Leaves: monitored items, and a decoder that knows their client handles. A handle is
never given twice, so a notification that was on its way when its item was removed still finds its
signal. Fails: as asyncua does, with OSError, TimeoutError or UaError; one node or namespace that
the server does not know stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import Client, ua

from agent.config import OpcuaConfig
from agent.signals import Signal
from agent.sources.opcua.decode import Decoder

ITEMS_PER_CALL_MAX: Final = 500
HANDLES_MAX: Final = 1_000_000
"""Handles of one subscription; changes that would need more need a new one."""
KEEP_ALIVE_MS: Final = 250
LIFETIME_MS: Final = 60_000

_TRIGGERS: Final = {
    "status_value": ua.DataChangeTrigger.StatusValue,
    "status_value_timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}


@dataclass(frozen=True, slots=True)
class _Item:
    """A monitored item of the server, and what it was made of."""

    number: int
    node: str
    is_text: bool


class Subscription:
    """The subscription of one client.

    decoder : of its publications
    keep_alive_s : the longest pause between two publications that the server granted
    """

    def __init__(self, client: Client, config: OpcuaConfig) -> None:
        self.decoder = Decoder()
        self.keep_alive_s = 0.0
        self._client = client
        self._config = config
        self._number = 0
        self._publishing_ms = 0.0
        self._namespaces: list[str] = []
        self._items: dict[int, _Item] = {}

    async def open(self, on_result: Callable[[ua.PublishResult], Any]) -> None:
        """Create it, without signals."""
        await self.look_up()  # before it publishes
        interval_ms = self._config.publishing_interval_ms
        keep_alives = max(1, KEEP_ALIVE_MS // interval_ms)
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = interval_ms
        parameters.RequestedMaxKeepAliveCount = keep_alives
        parameters.RequestedLifetimeCount = max(3 * keep_alives, LIFETIME_MS // interval_ms)
        parameters.PublishingEnabled = True
        created = await self._client.uaclient.create_subscription(parameters, on_result)
        self._number = created.SubscriptionId
        self._publishing_ms = created.RevisedPublishingInterval
        self.keep_alive_s = self._publishing_ms * created.RevisedMaxKeepAliveCount / 1000
        self.decoder.set_intervals(self._publishing_ms, 0.0)

    async def look_up(self) -> None:
        """Ask the server for its namespaces."""
        self._namespaces = await self._client.get_namespace_array()

    def has_room(self, signals: Sequence[tuple[int, Signal]]) -> bool:
        """Whether there are handles enough to follow these."""
        return len(self.decoder) + len(signals) <= HANDLES_MAX

    async def follow(self, signals: Sequence[tuple[int, Signal]]) -> dict[int, str]:
        """Read these and no others; what is read already stays as it is.

        signals : (id, signal)
        Returns why some are not delivered, by their id.
        """
        wanted = dict(signals)
        gone = [
            number
            for number, item in self._items.items()
            if number not in wanted or not _is_of(item, wanted[number])
        ]
        await self._delete(gone)
        return await self._create({n: s for n, s in wanted.items() if n not in self._items})

    async def _delete(self, numbers: Sequence[int]) -> None:
        for group in _groups(numbers):
            request = ua.DeleteMonitoredItemsParameters()
            request.SubscriptionId = self._number
            request.MonitoredItemIds = [self._items[number].number for number in group]
            # An item that the server does not know is as good as deleted.
            await self._client.uaclient.delete_monitored_items(request)
            for number in group:
                del self._items[number]

    async def _create(self, signals: dict[int, Signal]) -> dict[int, str]:
        if not signals:
            return {}
        nodes, missing = self._nodes(signals)
        sampling_ms = 0.0
        for group in _groups(list(nodes)):
            handles = self.decoder.add([(n, signals[n].kind == "text") for n in group])
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = self._number
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [
                self._request(handle, nodes[n]) for handle, n in zip(handles, group, strict=True)
            ]
            answers = await self._client.uaclient.create_monitored_items(request)
            for number, answer in zip(group, answers, strict=True):
                if answer.StatusCode.is_good():
                    signal = signals[number]
                    self._items[number] = _Item(
                        answer.MonitoredItemId, signal.node, signal.kind == "text"
                    )
                    sampling_ms = max(sampling_ms, answer.RevisedSamplingInterval)
                else:
                    missing[number] = answer.StatusCode.name
            self.decoder.set_intervals(self._publishing_ms, sampling_ms)
        return missing

    def _nodes(self, signals: dict[int, Signal]) -> tuple[dict[int, ua.NodeId], dict[int, str]]:
        """NodeIds by signal id, and why some have none."""
        nodes, missing = {}, {}
        for number, signal in signals.items():
            text = signal.node
            if text.startswith("nsu="):
                uri, _, rest = text[len("nsu=") :].partition(";")
                if uri not in self._namespaces:
                    missing[number] = f"the server has no namespace {uri!r}"
                    continue
                text = f"ns={self._namespaces.index(uri)};{rest}"
            nodes[number] = ua.NodeId.from_string(text)
        return nodes, missing

    def _request(self, handle: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor.NodeId = node
        item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters.ClientHandle = handle
        item.RequestedParameters.SamplingInterval = self._config.sampling_ms
        item.RequestedParameters.QueueSize = self._config.queue_size
        item.RequestedParameters.DiscardOldest = True
        item.RequestedParameters.Filter = ua.DataChangeFilter(
            Trigger=_TRIGGERS[self._config.trigger]
        )
        return item


def _is_of(item: _Item, signal: Signal) -> bool:
    return item.node == signal.node and item.is_text == (signal.kind == "text")


def _groups(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(numbers), ITEMS_PER_CALL_MAX):
        yield numbers[begin : begin + ITEMS_PER_CALL_MAX]
