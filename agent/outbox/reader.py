"""The reading half of the outbox file, for the agent itself and for commands beside it.

`open_readonly` opens the file of a running (or stopped, or killed) agent without disturbing it.
What can fail: a file that is missing, not an outbox, or written by a newer version: OutboxError.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from agent.errors import OutboxError
from agent.ledger import Ledger, LineLedger, SampleLedger, SinkLedger
from agent.outbox import DeadLetter, Usage
from agent.outbox.sql import SCHEMA_VERSION, SQL
from agent.signals import Signal

BUSY_TIMEOUT_S: Final = 5.0


class Reader:
    """Reads an outbox over one connection of its own; may be called from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        with self.reading() as read:
            meta = dict(read.execute(SQL["meta"]).fetchall())
        self.uuid: Final[str] = meta["uuid"]
        if int(meta["schema"]) > SCHEMA_VERSION:
            raise OutboxError(
                f"outbox {path} has schema version {meta['schema']}; this agent knows "
                f"{SCHEMA_VERSION}",
                "run the newer agent that wrote it, or give this one another outbox file",
            )

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
            rows = read.execute(SQL["signals"]).fetchall()
        return {number: Signal.from_document(json.loads(text)) for number, text in rows}

    def checkpoint(self) -> bytes:
        """The stored kernel state, b"" when there is none."""
        with self.reading() as read:
            row = read.execute(SQL["checkpoint"]).fetchone()
        return bytes(row[0]) if row else b""

    def blocks_after(self, sink: str, lines_max: int) -> tuple[int, list[Any]]:
        """The sink's position, and the rows of blocks that hold the next `lines_max` lines."""
        with self.reading() as read:
            row = read.execute(SQL["sink"], (sink,)).fetchone()
            if row is None:
                raise KeyError(f"outbox {self.path} has no sink {sink!r}")
            position, rows = row[0], []
            for block in read.execute(SQL["blocks_after"], (position,)):
                rows.append(block)
                if block[1] >= position + lines_max:
                    break
        return position, rows

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """Rejected lines with the sink that rejected them, oldest first."""
        with self.reading() as read:
            rows = read.execute(SQL["dead_letters"], {"sink": sink}).fetchall()
        return [(name, DeadLetter(i, cause, why, line)) for name, i, cause, why, line in rows]

    def ledger(self) -> Ledger:
        """Both sides of the ledger as the last commit and acknowledgement left them."""
        with self.reading() as read:
            return read_ledger(read)

    def usage(self) -> Usage:
        """How much it holds; bytes are those in use, free pages are not counted."""
        with self.reading() as read:
            (used,) = read.execute(SQL["used"]).fetchone()
            oldest = read.execute(SQL["oldest"]).fetchone()
            waiting = read_ledger(read).lines.waiting
        return Usage(used, waiting, oldest[0] if oldest else None)

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


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from any thread under a lock."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def read_ledger(read: sqlite3.Connection) -> Ledger:
    """The ledger within the current transaction.

    A line waits until every sink is past it or one of them has rejected it.
    """
    samples, made, acknowledged, replaced, dead, _ = read.execute(SQL["ledger"]).fetchone()
    lines = LineLedger(made, acknowledged, 0, replaced, Counter(json.loads(dead)))
    lines.waiting = made - acknowledged - replaced - lines.dead_letter.total()
    sinks = {
        name: SinkLedger(done, made - position, rejected)
        for name, position, done, rejected in read.execute(SQL["sinks"])
    }
    return Ledger(SampleLedger.from_document(json.loads(samples)), lines, sinks)


@contextmanager
def sqlite_errors(path: Path, doing: str) -> Iterator[None]:
    """SQLite's errors as OutboxError, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        raise OutboxError(f"cannot {doing} outbox {path}: {error}", _hint(name)) from error


def _hint(name: str) -> str:
    if name.startswith("SQLITE_FULL"):
        return "make room on the disk, or raise outbox.bytes_max if it is the limit"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return "check that the folder exists and that this user may read and write there"
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return "start the agent: it sets a damaged outbox aside and begins a new one"
    if name == "SQLITE_ERROR":
        return "is this file an outbox of andon?"
    return ""
