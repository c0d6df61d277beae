"""From MQTT messages with JSON payloads to a batch.

The loop over messages is Python's, as is paho's before it. A later version splits and decodes packets
by a kernel instead; what it cannot decode comes here.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import numpy as np

from agent.batch import GOOD, Batch
from agent.config import MqttConfig, TopicConfig
from agent.errors import SignalsFull

log = logging.getLogger("andon.mqtt")

TOPICS_MAX: Final = 100_000
"""Distinct topics remembered; beyond it they are looked up anew."""
SAY_EVERY_S: Final = 60.0
PAYLOAD_SHOWN_MAX: Final = 80
_UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

Resolve = Callable[[TopicConfig, str, str], tuple[int, bool]]
"""(topic rule, machine, signal) to the signal's id and whether it is text.

Raises ValueError for a name that cannot be one, SignalsFull for one too many.
"""


class Message(Protocol):
    """What is needed of a received message."""

    @property
    def topic(self) -> str:
        """The topic it came under."""

    @property
    def payload(self) -> bytes:
        """What it carries."""


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a topic leads: a signal and how to read its payload."""

    number: int
    text: bool
    value: tuple[str, ...]
    time: tuple[str, ...] | None
    unit: str


class Decoder:
    """Decodes messages of one broker; `rejected` counts by cause what brought no sample."""

    def __init__(self, config: MqttConfig, resolve: Resolve) -> None:
        self.rejected: Counter[str] = Counter()
        self._name = config.name
        self._rules = [(rule, rule.topic.split("/")) for rule in config.topics]
        self._resolve = resolve
        self._routes: dict[str, _Route | None] = {}
        self._said_s: dict[str, float] = {}

    def batch(self, messages: Sequence[Message], received_ns: int, alive_until_ns: int) -> Batch:
        """The messages' samples, in order."""
        rows: list[tuple[int, int, float]] = []
        texts: list[str] = []
        for message in messages:
            try:
                row = self._row(message, received_ns, texts)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                self._reject("unreadable", message, error)
                continue
            if row is not None:
                rows.append(row)
        return Batch(
            np.array([row[0] for row in rows], np.int32),
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64),
            np.full(len(rows), GOOD, np.uint32),
            received_ns,
            alive_until_ns,
            tuple(texts),
        )

    def _row(
        self, message: Message, received_ns: int, texts: list[str]
    ) -> tuple[int, int, float] | None:
        route = self._route(message)
        if route is None:
            self.rejected["no_signal"] += 1
            return None
        document = json.loads(message.payload)
        value = _at(document, route.value)
        time_ns = received_ns
        if route.time is not None:
            time_ns = _time_ns(_at(document, route.time), route.unit)
        if route.text:
            if isinstance(value, dict | list):
                raise TypeError(f"{value!r} is not text")
            texts.append(str(value))
            return route.number, time_ns, float(len(texts) - 1)
        return route.number, time_ns, _number(value)

    def _route(self, message: Message) -> _Route | None:
        topic = message.topic
        if topic in self._routes:
            return self._routes[topic]
        if len(self._routes) >= TOPICS_MAX:
            self._routes.clear()
        try:
            route = self._find(topic)
        except (ValueError, SignalsFull) as error:
            self._say("no_signal", message, error)
            route = None
        self._routes[topic] = route
        return route

    def _find(self, topic: str) -> _Route | None:
        levels = topic.split("/")
        for rule, pattern in self._rules:
            names = _match(pattern, levels)
            if names is None:
                continue
            machine = rule.machine or names["{machine}"]
            signal = rule.signal or names["{signal}"]
            number, text = self._resolve(rule, machine, signal)
            layout = rule.payload.json_
            moment = None if layout.time is None else tuple(layout.time.split("."))
            return _Route(number, text, tuple(layout.value.split(".")), moment, layout.time_unit)
        return None

    def _reject(self, cause: str, message: Message, error: Exception) -> None:
        self.rejected[cause] += 1
        self._say(cause, message, error)

    def _say(self, cause: str, message: Message, error: Exception) -> None:
        """Say what cannot be read, once a minute a topic."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(message.topic, -math.inf) < SAY_EVERY_S:
            return
        if len(self._said_s) >= TOPICS_MAX:
            self._said_s.clear()
        self._said_s[message.topic] = now_s
        shown = message.payload[:PAYLOAD_SHOWN_MAX].decode(errors="backslashreplace")
        log.warning(
            "%s: %s: %r is set aside (%s): %s. Other topics are not affected.",
            self._name, message.topic, shown, cause, _words(error),
        )  # fmt: skip


def _words(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def _match(pattern: Sequence[str], levels: Sequence[str]) -> dict[str, str] | None:
    """The names a topic gives under a pattern; None where it does not match."""
    if len(pattern) != len(levels):
        return None
    names: dict[str, str] = {}
    for part, level in zip(pattern, levels, strict=True):
        if part.startswith("{"):
            names[part] = level
        elif part not in ("+", level):
            return None
    return names


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(document, dict):
            raise TypeError(f"not an object with a field {key!r}")
        document = document[key]
    return document


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _time_ns(value: object, unit: str) -> int:
    if unit == "iso":
        if not isinstance(value, str):
            raise TypeError(f"time {value!r} is not text")
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000) * 1_000
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"time {value!r} is not a number")
    time_ns = value * _UNIT_NS[unit]
    if not 0 < time_ns < 2**63:
        raise ValueError(f"time {value!r} is out of range")
    return int(time_ns)
