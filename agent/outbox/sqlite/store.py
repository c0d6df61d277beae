"""What lies on the disk, and what is known of it: the file, its blocks, the room there is.

Enters: `Changes`, written whole or not at all. Leaves: lines of blocks, blobs, the state.
What can fail: sqlite3.Error from the file, BlockDamagedError from one block; a file that is found
damaged when it is opened is set aside, and the same can be asked for at any time (`renew`).
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import DeadLetter, LineClass
from agent.outbox.pieces import Piece
from agent.outbox.rates import Rates
from agent.outbox.reader import read_dead_letters, read_signals, read_state
from agent.outbox.sql import SQL, connect, damaged, is_damaged
from agent.outbox.sqlite.blocks import BlockDamagedError, unpack
from agent.outbox.sqlite.book import Book
from agent.outbox.sqlite.file import File, set_aside
from agent.outbox.sqlite.index import Index
from agent.outbox.sqlite.room import Room
from agent.signals import Signal

UNPACKED_MAX: Final = 4
"""Unpacked blocks kept, since a large block goes out in several packets, to each sink."""
OVERHEAD_BYTES: Final = 32_768
"""What a commit may take beside its blobs: rows, the state, pages that are not full."""

log = logging.getLogger("andon.outbox")


@dataclass(frozen=True, slots=True)
class Limits:
    """See `open_outbox`."""

    bytes_max: int
    age_max_ns: int
    reserve_bytes: int
    dead_letters_max: int
    staged_lines_max: int


@dataclass(slots=True)
class Changes:
    """One transaction.

    gone : first ids of blocks that are not needed any more
    added : new blocks, the pieces and their bytes
    """

    gone: list[int]
    added: list[tuple[Piece, bytes]]
    state: Mapping[str, Any]
    signals: Mapping[int, Signal] = field(default_factory=dict)
    journal: bytes = b""
    checkpoint: bytes | None = None
    dead: Sequence[tuple[str, DeadLetter]] = ()


class Store:
    """An open outbox file. `write`, `renew` and `close` belong to one thread at a time."""

    def __init__(self, path: Path, limits: Limits, now_ns: Callable[[], int]) -> None:
        self.path = path
        self.limits = limits
        self.room = Room(path, limits.bytes_max, limits.reserve_bytes)
        self.samples = SampleLedger()
        self.book = Book()
        self.index = Index()
        self.rates = Rates(now_ns(), now_ns())
        self.signals: dict[int, Signal] = {}
        self.used_bytes = 0
        self._birth: Mapping[str, Any] | None = None
        self._written_before = 0
        self._unpacked: dict[int, Lines] = {}
        self._reading = threading.Lock()
        try:
            self._open("")
            self._restore_or_close()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            self._set_aside(error, "a new outbox begun")
            self._open("")

    @property
    def written_bytes(self) -> int:
        """Bytes written to the disk since it was opened."""
        return self._written_before + self.file.written_bytes

    def write(self, changes: Changes) -> None:
        """Make all of it durable, or none. Raises sqlite3.Error; OSError when it cannot grow."""
        blobs = sum(len(blob) for _, blob in changes.added)
        blobs += len(changes.journal) + len(changes.checkpoint or b"")
        signals = {i: json.dumps(signal.document()) for i, signal in changes.signals.items()}
        blobs += sum(len(text) for text in signals.values())
        self.file.grow(self.file.used_bytes + blobs * 9 // 8 + OVERHEAD_BYTES)
        added = [block_row(piece, blob) for piece, blob in changes.added]
        with self.file.transaction() as write:
            self.file.delete_blocks(changes.gone)
            crcs = [zlib.crc32(blob) for _, blob in changes.added]
            rows = [(*row, crc) for row, crc in zip(added, crcs, strict=True)]
            write.executemany(SQL["put_block"], rows)
            columns = [(piece.first, blob) for piece, blob in changes.added]
            write.executemany(SQL["put_columns"], columns)
            self.file.put_signals(signals)
            self.file.put_journal(changes.journal, changes.checkpoint)
            letters = [(s, d.line_id, d.cause, d.reason, d.line) for s, d in changes.dead]
            if letters:
                write.executemany(SQL["put_dead_letter"], letters)
                write.execute(SQL["bound_dead_letters"], (self.limits.dead_letters_max,))
            self.file.put_state(changes.state)
        self.index.change(changes.gone, added)
        self.used_bytes = self.file.used_bytes
        for first in changes.gone:
            self._unpacked.pop(first, None)

    def load(self, first: int) -> Lines:
        """The lines of the block with this first id. Raises BlockDamagedError, sqlite3.Error."""
        lines = self._unpacked.get(first)
        if lines is None:
            with self._reading:
                row = self._reader.execute(SQL["columns"], (first,)).fetchone()
            if row is None:
                raise BlockDamagedError("it is not in the file any more")
            lines = unpack(row[1], row[0])
            # A copy is swapped in, so that sinks' threads need no lock.
            kept = list(self._unpacked.items())[-UNPACKED_MAX + 1 :]
            self._unpacked = {**dict(kept), first: lines}
        return lines

    def blobs(self, name: str) -> list[bytes]:
        """The blobs of `checkpoint` or `journal`, oldest first; b"" ends them at a damaged one."""
        found: list[bytes] = []
        with self._reading:
            for crc, blob in self._reader.execute(SQL[name]):
                if zlib.crc32(blob) != crc:
                    log.error(
                        "outbox %s: its %s is damaged after %d entries; what came after is lost",
                        self.path, name, len(found),
                    )  # fmt: skip
                    return [*found, b""]
                found.append(bytes(blob))
        return found

    def dead_letters(self, sink: str | None) -> list[tuple[str, DeadLetter]]:
        """The stored dead letters, oldest first."""
        with self._reading:
            return read_dead_letters(self._reader, sink)

    def renew(self, error: sqlite3.Error, state: Mapping[str, Any]) -> None:
        """Set the file aside and begin a new one with this state, without any block."""
        self._birth = state
        self.close()
        self._set_aside(error, "a new file begun for the same outbox")
        self.index, self._unpacked, self.used_bytes = Index(), {}, 0
        self.reopen()

    def reopen(self) -> None:
        """Open the file again, should it be closed because a new one could not be made."""
        if not self.file.is_open:
            self._written_before += self.file.written_bytes
            self._open(self.file.uuid)

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self._reader.close()
            self.file.close()

    def _open(self, uuid: str) -> None:
        """Open it, or make it with this uuid."""
        try:
            self.file = File(self.path, uuid, self._birth)
        except OutboxError as error:
            if "version 1;" not in str(error):
                raise
            raise damaged("schema version 1, which was never released") from error
        self._reader = connect(self.path, readonly=True)

    def _restore_or_close(self) -> None:
        try:
            self._restore()
        except BaseException:
            self.close()
            raise

    def _restore(self) -> None:
        """Take over what the file holds, all of it or nothing."""
        read = self.file.connection
        index, signals = Index(read.execute(SQL["blocks"])), read_signals(read)
        if not self.file.is_new:
            state = read_state(read)
            next_id = (state["book"]["next_id"] - 1 if state["clean"] else state["reserved"]) + 1
            ids, keep = index.ids(), index.ids(LineClass.KEEP)
            self.book = Book.from_document(state["book"], ids, keep, next_id)
            self.samples = SampleLedger.from_document(state["samples"])
            self.rates = Rates(*state["rates"])
        self.index, self.signals = index, signals
        self.used_bytes = self.file.used_bytes

    def _set_aside(self, error: sqlite3.Error, instead: str) -> None:
        aside = set_aside(self.path)
        log.error(
            "outbox %s is damaged (%s); it was set aside as %s and %s. Its unsent lines are in "
            "there.", self.path, error, aside, instead,
        )  # fmt: skip


def block_row(piece: Piece, blob: bytes) -> tuple[int, ...]:
    """What is known of a block of this piece, as `index.py` has it."""
    starts = piece.lines.windows["start_ns"]
    low, high = (int(starts.min()), int(starts.max())) if len(starts) else (0, 0)
    return piece.first, piece.last, int(piece.line_class), piece.made_ns, low, high, len(blob)
