"""Opening the outbox file: checked, made where there is none, set aside where it is damaged.

What can fail: no right to write, no room: sqlite3.Error. A damaged file is never deleted.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.outbox.reader import connect
from agent.outbox.sql import SCHEMA_VERSION, SQL

_DAMAGED: Final = ("SQLITE_NOTADB", "SQLITE_CORRUPT")

_log = logging.getLogger("andon.outbox")


def open_file(path: Path) -> sqlite3.Connection:
    """The file opened for writing; a damaged one is set aside and a new one made.

    Raises sqlite3.Error for everything that a new file would not mend.
    """
    try:
        return _open_checked(path)
    except sqlite3.DatabaseError as error:
        if not getattr(error, "sqlite_errorname", "").startswith(_DAMAGED):
            raise
        aside = _set_aside(path)
        _log.error(
            "outbox %s is damaged (%s); it was set aside as %s and a new one begun. "
            "Its unsent lines are in there.", path, error, aside,
        )  # fmt: skip
    return _open_checked(path)


def _open_checked(path: Path) -> sqlite3.Connection:
    writer = connect(path)
    try:
        writer.executescript(SQL["settings"])
        (found,) = writer.execute(SQL["check"]).fetchone()
        if found != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorname = "SQLITE_CORRUPT"
            raise error
        if not writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(writer)
    except BaseException:
        writer.close()
        raise
    return writer


def _create(writer: sqlite3.Connection) -> None:
    writer.executescript(f"BEGIN IMMEDIATE; {SQL['create']}")
    rows = [("schema", str(SCHEMA_VERSION)), ("uuid", str(uuid.uuid4()))]
    writer.executemany(SQL["put_meta"], rows)
    writer.execute("COMMIT")


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside
