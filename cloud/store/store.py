"""The database and its one owner.

Enters: parsed writes. Leaves: `Committed`, after the transaction is on disk; rows, to readers.
Fails: `DataFolderError` when the folder cannot be used, `QueueFullError` when too much waits,
`StoreError` when the database refuses a commit, or cannot be read now.

One thread owns all writing. It takes every write that waits (group commit), appends their columns
in one transaction (`transaction.py`) together with what is then known of their outboxes, and hands
the group to `on_commit` once DuckDB has synced its log. A group that fails is tried again one write
at a time, so that one bad write spoils no other. A database that DuckDB has given up, as it does
when the disk is full, is opened anew: writing goes on as soon as there is room. Readers use cursors
of the same database in threads of their own; they never wait for writers.
"""

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from cloud.errors import DataFolderError, QueueFullError, StoreError
from cloud.settings import Settings
from cloud.store.sql import blocks, query
from cloud.store.tables import FieldKinds, shapes
from cloud.store.transaction import Committed, Transaction, Write, remembered

log = logging.getLogger("cloud.store")

FILE_NAME = "andon.duckdb"
CLOSE_S_MAX = 10.0

# What a database says that is closed, given up, or on a full disk; it may be back at once.
_AWAY = (duckdb.OperationalError, duckdb.FatalException)


class Store:
    """The open database in the folder of `settings`; tells nobody of commits until `listen`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._on_commit: Callable[[list[Committed]], None] = lambda committed: None
        self._connect()
        self._tables = shapes(self.select("columns")[1])
        self._kinds: FieldKinds = {
            (measurement, name): kind
            for measurement, name, kind in self.select("foreign_fields")[1]
        }
        self.outboxes = {row["outbox"]: remembered(row) for row in self.read("outboxes")}
        self.healthy = True
        self._waiting: deque[Write] = deque()
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._owner = threading.Thread(target=self._run, name="store-owner", daemon=True)
        self._owner.start()

    def listen(self, on_commit: Callable[[list[Committed]], None]) -> None:
        """Where commits are told from now on: in the owner's thread, in their order."""
        self._on_commit = on_commit

    def submit(self, write: Write) -> None:
        """Queue one write.

        Raises
        ------
        QueueFullError : `queue_writes_max` or `queue_bytes_max` is reached, or it is closing.

        """
        with self._wake:
            waiting_bytes = self._waiting_bytes + write.size_bytes
            full = len(self._waiting) >= self._settings.queue_writes_max or (
                self._waiting and waiting_bytes > self._settings.queue_bytes_max
            )
            if full or self._closing:
                raise QueueFullError(
                    f"{len(self._waiting)} writes wait for the disk; try again in"
                    f" {self._settings.retry_after_s} s"
                )
            self._waiting.append(write)
            self._waiting_bytes = waiting_bytes
            self._wake.notify()

    def read(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the query `name` as objects; safe in any thread."""
        names, rows = self.select(name, **parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def select(self, name: str, **parameters: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of the query `name`; safe in any thread.

        Raises
        ------
        StoreError : the database is being opened anew, or has no room to answer.

        """
        try:
            with self._connection.cursor() as cursor:
                result = cursor.execute(query(name), parameters or None)
                return [column[0] for column in result.description or ()], result.fetchall()
        except _AWAY as error:
            raise StoreError("the database cannot be read now; try again") from error

    def close(self) -> None:
        """Commit what waits, then close the database; idempotent."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._owner.join(CLOSE_S_MAX)
        self._connection.close()

    def _connect(self) -> None:
        settings = self._settings
        self._connection = _open(settings.data / FILE_NAME, settings.store_memory_max_mib)
        [[self._arrival]] = self.select("last_arrival")[1]

    def _run(self) -> None:
        while group := self._take():
            self._on_commit(self._commit(group))

    def _take(self) -> list[Write]:
        """Every write that waits, up to `commit_lines_max` lines; empty when closing and done."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closing)
            group: list[Write] = []
            lines = 0
            while self._waiting and (not group or lines < self._settings.commit_lines_max):
                write = self._waiting.popleft()
                self._waiting_bytes -= write.size_bytes
                lines += write.parsed.lines
                group.append(write)
            return group

    def _commit(self, group: list[Write]) -> list[Committed]:
        if not self.healthy:
            self._mend()
        try:
            committed = Transaction(self._connection, self._settings, self._tables).run(
                group, self._arrival, self._kinds, self.outboxes
            )
        except Exception as error:  # the owner must outlive whatever a write can do to it
            if len(group) > 1:
                return [done for write in group for done in self._commit([write])]
            self._tell(group[0], error)
            return [Committed(group[0], error=StoreError("the database refused the write"))]
        self.healthy = True
        self._arrival = committed.arrival
        self._kinds |= committed.kinds
        self.outboxes |= committed.outboxes
        return committed.done

    def _mend(self) -> None:
        """Open the database anew where DuckDB has given it up, as it does when the disk is full."""
        try:
            self._connection.execute("SELECT 1")
        except duckdb.Error:
            self._connection.close()
            # While there is still no room, the next write tries again.
            with suppress(DataFolderError, StoreError, duckdb.Error):
                self._connect()

    def _tell(self, write: Write, error: Exception) -> None:
        if self.healthy:  # once, not for every write that finds the disk full
            log.error("a write of %d lines was not kept", write.parsed.lines, exc_info=error)
        self.healthy = False


def _open(path: Path, memory_mib: int) -> duckdb.DuckDBPyConnection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = duckdb.connect(
            str(path), config={"memory_limit": f"{memory_mib}MiB", "threads": "2"}
        )
        for block in blocks("schema.sql").values():
            connection.execute(block)
    except OSError as error:
        raise DataFolderError(
            f"the data folder {path.parent} cannot be used: {error.strerror};"
            " give a folder this user may write with --data"
        ) from None
    except duckdb.Error as error:
        raise _refused(path, str(error)) from None
    return connection


def _refused(path: Path, text: str) -> DataFolderError:
    if "lock" in text.lower():
        holder = re.search(r"PID (\d+)", text)
        who = f"process {holder[1]}" if holder else "another process"
        return DataFolderError(
            f"the database {path} is in use by {who}; stop it, or give another folder with --data"
        )
    return DataFolderError(
        f"the database {path} cannot be opened: {text.splitlines()[0]};"
        " give a folder this user may write with --data"
    )
