"""Looks into an outbox, and asks the running service what only it knows.

Enters: the outbox's file. Leaves: plain values with stable names, the answer of `--json`. What can
fail: a file that is missing or no outbox, OutboxError; a service that does not answer is none.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from agent.errors import ConfigError
from agent.outbox import Usage
from agent.outbox.rates import Rates
from agent.outbox.reader import Reader, open_readonly, read_state
from agent.status import ask_status

FAR_S: Final = 10 * 365.25 * 86_400
"""What is further away is not told: the rate it comes from is next to nothing."""


def look(file: Path) -> dict[str, Any]:
    """The outbox and, where a service runs, what it asks of the disk. Raises OutboxError.

    Without a service rates are those of when it last wrote, not what has faded since.
    """
    service = status(file.parent)
    with open_readonly(file) as reader:
        usage, ledger = reader.usage(), reader.ledger()
        wrote_ns, at_rest = _at_rest(reader, usage)
    usage = usage if service else at_rest
    now_ns = time.time_ns()
    return {
        "file": str(file),
        "uuid": reader.uuid,
        "bytes": usage.bytes,
        "bytes_max": usage.bytes_max,
        "lines_waiting": usage.lines_waiting,
        "oldest_s": _ago_s(usage.oldest_ns, now_ns),
        "lines_in_per_s": round(usage.lines_in_per_s, 3),
        "lines_out_per_s": round(usage.lines_out_per_s, 3),
        "bytes_in_per_s": round(usage.bytes_in_per_s, 3),
        "hours_left": _near(usage.hours_left, 3600),
        "drain_s": _near(usage.drain_s, 1),
        "dead_letters": ledger.lines.dead_letter.total(),
        "dropped": dict(ledger.lines.dropped),
        "sinks": {name: asdict(sink) for name, sink in ledger.sinks.items()},
        "wrote_s": _ago_s(wrote_ns, now_ns),
        "service": _service(service) if service else None,
    }


def dead_letters(file: Path, sink: str = "") -> list[dict[str, Any]]:
    """What far sides rejected, or one of them, the newest last. Raises OutboxError, ConfigError."""
    with open_readonly(file) as reader:
        found, sinks = reader.dead_letters(), set(reader.ledger().sinks)
    known = sinks | {name for name, _ in found}
    if sink and sink not in known:
        raise ConfigError(
            f"there is no sink {sink!r}", f"the outbox knows {', '.join(sorted(known)) or 'none'}"
        )
    return [
        {
            "sink": name,
            "line_id": letter.line_id,
            "cause": letter.cause,
            "reason": letter.reason,
            "line": letter.line.decode("utf-8", "replace"),
        }
        for name, letter in found
        if sink in ("", name)
    ]


def status(folder: Path) -> dict[str, Any] | None:
    """What the service in this data folder says of itself; None where none answers."""
    try:
        return ask_status(folder)
    except (OSError, ValueError):
        return None


def _at_rest(reader: Reader, usage: Usage) -> tuple[int, Usage]:
    """When the last commit counted its lines, and the rates as of then."""
    with reader.reading() as read:
        rates = Rates(*read_state(read)["rates"])
    lines_in, lines_out, bytes_in = rates.per_s(rates.at_ns)
    return rates.at_ns, replace(
        usage, lines_in_per_s=lines_in, lines_out_per_s=lines_out, bytes_in_per_s=bytes_in
    )


def _service(status: dict[str, Any]) -> dict[str, Any]:
    outbox = status["outbox"]
    disk = ("gb_per_day", "gb_per_day_max", "commit_interval_s")
    source = ("journaled", "held_back", "redelivered")
    return {
        **{name: outbox.get(name) for name in disk},
        "sources": {
            name: {key: values.get(key) for key in source}
            for name, values in status["sources"].items()
        },
        "sinks": {name: values["state"] for name, values in status["sinks"].items()},
    }


def _ago_s(moment_ns: int | None, now_ns: int) -> float | None:
    return None if moment_ns is None else max(now_ns - moment_ns, 0) / 1e9


def _near(length: float | None, unit_s: float) -> float | None:
    return length if length is not None and length * unit_s <= FAR_S else None
