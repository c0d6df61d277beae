"""Carrying a backlog out by hand, where no cable goes: on a USB stick.

`export` copies what waits into a file that is itself an outbox, with the same uuid and line ids, so
that it can be opened and sent from anywhere, and sent twice without harm. `take` also settles those
lines here, as dropped by `exported`: someone else sends them.
What can fail: a file that is no outbox, a target that exists, no room, and for `take` a service
that runs: OutboxError.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.errors import OutboxError
from agent.outbox.reader import open_readonly, read_state, read_uuid, state_blob
from agent.outbox.sql import SQL, connect, sqlite_errors


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exported file holds: so many lines that wait, with ids up to `last`, and its size."""

    uuid: str
    lines: int
    last: int
    bytes: int


def export(source: str | Path, target: str | Path) -> Exported:
    """Copy what waits in the outbox `source` to the new file `target`. Raises OutboxError."""
    source, target = Path(source), Path(target)
    if target.exists():
        raise OutboxError(f"{target} exists already", "choose another name, or delete it first")
    open_readonly(source).close()
    try:
        with (
            sqlite_errors(target, "write"),
            closing(connect(source, readonly=True)) as read,
            closing(connect(target)) as write,
        ):
            read.backup(write)
            return _strip(write, target)
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        raise


def take(source: str | Path, target: str | Path) -> Exported:
    """Export, and settle the exported lines in the outbox of a stopped service.

    Raises OutboxError, also where the service runs; then nothing has changed.
    """
    from agent.outbox.sqlite import open_outbox

    with open_readonly(source) as reader:
        sinks = list(reader.ledger().sinks)
    with closing(open_outbox(source, sinks)) as outbox:
        exported = export(source, target)
        outbox.give_up(exported.last, "exported")
    return exported


def _strip(write: sqlite3.Connection, target: Path) -> Exported:
    """Leave only what it takes to send the lines."""
    state = read_state(write)
    state["clean"] = True  # nobody stages lines in it, so no id is given out twice
    write.execute("BEGIN IMMEDIATE")
    for table in ("journal", "checkpoint", "dead_letter"):
        write.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    write.execute(SQL["put_state"], state_blob(state))
    write.execute("COMMIT")
    write.execute("PRAGMA journal_mode = DELETE")  # one file to carry
    write.execute("VACUUM")
    book = state["book"]
    uuid = read_uuid(target, write)
    return Exported(uuid, book["lines"]["waiting"], book["next_id"] - 1, target.stat().st_size)
