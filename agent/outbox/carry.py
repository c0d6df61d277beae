"""Carrying a backlog out by hand, where no cable goes: on a USB stick.

`export` copies what waits into a file that is itself an outbox, with the same uuid and line ids, so
that it can be opened and sent from anywhere, and sent twice without harm. `take` also settles those
lines here, as dropped by `exported`: someone else sends them.
What can fail: a file that is no outbox, a target that exists, no room, and for `take` a service
that runs: OutboxError.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.errors import OutboxError
from agent.outbox.reader import open_readonly, read_state, read_uuid, state_blob
from agent.outbox.sql import SQL, connect, sqlite_errors

UNLIMITED: Final = 1 << 60
"""Bytes or ns. What the service's limits are is not known here: nothing may be dropped for ours."""


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
        with sqlite_errors(target, "write"):
            with closing(connect(target)) as write:
                state = _copy(source, write)
                uuid = read_uuid(target, write)
            _sync(target)
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        raise
    book = state["book"]
    return Exported(uuid, book["lines"]["waiting"], book["next_id"] - 1, target.stat().st_size)


def take(source: str | Path, target: str | Path) -> Exported:
    """Export, and settle the exported lines in the outbox of a stopped service.

    Raises OutboxError, also where the service runs; then nothing has changed.
    """
    from agent.outbox.sqlite import open_outbox

    with open_readonly(source) as reader:
        sinks, bytes_max = list(reader.ledger().sinks), reader.usage().bytes_max
    with closing(open_outbox(source, sinks, bytes_max=UNLIMITED, age_max_ns=UNLIMITED)) as outbox:
        exported = export(source, target)
        outbox.give_up(exported.last, "exported")
    with suppress(OutboxError):  # the lines are taken; this only has it tell its own limit again
        open_outbox(source, sinks, bytes_max=bytes_max).close()
    return exported


def _copy(source: Path, write: sqlite3.Connection) -> dict[str, Any]:
    """Copy only what it takes to send the lines, as one commit left it; answers its state.

    Without a journal or a second pass: it takes no more room than the file will have.
    """
    write.executescript("PRAGMA page_size = 1024; PRAGMA journal_mode = OFF")
    write.execute("PRAGMA synchronous = OFF")  # `_sync` does it once, for all
    write.executescript(SQL["create"])
    write.execute("ATTACH ? AS source", (f"{source.absolute().as_uri()}?mode=ro",))
    write.execute("BEGIN")
    for table in ("meta", "state", "signal", "block", "columns"):
        write.execute(f"INSERT INTO {table} SELECT * FROM source.{table}")  # noqa: S608 - our own
    state = read_state(write)
    state["clean"] = True  # nobody stages lines in it, so no id is given out twice
    write.execute(SQL["put_state"], state_blob(state))
    write.execute("COMMIT")
    write.execute("DETACH source")
    return state


def _sync(target: Path) -> None:
    """Return after the disk has the file and its name."""
    for path in (target, target.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
