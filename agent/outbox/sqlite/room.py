"""Room on the disk: the limit that holds now, and a reserve for the moment there is none left.

A full disk must not stop the outbox, which needs a little room even to let go of lines (its log).
So a file of `RESERVE_BYTES` lies beside it. When the disk is full it is deleted, the outbox keeps
to the size it has and makes room inside by its policy; when there is room again the reserve is
made anew and `bytes_max` holds as before.
Nothing here fails: without its reserve the outbox works, and it is said.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Final

from agent.outbox.sqlite.file import LOG_BYTES

RESERVE_SUFFIX: Final = ".reserve"
RESERVE_BYTES: Final = 2 * LOG_BYTES
RESERVE_RETRY_S: Final = 10.0
MARGIN_BYTES: Final = 65_536
"""Kept free inside a file that cannot grow: tables need pages beside those of the lines."""

log = logging.getLogger("andon.outbox")


class Room:
    """How large the outbox may be now."""

    def __init__(self, guarded: Path, bytes_max: int, reserve_bytes: int) -> None:
        """For this outbox file; with `reserve_bytes` 0 there is no reserve."""
        self.bytes_max = bytes_max
        self._path = guarded.with_suffix(RESERVE_SUFFIX)
        self._reserve_bytes = reserve_bytes
        self._file_bytes: int | None = None
        self._tried_s = -RESERVE_RETRY_S
        self.make_reserve()

    @property
    def limit_bytes(self) -> int:
        """The limit that holds now: `bytes_max`, or what a full disk leaves."""
        if self._file_bytes is None:
            return self.bytes_max
        return min(self.bytes_max, max(self._file_bytes - MARGIN_BYTES, 0))

    def full(self, file_bytes: int) -> None:
        """The disk took no more when the file had this size: keep to it, give up the reserve."""
        if self._file_bytes is None:
            log.warning(
                "the disk is full; the outbox keeps to its %.1f MB and lets go of its oldest raw "
                "samples, then windows. Make room on the disk.", file_bytes / 1e6,
            )  # fmt: skip
        self._file_bytes = min(self._file_bytes or file_bytes, file_bytes)
        self._path.unlink(missing_ok=True)
        self._tried_s = time.monotonic()

    def make_reserve(self) -> None:
        """Make the reserve if there is none and the disk has room; tried every ten seconds."""
        now_s = time.monotonic()
        if now_s - self._tried_s < RESERVE_RETRY_S:
            return
        self._tried_s = now_s
        if self._path.exists() and self._path.stat().st_size == self._reserve_bytes:
            return
        if not self._reserve_bytes:
            self._file_bytes = None
            return
        try:
            self._fill()
        except OSError as error:
            self._path.unlink(missing_ok=True)
            if self._file_bytes is None:
                log.warning("no reserve of room for the outbox, %s: %s", self._path, error.strerror)
            return
        if self._file_bytes is not None:
            log.warning("there is room on the disk again; the outbox may grow as before")
        self._file_bytes = None

    def _fill(self) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * self._reserve_bytes:
            raise OSError(28, "the disk is nearly full")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self._reserve_bytes)
        finally:
            os.close(descriptor)
