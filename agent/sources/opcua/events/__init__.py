"""Events, alarms and conditions of one server, as text (OPC 10000-4, 7.22.3; OPC 10000-9).

Enters: the tables `[[opcua.events]]`, and the EventNotificationLists of publications. Leaves: one
monitored item a table, and texts: of each event one at its own time, and, where a table has
`state`, the state that its alarms put the machine in, to the moment. What a refresh tells again
and was told before is not told twice; several events of one instant are 1 ns apart, so that none
takes another's place.

Conditions are refreshed after subscribing and whenever the server asks for it. A server that has
no conditions, or refuses filters, is asked for less, which is said once. Events below
`severity_min` are left out here as well, since conditions must be followed to where they end:
their filter asks for all severities. Fails: as asyncua does, with OSError, TimeoutError or UaError;
WireError for malformed bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.ua_binary import Primitives, variant_from_binary

from agent.batch import AHEAD_MAX_NS, BEHIND_MAX_NS, GOOD
from agent.config.opcua import OpcuaEventsConfig
from agent.sources.opcua.events.asking import filters, item
from agent.sources.opcua.events.event import read
from agent.sources.opcua.events.table import REFRESH_REQUIRED, Table, Text
from agent.sources.opcua.fallback import Guarded
from agent.sources.opcua.session import Session
from agent.sources.opcua.wire import Items, Publication, WireError

log = logging.getLogger("andon.opcua")

LIST_BYTES_MAX: Final = 1 << 20
"""A longer list of events is not decoded: asyncua makes up to 300 bytes of each of its bytes."""
REFRESH_S: Final = 3.0
"""A server that has not answered by then cannot refresh."""
REFRESH_EVERY_S: Final = 2.0
"""However often the server asks for it."""

_OVERFLOW: Final = ua.ObjectIds.EventQueueOverflowEventType


class Events:
    """The events of one server; it outlives sessions, so that nothing is told twice.

    refused : why tables are not delivered, by their number: the server's StatusCode
    """

    def __init__(self, source: str, tables: Sequence[OpcuaEventsConfig]) -> None:
        self.refused: dict[int, int] = {}
        self._source = source
        self._tables = [Table(table) for table in tables]
        self._by_handle: dict[int, Table] = {}
        self._session: Session | None = None
        self._subscription = 0
        self._wanted = False
        self._next_s = 0.0
        self._said: set[str] = set()

    async def open(
        self, session: Session, subscription: int, handles: Sequence[tuple[int, int]]
    ) -> None:
        """Monitor them on this subscription, and ask for what is active.

        handles : client handles of each table's events and of its state; the latter is not used
            where the table has no `state`
        """
        self.resume(session)
        self._subscription = subscription
        self.refused = {}
        self._by_handle = {}
        for number, (table, (handle, state_handle)) in enumerate(
            zip(self._tables, handles, strict=True)
        ):
            table.begin(handle, state_handle)
            status = await self._monitor(table)
            if status.is_good():
                self._by_handle[handle] = table
            else:
                self.refused[number] = int(status.value)
        await self.refresh()

    def resume(self, session: Session) -> None:
        """The subscription goes on over this session; what was missed is to be asked for."""
        self._session, self._wanted = session, True
        for table in self._tables:
            table.resume()

    def missed(self) -> None:
        """Messages with events in them may be lost: what is active is to be asked for."""
        self._wanted = True

    @property
    def is_refresh_due(self) -> bool:
        """Whether `refresh` should be called: the server asked for it, or events were lost."""
        return self._wanted and time.monotonic() >= self._next_s

    async def refresh(self) -> None:
        """Ask the server to tell all conditions again; what it tells comes as events."""
        self._wanted, self._next_s = False, time.monotonic() + REFRESH_EVERY_S
        tables = [table for table in self._by_handle.values() if table.has_conditions]
        if not tables or self._session is None:
            return
        call = ua.CallMethodRequest(
            ObjectId=ua.NodeId(ua.Int32(ua.ObjectIds.ConditionType)),
            MethodId=ua.NodeId(ua.Int32(ua.ObjectIds.ConditionType_ConditionRefresh)),
            InputArguments=[ua.Variant(self._subscription, ua.VariantType.UInt32)],
        )
        try:
            async with asyncio.timeout(REFRESH_S):
                (result,) = await self._session.client.uaclient.session.call([call])
            status = result.StatusCode
        except TimeoutError:
            status = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTimeout))
        except ua.UaStatusCodeError as error:
            status = ua.StatusCode(ua.UInt32(error.code))
        if status.is_good() or status.value == ua.StatusCodes.BadRefreshInProgress:
            return
        for table in tables:
            table.alarms.end_refresh()
        self._say(
            f"the server does not tell which alarms are active ({status.name}): those of before "
            "the connection are not known"
        )

    def items(self, publications: Sequence[Publication], received_ns: int) -> Items:
        """The texts of the events in these publications, in order. Raises WireError.

        To be called with those without events as well: after a resumption the state is told again.
        """
        texts: list[Text] = []
        overflowed = strangers = 0
        for one in publications:
            published_ns = one.published_ns or received_ns
            for handle, fields in _lists(one):
                table = self._by_handle.get(handle)
                if table is None:
                    strangers += 1
                    continue
                event = read(fields)
                overflowed += event.kind == _OVERFLOW
                self._wanted |= event.kind in (_OVERFLOW, REFRESH_REQUIRED)
                time_ns = _sound(event.time_ns, published_ns, received_ns)
                texts += table.take(event, time_ns, received_ns)
            for table in self._by_handle.values():
                texts += table.tell_state(published_ns, received_ns)
        for table in self._by_handle.values():
            if table.alarms.beyond:
                self._say(
                    f"more alarms of {table.config.node} are active at once than can be followed; "
                    "their events are told, the state may end too early"
                )
        return _items(texts, overflowed, strangers)

    async def _monitor(self, table: Table) -> ua.StatusCode:
        """Create the monitored item, asking for less where the server has no more."""
        assert self._session is not None
        node = self._session.node(table.config.node)
        if node is None:
            return ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNodeIdUnknown))
        status = ua.StatusCode()
        for wanted, has_conditions in filters(table.config):
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = self._subscription
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [item(node, table.handle, wanted)]
            services = self._session.client.uaclient.session
            (answer,) = await services.create_monitored_items(request)
            status = answer.StatusCode
            if status.is_good():
                table.has_conditions = has_conditions
                if table.config.alarms and not has_conditions:
                    self._say(f"{table.config.node} tells events, but no conditions")
                break
        return status

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("%s: %s", self._source, what)


def _lists(publication: Publication) -> Iterator[tuple[int, list[ua.Variant]]]:
    """Handle and fields of each event. Raises WireError."""
    for start, end in publication.events:
        if end - start > LIST_BYTES_MAX:
            raise WireError(
                f"a list of events has {end - start:,} bytes; more than {LIST_BYTES_MAX:,} are "
                "not decoded"
            )
        data = Guarded(publication.body, start, end - start)
        try:
            for _ in range(Primitives.Int32.unpack(data)):
                handle = Primitives.UInt32.unpack(data)
                count = Primitives.Int32.unpack(data)
                yield handle, [variant_from_binary(data) for _ in range(count)]
        except Exception as error:  # asyncua lets through whatever its parts raise
            raise WireError(f"the list of events at {start} is malformed: {error!r}") from error


def _sound(time_ns: int | None, published_ns: int, received_ns: int) -> int:
    """A time that can be; else that of the publication."""
    earliest_ns, latest_ns = received_ns - BEHIND_MAX_NS, received_ns + AHEAD_MAX_NS
    is_sound = time_ns is not None and earliest_ns <= time_ns <= latest_ns
    return time_ns if time_ns is not None and is_sound else published_ns


def _items(told: Sequence[Text], overflowed: int, strangers: int) -> Items:
    words: dict[str, int] = {}
    places = [words.setdefault(text, len(words)) for _, _, text in told]
    return Items(
        np.array([handle for handle, _, _ in told], np.int64),
        np.array([time_ns for _, time_ns, _ in told], np.int64),
        np.array(places, np.float64),
        np.full(len(told), GOOD, np.uint32),
        tuple(words),
        overflowed=overflowed,
        strangers=strangers,
    )
