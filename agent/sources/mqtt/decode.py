"""From MQTT messages with JSON payloads to a batch.

The loop over messages is Python's, as is paho's before it. A later version splits and decodes
packets by a kernel instead; what it cannot decode comes here.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np

from agent.batch import BAD, GOOD, Batch
from agent.config import MqttConfig, TopicConfig
from agent.errors import SignalsFull
from agent.sources import TEXT_MAX

log = logging.getLogger("andon.mqtt")

TOPICS_MAX: Final = 100_000
"""Distinct topics remembered; beyond it they are looked up anew."""
SAY_EVERY_S: Final = 60.0
SAY_TOPICS_MAX: Final = 10
"""So many topics are spoken of in that time, each once; the others are only counted."""
PAYLOAD_SHOWN_MAX: Final = 40
NESTED_MAX: Final = 100
"""Deeper JSON would run the interpreter out of stack, in whatever it happens to do just then."""
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
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
    def payload(self) -> bytes | bytearray:
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
        self._routes: dict[str, _Route | None] = {}
        self.renew(config, resolve)
        self._said: set[str] = set()
        self._said_since_s = -math.inf

    def renew(self, config: MqttConfig, resolve: Resolve) -> None:
        """Decode by these rules from now on; until `settle`, topics without one as before."""
        self._rules = [(rule, rule.topic.split("/")) for rule in config.topics]
        self._resolve = resolve
        self._leaving, self._routes = self._routes, {}

    def settle(self) -> None:
        """Nothing is on its way any more of topics that have no rule."""
        self._leaving, self._routes = {}, {}

    def signal_of(self, topic: str) -> int | None:
        """The id of the signal that a topic brings; None where it brings none."""
        route = self._route(topic, b"", None)
        return None if route is None else route.number

    def batch(self, messages: Sequence[Message], received_ns: int, alive_until_ns: int) -> Batch:
        """The messages' samples, in order."""
        rows: list[tuple[int, int, float]] = []
        texts: list[str] = []
        for message in messages:
            try:
                row = self._row(message, received_ns, texts)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                self._reject("unreadable", message, error)
                continue
            if row is not None:
                rows.append(row)
        values = np.array([row[2] for row in rows], np.float64)
        return Batch(
            np.array([row[0] for row in rows], np.int32),
            np.array([row[1] for row in rows], np.int64),
            values,
            np.where(np.isnan(values), np.uint32(BAD), np.uint32(GOOD)),
            received_ns,
            alive_until_ns,
            tuple(texts),
        )

    def _row(
        self, message: Message, received_ns: int, texts: list[str]
    ) -> tuple[int, int, float] | None:
        _refuse_depth(message.payload)
        document = json.loads(message.payload, parse_constant=_refuse)
        route = self._route(message.topic, message.payload, document)
        if route is None:
            self.rejected["no_signal"] += 1
            return None
        value = _at(document, route.value)
        time_ns = received_ns
        if route.time is not None:
            time_ns = _time_ns(_at(document, route.time), route.unit)
        if value is None:
            return route.number, time_ns, math.nan
        if route.text:
            texts.append(_text(value))
            return route.number, time_ns, float(len(texts) - 1)
        return route.number, time_ns, _number(value)

    def _route(self, topic: str, payload: bytes | bytearray, document: Any) -> _Route | None:
        """Where a topic leads; a new one must bring a value before it becomes a signal."""
        if topic in self._routes:
            return self._routes[topic]
        if len(self._routes) >= TOPICS_MAX:
            self._routes.clear()
        try:
            route = self._find(topic, document)
        except (ValueError, SignalsFull) as error:
            self._say("no_signal", topic, payload, error)
            route = None
        self._routes[topic] = route
        return route

    def _find(self, topic: str, document: Any) -> _Route | None:
        levels = topic.split("/")
        for rule, pattern in self._rules:
            names = _match(pattern, levels)
            if names is None:
                continue
            machine = rule.machine or names["{machine}"]
            signal = rule.signal or names["{signal}"]
            layout = rule.payload.json_
            value = tuple(layout.value.split("."))
            if document is not None:
                _at(document, value)
            number, text = self._resolve(rule, machine, signal)
            moment = None if layout.time is None else tuple(layout.time.split("."))
            return _Route(number, text, value, moment, layout.time_unit)
        return self._leaving.get(topic)

    def _reject(self, cause: str, message: Message, error: Exception) -> None:
        self.rejected[cause] += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "a topic that is not UTF-8"
        self._say(cause, topic, message.payload, error)

    def _say(self, cause: str, topic: str, payload: bytes | bytearray, error: Exception) -> None:
        """Say what cannot be read, once a minute a topic."""
        now_s = time.monotonic()
        if now_s - self._said_since_s >= SAY_EVERY_S:
            self._said.clear()
            self._said_since_s = now_s
        if topic in self._said or len(self._said) >= SAY_TOPICS_MAX:
            return
        self._said.add(topic)
        shown = payload[:PAYLOAD_SHOWN_MAX].decode(errors="backslashreplace")
        log.warning(
            "%s: %s: %r is set aside (%s): %s. Other topics are not affected.",
            self._name, topic, shown, cause, _words(error),
        )  # fmt: skip


def _refuse_depth(payload: bytes | bytearray) -> None:
    """Raise ValueError for too many nested brackets; those in strings count too."""
    if payload.count(b"[") + payload.count(b"{") <= NESTED_MAX:
        return
    depth = 0
    for bracket in payload.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTED_MAX:
            raise ValueError("nested too deep")


def _words(error: Exception) -> str:
    match error:
        case KeyError():
            return f"no field {error}"
        case json.JSONDecodeError():
            return f"not JSON ({error})"
        case UnicodeDecodeError():
            return "not UTF-8 text"
    return str(error)


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


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _number(value: object) -> float:
    if not isinstance(value, bool | int | float):
        way_out = ' (if it is text, say kind = "text" for it)' if isinstance(value, str) else ""
        raise TypeError(f"{value!r:.80} is not a number{way_out}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        raise TypeError(f"{value!r:.80} is not text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > TEXT_MAX:
        raise ValueError(f"a text has {len(text):,} characters; it may have {TEXT_MAX:,}")
    return text


def _time_ns(value: object, unit: str) -> int:
    if unit == "iso":
        if not isinstance(value, str):
            raise TypeError(f"time {value!r:.80} is not text")
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        time_ns: float = (aware - _EPOCH) // _MICROSECOND * 1_000
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"time {value!r:.80} is not a number")
    else:
        time_ns = value * _UNIT_NS[unit]
    if not 0 < time_ns < 2**63:
        raise ValueError(f"time {value!r:.80} is out of range")
    return int(time_ns)
