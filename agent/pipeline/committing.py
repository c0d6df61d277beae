"""Committing: lines, counters and the journal in one commit, acknowledgements after it.

Enters: what was taken, and what the sources did. Leaves: commits, one at a time, in a thread beside
the event loop; then the acknowledgements of what they held. A commit that fails is tried again
with all that came since; its acknowledgements wait with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.batch import Batch
from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.outbox import STAGED_LINES_MAX, Commit, Outbox
from agent.pipeline.budget import WriteBudget
from agent.pipeline.journal import Call, Journal, Took
from agent.pipeline.keeping import Keeping, Tails
from agent.pipeline.recover import seal
from agent.sources import NO_ACK, Ack, Packets

log = logging.getLogger("andon.pipeline")

RETRY_S: Final = 1.0
WAIT_S: Final = 1.0
"""A commit that takes longer goes on beside the taking."""
ACKNOWLEDGED_EVERY_S: Final = 10.0
"""An idle gateway makes acknowledgements of far sides durable this often."""
UNCOMMITTED_MAX: Final = 2_000_000
"""Samples that may wait for a commit, about 60 MB; then sources are made to wait."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How a pipeline works.

    batches_max : batches that may wait before sources are made to wait
    commit_interval_s : how often to commit; None leaves it to the write budget
    write_bytes_per_day : what the disk may be asked to write
    journal : "auto", "always" or "never"
    """

    batches_max: int = 1000
    commit_interval_s: float | None = None
    write_bytes_per_day: float = 1.6e9
    journal: str = "auto"


@dataclass(slots=True)
class _Pending:
    """What waits for a commit, and what follows it."""

    journal: Journal = field(default_factory=Journal)
    samples: int = 0
    acks: list[Ack] = field(default_factory=list)
    urgent: bool = False
    staged: bool = False


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    pending: _Pending
    commit: Commit


class Committer:
    """Commits to one outbox; `wake` is called after each, `failed` with what went wrong."""

    def __init__(
        self,
        outbox: Outbox,
        settings: PipelineSettings,
        packets: Mapping[str, list[Packets]],
        *,
        wake: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        now_s = time.monotonic()
        self.budget = WriteBudget(settings.write_bytes_per_day, settings.commit_interval_s, now_s)
        self.keeping = Keeping(settings.journal, settings.write_bytes_per_day, now_s)
        self.tails = Tails(packets)
        self._outbox = outbox
        self._wake = wake
        self._failed = failed
        self._pending = _Pending()
        self._running: _Running | None = None
        self._stored: SampleLedger | None = None
        self._due_s = self._retry_at_s = self._acks_due_s = 0.0

    @property
    def is_running(self) -> bool:
        """Whether a commit is under way: what is staged now would join it without its samples."""
        return self._running is not None

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be taken until a commit succeeds."""
        return self._pending.samples >= UNCOMMITTED_MAX

    @property
    def is_clean(self) -> bool:
        """Whether the last commit succeeded and nothing waits for another."""
        pending = self._pending
        return self._running is None and not (pending.staged or pending.urgent or pending.acks)

    @property
    def due_s(self) -> float:
        """When the next commit is due, by the monotonic clock."""
        return self._retry_at_s if self._pending.urgent else max(self._due_s, self._retry_at_s)

    @property
    def is_due(self) -> bool:
        """Whether to commit now: it is time, somebody waits, or memory fills up."""
        now_s = time.monotonic()
        crowded = self._outbox.staged_lines > STAGED_LINES_MAX // 2
        return now_s >= self.due_s or (crowded and now_s >= self._retry_at_s)

    def took(self, source: str, batch: Batch, ack: Ack) -> None:
        """A batch was taken; its acknowledgement is owed."""
        self.note(source, Took(source, batch, ack.packets))
        self.keeping.count(source, len(batch))
        if ack.packets is not None:
            self.tails.add(source, ack.packets)
        self._pending.samples += len(batch)
        if ack is not NO_ACK:
            self._pending.acks.append(ack)
        if ack.urgent:
            self.hurry()

    def note(self, source: str, call: Call) -> None:
        """The kernels are told this of a source."""
        if source in self.keeping.journaled:
            self._pending.journal.add(call)

    def note_all(self, call: Call) -> None:
        """The kernels are told this, whatever is journaled."""
        self._pending.journal.add(call)

    def staged(self) -> None:
        """There are lines for the next commit."""
        self._pending.staged = True

    def hurry(self) -> None:
        """Somebody waits for the next commit."""
        self._pending.urgent = True

    async def committed(self, wait_s: float) -> bool:
        """Wait until all that was taken so far is committed; whether it is."""
        done = asyncio.Event()
        self._pending.acks.append(Ack(done.set))
        self.hurry()
        try:
            await asyncio.wait_for(done.wait(), wait_s)
        except TimeoutError:
            return False
        return True

    def checkpoint(self, state: Callable[[], bytes], *, last: bool = False) -> bytes | None:
        """A checkpoint, where one is due; `state` makes the kernels' part of it."""
        now_s = time.monotonic()
        if not (last or self._outbox.checkpoint_wanted or self.keeping.is_due(now_s)):
            return None
        self.keeping.decide(now_s)
        return seal(state(), self.tails)

    async def commit(self, samples: SampleLedger, checkpoint: bytes | None) -> None:
        """Begin a commit where there is anything new, and see it through unless it takes long."""
        now_s = time.monotonic()
        self._due_s = now_s + self.budget.interval_s
        if not self._is_new(samples, checkpoint, now_s):
            self._acknowledge(self._pending)
            return
        pending, self._pending = self._pending, _Pending()
        blob = pending.journal.pack() if checkpoint is None and pending.journal.calls else b""
        commit = Commit(samples=samples.copy(), journal=blob, checkpoint=checkpoint)
        task = asyncio.create_task(asyncio.to_thread(self._outbox.commit, commit))
        self._running = _Running(task, pending, commit)
        await self.settle(WAIT_S)

    async def settle(self, wait_s: float = 0.0) -> None:
        """See whether the commit that runs has ended, waiting for it for so long."""
        running = self._running
        if running is None:
            return
        await asyncio.wait([running.task], timeout=wait_s)
        if not running.task.done():
            return
        self._running = None
        error = running.task.exception()
        if error is None:
            self._follow(running)
            return
        if not isinstance(error, OutboxError):  # a mistake of ours must not stop the line
            log.error("unexpected, while committing: %r", error, exc_info=error)
        self._take_back(running)
        self._failed(error)

    def _is_new(self, samples: SampleLedger, checkpoint: bytes | None, now_s: float) -> bool:
        """Whether there is anything to store: an idle gateway spares its disk."""
        pending = self._pending
        if pending.staged or checkpoint is not None:
            return True
        return samples != self._stored or (self._outbox.dirty and now_s >= self._acks_due_s)

    def _take_back(self, failed: _Running) -> None:
        """What could not be committed waits for the next try, before what came since."""
        pending = failed.pending
        since, self._pending = self._pending, pending
        if failed.commit.checkpoint is not None:
            self.keeping.soon()
        for call in since.journal.calls:
            pending.journal.add(call)
        pending.samples += since.samples
        pending.acks += since.acks
        pending.urgent = pending.staged = True
        self._retry_at_s = time.monotonic() + RETRY_S

    def _follow(self, done: _Running) -> None:
        now_s = time.monotonic()
        self._stored = done.commit.samples
        self._acks_due_s = now_s + ACKNOWLEDGED_EVERY_S
        if done.commit.checkpoint is not None:
            self.keeping.took_checkpoint(len(done.commit.checkpoint), now_s)
        else:
            self.keeping.wrote(done.commit.journal, done.pending.journal.samples)
        self.budget.look(self._outbox.written_bytes, now_s)
        self._acknowledge(done.pending)
        self._wake()

    def _acknowledge(self, pending: _Pending) -> None:
        """Tell the machine sides that what they sent is safe."""
        acks, pending.acks, pending.urgent = pending.acks, [], False
        for ack in acks:
            _call(ack)


def _call(ack: Ack) -> None:
    try:
        ack.call()
    except Exception as error:  # a mistake of ours in one source must not stop the others
        log.error("an acknowledgement failed: %s", error, exc_info=error)
