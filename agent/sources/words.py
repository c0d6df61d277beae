"""What the words of a name tell of a signal, where nothing better tells it.

Enters: names as people and machines write them. Leaves: their words, and guesses that are told to
be guesses. Nothing fails.
"""

from __future__ import annotations

import re
from typing import Final

_COUNTS: Final = {
    "counter", "counters", "count", "counts", "cnt", "total", "totals", "totalizer", "totaliser",
    "produced", "processed", "cycles", "strokes", "shots", "odometer",
    "energy", "kwh", "wh", "kvarh",
}  # fmt: skip
_LEVELS: Final = {
    "power", "current", "voltage", "flow", "speed", "rate", "temperature", "pressure", "force",
    "average", "mean", "min", "max", "minimum", "maximum", "setpoint", "target", "limit",
    "planned", "nominal", "factor", "frequency", "weight", "level", "percent", "remaining", "per",
    "time", "preset",
}  # fmt: skip
"""With one of these a name with "total" or "count" does not tell of a counter."""
_STATES: Final = {
    "state", "status", "mode", "alarm", "fault", "error", "step", "stage", "phase", "active",
    "enabled", "running", "code",
}  # fmt: skip


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `JobGoodPartsCounter`, `job_good_parts`, `CNC-State`."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word.lower() for word in re.split(r"[\W_]+", split) if word]


def counts_up(name: str) -> bool:
    """Whether it is called as counters are."""
    said = set(words(name))
    return bool(said & _COUNTS) and not said & _LEVELS


def tells_a_state(name: str) -> bool:
    """Whether it is called as states are."""
    return bool(set(words(name)) & _STATES)
