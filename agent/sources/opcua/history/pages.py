"""Pages: what an answer holds of one signal, as columns, and several signals' pages as one.

A page is brought into the order of time; what lies outside its span, bounds that are no samples,
and what the page before has said already are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from asyncua import ua

from agent.batch import Float64
from agent.sources.opcua.wire import Items

_NO_BOUND: Final = int(ua.StatusCodes.BadBoundNotFound)
_NO_BOUNDS: Final = int(ua.StatusCodes.BadBoundNotSupported)

Rows = npt.NDArray[Any]
Key = tuple[int, str | bytes]
"""Status and value of a sample, bit by bit."""


@dataclass(frozen=True, slots=True)
class Span:
    """A signal's outage: open at `after_ns`, whose sample is known; closed at `until_ns`."""

    handle: int
    node: ua.NodeId
    after_ns: int
    until_ns: int


@dataclass(slots=True)
class Course:
    """How far the reading of one span has come.

    window : the times asked for; those of a continuation point must stay
    seen_ns : the newest time that the server has told, inside the span or not
    last_ns, tail : the newest samples of the span; a server may say them again at the head of the
        next page
    idle : pages without anything new, one after the other
    """

    span: Span
    window: tuple[int, int]
    point: bytes = b""
    seen_ns: int = 0
    last_ns: int = 0
    tail: list[Key] = field(default_factory=list)
    idle: int = 0


def fresh(course: Course, page: Items) -> Items:
    """What of a page is new, in order of time; the course goes on from its newest samples."""
    items = _in_order(page)
    newest_ns = int(items.time_ns[-1]) if len(items) else 0
    seen_ns, course.seen_ns = course.seen_ns, max(course.seen_ns, newest_ns)
    inside = (items.time_ns > course.span.after_ns) & (items.time_ns <= course.span.until_ns)
    inside &= (items.status != _NO_BOUND) & (items.status != _NO_BOUNDS)
    inside &= items.time_ns >= course.last_ns
    items = _where(items, inside)
    if course.tail:
        head = _keys(items, np.flatnonzero(items.time_ns == course.last_ns))
        if head[: len(course.tail)] == course.tail:
            items = _where(items, np.arange(len(items)) >= len(course.tail))
    if len(items):
        newest_ns = int(items.time_ns[-1])
        tail = _keys(items, np.flatnonzero(items.time_ns == newest_ns))
        course.tail = course.tail + tail if newest_ns == course.last_ns else tail
        course.last_ns = newest_ns
    course.idle = 0 if len(items) or course.seen_ns > seen_ns else course.idle + 1
    return items


def joined(pages: Sequence[Items]) -> Items | None:
    """Pages of several signals as one; each page is of one signal."""
    if len(pages) < 2:
        return pages[0] if pages else None
    values: list[Float64] = []
    texts: list[str] = []
    waveforms: list[tuple[int, Float64]] = []
    row = 0
    for page in pages:
        values.append(page.value + len(texts) if page.texts else page.value)
        waveforms += [(row + at, block) for at, block in page.waveforms]
        texts += page.texts
        row += len(page)
    return Items(
        np.concatenate([page.handle for page in pages]),
        np.concatenate([page.time_ns for page in pages]),
        np.concatenate(values),
        np.concatenate([page.status for page in pages]),
        tuple(texts),
        tuple(waveforms),
        *(
            sum(getattr(page, name) for page in pages)
            for name in ("overflowed", "fallbacks", "inexact", "strangers", "timeless")
        ),
    )


def _keys(items: Items, rows: Rows) -> list[Key]:
    """What makes samples of one time the same."""
    values, statuses = items.value[rows], items.status[rows].tolist()
    if items.texts:
        said = ["" if math.isnan(value) else items.texts[int(value)] for value in values.tolist()]
        return list(zip(statuses, said, strict=True))
    return list(zip(statuses, (value.tobytes() for value in values), strict=True))


def _in_order(items: Items) -> Items:
    if (items.time_ns[1:] >= items.time_ns[:-1]).all():
        return items
    return _rows(items, np.argsort(items.time_ns, kind="stable"))


def _where(items: Items, kept: npt.NDArray[np.bool_]) -> Items:
    return items if kept.all() else _rows(items, np.flatnonzero(kept))


def _rows(items: Items, rows: Rows) -> Items:
    places = {int(row): place for place, row in enumerate(rows)} if items.waveforms else {}
    return replace(
        items, handle=items.handle[rows], time_ns=items.time_ns[rows], value=items.value[rows],
        status=items.status[rows],
        waveforms=tuple(
            sorted((places[row], block) for row, block in items.waveforms if row in places)
        ),
    )  # fmt: skip
