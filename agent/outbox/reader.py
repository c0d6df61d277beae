"""Looking into an outbox file beside a running agent, or without one.

`open_readonly` opens the file of a running (or stopped, or killed) agent without disturbing it: it
sees what the last commit left.
What can fail: a file that is missing, damaged, not an outbox, or written by another version:
OutboxError.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from agent.errors import OutboxError
from agent.ledger import Ledger, LineLedger, SampleLedger, SinkLedger
from agent.outbox import DeadLetter, Usage
from agent.outbox.intervals import Interval, Intervals
from agent.outbox.rates import Rates
from agent.outbox.sql import SCHEMA_VERSION, SQL, connect, damaged, sqlite_errors
from agent.signals import Signal


class Reader:
    """Reads an outbox over one connection of its own; may be called from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        with self.reading() as read:
            self.uuid: Final[str] = read_uuid(path, read)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one statement after the other of one moment."""
        with self._lock, sqlite_errors(self.path, "read"):
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def signals(self) -> dict[int, Signal]:
        """All signals ever committed, by id."""
        with self.reading() as read:
            return read_signals(read)

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """The newest rejected lines with the sink that rejected them, oldest first."""
        with self.reading() as read:
            return read_dead_letters(read, sink)

    def ledger(self) -> Ledger:
        """Both sides of the ledger as the last commit left them."""
        with self.reading() as read:
            document = read_state(read)
        lines = LineLedger.from_document(document["book"]["lines"])
        sinks = {
            name: SinkLedger(**sink["ledger"])
            for name, sink in sorted(document["book"]["sinks"].items())
        }
        return Ledger(SampleLedger.from_document(document["samples"]), lines, sinks)

    def done(self, sink: str) -> list[Interval]:
        """Committed ids that this sink does not need any more. Raises KeyError for another."""
        from agent.outbox.sqlite.book import Book
        from agent.outbox.sqlite.index import Index

        with self.reading() as read:
            index, stored = Index(read.execute(SQL["blocks"])), read_state(read)["book"]
        book = Book.from_document(stored, index.ids(), (), stored["next_id"])
        return list(book.sinks[sink].done)

    def known(self, sink: str) -> list[Interval]:
        """Ids that its far side has, or was told that they are void. Raises KeyError likewise."""
        with self.reading() as read:
            return list(Intervals.from_document(read_state(read)["book"]["sinks"][sink]["known"]))

    def usage(self) -> Usage:
        """How much it holds; bytes are those in use, free pages are not counted."""
        with self.reading() as read:
            (used,) = read.execute(SQL["used"]).fetchone()
            oldest = read.execute(SQL["oldest"]).fetchone()
            document = read_state(read)
        waiting = document["book"]["lines"]["waiting"]
        rates = Rates(*document["rates"]).per_s(time.time_ns())
        oldest_ns = oldest[0] if oldest and waiting else None
        return Usage(used, document["bytes_max"], waiting, oldest_ns, *rates)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_readonly(path: str | Path) -> Reader:
    """Open an outbox to look into, beside a running agent or without one. Raises OutboxError."""
    path = Path(path)
    if not path.exists():
        raise OutboxError(f"there is no outbox {path}", "has `andon run` been started there?")
    with sqlite_errors(path, "open"):
        return Reader(path, connect(path, readonly=True))


def read_uuid(path: Path, read: sqlite3.Connection) -> str:
    """The outbox's name. Raises OutboxError where another version wrote it."""
    meta = dict(read.execute(SQL["meta"]).fetchall())
    if int(meta["schema"]) != SCHEMA_VERSION:
        newer = int(meta["schema"]) > SCHEMA_VERSION
        raise OutboxError(
            f"outbox {path} has schema version {meta['schema']}; this agent knows {SCHEMA_VERSION}",
            "run the newer agent that wrote it, or give this one another outbox file"
            if newer
            else "start the agent: it sets an outbox of this version aside and begins a new one",
        )
    return str(meta["uuid"])


def read_state(read: sqlite3.Connection) -> dict[str, Any]:
    """The state of the last commit. Raises sqlite3.DatabaseError where it is damaged."""
    crc, blob = read.execute(SQL["state"]).fetchone() or (0, b"damaged")
    if zlib.crc32(blob) != crc:
        raise damaged("the outbox's state does not match its checksum")
    document: dict[str, Any] = json.loads(zlib.decompress(blob))
    return document


def state_blob(document: Mapping[str, Any]) -> tuple[int, bytes]:
    """A state as `read_state` reads it: checksum and bytes."""
    blob = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)
    return zlib.crc32(blob), blob


def read_signals(read: sqlite3.Connection) -> dict[int, Signal]:
    """All signals, by id."""
    rows = read.execute(SQL["signals"]).fetchall()
    return {number: Signal.from_document(json.loads(text)) for number, text in rows}


def read_dead_letters(read: sqlite3.Connection, sink: str | None) -> list[tuple[str, DeadLetter]]:
    """Rejected lines, oldest first."""
    rows = read.execute(SQL["dead_letters"], {"sink": sink}).fetchall()
    return [(name, DeadLetter(i, cause, why, line)) for name, i, cause, why, line in rows]
