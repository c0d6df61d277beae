"""The objects of the board and the stream, built from lines; pure functions.

Enters: tags and fields of lines (from a write, or read back from the store). Leaves: objects as
the board's contract names them. Text that is not JSON where JSON is expected becomes null.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

Object = dict[str, Any]
Path = tuple[str, str, str, str]

AHEAD_NS_MAX = 300 * 10**9
"""Times further ahead of ours are kept but not shown: the newest of them would hide all others."""

SEPARATOR = "\x1f"  # between the parts of an identity, as in schema.sql
PATH_TAGS = ("enterprise", "site", "area", "line")
WINDOW_FIELDS = ("mean", "std", "min", "max", "first", "last", "increase")
ANOMALY_FIELDS = ("value", "expected", "low", "high", "ended_ns")
JSON_PARTS_MAX = 256  # lists and objects in `contributors`; also bounds how deep they nest
SIGNAL_FIELDS = ("kind", "unit", "description", "low", "high")
LEDGER_SAMPLES = ("received", "derived", "filtered", "dropped", "pending")
LEDGER_LINES = ("made", "acknowledged", "waiting", "replaced", "dead_letter")
GATEWAY_FIELDS = (
    "outbox_bytes", "outbox_bytes_max", "hours_left", "oldest_s", "lag_ms", "clock_steps",
    "certificate_days", "version", "signals",
)  # fmt: skip
_EVERY = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


@lru_cache(1024)
def every_ns(every: str) -> int:
    """Length of a window from its tag (`1s`, `10s`, `1m`) in nanoseconds; 0 for anything else."""
    match = _EVERY.fullmatch(every)
    return int(match[1]) * _UNIT_NS[match[2]] if match else 0


def path_of(tags: Mapping[str, Any]) -> Path:
    """The ISA-95 path of a line."""
    return tags["enterprise"], tags["site"], tags["area"], tags["line"]


def path_object(path: Path) -> Object:
    """The path as the board shows it."""
    return dict(zip(PATH_TAGS, path, strict=True))


def window(time_ns: int, fields: Mapping[str, Any]) -> Object:
    """One window as the board shows it."""
    return {
        "time_ns": time_ns,
        "n": fields.get("n") or 0,
        "good": fields.get("good") or 0.0,
        **{name: fields.get(name) for name in WINDOW_FIELDS},
        "rev": fields.get("rev") or 0,
    }


def anomaly(tags: Mapping[str, Any], time_ns: int, fields: Mapping[str, Any]) -> Object:
    """One anomaly as the board shows it."""
    severity = fields.get("severity")
    return {
        "id": fields.get("id")
        or f"{tags['machine']}/{tags['signal']}/{tags['detector']}/{time_ns}",
        "machine": tags["machine"],
        "signal": tags["signal"],
        "detector": tags["detector"],
        "severity": severity if severity in ("warning", "alarm") else "warning",
        "score": fields.get("score"),
        **{name: fields.get(name) for name in ANOMALY_FIELDS},
        "start_ns": time_ns,
        "message": fields.get("message") or "",
        "contributors": _json_list(fields.get("contributors")),
    }


def gateway_identity(tags: Mapping[str, Any]) -> str:
    """A gateway's name within its area; two plants may both have a `gw-1`."""
    names = (tags["enterprise"], tags["site"], tags["area"], tags["gateway"])
    return SEPARATOR.join(names)


def gateway(tags: Mapping[str, Any], time_ns: int, fields: Mapping[str, Any]) -> Object:
    """One gateway as the board shows it: every field of its newest line.

    `missing`, which the store adds, is how many line ids of its outbox are in holes.
    """
    return {
        **{name: value for name, value in fields.items() if value is not None},
        "gateway": tags["gateway"],
        "site": tags["site"],
        "area": tags["area"],
        "seen_ns": time_ns,
    }


def gateway_account(line: Mapping[str, Any]) -> Object:
    """A gateway as it accounts for itself: the newest line of it, its ledger as one object.

    What a line of an older agent does not tell is null.
    """
    lines = {name: line.get(name) for name in LEDGER_LINES}
    return {
        **{name: line[name] for name in ("gateway", "site", "area", "seen_ns")},
        **{name: line.get(name) for name in GATEWAY_FIELDS},
        "ledger": {
            "balanced": line.get("balanced"),
            "samples": {name: line.get(name) for name in LEDGER_SAMPLES},
            "retimed": line.get("retimed"),
            "missed": line.get("missed"),
            "recovered": line.get("recovered"),
            "lines": {**lines, "dropped": line.get("lines_dropped")},
            "withheld": line.get("withheld"),
        },
    }


def encode(value: Any) -> bytes:
    """Compact JSON as bytes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _json_list(text: Any) -> list[Any] | None:
    """A JSON list, or None for what cannot be said again as JSON: NaN, half a surrogate pair."""
    if not isinstance(text, str) or text.count("[") + text.count("{") > JSON_PARTS_MAX:
        return None
    try:
        value = json.loads(text)
        encode(value)
    except ValueError:
        return None
    return value if isinstance(value, list) else None
