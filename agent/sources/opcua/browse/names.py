"""Names of signals: short, legal, and no two alike on one machine.

Enters: the path of BrowseNames that leads to each variable, in the way people write names
(`plain`). Leaves: for each the shortest end of its path that no other has: `Spindle_1/ActualSpeed`
is `actual_speed`, or `spindle_1.actual_speed` where there is a second one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.config.fields import NAME_CHARS_MAX
from agent.signals import MACHINE_SIGNAL
from agent.sources.words import words

_HOLLOW = frozenset({"current_state", "value", "current_value"})
"""Names that say nothing without the one above them."""


def plain(name: str) -> str:
    """A BrowseName in lower case with underscores."""
    return "_".join(words(name)) or "unnamed"


def legal(name: str) -> str:
    """A machine's name: as the server has it, without what a name must not have."""
    kept = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    return kept[:NAME_CHARS_MAX].strip() or "machine"


def unique(paths: Sequence[Sequence[str]]) -> list[str]:
    """A name for each path; each has at least one part, and none is like another."""
    depths = [min(len(path), 2 if path[-1] in _HOLLOW else 1) for path in paths]
    names = [_name(path, depth) for path, depth in zip(paths, depths, strict=True)]
    while True:
        alike = Counter(names)
        deeper = [
            i for i, name in enumerate(names) if alike[name] > 1 and depths[i] < len(paths[i])
        ]
        if not deeper:
            return _numbered(names)
        for index in deeper:
            depths[index] += 1
            names[index] = _name(paths[index], depths[index])


def _name(path: Sequence[str], depth: int) -> str:
    parts = list(path[-depth:])
    if len(parts) > 1 and parts[-1] in _HOLLOW:
        parts.pop()
    return ".".join(parts)[-NAME_CHARS_MAX:].lstrip("._")


def _numbered(names: Sequence[str]) -> list[str]:
    """The same names, with numbers where some are still alike."""
    taken = {MACHINE_SIGNAL}
    result = []
    for name in names:
        free, number = name, 2
        while free in taken:
            ending = f"_{number}"
            free, number = name[: NAME_CHARS_MAX - len(ending)] + ending, number + 1
        taken.add(free)
        result.append(free)
    return result
