"""The signals that topics bring: of which kind they are, and for how long a value holds.

Enters: a family whose payloads are written alike. Leaves: a key for each topic: those of another
kind, or with another hold, are better read by tables of their own. Nothing fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.config import TopicConfig
from agent.config.mqtt import PLACEHOLDERS, PayloadConfig
from agent.signals import Kind
from agent.sources.mqtt.browse import kinds
from agent.sources.mqtt.browse.heard import Topic
from agent.sources.mqtt.browse.places import Place
from agent.sources.mqtt.browse.shapes import Shape
from agent.sources.mqtt.payloads import Value

HOLDS_S: Final = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400)
"""What `hold_s` may be; the first is its default."""
HOLD_PAUSES: Final = 3
"""A value holds for so many times the longest pause that was heard."""
APART_MAX: Final = 8
"""So many signals of a pattern whose hold is not that of the rest get tables of their own; where
there are more, all of it holds as long as the longest."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the topics of one table have in common. hold_s : 0 where no pause was heard."""

    shape: Shape
    kind: Kind
    reason: str = field(default="", compare=False)
    state: bool = False
    hold_s: int = 0


@dataclass(frozen=True, slots=True)
class Named:
    """A topic, how its payloads are written, and what its levels name, by placeholder.

    machine, signal : of its levels, or as the table says; signal is None where payloads say it
    """

    heard: Topic
    shape: Shape
    names: dict[str, str]
    machine: str
    signal: str | None

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of the path above the machine that its levels name."""
        return tuple(self.names.get(part, "") for part in PLACEHOLDERS[:4])


def config_of(placed: Place, shape: Shape) -> TopicConfig:
    """The table. What nothing can read is written as text."""
    payload = shape.config if shape.text else PayloadConfig.model_validate({"text": {}})
    kind = "text" if payload.text is not None else shape.kind or "analog"
    return TopicConfig(
        topic=placed.topic, payload=payload, machine=placed.machine, signal=placed.signal, kind=kind
    )  # fmt: skip


def named(config: TopicConfig, topic: Topic, shape: Shape) -> Named:
    """What a topic names, by this table."""
    names = config.names(topic.name) or {}
    machine = names.get("machine", config.machine or "")
    return Named(topic, shape, names, machine, names.get("signal", config.signal))


def runs(one: Named) -> dict[str | None, list[Value]]:
    """The values of each signal that a topic brings, in order; None is the topic's own."""
    found: dict[str | None, list[Value]] = {}
    for readings in one.shape.read(one.heard.samples) if one.shape.is_sure else ():
        for reading in readings:
            found.setdefault(reading.signal, []).append(reading.value)
    return found


def keys(topics: Sequence[Named], now_ns: int) -> dict[str, Key]:
    """The key of each of these topics, which are of one shape."""
    by_signal: dict[str | None, list[Named]] = {}
    for one in topics:
        by_signal.setdefault(one.signal, []).append(one)
    holds = _holds({name: _hold(alike, now_ns) for name, alike in by_signal.items()})
    found: dict[str, Key] = {}
    for name, alike in by_signal.items():
        guess = _kind(name, alike)
        for one in alike:
            found[one.heard.name] = Key(
                one.shape, guess.kind, guess.reason, guess.state, holds[name]
            )
    return found


def kinds_by_signal(topics: Sequence[Named]) -> dict[str | None, kinds.Guess]:
    """The kind of each signal that these bring; those of one name on all machines together."""
    values: dict[str | None, list[list[Value]]] = {}
    for one in topics:
        for name, run in runs(one).items():
            values.setdefault(name or one.signal, []).append(run)
    return {name: kinds.guess(name or "", found) for name, found in values.items()}


def _kind(name: str | None, topics: Sequence[Named]) -> kinds.Guess:
    shape = topics[0].shape
    if shape.kind == "waveform" or not shape.is_sure:
        return kinds.Guess(shape.kind or "analog")
    found = kinds_by_signal(topics)
    if not shape.names_signals:
        return found.get(name, kinds.Guess("analog"))
    # Most of its signals'; the others get tables of their own.
    common = Counter(guess.kind for guess in found.values()).most_common(1)
    return kinds.Guess(common[0][0] if common else "analog")


def _hold(topics: Sequence[Named], now_ns: int) -> int:
    """How long values hold that come under these topics; 0 where nobody heard them twice."""
    pauses_s = [one.heard.pause_s(now_ns) for one in topics if one.heard.live > 1]
    if not pauses_s:
        return 0
    wanted_s = HOLD_PAUSES * max(pauses_s)
    return next((hold_s for hold_s in HOLDS_S if hold_s >= wanted_s), HOLDS_S[-1])


def _holds(wanted: Mapping[str | None, int]) -> dict[str | None, int]:
    """The same, with few signals that stand apart."""
    known = Counter(hold_s for hold_s in wanted.values() if hold_s)
    if not known:
        return dict(wanted)
    usual = known.most_common(1)[0][0]
    apart = sum(count for hold_s, count in known.items() if hold_s != usual)
    if apart > APART_MAX:
        usual = max(known)
        return dict.fromkeys(wanted, usual)
    return {name: hold_s or usual for name, hold_s in wanted.items()}
