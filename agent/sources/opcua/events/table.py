"""One table `[[opcua.events]]`: what is told of its events, and of the state they put a machine in.

Enters: events with the time they are taken to have. Leaves: texts to be told. The event that a
refresh tells again is not told twice; several of one instant are told 1 ns apart. The state is
told when it changes, once it is known: not before the first refresh, nor amid one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final

from asyncua import ua

from agent.config.opcua import OpcuaEventsConfig
from agent.sources import TEXT_MAX
from agent.sources.opcua.events.alarms import Alarms
from agent.sources.opcua.events.event import Event

KNOWN_MAX: Final = 10_000
"""Events of a table that are known again, the newest."""

_REFRESH_START: Final = ua.ObjectIds.RefreshStartEventType
_REFRESH_END: Final = ua.ObjectIds.RefreshEndEventType
REFRESH_REQUIRED: Final = ua.ObjectIds.RefreshRequiredEventType

Text = tuple[int, int, str]
"""Handle, time and text of a sample."""


class Table:
    """One table, and what is known of its events and its state."""

    def __init__(self, config: OpcuaEventsConfig) -> None:
        self.config = config
        self.handle = self.state_handle = -1
        self.has_conditions = False
        self.alarms = Alarms(config.severity_min)
        self._known: OrderedDict[Hashable, int] = OrderedDict()
        self._times: set[int] = set()
        self._state: str | None = None
        self._state_ns = 0
        self._is_owed = False

    def begin(self, handle: int, state_handle: int) -> None:
        """Nothing is known of what is active; a refresh is to tell."""
        self.handle, self.state_handle = handle, state_handle
        self.alarms.forget()
        self.alarms.begin_refresh(time.time_ns())
        self._state, self._is_owed = None, False

    def resume(self) -> None:
        """The state that was told is over for the listener: it is owed again."""
        self._state, self._is_owed = None, self._state is not None

    def take(self, event: Event, time_ns: int, now_ns: int) -> Iterator[Text]:
        """What is to be told of an event of this time."""
        if event.kind == _REFRESH_START:
            self.alarms.begin_refresh(now_ns)
        elif event.kind == _REFRESH_END:
            self.alarms.end_refresh()
            self._is_owed = True
        elif event.kind != REFRESH_REQUIRED:
            self.alarms.take(event, time_ns)
            self._is_owed |= event.condition is not None
            if event.severity >= self.config.severity_min:
                yield from self._tell(event, time_ns)
        yield from self.tell_state(time_ns, now_ns)

    def tell_state(self, time_ns: int, now_ns: int) -> Iterator[Text]:
        """The state, where it may be another than was told."""
        if not self._is_owed or self.config.state is None or not self.alarms.is_known(now_ns):
            return
        self._is_owed = False
        reason = self.alarms.reason
        if reason is None:
            said: str = self.config.state_clear or ""  # which is no state
        else:
            said = f"{self.config.state}: {reason}"[:TEXT_MAX]
        if said != self._state:
            self._state, self._state_ns = said, max(time_ns, self._state_ns)
            yield self.state_handle, self._state_ns, said

    def _tell(self, event: Event, time_ns: int) -> Iterator[Text]:
        """The event, unless it is told again; servers are not trusted to number their events."""
        key = (event.id, time_ns, event.text)
        if key in self._known:
            return
        while time_ns in self._times:
            time_ns += 1
        self._known[key] = time_ns
        self._times.add(time_ns)
        if len(self._known) > KNOWN_MAX:
            self._times.discard(self._known.popitem(last=False)[1])
        yield self.handle, time_ns, event.text
