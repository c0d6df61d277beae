"""The outbox on disk: one SQLite file in WAL mode, one writer.

Enters: staged lines and commits. Leaves: packets of line protocol, and the ledger.

- Lines wait in memory for their commit (`staging.py`), young ones are sent from there. Who has
  what is counted in memory too (`book.py`) and written with each commit, all in one transaction
  that returns after fsync: kill or power cut leave the last commit. What was acknowledged since is
  sent again, which changes nothing.
- Pieces that every sink has when their commit comes are not written at all.
- After a crash the ids that may have been sent before their commit are skipped.
- A block that cannot be read is dropped as `damaged`; a file that SQLite cannot read is set aside
  and named, never deleted: at open for a new outbox, while running for a new file of the same.

Limits: `bytes_max`, `age_max_ns`, what the disk has (`room.py`), `staged_lines_max` in memory. What
does not fit goes in the order of `LineClass`, the oldest first, counted by cause.
What can fail: the disk (OutboxError, nothing half-written), a second agent on the same file.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from agent.ledger import Ledger
from agent.lines import Lines, Packet
from agent.lines.encode import Encoder, join
from agent.outbox import (
    AGE_MAX_NS,
    BYTES_MAX,
    DEAD_LETTERS_MAX,
    STAGED_LINES_MAX,
    Commit,
    DeadLetter,
    LineClass,
    Usage,
)
from agent.outbox.intervals import END, Interval, Intervals
from agent.outbox.pieces import split
from agent.outbox.sql import is_damaged, sqlite_errors
from agent.outbox.sqlite.blocks import BlockDamagedError
from agent.outbox.sqlite.book import Sink
from agent.outbox.sqlite.commit import Committer
from agent.outbox.sqlite.file import File
from agent.outbox.sqlite.lock import FileLock
from agent.outbox.sqlite.order import Cut, next_cuts
from agent.outbox.sqlite.room import RESERVE_BYTES
from agent.outbox.sqlite.staging import Staging
from agent.outbox.sqlite.store import Limits, Store
from agent.signals import Signal

log = logging.getLogger("andon.outbox")

PACKET_TRIES_MAX: Final = 100
"""Blocks that cannot be read which one call of `packet` steps over."""


def open_outbox(
    path: str | Path,
    sinks: Sequence[str],
    *,
    bytes_max: int = BYTES_MAX,
    age_max_ns: int = AGE_MAX_NS,
    reserve_bytes: int = RESERVE_BYTES,
    dead_letters_max: int = DEAD_LETTERS_MAX,
    staged_lines_max: int = STAGED_LINES_MAX,
    now_ns: Callable[[], int] = time.time_ns,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
) -> SqliteOutbox:
    """Open the outbox for writing, new where there is none.

    Sinks that are new start with what is still stored; stored ones not named here are forgotten.
    What is made from here on is no older than `monotonic_ns` says, however `now_ns` is set.
    Raises OutboxError: in use by another agent, no right to write, or written by a newer version.
    """
    path = Path(path)
    limits = Limits(bytes_max, age_max_ns, reserve_bytes, dead_letters_max, staged_lines_max)
    with ExitStack() as opened, sqlite_errors(path, "open"):
        lock = FileLock(path)
        opened.callback(lock.release)
        store = Store(path, limits, now_ns)
        opened.callback(store.close)
        outbox = SqliteOutbox(store, lock, now_ns, monotonic_ns)
        outbox.use_sinks(sinks)
        outbox.commit(Commit(store.samples))
        opened.pop_all()
        return outbox


class SqliteOutbox:
    """The outbox file opened for writing; made by `open_outbox`."""

    def __init__(
        self,
        store: Store,
        lock: FileLock,
        now_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._file_lock = lock
        self._now_ns = now_ns
        self._book = store.book
        self._lock = threading.RLock()
        self._committing = threading.Lock()
        self._staging = Staging(store.book, store.limits.staged_lines_max)
        self._committer = Committer(store, self._staging, self._lock, now_ns, monotonic_ns)
        self._encoder = Encoder(store.signals)

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life."""
        return self._store.file.uuid

    @property
    def dirty(self) -> bool:
        """Whether there is something that only the next commit makes durable."""
        return self._committer.changed

    @property
    def staged_lines(self) -> int:
        """Lines in memory that no commit has made durable."""
        with self._lock:
            return self._staging.lines

    @property
    def written_bytes(self) -> int:
        """Bytes this outbox has caused to be written to the disk since it was opened."""
        return self._store.written_bytes

    @property
    def checkpoint_wanted(self) -> bool:
        """Whether the journal was lost with a damaged file, and a checkpoint must come first."""
        return self._committer.checkpoint_wanted

    def signals(self) -> dict[int, Signal]:
        """All signals ever staged, by id."""
        with self._lock:
            return dict(self._store.signals)

    def checkpoint(self) -> bytes:
        """The stored state to restart from, b"" when there is none, or none that can be read."""
        return b"".join(self._blobs("checkpoint"))

    def journal(self) -> list[bytes]:
        """What was committed to the journal since the checkpoint; b"" where that is damaged."""
        if b"" in self._blobs("checkpoint"):
            return [b""]  # it cannot be played on nothing
        return self._blobs("journal")

    def stage(
        self, lines: Lines, signals: Mapping[int, Signal] = MappingProxyType({}), *, early: bool
    ) -> None:
        """Number these lines; they become durable with the next commit."""
        with self._lock:
            self._encoder.learn(signals)
            self._committer.signals |= signals
            self._store.signals |= signals
            pieces = list(split(lines, self._book.next_id, self._now_ns(), early=early))
            for piece in pieces:
                self._staging.add(piece)
            keep = [(p.first, p.last) for p in pieces if p.line_class is LineClass.KEEP]
            self._book.made(len(lines), keep)
            shed = self._staging.shed()
            self._committer.changed |= bool(len(lines) or signals)
        self._committer.say("overload", shed, "no commit has taken them; is the disk too slow?")

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none; returns after fsync. Raises OutboxError."""
        with self._committing, sqlite_errors(self.path, "write"):
            self._committer.run(commit)

    def packet(self, sink: str, lines_max: int, *, live: bool) -> Packet | None:
        """The next lines for this sink."""
        for _ in range(PACKET_TRIES_MAX):
            with self._lock:
                mine = self._book.sinks[sink]
                made_ns, parts, cuts = self._next(mine, lines_max, live=live)
                void = self._book.voids(mine)
            if cuts:
                parts = self._load(mine, cuts)
            if parts:
                body, offsets = join([self._encoder.encode(part) for part in parts])
                return Packet(tuple(mine.in_flight), body, offsets, made_ns, void)
            if not cuts:
                return None
        return None

    def acknowledge(
        self,
        sink: str,
        first: int,
        last: int,
        dead: Sequence[DeadLetter] = (),
        void: Sequence[Interval] = (),
        withheld: int = 0,
    ) -> None:
        """The sink is done with lines first..last; those in `dead` it rejected."""
        with self._lock:
            book = self._book
            if sink not in book.sinks or not 0 < first <= last < book.next_id:
                made = book.next_id - 1
                raise ValueError(f"{sink!r} acknowledges lines {first}-{last}; {made} were made")
            letters = book.acknowledge(book.sinks[sink], first, last, dead, void, withheld)
            kept = self._committer.dead + [(sink, letter) for letter in letters]
            self._committer.dead = kept[-self._store.limits.dead_letters_max :]
            self._committer.changed = True

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """The newest rejected lines with the sink that rejected them, oldest first."""
        with sqlite_errors(self.path, "read"), self._committing:
            stored, fresh = self._store.dead_letters(sink), list(self._committer.dead)
        letters = stored + [row for row in fresh if sink in (None, row[0])]
        return letters[-self._store.limits.dead_letters_max :]

    def ledger(self) -> Ledger:
        """The lines' side as it is now, the samples' side as the last commit left it."""
        with self._lock:
            sinks = {name: replace(s.ledger) for name, s in sorted(self._book.sinks.items())}
            return Ledger(self._store.samples.copy(), self._book.ledger(), sinks)

    def usage(self) -> Usage:
        """How much it holds."""
        now_ns, store = self._now_ns(), self._store
        with self._lock:
            waiting, rates = self._book.ledger().waiting, store.rates.per_s(now_ns)
            first = self._book.settled.next_out(1)
            oldest = store.index.overlapping(first, END)["made_ns"][:1].tolist()
            oldest += self._staging.made_ns(first)
        oldest_ns = min(oldest, default=None)
        return Usage(store.used_bytes, store.limits.bytes_max, waiting, oldest_ns, *rates)

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """From now on these are the sinks, and no others."""
        with self._lock:
            self._book.use_sinks(sinks)
            self._committer.changed = True

    def give_up(self, last: int, cause: str) -> int:
        """Let go of all lines up to this id, counted as dropped; how many. Raises OutboxError."""
        with self._lock:
            lost = self._book.drop(1, last, cause) if last > 0 else 0
        self.commit(Commit(self._store.samples))
        return lost

    def write_back(self) -> None:
        """Put the log into the file now, so that `written_bytes` owes nothing."""
        with self._committing, sqlite_errors(self.path, "write"):
            self._store.file.checkpoint()

    def close(self) -> None:
        """Close it; it opens again with everything that was committed or acknowledged."""
        with self._committing:
            if not self._store.file.is_open:
                return
            try:
                if self._book.next_id - 1 == self._committer.committed:
                    self._committer.run(Commit(self._store.samples), clean=True)
            except (sqlite3.Error, OSError) as error:
                log.warning("outbox %s is closed as after a crash: %s", self.path, error)
            self._store.close()
            self._file_lock.release()

    def _next(
        self, sink: Sink, lines_max: int, *, live: bool
    ) -> tuple[int, list[Lines], list[Cut]]:
        """made_ns and lines from memory, or where the lines are stored."""
        sink.in_flight = Intervals()
        if live:
            first, made_ns, parts = self._staging.live_run(sink, lines_max, self._now_ns())
            if parts:
                sink.in_flight.add(first, first + sum(map(len, parts)) - 1)
            return made_ns, parts, []
        cuts = next_cuts(sink, self._store.index, self._committer.committed, lines_max)
        sink.in_flight = Intervals((cut.first, cut.last) for cut in cuts)
        return min((cut.made_ns for cut in cuts), default=0), [], cuts

    def _load(self, sink: Sink, cuts: list[Cut]) -> list[Lines]:
        """The lines on their way to this sink, up to a block that is damaged."""
        parts: list[Lines] = []
        for cut in cuts:
            first, last = cut.block
            try:
                with sqlite_errors(self.path, "read"):
                    lines = self._read(first)
            except BlockDamagedError as error:
                with self._lock:
                    sink.in_flight.remove(cut.first, END)
                    if parts:
                        break
                    lost = self._book.drop(first, last, "damaged")
                    self._committer.changed = True
                log.error(
                    "outbox %s: block %d-%d cannot be read: %s; %d lines are lost",
                    self.path, first, last, error, lost,
                )  # fmt: skip
                break
            parts.append(lines.part(cut.first - first, cut.last + 1 - first))
        return parts

    def _read(self, first: int) -> Lines:
        file = self._store.file
        try:
            return self._store.load(first)
        except sqlite3.DatabaseError as error:
            self._renew(file, error)
            raise BlockDamagedError(str(error)) from error

    def _blobs(self, name: str) -> list[bytes]:
        """These blobs; one that is b"" where they are damaged, with the file or by themselves."""
        file = self._store.file
        with sqlite_errors(self.path, "read"):
            try:
                return self._store.blobs(name)
            except sqlite3.DatabaseError as error:
                self._renew(file, error)
                return [b""]

    def _renew(self, file: File, error: sqlite3.DatabaseError) -> None:
        """Go on in a new file, if this one is damaged and nobody has done it; else raises."""
        if not is_damaged(error):
            raise error
        with self._committing:
            if self._store.file is file:
                self._committer.renew(error)
                self._committer.run(Commit(self._store.samples))
