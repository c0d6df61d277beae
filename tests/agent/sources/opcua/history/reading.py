"""Reads histories, as the tests want them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any

from agent.signals import Kind
from agent.sources.opcua.history import Filler, Span
from agent.sources.opcua.wire import Decoder, Items

DEADLINE_S = 60.0
Read = dict[int, list[tuple[int, Any, int]]]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, DEADLINE_S))


def decoder_of(count: int, kind: Kind = "analog") -> Decoder:
    decoder = Decoder()
    decoder.add([kind] * count)
    return decoder


def told(pages: Sequence[Items]) -> Read:
    """(time, value, status) by handle, as it came."""
    found: Read = {}
    for page in pages:
        columns = (page.handle.tolist(), page.time_ns.tolist(), page.value.tolist())
        for handle, at, value, status in zip(*columns, page.status.tolist(), strict=True):
            said = page.texts[int(value)] if page.texts and not math.isnan(value) else value
            found.setdefault(handle, []).append((at, said, status))
    return found


async def filled(server: Any, spans: Sequence[Span], filler: Filler | None = None) -> Read:
    """All that is told of these spans, whose handles are numbered from 0."""
    filler = filler or Filler(server, decoder_of(len(spans)))
    return told([items async for items in filler.fill(spans)])
