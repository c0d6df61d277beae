"""From MQTT messages to a batch.

Enters: PUBLISH packets as columns. Leaves: a batch, its rows in the order of the messages. Fails
never: what cannot be read is counted and kept for a look (`quarantine`).

A topic is looked up once and then known by number (`packets.Topics`). Payloads of a layout that was
met before are read by a kernel (`layouts`); what the kernel will not read goes to the general
decoder (`payloads`), one by one, is counted in `general`, and teaches the kernel its layout.
Sparkplug's topics go to the host (`sparkplug`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agent.batch import Batch, Int32, Int64, Waveform
from agent.config import MqttConfig, TopicConfig
from agent.config.mqtt.sparkplug import NAMESPACE
from agent.errors import SignalsFull
from agent.signals import Kind
from agent.sources.mqtt.filters import copies, filters_of, overlapping
from agent.sources.mqtt.layouts import Layouts
from agent.sources.mqtt.packets import Publishes, Topics
from agent.sources.mqtt.payloads import (
    Read,
    Reading,
    Unreadable,
    as_number,
    as_text,
    is_inexact,
    reader,
)
from agent.sources.mqtt.rows import Rows
from agent.sources.mqtt.sparkplug import Host
from agent.sources.quarantine import NO_SIGNAL, UNREADABLE, Quarantine

Bool = npt.NDArray[np.bool_]

Resolve = Callable[[TopicConfig, Mapping[str, str], str, str], tuple[int, Kind]]
"""(topic rule, what its levels name, signal, unit) to the signal's id and kind.

Raises ValueError for a name that cannot be one, SignalsFull for one too many.
"""

MEMBERS_MAX: Final = 10_000
"""Signals remembered of one topic; beyond it they are looked up anew."""
FEW: Final = 64
"""Messages read one by one before kernels are asked whether they know the others by now."""
SPARKPLUG: Final = 0
NOTHING: Final = 1
"""Routes of topics that are Sparkplug's, and of those that no rule reads."""


_SPARKPLUG_TOPICS: Final = f"{NAMESPACE}/".encode()


class _Member(NamedTuple):
    """A signal that a topic brings."""

    number: int
    kind: Kind


@dataclass(slots=True)
class _Route:
    """Where a topic leads.

    copies : identifiers of subscriptions by which its messages come once more
    members : the signals it brings by the names that payloads give, None for the topic's own; None
        for those that cannot be
    """

    topic: str
    rule: TopicConfig
    names: Mapping[str, str]
    read: Read
    copies: frozenset[int]
    members: dict[str | None, _Member | None] = field(default_factory=dict)

    def member(self, name: str | None) -> tuple[int, bool] | None:
        """A signal as layouts need it; None where kernels are not to read it."""
        member = self.members.get(name)
        if member is None or member.kind == "waveform":
            return None
        return member.number, member.kind == "text"


class Decoder:
    """Decodes messages of one broker; `quarantine` counts by cause what brought no sample.

    general : messages that no kernel read
    inexact : whole numbers beyond 2^53, which lost digits
    """

    def __init__(
        self,
        config: MqttConfig,
        resolve: Resolve,
        quarantine: Quarantine,
        host: Host | None = None,
    ) -> None:
        self.general = 0
        self.inexact = 0
        self._quarantine = quarantine
        self._host = host
        self._topics = Topics()
        self._layouts = Layouts()
        self._full = False
        self._routes: list[_Route | None] = []
        self.renew(config, resolve)

    def renew(self, config: MqttConfig, resolve: Resolve) -> None:
        """Decode by these rules from now on; until `settle`, topics without one as before."""
        self._leaving = {route.topic: route for route in self._routes if route is not None}
        self._rules, self._resolve = config.topics, resolve
        self._overlapping = overlapping(filters_of(config))
        self._forget()

    def settle(self) -> None:
        """Nothing is on its way any more of topics that have no rule."""
        self._leaving = {}
        self._forget()

    def batch(self, messages: Publishes, fresh: Bool, received_ns: int) -> Batch:
        """The samples of the fresh ones among these, in order; and what time has brought."""
        rows = Rows()
        routes = self._topics.routes(messages)
        taken = np.flatnonzero(fresh)
        self._find_routes(messages, taken[routes[taken] < 0], routes)
        taken = self._without_copies(messages, taken, routes)
        if self._host is not None:
            rows.take(self._host.take(messages, taken[routes[taken] == SPARKPLUG], received_ns))
            rows.take(self._host.look(received_ns, rows.texts), behind=len(messages))
        if nothing := int(np.count_nonzero(routes[taken] == NOTHING)):
            self._quarantine.rejected[NO_SIGNAL] += nothing
        self._read_all(messages, taken[routes[taken] > NOTHING], routes, received_ns, rows)
        if self._full:
            self._forget()
        return rows.batch(received_ns)

    def _without_copies(self, messages: Publishes, taken: Int64, routes: Int32) -> Int64:
        """Those of these messages that did not come by another subscription as well."""
        copies = [
            row
            for row in taken[messages.subscription[taken] > 0].tolist()
            if (route := self._routes[routes[row]]) is not None
            and int(messages.subscription[row]) in route.copies
        ]
        return np.setdiff1d(taken, copies) if copies else taken

    def _read_all(
        self, messages: Publishes, left: Int64, routes: Int32, received_ns: int, rows: Rows
    ) -> None:
        """Read by kernels what they know; of the rest a few, then again what they have learned."""
        learned = 1
        while len(left):
            if learned:
                decoded = self._layouts.decode(messages, left, routes, received_ns)
                rows.add_decoded(decoded, messages, received_ns)
                left = decoded.undone
            few, left = left[:FEW], left[FEW:]
            learned = sum(
                self._read(row, int(routes[row]), messages, received_ns, rows)
                for row in few.tolist()
            )

    def _forget(self) -> None:
        """Look up every topic anew."""
        self._full = False
        self._topics.clear()
        self._layouts.clear()
        self._routes = [None, None]  # SPARKPLUG, NOTHING

    def _find_routes(self, messages: Publishes, new: Int64, routes: Int32) -> None:
        """Look up the topics of these messages, which have no route yet."""
        found: dict[bytes, int] = {}
        for row in new.tolist():
            topic = messages.topic(row)
            if topic not in found:
                found[topic] = self._find(topic, messages.payload(row))
                self._full |= not self._topics.add(topic, found[topic])
            routes[row] = found[topic]

    def _find(self, topic: bytes, payload: bytes) -> int:
        if self._host is not None and topic.startswith(_SPARKPLUG_TOPICS):
            return SPARKPLUG
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            self._quarantine.put(NO_SIGNAL, repr(topic), payload, "its topic is not UTF-8", 0)
            return NOTHING
        for rule in self._rules:
            names = rule.names(text)
            if names is not None:
                read = reader(rule.payload, rule.kind)
                route = _Route(text, rule, names, read, copies(text, self._overlapping))
                break
        else:
            if text not in self._leaving:
                why = "no topic of the configuration"
                self._quarantine.put(NO_SIGNAL, text, payload, why, 0)
                return NOTHING
            route = self._leaving[text]
        self._routes.append(route)
        return len(self._routes) - 1

    def _read(
        self, row: int, number: int, messages: Publishes, received_ns: int, rows: Rows
    ) -> bool:
        """Read one message by the general decoder; whether its layout was learned."""
        route = self._routes[number]
        assert route is not None, "routes that read nothing are left out"
        self.general += 1
        payload = messages.payload(row)
        try:
            readings = route.read(payload, received_ns)
        except Unreadable as error:
            self._quarantine.put(UNREADABLE, route.topic, payload, error)
            return False
        unreadable, reason = readings.unreadable, readings.reason
        self.inexact += readings.inexact
        for reading in readings.taken:
            try:
                self._take(row, route, reading, payload, received_ns, rows)
            except Unreadable as error:
                unreadable, reason = unreadable + 1, reason or str(error)
        if unreadable:
            self._quarantine.put(UNREADABLE, route.topic, payload, reason, unreadable)
            return False
        return self._layouts.learn(number, route.rule.payload, payload, route.member)

    def _take(
        self,
        row: int,
        route: _Route,
        reading: Reading,
        payload: bytes,
        received_ns: int,
        rows: Rows,
    ) -> None:
        """Take one reading. Raises Unreadable where its value is none for its signal's kind."""
        if reading.signal not in route.members:
            self._resolve_member(route, reading, payload)
        member = route.members[reading.signal]
        if member is None:
            self._quarantine.rejected[NO_SIGNAL] += 1
            return
        time_ns = received_ns if reading.time_ns is None else reading.time_ns
        if member.kind == "text":
            text = as_text(reading.value)
            value = math.nan if text is None else rows.text(text)
        else:
            value = as_number(reading.value)
            self.inexact += is_inexact(reading.value)
        if reading.waveform is not None:
            wave = Waveform(len(rows), reading.rate_hz, reading.waveform)
            rows.waveforms.append(wave)
        rows.add(row, member.number, time_ns, value, reading.status)

    def _resolve_member(self, route: _Route, reading: Reading, payload: bytes) -> None:
        """A signal that is met for the first time; what it brings has been found readable."""
        name = reading.signal or route.rule.signal or route.names.get("signal", "")
        if len(route.members) >= MEMBERS_MAX:
            route.members.clear()
        try:
            member = _Member(*self._resolve(route.rule, route.names, name, reading.unit))
        except (ValueError, SignalsFull) as error:
            self._quarantine.put(NO_SIGNAL, route.topic, payload, error, 0)
            route.members[reading.signal] = None
        else:
            route.members[reading.signal] = member
