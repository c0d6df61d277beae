"""Topics that belong together: which levels of them vary, and which are always the same.

Enters: topics, each with a key that says how its payloads are written and more. Leaves: families,
in which every level is text or varies, and all topics have the same key. Nothing fails.

A level varies where topics on both sides of it look alike: their names differ only in digits, or
they have the same signals below, or, where only the last level follows, payloads of the same key.
Else they stay apart, so that no pattern asks for more than was heard. Topics that would be the same
in a pattern but are written differently are never put together.

The families are in an order in which the first whose pattern matches a topic is its own: text
before what varies, level by level; that is how the configuration reads them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_DIGITS: Final = re.compile(r"\d+")
_ANY: Final = None
"""In place of a level's text: it varies."""

Levels = tuple[str, ...]
Pattern = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Topics of one pattern. levels : their text, None where they vary."""

    levels: Pattern
    topics: tuple[str, ...]


def families(keys: Mapping[str, Hashable]) -> list[Family]:
    """The families of topics, given with their keys."""
    by_depth: dict[int, list[Levels]] = {}
    for topic in sorted(keys):
        levels = tuple(topic.split("/"))
        by_depth.setdefault(len(levels), []).append(levels)
    numbered = {tuple(topic.split("/")): key for topic, key in keys.items()}
    found = [
        Family(pattern, tuple("/".join(levels) for levels in alike))
        for members in by_depth.values()
        for pattern, alike in _split(members, 0, numbered)
    ]
    return sorted(found, key=lambda family: _order(family.levels))


def _order(pattern: Pattern) -> tuple[object, ...]:
    return (len(pattern), *((level is _ANY, level or "") for level in pattern))


def _split(
    topics: Sequence[Levels], at: int, keys: Mapping[Levels, Hashable]
) -> Iterator[tuple[Pattern, Sequence[Levels]]]:
    """Patterns from level `at` on, of topics that agree before it."""
    if at == len(topics[0]):
        yield (), topics
        return
    by_name: dict[str, list[Levels]] = {}
    for levels in topics:
        by_name.setdefault(levels[at], []).append(levels)
    groups = _Groups(at, keys)
    for name, below in by_name.items():
        groups.add(name, below)
    varying = groups.largest()
    for group in groups.all:
        if group is varying:
            for pattern, members in _split(group.topics, at + 1, keys):
                yield (_ANY, *pattern), members
        else:
            for name in group.names:
                for pattern, members in _split(by_name[name], at + 1, keys):
                    yield (name, *pattern), members


@dataclass(slots=True)
class _Group:
    """Names of one level that are alike; keys by what stands below them."""

    names: list[str] = field(default_factory=list)
    topics: list[Levels] = field(default_factory=list)
    keys: dict[Levels, Hashable] = field(default_factory=dict)
    looks: set[Hashable] = field(default_factory=set)


class _Groups:
    """Groups of the names at a level; each name joins the first that is like it."""

    def __init__(self, at: int, keys: Mapping[Levels, Hashable]) -> None:
        self.all: list[_Group] = []
        self._at = at
        self._keys = keys

    def add(self, name: str, below: Sequence[Levels]) -> None:
        """Put a name, and the topics below it, where they belong."""
        keys = {levels[self._at + 1 :]: self._keys[levels] for levels in below}
        looks = self._looks(name, keys)
        for group in self.all:
            agrees = all(group.keys.get(tail, key) == key for tail, key in keys.items())
            if agrees and not looks.isdisjoint(group.looks):
                break
        else:
            group = _Group()
            self.all.append(group)
        group.names.append(name)
        group.topics += below
        group.keys |= keys
        group.looks |= looks

    def largest(self) -> _Group | None:
        """The one that becomes a level that varies: two of them would be the same pattern."""
        most = max(self.all, key=lambda group: len(group.names))
        return most if len(most.names) > 1 else None

    def _looks(self, name: str, keys: Mapping[Levels, Hashable]) -> set[Hashable]:
        """What a name has in common with those like it."""
        looks: set[Hashable] = {tail[-2:] for tail in keys} if () not in keys else set()
        if _DIGITS.search(name) and () not in keys:
            looks.add(_DIGITS.sub("0", name))
        if max(map(len, keys)) <= 1:
            looks |= {("key", key) for key in keys.values()}
        return looks
