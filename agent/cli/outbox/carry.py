"""Sends an outbox that was carried here in a file, and notes in the file what has arrived.

Enters: the file, and the sink of a configuration. Leaves: its lines at the far side, under the
outbox's own name and line ids. The file is opened as the outbox it is, but nothing in it may be
dropped for its age or size, and no id is skipped after a crash: the gateway it comes from goes on
giving out the ids that follow.

What can fail: a file that is no outbox, or damaged, is refused and left as it is (OutboxError);
a far side that takes nothing for a while is given up, which `Sent.error` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.cli.outbox.tell import lines
from agent.cli.service.assemble import forwarder
from agent.config import Config, InfluxdbConfig
from agent.errors import AndonError, OutboxError, SinkRefused, SinkUnreachable
from agent.forward import Forwarder
from agent.outbox import Commit
from agent.outbox.reader import open_readonly, read_state
from agent.outbox.sqlite import SqliteOutbox, open_outbox

LOOK_S: Final = 0.05
NOTE_EVERY_S: Final = 1.0
"""What has arrived is noted in the file this often; a crash sends again what came since."""
SAY_EVERY_S: Final = 2.0
PATIENCE_S: Final = 20.0
"""So long without a line arriving, the far side is given up for now."""
REFUSED_S: Final = 3.0
"""So long when it says no: a person is there to read it."""
AT_ONCE: Final = 10_000_000
"""Lines a second: there is no live line that the backlog could be in the way of."""
UNLIMITED: Final = 1 << 60
"""Bytes, or nanoseconds."""
EXPORTED: Final = "give what `andon outbox export` wrote"
AGAIN: Final = "what has arrived is noted in the file; the same command sends the rest"


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the lines that waited in the file when it was opened.

    acknowledged : the far side has them; `withheld` of them it cannot hold, they were left out
    dead_letter : it rejected them
    damaged : they cannot be read
    error : why it did not go on
    """

    file: str
    outbox: str
    sink: str
    acknowledged: int
    withheld: int
    dead_letter: int
    damaged: int
    waiting: int
    error: AndonError | None

    def document(self) -> dict[str, Any]:
        """As plain values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"error": None if self.error is None else str(self.error)}


def send(file: Path, config: Config, sink: InfluxdbConfig, say: Callable[[str], None]) -> Sent:
    """Send all that waits in `file` to this sink; `say` is told how it goes. Raises OutboxError."""
    _check(file)
    with closing(
        open_outbox(
            file,
            [sink.name],
            bytes_max=UNLIMITED,
            age_max_ns=UNLIMITED,
            reserve_bytes=0,
            staged_lines_max=0,
        )
    ) as outbox:
        before = outbox.ledger()
        sending = forwarder(outbox, config, sink, backlog_lines_per_s=AT_ONCE)
        sending.start()
        try:
            error = _watch(outbox, sending, say)
        except KeyboardInterrupt:
            error = SinkUnreachable("broken off", AGAIN)
        finally:
            sending.stop(0)
        after = outbox.ledger()
        was, now = before.sinks[sink.name], after.sinks[sink.name]
        damaged = after.lines.dropped["damaged"] - before.lines.dropped["damaged"]
        if damaged and not now.waiting:
            error = OutboxError(f"{file} could not be read as a whole", "export it once more")
        return Sent(
            str(file),
            outbox.uuid,
            sink.name,
            now.acknowledged - was.acknowledged,
            now.withheld - was.withheld,
            now.dead_letter - was.dead_letter,
            damaged,
            now.waiting,
            error if now.waiting or damaged else None,
        )


def _check(file: Path) -> None:
    """Raises OutboxError unless it is an outbox, whole from end to end.

    `open_outbox` would set a damaged one aside and begin a new one: right at a gateway, not here.
    """
    if not file.exists():
        raise OutboxError(f"there is no file {file}", EXPORTED)
    try:
        with open_readonly(file) as reader, reader.reading() as read:
            read_state(read)
            (found,) = read.execute("PRAGMA quick_check(1)").fetchone()
    except OutboxError as error:
        raise OutboxError(str(error), EXPORTED) from error
    if found != "ok":
        raise OutboxError(f"{file} is damaged: {found}", "export it once more")


def _watch(
    outbox: SqliteOutbox, sending: Forwarder, say: Callable[[str], None]
) -> AndonError | None:
    """Wait until all is sent or the far side is given up, and note in the file how far it came."""
    waiting = outbox.usage().lines_waiting
    moved_s = noted_s = said_s = time.monotonic()
    while waiting:
        time.sleep(LOOK_S)
        now_s, before, waiting = time.monotonic(), waiting, outbox.usage().lines_waiting
        if waiting < before:
            moved_s = now_s
        if now_s - moved_s > (REFUSED_S if sending.refused else PATIENCE_S):
            if sending.refused:
                return SinkRefused(f"{sending.name} does not take them", AGAIN)
            return SinkUnreachable(f"{sending.name} has not answered", AGAIN)
        if now_s - noted_s > NOTE_EVERY_S and outbox.dirty:
            noted_s = now_s
            outbox.commit(Commit(outbox.ledger().samples))
        if now_s - said_s > SAY_EVERY_S:
            said_s = now_s
            say(f"{lines(waiting)} to go; {sending.state}")
    return None
