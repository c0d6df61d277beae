"""One commit: what must be stored of what is staged, what may go, and what there is no room for.

Enters: a `Commit`, the pieces in memory, the book. Leaves: one transaction, and the book as it
stands with it. Packing and looking for predecessors run without the outbox's lock; meanwhile lines
staged later stay hidden, so that nothing that happens to them can stand in this commit's state.
What can fail: the disk, as sqlite3.Error or OSError; the pieces then wait for the next commit, and
what was dropped for it stays dropped.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from agent.ledger import SampleLedger
from agent.lines import Rows
from agent.outbox import Commit, DeadLetter
from agent.outbox.intervals import END, Intervals
from agent.outbox.pieces import Piece
from agent.outbox.sql import is_damaged, is_full
from agent.outbox.sqlite.blocks import BlockDamagedError, pack
from agent.outbox.sqlite.book import PARTIAL_MAX, Book
from agent.outbox.sqlite.index import BLOCK
from agent.outbox.sqlite.revise import Revisions
from agent.outbox.sqlite.staging import Staged, Staging
from agent.outbox.sqlite.store import OVERHEAD_BYTES, Changes, Store, block_row
from agent.signals import Signal

REVISED_BLOCKS_MAX: Final = 256
"""Stored blocks searched for what one commit's revisions replace; what lies in others is sent."""
OLD_BLOCKS_MAX: Final = 256
"""Stored blocks that one commit drops for their age; the next ones drop the rest."""
STRIDE: Final = 0.01
"""Share of the limit that is made free at once, so that not every commit has to."""
TRIES_MAX: Final = 4
LINE_BYTES: Final = 42.0
"""What a line takes on the disk, where nothing is stored to measure it by."""
SAY_EVERY_S: Final = 60.0

log = logging.getLogger("andon.outbox")


class Committer:
    """Makes commits, one at a time."""

    def __init__(
        self,
        store: Store,
        staging: Staging,
        lock: threading.RLock,
        now_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        self.committed = store.book.next_id - 1
        """The last id that is durable."""
        self.signals: dict[int, Signal] = {}
        """Signals that are not."""
        self.dead: list[tuple[str, DeadLetter]] = []
        """Dead letters that are not."""
        self.changed = True
        self.checkpoint_wanted = False
        self._store = store
        self._book: Book = store.book
        self._staging = staging
        self._lock = lock
        self._now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self._opened_at, self._opened_ns = store.book.next_id, monotonic_ns()
        self._made = store.book.lines.made
        self._said_s: dict[str, float] = {}

    def run(self, commit: Commit, *, clean: bool = False) -> None:
        """Make it durable. Raises sqlite3.Error or OSError; nothing is half-written then."""
        for attempt in range(TRIES_MAX):
            try:
                self._run(commit, clean=clean)
            except (sqlite3.Error, OSError) as error:
                if attempt == TRIES_MAX - 1 or not self._mended(error):
                    raise
            else:
                return

    def renew(self, error: sqlite3.Error) -> None:
        """Go on in a new file: what was stored and is not in memory is lost, and counted."""
        with self._lock:
            young = {staged.piece.first for staged in self._staging.pieces}
            lost = 0
            for block in self._store.index.blocks:
                if int(block["first"]) not in young:
                    lost += self._book.drop(int(block["first"]), int(block["last"]), "damaged")
                    self._book.forgotten(int(block["first"]), int(block["last"]))
            self._staging.lose()
            self.signals = dict(self._store.signals) | self.signals
            self._book.fresh = Intervals()
            self.checkpoint_wanted = self.changed = True
            state = self._state(self._book.next_id - 1, self._store.samples, clean=False)
        self._store.renew(error, state)
        log.error("outbox %s: %d lines were in the damaged file", self._store.path, lost)

    def _mended(self, error: sqlite3.Error | OSError) -> bool:
        store = self._store
        if isinstance(error, sqlite3.Error) and is_damaged(error):
            self.renew(error)
            return True
        if is_full(error):
            store.room.full(store.file.size_bytes)
            store.file.checkpoint()  # its log begins anew and needs no more room
            return True
        return False

    def _run(self, commit: Commit, *, clean: bool) -> None:
        store, staging, book = self._store, self._staging, self._book
        store.reopen()
        store.room.make_reserve()
        with self._lock:
            last = staging.hidden_after = book.next_id - 1
            staged = staging.unstored()
        try:
            for each in staged:
                each.blob = each.blob or pack(each.piece.lines)
            replaced = list(self._predecessors([each.piece for each in staged]))
            with self._lock:
                self._replace(replaced)
                changes = self._changes(commit, staged, last, clean=clean)
                dead, signals, samples = list(self.dead), dict(self.signals), commit.samples.copy()
                was_changed, self.changed = self.changed, book.next_id - 1 > last
        finally:
            staging.hidden_after = END
        try:
            store.write(changes)
        except BaseException:
            with self._lock:
                self.changed = was_changed or self.changed
                for block in store.index.having(changes.gone):
                    book.partial.add(int(block["first"]), int(block["last"]))
                    book.fresh.add(int(block["first"]), int(block["last"]))
            raise
        with self._lock:
            stored = {piece.first for piece, _ in changes.added}
            for each in staged:
                if each.piece.first in stored:
                    staging.store(each)
            kept = set(map(id, dead))
            self.dead = [row for row in self.dead if id(row) not in kept]
            self.signals = {i: s for i, s in self.signals.items() if signals.get(i) is not s}
            self.committed, store.samples = last, samples
            staging.reserved = last + store.limits.staged_lines_max
            if commit.checkpoint is not None:
                self.checkpoint_wanted = False
            staging.tidy(self._now_ns())

    def _predecessors(self, pieces: list[Piece]) -> Iterator[tuple[int, int]]:
        """Revisions among these pieces and what they may replace, in memory and on disk."""
        windows = [piece for piece in pieces if len(piece.lines.windows)]
        revisions = Revisions([piece for piece in windows if piece.revises])
        if not len(revisions):
            return
        parts: list[tuple[int, Rows]] = [(piece.first, piece.lines.windows) for piece in windows]
        blocks = [
            int(block["first"])
            for block in self._store.index.windows_at(revisions.starts_ns)
            if not any(
                sink.done.holds(int(block["first"]), int(block["last"]))
                for sink in self._book.sinks.values()
            )
        ]
        for first in blocks[-REVISED_BLOCKS_MAX:]:
            try:
                parts.append((first, self._store.load(first).windows))
            except BlockDamagedError:
                continue  # it is dropped when it is to be sent
        yield from revisions.pairs(parts)

    def _replace(self, pairs: list[tuple[int, int]]) -> None:
        book = self._book
        for revision, number in pairs:
            if len(book.partial) >= PARTIAL_MAX:
                break
            if book.settled.holds(revision, revision) or book.settled.holds(number, number):
                continue
            if book.untouched(number):
                book.replace(number)

    def _changes(self, commit: Commit, staged: list[Staged], last: int, *, clean: bool) -> Changes:
        store, book, now_ns = self._store, self._book, self._now_ns()
        self._drop_old(now_ns)
        added = [(each.piece, each.blob) for each in staged]
        journal = b"" if self.checkpoint_wanted else commit.journal
        self._make_room(added, len(journal) + len(commit.checkpoint or b""))
        gone = self._settled_blocks()
        added = [(p, blob) for p, blob in added if not book.settled.holds(p.first, p.last)]
        self._staging.tidy(now_ns)
        made = book.lines.made - (book.next_id - 1 - last)
        new, self._made, out, book.out = made - self._made, made, book.out, 0
        store.rates.count(now_ns, new, out, new * self._bytes_per_line(staged))
        state = self._state(last, commit.samples, clean=clean)
        return Changes(
            gone, added, state, dict(self.signals), journal, commit.checkpoint, list(self.dead)
        )

    def _state(self, last: int, samples: SampleLedger, *, clean: bool) -> dict[str, Any]:
        """What the file says of all ids up to `last`; `store.py` reads it."""
        return {
            "clean": clean,
            "reserved": last + self._store.limits.staged_lines_max,
            "book": self._book.document(last),
            "samples": samples.document(),
            "rates": self._store.rates.document(),
            "bytes_max": self._store.limits.bytes_max,
        }

    def _drop_old(self, now_ns: int) -> None:
        lost, age_max_ns = 0, self._store.limits.age_max_ns
        older = self._store.index.older(now_ns - age_max_ns)
        if self._monotonic_ns() - self._opened_ns <= age_max_ns:
            # What was made since cannot be older than that: the clock was set forward.
            older = older[older["first"] < self._opened_at]
        for block in older[:OLD_BLOCKS_MAX]:
            first, last = int(block["first"]), int(block["last"])
            if not self._book.flying(first, last):
                lost += self._book.drop(first, last, "age")
        self.say("age", lost, "they waited longer than age_max_days")

    def _make_room(self, added: list[tuple[Piece, bytes]], blobs: int) -> None:
        """Drop what is least valuable until the commit fits."""
        store, book = self._store, self._book
        limit = store.room.limit_bytes
        wanted = sum(len(blob) for _, blob in added) + blobs + OVERHEAD_BYTES
        excess = store.used_bytes + wanted * 9 // 8 - limit
        if excess <= 0:
            return
        excess += int(limit * STRIDE)
        new = np.array([block_row(piece, blob) for piece, blob in added], BLOCK)
        held = np.concatenate([store.index.blocks, new])
        rows, lost = held[["first", "last", "bytes"]], 0
        for place in np.lexsort((held["first"], held["line_class"])):
            if excess <= 0:
                break
            first, last, size = rows[place].tolist()
            if not book.flying(first, last):
                if not book.settled.holds(first, last):
                    lost += book.drop(first, last, "quota")
                excess -= size
        self.say("quota", lost, "the outbox is full; make room, or raise outbox.bytes_max_mb")

    def _settled_blocks(self) -> list[int]:
        """First ids of the blocks that nobody needs any more."""
        book, gone = self._book, []
        for interval in book.fresh:
            for block in self._store.index.overlapping(*interval):
                first, last = int(block["first"]), int(block["last"])
                if book.settled.holds(first, last):
                    gone.append(first)
                    book.forgotten(first, last)
        book.fresh = Intervals()
        return sorted(set(gone))

    def _bytes_per_line(self, staged: list[Staged]) -> float:
        """Of what is just being stored; of windows where nothing is."""
        lines = sum(len(each.piece) for each in staged)
        return sum(len(each.blob) for each in staged) / lines if lines else LINE_BYTES

    def say(self, cause: str, lines: int, why: str) -> None:
        """Say that lines were lost, once a minute for each cause."""
        now_s = time.monotonic()
        if lines and now_s - self._said_s.get(cause, -SAY_EVERY_S) >= SAY_EVERY_S:
            self._said_s[cause] = now_s
            log.error("outbox %s: %d lines dropped by %s: %s", self._store.path, lines, cause, why)
