"""The pipeline: from sources to the outbox, in the order things came.

Readers put what their sources read into one bounded queue; when it is full, sources wait. One task
takes from it and derives. What was derived is staged at once, so that it can be sent from memory,
and committed when the interval is over, a machine side holds back or an anomaly was noticed.
Acknowledgements to the machine sides follow the commit.

When the outbox cannot be written, samples are taken and lines are sent all the same, until
`committing.UNCOMMITTED_MAX` samples wait for the commit; then nothing more is taken and the machine
sides hold back. The commit is tried again all the while, and nothing that was taken is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from agent.derive import Derive, Derived
from agent.derive.machine_states import MachineState
from agent.detect.anomaly import Anomaly
from agent.errors import OutboxError
from agent.lines import Lines
from agent.lines.report import Reporter
from agent.outbox import Outbox
from agent.pipeline import journal
from agent.pipeline.clock import Clock
from agent.pipeline.committing import Committer, PipelineSettings
from agent.pipeline.readers import Drained, Item, Lost, Read, Readers, SourceState
from agent.pipeline.telling import Forward, Teller
from agent.signals import Signal, SignalTable
from agent.sources import Packets, Source

__all__ = ["Clock", "Forward", "Pipeline", "PipelineSettings", "SourceState"]

log = logging.getLogger("andon.pipeline")

OUTAGE_GRACE_NS: Final = 5_000_000_000
"""A lost source's windows stay open this long, should it come back with what it kept."""
STOP_COMMIT_S: Final = 3.0
"""A stopping pipeline tries so long to commit; then what it took is the machine sides' again."""
STOP_RUNNING_S: Final = 20.0
"""It waits so long for a commit that is under way: on a slow disk it may only take its time."""
REMOVE_COMMIT_S: Final = 5.0
"""A source that is let go waits so long for the commit of what it sent."""
LOOK_S: Final = 0.25
"""How often the worker looks up when nothing comes."""
DEFAULTS: Final = PipelineSettings()
STAGE_EVERY_S: Final = 0.05
"""How often what was derived is offered to the forwarders."""
TAKEN_MAX: Final = 256
"""Batches taken between two looks at the clock."""


class Pipeline:
    """Runs sources into one outbox; `publish` is told what is derived, for `andon tail`.

    packets : what came before a restart, by source (`recover`)
    """

    def __init__(
        self,
        table: SignalTable,
        sources: Sequence[Source],
        derive: Derive,
        outbox: Outbox,
        forwarders: Sequence[Forward],
        reporter: Reporter,
        settings: PipelineSettings = DEFAULTS,
        *,
        clock: Clock | None = None,
        packets: Mapping[str, list[Packets]] | None = None,
        publish: Callable[[Derived], None] = lambda derived: None,
    ) -> None:
        self.windows_made = 0
        self._table = table
        self._sources = sources
        self._derive = derive
        self._outbox = outbox
        self._clock = clock or Clock()
        self._publish = publish
        self._teller = Teller(reporter, table, outbox, forwarders, self._clock, derive.samples)
        self._committer = Committer(
            outbox, settings, packets or {}, wake=self._teller.wake, failed=self._say_failed
        )
        self._queue: asyncio.Queue[Item] = asyncio.Queue(settings.batches_max)
        self._readers = Readers(self._queue, self._teller.say)
        self._stopping = asyncio.Event()
        self._anomalies: list[Anomaly] = []
        self._machine_states: list[MachineState] = []
        self._untold: list[Signal] = []
        self._lost: set[str] = set()
        self._stage_due_s = 0.0

    @property
    def states(self) -> dict[str, SourceState]:
        """How each source is."""
        return self._readers.states

    @property
    def gb_per_day(self) -> float:
        """What the disk is asked to write at the present rate, in 10^9 bytes a day."""
        return self._committer.budget.gb_per_day

    @property
    def commit_interval_s(self) -> float:
        """How often it commits at present."""
        return self._committer.budget.interval_s

    @property
    def journaled(self) -> set[str]:
        """The sources whose samples are journaled."""
        return self._committer.keeping.journaled

    def use(self, reporter: Reporter, forwarders: Sequence[Forward]) -> None:
        """From now on tell this, and wake these; all that is known is told once more."""
        self._teller.reporter, self._teller.forwarders = reporter, forwarders
        self._teller.announce = True

    def add(self, source: Source) -> None:
        """Read this source too."""
        packets = self._committer.tails.packets.get(source.name, [])
        source.remember(packets, self._derive.alive_until_ns(source.name))
        self._committer.keeping.add(source.name, source.redelivers)
        self._readers.add(source)

    async def remove(self, name: str, lost: str = "") -> None:
        """Let go of a source; returns when all that it sent has been derived and committed.

        lost : why nothing is known of its signals until one of its name is read; "" where none
        will be

        Its packets are remembered for a source of the same name, which takes them for committed.
        """
        await self._readers.remove(name)
        if lost:
            self._take(Lost(name, lost))
        else:
            self._lost.discard(name)
        while not await self._committer.committed(REMOVE_COMMIT_S):
            self._teller.say(f"remove {name}", f"{name}: waits for the outbox before it is let go")
        self._committer.keeping.remove(name)

    async def drained(self) -> None:
        """Returns when all that sources have sent so far has been derived."""
        await self._readers.drained()

    def checkpoint_soon(self) -> None:
        """Take a checkpoint with the next commit: how signals are derived has changed."""
        self._committer.keeping.soon()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; then take what has been read, commit it, and let go of the sources."""
        for source in self._sources:
            self.add(source)
        worker = asyncio.create_task(self._work(), name="pipeline")
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([worker, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            self._stopping.set()
            await self._readers.stop()
            try:
                await worker
            finally:
                await self._readers.close()

    async def _work(self) -> None:
        """Take, derive, stage and commit until stopped and the queue is empty."""
        while not self._is_over():
            if self._committer.is_full:
                await asyncio.sleep(LOOK_S)
            else:
                await self._take_some()
            await self._keep_up()
        await self._finish()

    def _is_over(self) -> bool:
        """Whether all that was read before the stop is taken, or cannot be."""
        if not (self._stopping.is_set() and self._readers.all_done):
            return False
        return self._queue.empty() or self._committer.is_full

    async def _take_some(self) -> None:
        """Take what waits; wait for it, but not longer than until something is due."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s()):
                self._take(await self._queue.get())
        for _ in range(min(TAKEN_MAX, self._queue.qsize())):
            self._take(self._queue.get_nowait())

    def _wait_s(self) -> float:
        if self._committer.is_running:
            return STAGE_EVERY_S
        stage_due_s = self._stage_due_s if self._derive.has_made else math.inf
        wait_s = min(self._committer.due_s, stage_due_s) - time.monotonic()
        return min(max(wait_s, 0.0), LOOK_S)

    async def _keep_up(self) -> None:
        """Stage and commit what is due; while a commit runs, what is derived waits for the next."""
        await self._committer.settle()
        if self._committer.is_running:
            return
        if self._committer.is_due:
            self._pass_time()
            await self._commit()
        elif self._derive.has_made and time.monotonic() >= self._stage_due_s:
            self._stage()

    def _take(self, item: Item) -> None:
        match item:
            case Drained():
                item.taken.set()
            case Lost():
                now_ns = self._clock.now_ns()
                self._lost.add(item.source)
                self._committer.note(item.source, journal.Lost(item.source, item.reason, now_ns))
                self._derive.lose(item.source, item.reason, now_ns)
            case Read():
                self._lost.discard(item.source)
                self._committer.took(item.source, item.batch, item.ack)
                self._derive.take(item.source, item.batch)

    def _pass_time(self) -> None:
        now_ns = self._clock.now_ns()
        for source in self._lost:
            if now_ns - self._derive.alive_until_ns(source) > OUTAGE_GRACE_NS:
                self._committer.note(source, journal.Passed(source, now_ns))
                self._derive.pass_time(source, now_ns)

    def _stage(self) -> None:
        """Number what was derived and offer it to the forwarders."""
        self._stage_due_s = time.monotonic() + STAGE_EVERY_S
        derived = self._derive.collect()
        self._anomalies += derived.anomalies
        self._machine_states += derived.states
        if derived.anomalies:
            self._committer.hurry()
        lines = Lines(derived.windows, derived.samples, derived.texts)
        if len(lines):
            self._outbox.stage(lines, self._changed(), early=True)
            self._committer.staged()
            self._teller.wake()
        self.windows_made += len(derived.windows)
        self._publish(derived)

    def _changed(self) -> dict[int, Signal]:
        """Signals that the outbox must know before their lines; they are told with the commit."""
        changed = self._table.take_changed()
        self._untold += changed.values()
        return changed

    async def _commit(self, *, last: bool = False) -> None:
        """Commit all that was derived; revisions and what is told may be sent only after it."""
        self._count_told()
        self._stage()
        if self._derive.take_reconfigured():
            self.checkpoint_soon()
        if self._committer.keeping.journaled:
            self._committer.note_all(journal.Revised())
        self._note_unjournaled()
        revised, changed = self._derive.revise(), self._changed()
        ready = self._teller.lines(self._untold, self._anomalies, self._machine_states)
        self._untold, self._anomalies, self._machine_states = [], [], []
        if len(revised) or ready or changed:
            self._outbox.stage(Lines(revised, ready=ready), changed, early=False)
            self._committer.staged()
        self._teller.warn_of_clocks(self._derive.samples)
        self._teller.warn_of_disk(self._committer.budget)
        checkpoint = self._committer.checkpoint(lambda: self._state(last), last=last)
        await self._committer.commit(self._derive.samples, checkpoint)

    def _state(self, last: bool) -> bytes:
        return self._derive.checkpoint(clean=last, journaled=self.journaled)

    def _note_unjournaled(self) -> None:
        """What a crash would forget of sources whose samples are not journaled."""
        others = self.states.keys() - self.journaled
        if others:
            vouched = {name: self._derive.alive_until_ns(name) for name in sorted(others)}
            self._committer.note_all(journal.Vouched(vouched))
        if self._anomalies or self._machine_states:
            opened = journal.Opened(
                [
                    asdict(one)
                    for one in self._derive.open_anomalies()
                    if self._is_other(one.signal)
                ],
                [asdict(one) for one in self._derive.open_states() if self._is_other(one.signal)],
            )
            if others or opened.anomalies or opened.states:
                self._committer.note_all(opened)

    def _is_other(self, signal: int) -> bool:
        return self._table[signal].source not in self.journaled

    async def _finish(self) -> None:
        """The last commit, with a checkpoint that says that the stop was clean."""
        await self._committer.settle(STOP_RUNNING_S)
        self._derive.pause()
        deadline_s = time.monotonic() + STOP_COMMIT_S
        while not self._committer.is_running:
            await self._commit(last=True)
            await self._committer.settle(STOP_RUNNING_S)
            if self._committer.is_clean or time.monotonic() >= deadline_s:
                break
            await asyncio.sleep(STOP_COMMIT_S / 10)
        if not self._committer.is_clean:
            log.error(
                "stopping with lines that could not be stored; what was not acknowledged is the "
                "machine sides' to send again"
            )

    def _count_told(self) -> None:
        """What sources counted beside their batches.

        Messages that brought no sample were received all the same, and are filtered by cause.
        """
        new, samples = self._readers.take_counts(), self._derive.samples
        samples.received += new.rejected.total()
        samples.filtered.update(new.rejected)
        samples.missed.update(new.missed)
        samples.recovered.update(new.recovered)

    def _say_failed(self, error: BaseException) -> None:
        hint = f" ({error.hint})" if isinstance(error, OutboxError) and error.hint else ""
        self._teller.say("outbox", f"{error}{hint}; it is tried again, nothing is lost", loud=True)
