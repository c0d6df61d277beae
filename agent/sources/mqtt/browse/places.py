"""What the levels of a family of topics name: the signal, the machine, and what is above it.

Enters: a family, and whether its payloads name their signals. Leaves: the topic of a configuration,
with machine and signal where the topic does not say them. Nothing fails.

Read from the end: the last level is the signal, and the one before it the machine; levels that say
nothing, such as `data`, are passed over. Above the machine, a level that varies is passed over with
`+` where machines can be told apart without it; else it is `{line}`, `{area}`, `{site}` or
`{enterprise}`, by what it is called or in this order. Levels that are always the same stay text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.mqtt.browse.families import Family

_NO_SIGNAL: Final = frozenset({"", "value", "values", "val", "v", "data"})
_NO_MACHINE: Final = _NO_SIGNAL | {
    "telemetry", "status", "state", "measurement", "measurements", "reading", "readings", "sensor",
    "sensors", "signals", "tags", "metrics", "batch", "csv", "json", "raw", "events", "machines",
    "machine", "devices", "device", "out", "up", "pub", "publish", "v1", "v2",
}  # fmt: skip
"""Levels that say nothing of what is below or above them."""
_ABOVE: Final = {
    "line": {"line", "linie", "cell", "lines", "cells"},
    "area": {"area", "hall", "zone", "department", "dept", "building", "shop", "workshop"},
    "site": {"site", "plant", "factory", "werk", "fab", "sites", "plants"},
    "enterprise": {"enterprise", "company", "org"},
}  # fmt: skip
"""What levels above a machine are called, nearest first."""


@dataclass(frozen=True, slots=True)
class Place:
    """A topic as the configuration has it; machine and signal where the topic does not say them."""

    topic: str
    machine: str | None
    signal: str | None


def place(family: Family, broker: str, *, names_signals: bool) -> Place:
    """What the levels of this family name; `broker` is the machine where no level is."""
    levels = list(family.levels)
    end = len(levels)
    signal_at: int | None = None
    if not names_signals:
        told = _telling(levels, end, _NO_SIGNAL)
        end = signal_at = end - 1 if told is None else told
    machine_at = _telling(levels, end, _NO_MACHINE)
    named: dict[int, str] = {}
    machine: str | None = broker
    signal: str | None = None
    if machine_at is not None:
        machine = levels[machine_at]
        named |= {machine_at: "machine"} if machine is None else {}
    if signal_at is not None:
        signal = levels[signal_at]
        named |= {signal_at: "signal"} if signal is None else {}
    varying = [at for at, level in enumerate(levels) if level is None and at not in named]
    named |= _above(family, varying, named)
    topic = "/".join(
        f"{{{named[at]}}}" if at in named else "+" if level is None else level
        for at, level in enumerate(levels)
    )
    return Place(topic, machine, signal)


def _telling(levels: Sequence[str | None], end: int, hollow: frozenset[str]) -> int | None:
    """The last level before `end` that tells something."""
    for at in reversed(range(end)):
        level = levels[at]
        if level is None or level.lower() not in hollow:
            return at
    return None


def _above(family: Family, varying: Sequence[int], named: dict[int, str]) -> dict[int, str]:
    """Placeholders for levels that vary, as far as signals would not be told apart without."""
    topics = [topic.split("/") for topic in family.topics]
    free = list(_ABOVE)
    found: dict[int, str] = {}
    for at in reversed(varying):
        said = _called(family, topics, at)
        if said in free:
            found[at] = said
            free.remove(said)
    for at in reversed(varying):
        if at not in found and free and not _is_told_apart(topics, [*named, *found]):
            found[at] = free.pop(0)
    return found


def _called(family: Family, topics: Sequence[Sequence[str]], at: int) -> str | None:
    """Which part of a plant a level is called after, by its names or the text before it."""
    before = family.levels[at - 1] if at else None
    for said in ({levels[at] for levels in topics}, {before or ""}):
        for part, words in _ABOVE.items():
            if all(_words(name) & words for name in said):
                return part
    return None


def _words(name: str) -> set[str]:
    return set(re.split(r"[\W\d_]+", name.lower()))


def _is_told_apart(topics: Sequence[Sequence[str]], at: Sequence[int]) -> bool:
    """Whether these levels alone tell the topics apart."""
    return len({tuple(levels[place] for place in at) for levels in topics}) == len(topics)
