"""Alarms: which conditions are active, from what a server tells of them (OPC 10000-9, 4.5, 5.5.7).

Enters: events, live and of a refresh. Leaves: the reason for which the machine stands, while there
is one. A condition counts while it is retained, active and severe enough; what a refresh does not
mention is over. Branches tell of the past and count for nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final

from agent.sources.opcua.events.event import Event

ACTIVE_MAX: Final = 10_000
"""Conditions that may be active at once; more are not followed, which is counted."""
REFRESH_MAX_NS: Final = 30_000_000_000
"""A refresh that has not ended by then is believed to have told what it could."""


@dataclass(frozen=True, slots=True)
class _Active:
    """An active condition; `reason` is what was said as it became active."""

    severity: int
    since_ns: int
    reason: str


class Alarms:
    """The active conditions of one notifier.

    beyond : conditions that were not followed since ACTIVE_MAX others were active
    """

    def __init__(self, severity_min: int) -> None:
        self.beyond = 0
        self._severity_min = severity_min
        self._active: dict[Hashable, _Active] = {}
        self._mentioned: set[Hashable] | None = None
        self._refreshing_ns = 0

    def forget(self) -> None:
        """Nothing is known."""
        self._active.clear()
        self._mentioned = None

    def begin_refresh(self, now_ns: int) -> None:
        """From now on the server tells of all conditions that it retains."""
        self._mentioned = set()
        self._refreshing_ns = now_ns

    def end_refresh(self) -> None:
        """It has told of all: the others are over."""
        if self._mentioned is not None:
            for gone in self._active.keys() - self._mentioned:
                del self._active[gone]
        self._mentioned = None

    def is_known(self, now_ns: int) -> bool:
        """Whether it can be said what is active: not amid a refresh."""
        return self._mentioned is None or now_ns - self._refreshing_ns > REFRESH_MAX_NS

    def take(self, event: Event, time_ns: int) -> None:
        """A condition as it now stands."""
        key = event.condition
        if key is None or event.is_branch:
            return
        if self._mentioned is not None:
            self._mentioned.add(key)
        if not (event.retain and event.active and event.severity >= self._severity_min):
            self._active.pop(key, None)
        elif key in self._active:
            self._active[key] = replace(self._active[key], severity=event.severity)
        elif len(self._active) < ACTIVE_MAX:
            reason = " ".join(filter(None, (event.name, event.message)))
            self._active[key] = _Active(event.severity, time_ns, reason)
        else:
            self.beyond += 1

    @property
    def reason(self) -> str | None:
        """What the most severe active condition says, the oldest of several; None where none is."""
        if not self._active:
            return None
        return min(self._active.values(), key=lambda one: (-one.severity, one.since_ns)).reason
