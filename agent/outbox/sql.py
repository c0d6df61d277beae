"""The statements of `schema.sql` by name, connections, and SQLite's errors in plain words."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from agent.errors import OutboxError

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

SCHEMA_VERSION: Final = 2
BUSY_TIMEOUT_S: Final = 5.0


def _named() -> dict[str, str]:
    text = files(__package__).joinpath("schema.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


SQL: Final = _named()


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from any thread under a lock."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


@contextmanager
def sqlite_errors(path: Path, doing: str) -> Iterator[None]:
    """SQLite's errors as OutboxError, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutboxError(f"cannot {doing} outbox {path}: {error}", _hint(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutboxError(
            f"cannot {doing} outbox {path}: {reason}", "make room on the disk"
        ) from error


def damaged(why: str) -> sqlite3.DatabaseError:
    """The error SQLite gives for a damaged file, for damage it does not see."""
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is not what was written."""
    return _name(error).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def is_full(error: sqlite3.Error | OSError) -> bool:
    """Whether there is no room: a full disk, a quota of the user, a limit of the file's size."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return _name(error).startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"))


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or ""


def _hint(error: sqlite3.Error) -> str:
    name = _name(error)
    if is_full(error):
        return "make room on the disk"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return "check that the folder exists and that this user may read and write there"
    if is_damaged(error):
        return "start the agent: it sets a damaged outbox aside and begins a new one"
    if name == "SQLITE_ERROR":
        return "is this file an outbox of andon?"
    return ""
