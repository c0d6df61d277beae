"""Subscriptions and their monitored items: they follow the signals, while a session lives.

Enters: signals. Leaves: monitored items on as many subscriptions as they need, in calls no larger
than the server bears, and a reading that knows their client handles. A handle is never given to
another signal, so a notification that was on its way when its item was removed still finds its own.
Fails: as asyncua does, with OSError, TimeoutError or UaError; a node, namespace, deadband or
subscription that the server does not have stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from agent.config import OpcuaConfig
from agent.signals import Kind, Signal
from agent.sources.opcua.publishing import Publisher, Stream
from agent.sources.opcua.reading import HANDLES_MAX, Reading
from agent.sources.opcua.session import Session

log = logging.getLogger("andon.opcua")

SUBSCRIPTIONS_MAX: Final = 100
KEEP_ALIVE_MS: Final = 250
LIFETIME_MS: Final = 60_000

_TRIGGERS: Final = {
    "status_value": ua.DataChangeTrigger.StatusValue,
    "status_value_timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}
_TOO_MUCH: Final = (
    ua.uaerrors.BadTooManyOperations,
    ua.uaerrors.BadRequestTooLarge,
    ua.uaerrors.BadResponseTooLarge,
    ua.uaerrors.BadEncodingLimitsExceeded,
    ua.uaerrors.BadTcpMessageTooLarge,
    ua.uaerrors.BadTooManyMonitoredItems,
)
"""A call with less in it may succeed."""
_FULL: Final = ua.StatusCodes.BadTooManyMonitoredItems
_NO_DEADBAND: Final = frozenset(
    {
        ua.StatusCodes.BadMonitoredItemFilterUnsupported,
        ua.StatusCodes.BadMonitoredItemFilterInvalid,
        ua.StatusCodes.BadFilterNotAllowed,
        ua.StatusCodes.BadDeadbandFilterInvalid,
    }
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a signal is not delivered; `status` is the server's answer, or what it comes to."""

    why: str
    status: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for of one signal."""

    number: int
    node: str
    kind: Kind
    sampling_ms: int
    queue_size: int
    deadband: tuple[int, float] | None = None
    rate_hz: float = 0.0

    @property
    def read_as(self) -> tuple[Kind, float]:
        """What a client handle is given for."""
        return self.kind, self.rate_hz


@dataclass(slots=True)
class _Subscription:
    """A subscription at the server and the items that it may still take."""

    stream: Stream
    publishing_ms: float
    room: int
    taken: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    """A monitored item of the server, and what it was made of."""

    subscription: _Subscription
    number: int
    handle: int
    wanted: Wanted


@dataclass(slots=True)
class _Notes:
    """What is to be said once about the items of one call of `follow`."""

    short_queues: int = 0
    no_deadband: list[str] = field(default_factory=list)


class Subscriptions:
    """The subscriptions of one reading.

    session, publisher : of the present connection; they change when it is resumed
    """

    def __init__(
        self, session: Session, publisher: Publisher, reading: Reading, config: OpcuaConfig
    ) -> None:
        self.session = session
        self.publisher = publisher
        self._reading = reading
        self._config = config
        self._subscriptions: list[_Subscription] = []
        self._items: dict[int, _Item] = {}
        self._handles: dict[int, tuple[int, tuple[Kind, float]]] = {}
        """Of signals that the server did not take: to be used again."""
        self._plain: set[int] = set()
        """Signals that the server takes only without their deadband."""
        self._group_max = session.limits.items_per_call_max

    @property
    def streams(self) -> list[Stream]:
        """The publications of all subscriptions."""
        return [one.stream for one in self._subscriptions]

    def handles(self) -> dict[int, tuple[int, str]]:
        """Client handle and node of each signal that is delivered, by its id."""
        return {n: (item.handle, item.wanted.node) for n, item in self._items.items()}

    def has_room(self, signals: Sequence[tuple[int, Signal]]) -> bool:
        """Whether there are handles enough to follow these."""
        return len(self._reading) + len(signals) <= HANDLES_MAX

    async def open(self) -> Stream:
        """One more subscription, without items."""
        interval_ms = self._config.publishing_interval_ms
        keep_alives = max(1, KEEP_ALIVE_MS // interval_ms)
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = interval_ms
        parameters.RequestedMaxKeepAliveCount = keep_alives
        parameters.RequestedLifetimeCount = max(3 * keep_alives, LIFETIME_MS // interval_ms)
        parameters.PublishingEnabled = True
        request = ua.CreateSubscriptionRequest(Parameters=parameters)
        answer = await self.session.request(request)
        created = struct_from_binary(ua.CreateSubscriptionResponse, Buffer(answer)).Parameters
        publishing_ms = created.RevisedPublishingInterval
        keep_alive_s = publishing_ms * created.RevisedMaxKeepAliveCount / 1000
        stream = Stream(created.SubscriptionId, keep_alive_s)
        self._subscriptions.append(_Subscription(stream, publishing_ms, self._config.items_max))
        self._reading.expect(stream.number)
        self._reading.set_intervals(publishing_ms, 0.0)
        self.publisher.add(stream)
        return stream

    def use(self, config: OpcuaConfig) -> None:
        """From now on ask as this configuration says; `follow` brings it about."""
        self._config = config

    async def follow(self, signals: Sequence[tuple[int, Signal]]) -> dict[int, Missing]:
        """Read these and no others; what is read already stays as it is.

        signals : (id, signal)
        Returns why some are not delivered, by their id.
        """
        wanted = {number: self._wanted(number, signal) for number, signal in signals}
        gone = [n for n, item in self._items.items() if item.wanted != wanted.get(n)]
        await self._delete(gone)
        new = [one for number, one in wanted.items() if number not in self._items]
        return await self._create(new)

    async def drop(self, numbers: Sequence[int]) -> None:
        """Let go of the items of these signals: the server does not know their nodes any more."""
        await self._delete([number for number in numbers if number in self._items])

    def _wanted(self, number: int, signal: Signal) -> Wanted:
        config = self._config
        variable = config.variables.get((signal.machine, signal.name))
        if variable is None:
            return Wanted(number, signal.node, signal.kind, config.sampling_ms, config.queue_size)
        deadband = None
        if variable.deadband is not None and variable.deadband.absolute is not None:
            deadband = (int(ua.DeadbandType.Absolute), variable.deadband.absolute)
        elif variable.deadband is not None and variable.deadband.percent is not None:
            deadband = (int(ua.DeadbandType.Percent), variable.deadband.percent)
        return Wanted(
            number, signal.node, signal.kind, config.sampling_ms_of(variable),
            config.queue_size_of(variable), deadband, variable.rate_hz or 0.0,
        )  # fmt: skip

    async def _delete(self, numbers: Sequence[int]) -> None:
        of = {number: self._items[number].subscription for number in numbers}
        for subscription in self._subscriptions:
            mine = [number for number in numbers if of[number] is subscription]
            for group in self._groups(mine):
                request = ua.DeleteMonitoredItemsParameters()
                request.SubscriptionId = subscription.stream.number
                request.MonitoredItemIds = [self._items[number].number for number in group]
                # An item that the server does not know is as good as deleted.
                await self._services.delete_monitored_items(request)
                subscription.room += len(group)
                subscription.taken -= len(group)
                for number in group:
                    del self._items[number]

    async def _create(self, wanted: Sequence[Wanted]) -> dict[int, Missing]:
        missing: dict[int, Missing] = {}
        nodes: dict[int, ua.NodeId] = {}
        for one in wanted:
            node = self.session.node(one.node)
            if node is None:
                uri = one.node.removeprefix("nsu=").partition(";")[0]
                why = f"the server has no namespace {uri!r}"
                missing[one.number] = Missing(why, ua.StatusCodes.BadNodeIdUnknown)
            else:
                nodes[one.number] = node
        left, notes = [one for one in wanted if one.number in nodes], _Notes()
        while left:
            subscription = await self._with_room()
            if subscription is None:
                why = "the server takes no more subscriptions"
                status = int(ua.StatusCodes.BadTooManySubscriptions)
                missing |= {one.number: Missing(why, status) for one in left}
                break
            group = left[: min(self._group_max, subscription.room)]
            answers = await self._ask(subscription, group, nodes)
            if answers is None:
                continue  # in smaller groups
            left = left[len(group) :]
            left += self._take(subscription, group, answers, missing, notes)
        self._say(notes)
        return missing

    async def _with_room(self) -> _Subscription | None:
        """A subscription that takes more items; None where the server has no more."""
        for subscription in self._subscriptions:
            if subscription.room > 0:
                return subscription
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            return None
        try:
            await self.open()
        except (ua.uaerrors.BadTooManySubscriptions, ua.uaerrors.BadTooManyMonitoredItems):
            return None
        return self._subscriptions[-1]

    async def _ask(
        self, subscription: _Subscription, group: Sequence[Wanted], nodes: Mapping[int, ua.NodeId]
    ) -> list[ua.MonitoredItemCreateResult] | None:
        """The server's answers for a group; None where it is too large for it."""
        handles = self._handles_for(group)
        request = ua.CreateMonitoredItemsParameters()
        request.SubscriptionId = subscription.stream.number
        request.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.ItemsToCreate = [
            self._request(handle, nodes[one.number], one)
            for handle, one in zip(handles, group, strict=True)
        ]
        try:
            answers: list[
                ua.MonitoredItemCreateResult
            ] = await self._services.create_monitored_items(request)
        except _TOO_MUCH as error:
            if len(group) == 1:
                status = ua.StatusCode(ua.UInt32(error.code))
                return [ua.MonitoredItemCreateResult(StatusCode=status)]
            self._group_max = len(group) // 2
            return None
        if len(answers) != len(group):
            raise ua.UaError(f"{len(answers)} answers for {len(group)} monitored items")
        return answers

    def _handles_for(self, group: Sequence[Wanted]) -> list[int]:
        """A handle for each; those of earlier attempts are kept until one succeeds."""
        kept = {one.number: self._handles.get(one.number) for one in group}
        new = [one for one in group if (was := kept[one.number]) is None or was[1] != one.read_as]
        rates = {one.number: one.rate_hz for one in new if one.rate_hz}
        numbers, kinds = [one.number for one in new], [one.kind for one in new]
        for handle, one in zip(self._reading.add(numbers, kinds, rates), new, strict=True):
            self._handles[one.number] = (handle, one.read_as)
        return [self._handles[one.number][0] for one in group]

    def _take(
        self, subscription: _Subscription, group: Sequence[Wanted],
        answers: Sequence[ua.MonitoredItemCreateResult], missing: dict[int, Missing], notes: _Notes,
    ) -> list[Wanted]:  # fmt: skip
        """Note what the server made of a group; what should be asked for again, elsewise."""
        again, sampling_ms = [], 0.0
        for one, answer in zip(group, answers, strict=True):
            status = answer.StatusCode
            if status.is_good():
                handle, _ = self._handles.pop(one.number)
                self._items[one.number] = _Item(subscription, answer.MonitoredItemId, handle, one)
                subscription.room -= 1
                subscription.taken += 1
                sampling_ms = max(sampling_ms, answer.RevisedSamplingInterval)
                needed = subscription.publishing_ms / max(answer.RevisedSamplingInterval, 1.0)
                notes.short_queues += answer.RevisedQueueSize < min(needed, one.queue_size)
            elif status.value == _FULL and subscription.taken:
                subscription.room = 0
                again.append(one)
            elif status.value in _NO_DEADBAND and one.deadband and one.number not in self._plain:
                self._plain.add(one.number)
                notes.no_deadband.append(one.node)
                again.append(one)
            else:
                missing[one.number] = Missing(status.name, status.value)
        self._reading.set_intervals(subscription.publishing_ms, sampling_ms)
        return again

    def _request(
        self, handle: int, node: ua.NodeId, wanted: Wanted
    ) -> ua.MonitoredItemCreateRequest:
        filter_ = ua.DataChangeFilter(Trigger=_TRIGGERS[self._config.trigger])
        if wanted.deadband is not None and wanted.number not in self._plain:
            filter_.DeadbandType, filter_.DeadbandValue = wanted.deadband
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor.NodeId = node
        item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters.ClientHandle = handle
        item.RequestedParameters.SamplingInterval = wanted.sampling_ms
        item.RequestedParameters.QueueSize = wanted.queue_size
        item.RequestedParameters.DiscardOldest = True
        item.RequestedParameters.Filter = filter_
        return item

    def _say(self, notes: _Notes) -> None:
        name = self._config.name
        if notes.short_queues:
            log.warning(
                "%s: the server keeps fewer samples than were asked for of %d items, fewer than it "
                "takes between two publications; some may be lost, counted as server_queue. Ask "
                "for a longer sampling_interval_ms or a shorter publishing_interval_ms.",
                name, notes.short_queues,
            )  # fmt: skip
        if notes.no_deadband:
            log.warning(
                "%s: the server has no such deadband for %d items, %s among them; all their "
                "changes are read",
                name, len(notes.no_deadband), notes.no_deadband[0],
            )  # fmt: skip

    @property
    def _services(self) -> UaSession:
        return self.session.client.uaclient.session

    def _groups(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        for begin in range(0, len(numbers), self._group_max):
            yield numbers[begin : begin + self._group_max]
