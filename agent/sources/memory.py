"""A machine side in memory, for tests: it plays what it is fed, and can be told to fail.

Enters: batches and errors given to `feed`. Leaves: the batches, in order, each with an `Ack` that
is noted; an error is raised where it stands. Fails as told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from functools import partial

from agent.batch import Batch
from agent.errors import SourceUnreachable
from agent.sources import Ack, Packets

ITEMS_MAX = 100_000


class MemorySource:
    """Plays what it is fed; see `agent.sources.Source`.

    refusals : errors that the next connects raise, one each
    urgent : whether its acknowledgements are
    taken, acknowledged : how many batches were, the latter by their number from 0
    counts, lacks, regained : what `rejected`, `missed` and `recovered` answer
    remembered, remembered_ns : what `remember` was told
    applied, applies : what `apply` was given, and what it answers
    """

    def __init__(
        self, name: str = "memory", *, urgent: bool = False, redelivers: bool = False
    ) -> None:
        self._name = name
        self._items: asyncio.Queue[tuple[Batch, Packets | None] | Exception | None]
        self._items = asyncio.Queue(ITEMS_MAX)
        self.redelivers = redelivers
        self.redelivered = 0
        self.remembered: list[Packets] = []
        self.remembered_ns: int | None = None
        self.applied: list[tuple[object, ...]] = []
        self.applies = True
        self.urgent = urgent
        self.refusals: deque[Exception] = deque()
        self.counts: dict[str, int] = {}
        self.lacks: dict[str, int] = {}
        self.regained: dict[str, int] = {}
        self.connects = 0
        self.closes = 0
        self.taken = 0
        self.acknowledged: list[int] = []
        self._open = False

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    def feed(self, *items: Batch | Exception, packets: Packets | None = None) -> None:
        """Play these next; the batches came in these packets."""
        for item in items:
            self._items.put_nowait(item if isinstance(item, Exception) else (item, packets))

    def go_away(self) -> None:
        """Lose the connection once all that was fed has been played."""
        self.feed(SourceUnreachable(f"{self._name}: the connection is lost"))

    def remember(self, packets: Sequence[Packets], alive_ns: int = 0) -> None:
        """Note them."""
        self.remembered += packets
        self.remembered_ns = alive_ns

    async def apply(self, *change: object) -> bool:
        """Note it, and answer as told."""
        self.applied.append(change)
        return self.applies

    async def connect(self) -> None:
        """Connect, or fail as told."""
        self.connects += 1
        if self.refusals:
            raise self.refusals.popleft()
        self._open = True

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """What was fed, until it is closed."""
        while self._open:
            item = await self._items.get()
            if isinstance(item, Exception):
                raise item
            if item is not None:
                batch, packets = item
                number, self.taken = self.taken, self.taken + 1
                yield batch, Ack(partial(self.acknowledged.append, number), self.urgent, packets)

    def rejected(self) -> dict[str, int]:
        """As told."""
        return dict(self.counts)

    def missed(self) -> dict[str, int]:
        """As told."""
        return dict(self.lacks)

    def recovered(self) -> dict[str, int]:
        """As told."""
        return dict(self.regained)

    async def close(self) -> None:
        """End `batches`."""
        self.closes += 1
        if self._open:
            self._open = False
            self._items.put_nowait(None)
