"""Looking up paths in a JSON document, taken apart by `agent.config`: () is the whole document."""

from __future__ import annotations

from typing import Any

from agent.sources.mqtt.payloads.reading import Unreadable

Steps = tuple[str | int, ...]
"""Fields of objects and places in arrays, from the document inwards."""


class Absent(Unreadable):
    """A path leads to nothing."""


def at(document: Any, path: Steps) -> Any:
    """What lies there. Raises Absent."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list):
                raise Absent(f"not an array with a place [{step}]")
            if step >= len(document):
                raise Absent(f"no place [{step}]")
        elif not isinstance(document, dict):
            raise Absent(f"not an object with a field {step!r}")
        elif step not in document:
            raise Absent(f"no field {step!r}")
        document = document[step]
    return document


def first_at(path: Steps, element: Any, document: Any) -> Any:
    """What lies there in the element, or else in the document around it. Raises Absent."""
    try:
        return at(element, path)
    except Absent:
        return at(document, path)
