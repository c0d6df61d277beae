"""`python -m tests.journey.day`: exit code 1 when a window was lost, doubled or late."""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent.forward import Limits
from agent.outbox import FILE_NAME
from tests.journey.day.drain import drain
from tests.journey.day.outage import outage

LIVE_MS_MAX: Final = 5000.0
BYTES_PER_HOUR: Final = 250 << 20
"""More than an hour without cloud takes."""
DRAIN_DEADLINE: Final = 20
"""It must not take so many times what the rate allows, nor less than a minute."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    began_s = time.monotonic()
    bytes_max = asked.bytes_max or round(BYTES_PER_HOUR * max(asked.hours, 1))
    with tempfile.TemporaryDirectory(prefix="andon-day-", dir=asked.data) as folder:
        path = Path(folder, FILE_NAME)
        _tell(f"{asked.hours:g} h without cloud, in an outbox of {bytes_max / 1e9:.2f} GB")
        figures: dict[str, Any] = outage(path, asked.hours, bytes_max)
        _tell(
            f"{figures['waiting_before']:,} lines wait, {figures['bytes_before'] / 1e6:,.1f} MB; "
            f"the way is open, the backlog goes at {asked.backlog_lines_per_s:,} lines/s"
        )
        least_s = figures["waiting_before"] / asked.backlog_lines_per_s
        deadline_s = 60 + DRAIN_DEADLINE * least_s
        figures |= drain(path, bytes_max, figures, asked.backlog_lines_per_s, deadline_s)
        figures["disk_free_gb"] = shutil.disk_usage(folder).free / 1e9
    figures["windows_made"] = figures.pop("windows_outage") + figures.pop("windows_live")
    figures["missing"] = figures["windows_made"] - figures["windows_distinct"]
    figures |= {"hours": asked.hours, "seconds": time.monotonic() - began_s}
    wrong = faults(figures)
    figures["wrong"] = wrong
    if asked.json:
        print(json.dumps({name: _plain(value) for name, value in figures.items()}))
    else:
        for name, value in figures.items():
            print(f"{name:<30}{_figure(value):>20}")
    return 1 if wrong else 0


def faults(figures: dict[str, Any]) -> list[str]:
    """What is not as it has to be, as words."""
    dropped = figures["dropped"]
    claims = {
        "windows are missing": figures["missing"] == dropped,
        "windows of the outage are missing": figures["backlog_missing"] in (0, dropped),
        "windows came twice": figures["windows_repeated"] == 0,
        "lines came twice": figures["lines_repeated"] == 0,
        "line ids have holes": figures["holes"] == 0,
        "windows came that nobody made": figures["lines_strange"] == 0,
        "samples are missing": dropped or figures["samples_arrived"] == figures["samples_derived"],
        "it did not drain": math.isfinite(figures["drain_s"]) and figures["waiting_after"] == 0,
        "lines were rejected": figures["dead_letters"] == 0,
        "a ledger does not balance": figures["balanced"] and figures["balanced_before"],
        "live windows came late": figures.get("live_ms_max", math.inf) < LIVE_MS_MAX,
    }
    return [words for words, is_so in claims.items() if not is_so]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.journey.day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="how long there is no cloud")
    parser.add_argument("--backlog-lines-per-s", type=int, default=Limits().backlog_lines_per_s)
    parser.add_argument("--bytes-max", type=int, help="of the outbox; else enough for the hours")
    parser.add_argument("--data", type=Path, help="a folder on the disk to measure on")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """As JSON holds it, which knows no infinity."""
    if not isinstance(value, float):
        return value
    return round(value, 4) if math.isfinite(value) else None


def _figure(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:,.4g}"


if __name__ == "__main__":
    sys.exit(main())
