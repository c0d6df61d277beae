"""The outbox file: opened or made, written in transactions, checkpointed, set aside when damaged.

Enters: rows. Leaves: rows, and how many bytes were written to the disk for them. `schema.sql` says
what is stored.

A transaction returns after its pages are in the write-ahead log and the log is on the disk. When
the log has `LOG_BYTES` it is put into the file here, so that its cost can be counted: each page
that changed in between is written once more, however often it changed.
What can fail: sqlite3.Error from everything that reads or writes.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import uuid as uuids
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.outbox.reader import read_uuid, state_blob
from agent.outbox.sql import SCHEMA_VERSION, SQL, connect

LOG_BYTES: Final = 4 << 20
GROW_BYTES: Final = 1 << 20
"""The file grows in steps of this size."""
DISK_BLOCK_BYTES: Final = 4096
"""The file system writes whole blocks of this size."""

_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24

log = logging.getLogger("andon.outbox")


class File:
    """One outbox file, open for writing. One thread at a time."""

    def __init__(self, path: Path, uuid: str = "", state: Mapping[str, Any] | None = None) -> None:
        """Open it, or make it with this uuid and state. Raises sqlite3.Error, or OutboxError."""
        self.path = path
        self.written_bytes = 0
        self.is_open = True
        self._body = self._shared = -1
        self._frames = 0
        self.connection = connect(path)
        try:
            self.connection.executescript(SQL["settings"])
            if self.connection.execute(SQL["is_empty"]).fetchone()[0]:
                self._create(uuid or str(uuids.uuid4()), state)
            self.uuid = read_uuid(path, self.connection)
            self.is_new = not self.connection.execute(SQL["state"]).fetchone()
            self.page_bytes: int = self.connection.execute("PRAGMA page_size").fetchone()[0]
            # Kept open until the connection is closed: closing any descriptor of these files would
            # let go of SQLite's own locks on them.
            self._body = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._shared = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
            self._frames = self._log_frames()
        except BaseException:
            self.close()
            raise

    @property
    def used_bytes(self) -> int:
        """Bytes in use, without pages that are free to be used again."""
        (used,) = self.connection.execute(SQL["used"]).fetchone()
        return int(used)

    @property
    def size_bytes(self) -> int:
        """Bytes the file takes on the disk."""
        return os.fstat(self._body).st_size

    def grow(self, bytes_wanted: int) -> None:
        """Have the disk hold this much for the file, and let SQLite use no more than that.

        Else it would find out that the disk is full when the log is put into the file, too late.
        Raises OSError when the disk is full.
        """
        size = self.size_bytes
        if bytes_wanted > size:
            size = -(-bytes_wanted // GROW_BYTES) * GROW_BYTES
            os.posix_fallocate(self._body, 0, size)
        self.connection.execute(f"PRAGMA max_page_count = {size // self.page_bytes}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; returns after the disk has it."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # SQLite itself rolls back when the disk is full
                self.connection.execute("ROLLBACK")
            raise
        self._count_log()
        if self._frames * (self.page_bytes + _FRAME_HEADER_BYTES) >= LOG_BYTES:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Put the log into the file, as far as no reader holds it back.

        What cannot be put there now stays in the log, where it is safe: that is no failure.
        """
        pages = self._log_pages()
        try:
            row = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as error:
            log.warning("outbox %s: its log cannot be put into the file: %s", self.path, error)
            return
        busy, frames, done = row
        if not busy and frames == done:
            self._frames = 0
        per_block = max(DISK_BLOCK_BYTES // self.page_bytes, 1)
        blocks = len(np.unique(pages // per_block))
        self.written_bytes += blocks * max(DISK_BLOCK_BYTES, self.page_bytes)

    def put_state(self, document: Mapping[str, Any]) -> None:
        """Within a transaction: what `state` will answer."""
        self.connection.execute(SQL["put_state"], state_blob(document))

    def put_signals(self, documents: Mapping[int, str]) -> None:
        """Within a transaction: these signals as they are now, as JSON."""
        self.connection.executemany(SQL["put_signal"], list(documents.items()))

    def delete_blocks(self, firsts: Iterable[int]) -> None:
        """Within a transaction: these blocks and their columns."""
        rows = [(int(first),) for first in firsts]
        self.connection.executemany(SQL["delete_block"], rows)
        self.connection.executemany(SQL["delete_columns"], rows)

    def put_journal(self, journal: bytes, checkpoint: bytes | None) -> None:
        """Within a transaction: one more blob of the journal, or a checkpoint instead of it."""
        if checkpoint is not None:
            self.connection.execute(SQL["delete_journal"])
            self.connection.execute(SQL["delete_checkpoint"])
        if checkpoint:
            self.connection.execute(SQL["put_checkpoint"], (zlib.crc32(checkpoint), checkpoint))
        elif checkpoint is None and journal:
            self.connection.execute(SQL["put_journal"], (zlib.crc32(journal), journal))

    def close(self) -> None:
        """Close it; SQLite puts the log into the file."""
        if not self.is_open:
            return
        self.is_open = False
        self.connection.close()
        for descriptor in (self._body, self._shared):
            if descriptor >= 0:
                os.close(descriptor)

    def _create(self, uuid: str, state: Mapping[str, Any] | None) -> None:
        self.connection.executescript(f"BEGIN IMMEDIATE; {SQL['create']}")
        rows = [("schema", str(SCHEMA_VERSION)), ("uuid", uuid)]
        self.connection.executemany(SQL["put_meta"], rows)
        if state:
            self.put_state(state)
        self.connection.execute("COMMIT")

    def _log_frames(self) -> int:
        """Frames in the log, from the header of its shared memory (`mxFrame`)."""
        header = os.pread(self._shared, 20, 0)
        return int(struct.unpack("=I", header[16:])[0]) if len(header) == 20 else 0

    def _count_log(self) -> None:
        frames, frame = self._log_frames(), self.page_bytes + _FRAME_HEADER_BYTES
        if frames < self._frames:
            self._frames = 0  # a reader kept the last checkpoint from being the whole log's
        first = (_LOG_HEADER_BYTES + self._frames * frame) // DISK_BLOCK_BYTES
        stop = -(-(_LOG_HEADER_BYTES + frames * frame) // DISK_BLOCK_BYTES)
        self.written_bytes += (stop - first) * DISK_BLOCK_BYTES * (frames > self._frames)
        self._frames = frames

    def _log_pages(self) -> Any:
        """The numbers of the pages whose newest content is in the log."""
        size = self.page_bytes + _FRAME_HEADER_BYTES
        with self.path.with_name(self.path.name + "-wal").open("rb") as wal:
            wal.seek(_LOG_HEADER_BYTES)
            content = wal.read(self._frames * size)
        frames = np.frombuffer(content[: len(content) // size * size], np.uint8)
        return np.unique(frames.reshape(-1, size)[:, :4].copy().view(">u4").astype(np.int64))


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used, with its log; answers its new name."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return aside
