"""Readers: one task for each source, which keeps it connected and puts what comes into one queue.

Enters: sources. Leaves, in the order things came: `Read`, `Lost` and, for a source that was let go,
`Drained`. When the queue is full, readers wait, and so do the machine sides; it is counted. A lost
connection is tried again after pauses that grow to `RETRY_MAX_S`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agent.batch import Batch
from agent.errors import SourceError, SourceRefused
from agent.sources import Ack, Source

log = logging.getLogger("andon.pipeline")

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 5.0
"""The end of an outage is noticed within this, and what connecting takes."""
STOP_READING_S: Final = 3.0


@dataclass(slots=True)
class SourceState:
    """How a source is: connecting, connected, or waiting to try again, with the reason.

    held_back : how often it had to wait because the queue was full
    """

    state: str = "connecting"
    reason: str = ""
    connected_ever: bool = False
    samples: int = 0
    held_back: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """A batch of a source."""

    source: str
    batch: Batch
    ack: Ack


@dataclass(frozen=True, slots=True)
class Lost:
    """A source's connection is lost."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """All that a source sent before it was let go has been taken once this is."""

    taken: asyncio.Event


Item = Read | Lost | Drained


@dataclass(slots=True)
class Counts:
    """What sources counted beside their batches, by cause; see `Source`."""

    rejected: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rejected + other.rejected,
            self.missed + other.missed,
            self.recovered + other.recovered,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.rejected - other.rejected,
            self.missed - other.missed,
            self.recovered - other.recovered,
        )


@dataclass(slots=True)
class _Reader:
    source: Source
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    counted: Counts = field(default_factory=Counts)
    refused: bool = False

    def take_counts(self) -> Counts:
        """What the source counted since the last call."""
        source = self.source
        now = Counts(
            Counter(source.rejected()), Counter(source.missed()), Counter(source.recovered())
        )
        new, self.counted = now - self.counted, now
        return new


class Readers:
    """The readers of one pipeline; `say` (of a `Teller`) speaks once a minute a subject."""

    def __init__(self, queue: asyncio.Queue[Item], say: Callable[..., object]) -> None:
        self.states: dict[str, SourceState] = {}
        self._queue = queue
        self._say = say
        self._readers: dict[str, _Reader] = {}
        self._counts = Counts()

    @property
    def all_done(self) -> bool:
        """Whether no reader runs any more."""
        tasks = [reader.task for reader in self._readers.values()]
        return all(task is not None and task.done() for task in tasks)

    def add(self, source: Source) -> None:
        """Keep this source read from now on."""
        assert source.name not in self._readers, f"{source.name} is read already"
        self.states[source.name] = SourceState()
        self._readers[source.name] = reader = _Reader(source)
        reader.task = asyncio.create_task(self._read(reader), name=f"read-{source.name}")

    async def remove(self, name: str) -> None:
        """Let go of a source; returns once all that it sent has been taken."""
        reader = self._readers[name]
        await self._end(reader)
        self._counts += reader.take_counts()
        del self._readers[name], self.states[name]
        await self.drained()

    async def drained(self) -> None:
        """Returns once all that was read so far has been taken."""
        drained = Drained(asyncio.Event())
        await self._queue.put(drained)
        await drained.taken.wait()

    def take_counts(self) -> Counts:
        """What all sources counted since the last call."""
        new, self._counts = self._counts, Counts()
        for reader in self._readers.values():
            new += reader.take_counts()
        return new

    async def stop(self) -> None:
        """End all readers; what they put stays in the queue. Sources stay open."""
        readers = list(self._readers.values())
        for reader in readers:
            reader.stopping.set()
        tasks = [reader.task for reader in readers if reader.task is not None]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=STOP_READING_S)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Let go of all sources."""
        await asyncio.gather(*(_close(reader.source) for reader in self._readers.values()))

    async def _end(self, reader: _Reader) -> None:
        reader.stopping.set()
        await _close(reader.source)
        assert reader.task is not None
        _, unfinished = await asyncio.wait([reader.task], timeout=STOP_READING_S)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)

    async def _read(self, reader: _Reader) -> None:
        """Keep one source read until it is let go."""
        source, state = reader.source, self.states[reader.source.name]
        retry_s = RETRY_FIRST_S
        while not reader.stopping.is_set():
            samples = state.samples
            reason = await self._read_once(reader, state)
            if reader.stopping.is_set():
                return
            if state.samples > samples:
                retry_s = RETRY_FIRST_S
            await _close(source)
            if state.connected_ever or state.state == "waiting":
                await self._queue.put(Lost(source.name, reason))
            state.state, state.reason = "waiting", reason
            pause_s = retry_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
            sentence = f"{reason}; next try in {pause_s:.1f} s"
            self._say(source.name, sentence, loud=reader.refused)  # then somebody must come
            retry_s = min(2 * retry_s, RETRY_MAX_S)
            await pause(pause_s, reader.stopping)

    async def _read_once(self, reader: _Reader, state: SourceState) -> str:
        """Read until the connection is lost: why it was."""
        source = reader.source
        try:
            await source.connect()
            state.state, state.reason, state.connected_ever = "connected", "", True
            log.info("%s: connected", source.name)
            async for batch, ack in source.batches():
                state.held_back += self._queue.full()
                await self._queue.put(Read(source.name, batch, ack))
                state.samples += len(batch)
                if reader.stopping.is_set():
                    return ""
        except SourceError as error:
            reader.refused = isinstance(error, SourceRefused)
            return f"{error} ({error.hint})" if error.hint else str(error)
        except Exception as error:  # a mistake of ours in one source must not stop the others
            reader.refused = False
            log.error("%s: unexpected: %r", source.name, error, exc_info=error)
            return f"{type(error).__name__}: {error}"
        return "the connection ended"


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait, but not longer than until the stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


async def _close(source: Source) -> None:
    """Close a source; a mistake of ours in one must not stop the others."""
    try:
        await source.close()
    except Exception as error:
        log.error("%s: while closing: %s", source.name, error, exc_info=error)
