"""Waiting for what was on its way when signals were removed.

Once the machine side has confirmed that it sends no more of them, what it had sent before waits to
be read. A removal is over when that has been read, or after `DRAIN_S`: a pipeline that cannot
commit holds its sources back, and a change must not wait for a disk.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

DRAIN_S: Final = 3.0


class Taken:
    """How many things were taken from a queue; others may wait for a number to be reached."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Event()

    def add(self, count: int) -> None:
        """So many more were taken."""
        self.count += count
        self._news.set()

    async def reach(self, count: int) -> None:
        """Return once so many were taken in all, or at the deadline."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self.count < count:
                    self._news.clear()
                    await self._news.wait()
