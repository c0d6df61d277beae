"""Topic filters: what to subscribe to, so that no message comes twice.

Enters: a broker's table. Leaves: the filters, and what a message is that came by one of them. A
broker of MQTT 5 sends a message once for each subscription that matches (MQTT 5.0, 3.3.4), and one
of 3.1.1 may. So a filter that another covers is left out. Filters that only overlap are subscribed
to by identifiers where MQTT 5 has them, and of the copies the one by the first filter is taken.
Nothing fails.

An identifier is made of its filter, so that what waited in a kept session is still known by it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from itertools import combinations, zip_longest
from typing import Final

from agent.config import MqttConfig

IDENTIFIER_MAX: Final = 268_435_455
"""MQTT 5.0, 3.8.2.1.2."""
_SHARED: Final = "$share"
_END: Final = "\0"
"""Stands for a level that is not there; no level is called so."""


def filters_of(config: MqttConfig) -> set[str]:
    """What is subscribed to."""
    filters = {topic.filter for topic in config.topics}
    if config.sparkplug is not None:
        filters.update(config.sparkplug.filters)
    needed = {one for one in filters if not any(_covers(two, one) for two in filters - {one})}
    shared = "" if config.share is None else f"{_SHARED}/{config.share}/"
    return {f"{shared}{one}" for one in needed}


def overlapping(filters: Collection[str]) -> list[str]:
    """Those of which one message may match several, sorted."""
    pairs = combinations(sorted(filters), 2)
    return sorted({one for pair in pairs if _overlap(*map(_bare, pair)) for one in pair})


def identifier(name: str) -> int:
    """The number of a filter's subscription, at least 1; two filters share one all but never."""
    return zlib.crc32(name.encode()) % IDENTIFIER_MAX + 1


def copies(topic: str, filters: Collection[str]) -> frozenset[int]:
    """The identifiers by which copies of a topic's messages come that are not to be taken.

    filters : those of `overlapping`
    """
    _, *others = [one for one in sorted(filters) if _covers(_bare(one), topic)] or [""]
    return frozenset(identifier(one) for one in others)


def _bare(name: str) -> str:
    """A filter without the group that shares it (MQTT 5.0, 4.8.2)."""
    return name.split("/", 2)[2] if name.startswith(f"{_SHARED}/") else name


def _covers(wide: str, narrow: str) -> bool:
    """Whether every topic of the narrow filter, which may be a topic, is one of the wide."""
    for one, two in zip_longest(wide.split("/"), narrow.split("/"), fillvalue=_END):
        if one == "#":
            return True
        if one != two and (one != "+" or two in ("#", _END)):
            return False
    return True


def _overlap(one: str, two: str) -> bool:
    """Whether there is a topic that both match."""
    for first, second in zip_longest(one.split("/"), two.split("/"), fillvalue=_END):
        if "#" in (first, second):
            return True
        if first != second and ("+" not in (first, second) or _END in (first, second)):
            return False
    return True
