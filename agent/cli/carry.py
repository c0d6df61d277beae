"""Sends an outbox that was carried here in a file, and notes in the file what has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agent.config import InfluxdbConfig
from agent.errors import OutboxError
from agent.forward import Forwarder, Limits
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.sinks.influxdb import InfluxdbSink

LOOK_S: Final = 0.1
SAY_EVERY_S: Final = 2.0
PATIENCE_S: Final = 20.0
"""So long without a line arriving, the far side is given up for now."""
AT_ONCE: Final = 10_000_000
"""Lines a second: there is no live line that the backlog could be in the way of."""


def send(file: Path, config: InfluxdbConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Send all that waits in `file`; what each side then holds, as plain values.

    Returns early where the far side takes nothing for `PATIENCE_S`. Raises OutboxError for a file
    that is missing or is no outbox.
    """
    if not file.exists():
        raise OutboxError(f"there is no file {file}", "give what `andon outbox export` wrote")
    outbox = open_outbox(file, [config.name], reserve_bytes=0)
    sink = InfluxdbSink(
        config.name,
        url=config.url,
        token=config.token.get_secret_value(),
        outbox=outbox.uuid,
        org=config.org,
        bucket=config.bucket,
        timeout_s=config.timeout_s,
        flavour=config.flavour,
    )
    limits = Limits(lines_max=config.lines_max, backlog_lines_per_s=AT_ONCE)
    forwarder = Forwarder(outbox, sink, limits=limits)
    forwarder.start()
    try:
        _watch(outbox, forwarder, say)
    except KeyboardInterrupt:
        say("broken off; what has arrived is noted in the file")
    finally:
        forwarder.stop(0)
        ledger = outbox.ledger().sinks[config.name]
        outbox.close()
    return {"file": str(file), "sink": config.name, **asdict(ledger)}


def _watch(outbox: SqliteOutbox, forwarder: Forwarder, say: Callable[[str], None]) -> None:
    waiting = outbox.usage().lines_waiting
    moved_s = said_s = time.monotonic()
    while waiting:
        time.sleep(LOOK_S)
        now_s, before, waiting = time.monotonic(), waiting, outbox.usage().lines_waiting
        if waiting < before:
            moved_s = now_s
        if now_s - moved_s > PATIENCE_S:
            say(forwarder.state)
            return
        if now_s - said_s > SAY_EVERY_S:
            said_s = now_s
            say(f"{waiting:,} lines to go; {forwarder.state}")
