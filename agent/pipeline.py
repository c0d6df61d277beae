"""The pipeline: from sources to the outbox, in the order things came.

Each source has a task that connects, reads and, when the connection is lost, tries again with
growing pauses. All put into one bounded queue; when it is full, sources wait. One task takes from
it, derives, and commits when the interval is over or a machine side holds back; acknowledgements
follow the commit. When the outbox cannot be written, nothing more is taken and the commit is
tried again: the machine sides hold back, and nothing that was taken is lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agent.batch import Batch
from agent.derive import Derive, Derived
from agent.errors import OutboxError, SourceError
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.lines.report import Reporter
from agent.outbox import Commit, Outbox
from agent.signals import Signal, SignalTable
from agent.sources import Ack, Source

log = logging.getLogger("andon.pipeline")

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 30.0
OUTAGE_GRACE_NS: Final = 5_000_000_000
"""A lost source's windows stay open this long, should it come back with what it kept."""
GATEWAY_EVERY_S: Final = 5.0
COMMIT_RETRY_S: Final = 1.0
STOP_READING_S: Final = 3.0
STOP_COMMIT_S: Final = 3.0
"""A stopping pipeline tries so long to commit; then what it took is the machine sides' again."""
LOOK_S: Final = 0.25
"""How often the worker looks up when nothing comes."""
TAKEN_MAX: Final = 256
"""Batches taken between two looks at the clock."""
SAY_EVERY_S: Final = 60.0

_CLOCKS: Final = {
    "late": "{} came after the window had closed, counted as late; does a machine's clock run "
    "behind?",
    "clock_ahead": "{} from the future, counted as clock_ahead; does a machine's clock run ahead, "
    "or the gateway's behind?",
}


class Forward(Protocol):
    """What the pipeline needs of a forwarder."""

    @property
    def lag_ms(self) -> float:
        """How long the oldest waiting line has been waiting."""

    @property
    def wake(self) -> threading.Event:
        """Set when there are new lines."""


@dataclass(slots=True)
class SourceState:
    """How a source is: connecting, connected, or waiting to try again, with the reason."""

    state: str = "connecting"
    reason: str = ""
    connected_ever: bool = False
    samples: int = 0


@dataclass(frozen=True, slots=True)
class _Lost:
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Read:
    source: str
    batch: Batch
    ack: Ack


class Pipeline:
    """Runs sources into one outbox; `publish` is told what each commit held, for `andon tail`."""

    def __init__(
        self,
        table: SignalTable,
        sources: Sequence[Source],
        derive: Derive,
        outbox: Outbox,
        forwarders: Sequence[Forward],
        reporter: Reporter,
        commit_interval_s: float,
        batches_max: int,
        publish: Callable[[Derived], None] = lambda derived: None,
    ) -> None:
        self.windows_made = 0
        self.states = {source.name: SourceState() for source in sources}
        self._table = table
        self._sources = sources
        self._derive = derive
        self._outbox = outbox
        self._forwarders = forwarders
        self._reporter = reporter
        self._interval_s = commit_interval_s
        self._publish = publish
        self._queue: asyncio.Queue[_Read | _Lost] = asyncio.Queue(batches_max)
        self._stopping = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        self._changed: dict[int, Signal] = {}
        self._acks: list[Ack] = []
        self._urgent = False
        self._rejected: dict[str, int] = {}
        self._lost: set[str] = set()
        self._gateway_due_s = 0.0
        self._first_commit = True
        self._said_s: dict[str, float] = {}
        self._warned = dict(derive.samples.filtered)
        self._stored: SampleLedger | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; then take what has been read, commit it, and let go of the sources."""
        readers = self._readers = [
            asyncio.create_task(self._read(source)) for source in self._sources
        ]
        worker = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([worker, stopped, *readers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            self._stopping.set()
            _, unfinished = await asyncio.wait(readers, timeout=STOP_READING_S)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            try:
                await worker
            finally:
                await asyncio.gather(*(_close(source) for source in self._sources))

    async def _read(self, source: Source) -> None:
        """Keep one source read until the pipeline stops."""
        state = self.states[source.name]
        retry_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                await source.connect()
                state.state, state.reason, state.connected_ever = "connected", "", True
                log.info("%s: connected", source.name)
                async for batch, ack in source.batches():
                    await self._queue.put(_Read(source.name, batch, ack))
                    state.samples += len(batch)
                    retry_s = RETRY_FIRST_S
                    if self._stopping.is_set():
                        return
                reason = "the connection ended"
            except SourceError as error:
                reason = f"{error} ({error.hint})" if error.hint else str(error)
            except Exception as error:  # a mistake of ours in one source must not stop the others
                reason = f"{type(error).__name__}: {error}"
                log.error("%s: unexpected: %s", source.name, reason, exc_info=error)
            if self._stopping.is_set():
                return
            await _close(source)
            if state.connected_ever or state.state == "waiting":
                await self._queue.put(_Lost(source.name, reason))
            state.state, state.reason = "waiting", reason
            pause_s = retry_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
            self._say(source.name, f"{reason}; next try in {pause_s:.1f} s")
            retry_s = min(2 * retry_s, RETRY_MAX_S)
            await self._pause(pause_s)

    async def _work(self) -> None:
        """Take, derive and commit until stopped and the queue is empty."""
        due_s = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(min(LOOK_S, max(0.0, due_s - time.monotonic()))):
                    self._take(await self._queue.get())
            except TimeoutError:
                pass
            taken = 1
            while taken < TAKEN_MAX and not self._queue.empty():
                self._take(self._queue.get_nowait())
                taken += 1
            all_read = all(reader.done() for reader in self._readers)
            last = self._stopping.is_set() and all_read and self._queue.empty()
            if last or self._urgent or time.monotonic() >= due_s:
                self._pass_time()
                if not await self._commit(last):
                    return
                due_s = time.monotonic() + self._interval_s
            if last:
                return

    def _take(self, item: _Read | _Lost) -> None:
        if isinstance(item, _Lost):
            self._lost.add(item.source)
            self._derive.lose(item.source, item.reason, time.time_ns())
            return
        self._lost.discard(item.source)
        self._derive.take(item.source, item.batch)
        self._acks.append(item.ack)
        self._urgent = self._urgent or item.ack.urgent

    def _pass_time(self) -> None:
        now_ns = time.time_ns()
        for source in self._lost:
            if now_ns - self._derive.alive_until_ns(source) > OUTAGE_GRACE_NS:
                self._derive.pass_time(source, now_ns)

    async def _commit(self, last: bool) -> bool:
        """Commit what was derived and acknowledge it; False where a stop came before it could."""
        if last:
            self._derive.pause()
        derived = self._derive.collect()
        self._count_rejected()
        self._warn_of_clocks()
        commit = Commit(
            lines=self._lines(derived),
            samples=self._derive.samples.copy(),
            signals=self._changed,
            checkpoint=self._checkpoint(last, changed=bool(derived.anomalies)),
        )
        if self._is_new(commit) and not await self._store(commit):
            log.error(
                "stopping with %d lines that could not be stored; what was not acknowledged is the "
                "machine sides' to send again", len(commit.lines),
            )  # fmt: skip
            return False
        acks, self._acks, self._urgent = self._acks, [], False
        for ack in acks:
            _call(ack)
        for forwarder in self._forwarders:
            forwarder.wake.set()
        self.windows_made += len(derived.windows)
        self._publish(derived)
        return True

    def _is_new(self, commit: Commit) -> bool:
        """Whether there is anything to store: an idle gateway spares its disk."""
        told = len(commit.lines) > 0 or bool(commit.signals) or commit.checkpoint is not None
        return told or commit.samples != self._stored

    async def _store(self, commit: Commit) -> bool:
        """Try until it is stored; once stopping, only for `STOP_COMMIT_S` more."""
        give_up_s = math.inf
        while not await self._committed(commit):
            if self._stopping.is_set():
                give_up_s = min(give_up_s, time.monotonic() + STOP_COMMIT_S)
                if time.monotonic() >= give_up_s:
                    return False
                await asyncio.sleep(STOP_COMMIT_S / 10)
            else:
                await self._pause(COMMIT_RETRY_S)
        self._stored = commit.samples
        return True

    async def _committed(self, commit: Commit) -> bool:
        try:
            await asyncio.to_thread(self._outbox.commit, commit)
        except OutboxError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self._say("outbox", f"{error}{hint}; nothing is lost, machine sides wait", loud=True)
            return False
        return True

    def _lines(self, derived: Derived) -> Lines:
        """The commit's lines; `self._changed` then holds the signals it must store."""
        now_ns = time.time_ns()
        ready: list[bytes] = []
        self._changed = self._table.take_changed()
        said = list(self._changed.values())
        if self._first_commit:
            ready += self._reporter.machines(now_ns)
            said = [signal for signal in self._table if signal.source]
        ready += self._reporter.signals(said, now_ns)
        ready += self._reporter.anomalies(derived.anomalies)
        if time.monotonic() >= self._gateway_due_s:
            self._gateway_due_s = time.monotonic() + GATEWAY_EVERY_S
            ready.append(self._gateway_line(now_ns))
        return Lines(derived.windows, derived.samples, derived.texts, tuple(ready))

    def _gateway_line(self, now_ns: int) -> bytes:
        lag_ms = max((forwarder.lag_ms for forwarder in self._forwarders), default=0.0)
        usage = self._outbox.usage()
        return self._reporter.gateway(self._outbox.ledger(), now_ns, usage.bytes, lag_ms)

    def _checkpoint(self, last: bool, changed: bool) -> bytes | None:
        """The whole state when stopping; before that only which anomalies are open.

        The first commit puts away the whole state of the start: soon it would be stale.
        """
        first, self._first_commit = self._first_commit, False
        if last or first or changed:
            return self._derive.checkpoint(kernels=last)
        return None

    def _count_rejected(self) -> None:
        """Messages that brought no sample were received all the same, and are filtered by cause."""
        for source in self._sources:
            for cause, count in source.rejected().items():
                key = f"{source.name}/{cause}"
                new = count - self._rejected.get(key, 0)
                self._rejected[key] = count
                if new:
                    self._derive.samples.received += new
                    self._derive.samples.filtered[cause] += new

    def _warn_of_clocks(self) -> None:
        """Samples that no window could take are counted; a person should know why."""
        filtered = self._derive.samples.filtered
        for cause, sentence in _CLOCKS.items():
            new = filtered[cause] - self._warned.get(cause, 0)
            samples = "1 sample" if new == 1 else f"{new:,} samples"
            if new and self._say(cause, sentence.format(samples)):
                self._warned[cause] = filtered[cause]

    def _say(self, subject: str, sentence: str, loud: bool = False) -> bool:
        """Say what is wrong, once a minute a subject; whether it was said."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(subject, -math.inf) < SAY_EVERY_S:
            return False
        self._said_s[subject] = now_s
        log.log(logging.ERROR if loud else logging.WARNING, "%s", sentence)
        return True

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


async def _close(source: Source) -> None:
    """Close a source; a mistake of ours in one must not stop the others."""
    try:
        await source.close()
    except Exception as error:
        log.error("%s: while closing: %s", source.name, error, exc_info=error)


def _call(ack: Ack) -> None:
    try:
        ack.call()
    except Exception as error:  # as above
        log.error("an acknowledgement failed: %s", error, exc_info=error)
