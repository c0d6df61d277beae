"""One agent per outbox: an advisory lock on `<outbox>.lock`, which names who holds it.

The system releases it when its process ends, however it ends; the empty file stays.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agent.errors import OutboxError


class FileLock:
    """Held from construction to `release`. Raises OutboxError where another holds it."""

    def __init__(self, guarded: Path) -> None:
        path = guarded.with_name(guarded.name + ".lock")
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise OutboxError(
                f"cannot open outbox {guarded}: {error.strerror} ({path})",
                "check that the folder exists and that this user may write there",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise OutboxError(
                f"outbox {guarded} is in use by another agent (process {holder or 'unknown'})",
                "stop that one, or give this one another outbox file",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let the next one in; calling it again changes nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
