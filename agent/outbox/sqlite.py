"""The outbox on disk: one SQLite file in WAL mode, one writer.

Enters: commits. Leaves: packets of line protocol, and the ledger. `schema.sql` says what is stored.

- A commit returns after fsync (synchronous=FULL): kill or power cut leave the last commit.
- An acknowledgement is not synced by itself; the next commit takes it along. A power cut in between
  makes the agent send those lines again, which changes nothing (identity of a point is its tags and
  time), and the ledger still balances because a line's state lives in the same transaction.
- A block that cannot be read any more is counted as dead letters (`damaged`), so that one bad page
  does not stop the rest. A file that SQLite cannot read is set aside and named, never deleted.

Limits: `bytes_max` of the file (`RESERVE_BYTES` more for dead letters), `dead_letters_max` kept,
`BLOCK_LINES_MAX` lines a block.
What can fail: the disk (OutboxError, nothing half-written), a second agent on the same file.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from agent.ledger import Ledger
from agent.lines import Lines, Packet
from agent.lines.encode import Encoder, join
from agent.outbox import Commit, DeadLetter, Usage
from agent.outbox.blocks import BLOCK_LINES_MAX, BlockDamagedError, pack, unpack
from agent.outbox.file import open_file
from agent.outbox.lock import FileLock
from agent.outbox.reader import Reader, connect, sqlite_errors
from agent.outbox.sql import SQL
from agent.signals import Signal

BYTES_MAX: Final = 1 << 30
RESERVE_BYTES: Final = 16 << 20
"""Above `bytes_max`, for all but commits: a full outbox must be able to note dead letters, or it
would never be emptied."""

DEAD_LETTERS_MAX: Final = 1000
UNPACKED_BLOCKS_MAX: Final = 4
"""Unpacked blocks kept, since a large block goes out in several packets, to each sink."""

_log = logging.getLogger("andon.outbox")


def open_outbox(
    path: str | Path,
    sinks: Sequence[str],
    *,
    bytes_max: int = BYTES_MAX,
    dead_letters_max: int = DEAD_LETTERS_MAX,
    now_ns: Callable[[], int] = time.time_ns,
) -> SqliteOutbox:
    """Open the outbox for writing, new where there is none.

    Sinks that are new start with what is still stored; stored ones not named here are forgotten.
    Raises OutboxError: in use by another agent, no right to write, or written by a newer version.
    """
    path = Path(path)
    with ExitStack() as opened, sqlite_errors(path, "open"):
        lock = FileLock(path)
        opened.callback(lock.release)
        writer = open_file(path)
        opened.callback(writer.close)
        reader = Reader(path, connect(path, readonly=True))
        opened.callback(reader.close)
        outbox = SqliteOutbox(writer, reader, lock, bytes_max, dead_letters_max, now_ns)
        outbox.use_sinks(sinks)
        opened.pop_all()
        return outbox


class SqliteOutbox:
    """The outbox file opened for writing; made by `open_outbox`."""

    def __init__(
        self,
        writer: sqlite3.Connection,
        reader: Reader,
        lock: FileLock,
        bytes_max: int,
        dead_letters_max: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._page_bytes = writer.execute("PRAGMA page_size").fetchone()[0]
        self._bytes_max = bytes_max
        self._dead_letters_max = dead_letters_max
        self._now_ns = now_ns
        self._writing = threading.Lock()
        self._encoder = Encoder(reader.signals())
        self._unpacked: dict[int, Lines] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return self._reader.path

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life."""
        return self._reader.uuid

    def signals(self) -> dict[int, Signal]:
        """All signals ever committed, by id."""
        return self._reader.signals()

    def checkpoint(self) -> bytes:
        """The stored kernel state, b"" when there is none."""
        return self._reader.checkpoint()

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none; returns after fsync. Raises OutboxError."""
        lines, now_ns = commit.lines, self._now_ns()
        packed = [
            (start, stop, pack(lines.part(start, stop)))
            for start, stop in _steps(len(lines), BLOCK_LINES_MAX)
        ]
        signals = [(i, json.dumps(signal.document())) for i, signal in commit.signals.items()]
        with self._write("FULL", self._bytes_max) as write:
            made = write.execute(SQL["ledger"]).fetchone()[1]
            write.executemany(SQL["put_signal"], signals)
            for start, stop, columns in packed:
                block = {
                    "first": made + start + 1,
                    "last": made + stop,
                    "made_ns": now_ns,
                    "crc": zlib.crc32(columns),
                    "columns": columns,
                }
                write.execute(SQL["put_block"], block)
            write.execute(
                SQL["put_made"], (json.dumps(commit.samples.document()), made + len(lines))
            )
            if commit.checkpoint is not None:
                write.execute(SQL["put_checkpoint"], (commit.checkpoint,))
            # Tags must be known before any reader can see the lines.
            self._encoder.learn(commit.signals)

    def packet(self, sink: str, lines_max: int) -> Packet | None:
        """The next lines for this sink, at most `lines_max`; None when it has them all."""
        while True:
            position, blocks = self._reader.blocks_after(sink, lines_max)
            if not blocks:
                return None
            try:
                parts = self._encode(blocks, position, position + lines_max)
            except _UnreadableError as unreadable:
                self._bury(sink, position, unreadable)
                continue
            return Packet(position + 1, *join(parts), made_ns=blocks[0][2])

    def acknowledge(self, sink: str, last: int, dead: Sequence[DeadLetter] = ()) -> None:
        """The sink is done with all lines up to `last`; those in `dead` it rejected.

        Lines at or below its position are none of it any more and change nothing.
        """
        with self._write("NORMAL", self._bytes_max + RESERVE_BYTES) as write:
            row = write.execute(SQL["sink"], (sink,)).fetchone()
            made = write.execute(SQL["ledger"]).fetchone()[1]
            if row is None or last > made:
                raise ValueError(f"{sink!r} acknowledges line {last}; {made} were made")
            position, acknowledged, rejected = row
            if last <= position:
                return
            dead = [letter for letter in dead if position < letter.line_id <= last]
            acknowledged += last - position - len(dead)
            write.execute(SQL["put_sink"], (last, acknowledged, rejected + len(dead), sink))
            causes = Counter(
                letter.cause
                for letter in dead
                if write.execute(SQL["reject"], (letter.line_id,)).rowcount
            )
            self._settle(write, causes)
            self._keep(write, sink, dead)

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """The newest rejected lines with the sink that rejected them, oldest first."""
        return self._reader.dead_letters(sink)

    def ledger(self) -> Ledger:
        """Both sides of the ledger as the last commit and acknowledgement left them."""
        return self._reader.ledger()

    def usage(self) -> Usage:
        """How much it holds."""
        return self._reader.usage()

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """From now on these are the sinks, and no others."""
        with self._write("FULL", self._bytes_max + RESERVE_BYTES) as write:
            write.executemany(SQL["add_sink"], [(name,) for name in sinks])
            known = {name for name, *_ in write.execute(SQL["sinks"])}
            write.executemany(SQL["forget_sink"], [(name,) for name in known - set(sinks)])
            self._settle(write, Counter())

    def close(self) -> None:
        """Close it; it opens again with everything that was committed."""
        with self._writing:
            self._reader.close()
            self._writer.close()
            self._lock.release()

    @contextmanager
    def _write(self, synchronous: str, bytes_max: int) -> Iterator[sqlite3.Connection]:
        """One transaction: all or nothing; the file grows to at most `bytes_max`."""
        writer = self._writer
        with self._writing, sqlite_errors(self.path, "write"):
            writer.execute(f"PRAGMA max_page_count = {bytes_max // self._page_bytes}")
            writer.execute(f"PRAGMA synchronous = {synchronous}")
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:  # SQLite itself rolls back when the disk is full
                    writer.execute("ROLLBACK")
                raise

    def _settle(self, write: sqlite3.Connection, causes: Counter[str]) -> None:
        """Raise the floor to where every sink is done, count what it passes, delete those blocks.

        causes : lines rejected by a first sink just now, by cause
        """
        _, _, acknowledged, _, dead, floor = write.execute(SQL["ledger"]).fetchone()
        positions = [position for _, position, *_ in write.execute(SQL["sinks"])]
        lowest = min(positions, default=floor)
        (rejected,) = write.execute(SQL["count_rejected"], (floor, lowest)).fetchone()
        acknowledged += lowest - floor - rejected
        causes = causes + Counter(json.loads(dead))
        write.execute(SQL["put_lines"], (acknowledged, json.dumps(causes), lowest))
        write.execute(SQL["forget_rejected"], (lowest,))
        write.execute(SQL["trim"], (lowest,))

    def _keep(self, write: sqlite3.Connection, sink: str, dead: Sequence[DeadLetter]) -> None:
        if not dead:
            return
        newest = dead[-self._dead_letters_max :]
        rows = [(sink, d.line_id, d.cause, d.reason, d.line) for d in newest]
        write.executemany(SQL["put_dead_letter"], rows)
        write.execute(SQL["bound_dead_letters"], (self._dead_letters_max,))

    def _encode(self, blocks: list[Any], position: int, last: int) -> list[Any]:
        """Lines (position, last] of these blocks, encoded; stops before an unreadable one."""
        parts: list[Any] = []
        for block in blocks:
            try:
                lines = self._unpack(block)
            except BlockDamagedError as error:
                if parts:
                    break
                raise _UnreadableError(block[0], block[1], error) from error
            first = block[0]
            part = lines.part(max(position + 1 - first, 0), min(last + 1 - first, len(lines)))
            parts.append(self._encoder.encode(part))
        return parts

    def _unpack(self, block: Any) -> Lines:
        first, _, _, crc, columns = block
        lines = self._unpacked.get(first)
        if lines is None:
            lines = unpack(columns, crc)
            # A copy is swapped in, so that sinks' threads need no lock.
            kept = list(self._unpacked.items())[-UNPACKED_BLOCKS_MAX + 1 :]
            self._unpacked = {**dict(kept), first: lines}
        return lines

    def _bury(self, sink: str, position: int, unreadable: _UnreadableError) -> None:
        """Count the lines of an unreadable block as dead letters and go on behind it."""
        first, last = max(position + 1, unreadable.first), unreadable.last
        reason = f"block {unreadable.first}-{last} cannot be read: {unreadable}"
        _log.error("outbox %s: %s; its lines are lost", self.path, reason)
        dead = [DeadLetter(i, "damaged", reason, b"") for i in range(first, last + 1)]
        self.acknowledge(sink, last, dead)


class _UnreadableError(Exception):
    def __init__(self, first: int, last: int, why: BlockDamagedError) -> None:
        super().__init__(str(why))
        self.first = first
        self.last = last


def _steps(length: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, step):
        yield start, min(start + step, length)
