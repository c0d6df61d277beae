r"""Line protocol: what goes over the wire, after the table "What the agent sends".

Windows and samples come as columns and are written by `agent.kernels.encode`; the rarer lines are
made one by one with `point`. Both escape alike (InfluxDB v2 line protocol): in tags `,`, `=` and
space get a backslash, in strings `"` and `\` do. What the protocol cannot say: a control character
in a tag becomes a space, a backslash in front of an escaped character or at a tag's end becomes a
slash, half a surrogate pair becomes `?`; an empty tag, a NaN and an infinity are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.kernels.encode import FLOAT, INTEGER, NO_TEXT, TEXT, Pool, encode_lines, pool
from agent.ledger import Ledger
from agent.lines import Lines, Rows
from agent.signals import Path, Signal

Value = bool | int | float | str | None
"""What a field may hold; None leaves it out."""

_WINDOW_FIELDS: Final = (
    ("n", INTEGER), ("good", FLOAT), ("mean", FLOAT), ("std", FLOAT), ("min", FLOAT),
    ("max", FLOAT), ("first", FLOAT), ("last", FLOAT), ("increase", FLOAT), ("rev", INTEGER),
)  # fmt: skip
_SAMPLE_FIELDS: Final = (("value", FLOAT), ("text", TEXT), ("status", INTEGER))
_DURATIONS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
_INT64_MAX: Final = (1 << 63) - 1


class Encoder:
    """Encodes columns of lines; knows the tags of each signal id.

    `learn` may run in one thread while others encode.
    """

    def __init__(self, signals: Mapping[int, Signal] | None = None) -> None:
        self._tags: dict[int, bytes] = {}
        self._heads: tuple[Pool, Pool] = pool([]), pool([])
        self.learn(signals or {})

    def learn(self, signals: Mapping[int, Signal]) -> None:
        """Take in new signals. Known ones are skipped: an id keeps its path and name for life.

        Raises ValueError where ids would have a hole, whose lines would have no tags.
        """
        new = {i: _signal_tags(signal) for i, signal in signals.items() if i not in self._tags}
        if not new:
            return
        known = self._tags | new
        if max(known) != len(known) - 1:
            raise ValueError(f"signal ids have a hole: {len(known)} of them up to {max(known)}")
        self._tags = known
        tags = [known[i] for i in range(len(known))]
        self._heads = (
            pool([b"window" + tag for tag in tags]),
            pool([b"sample" + tag for tag in tags]),
        )

    def encode(self, lines: Lines) -> tuple[bytes, npt.NDArray[np.int64]]:
        """The lines as bytes, each ended by a newline, and (n + 1,) where each starts.

        Raises ValueError for a signal id that was never learned.
        """
        window_heads, sample_heads = self._heads
        parts = []
        if len(lines.windows):
            parts.append(_encode_windows(window_heads, lines.windows))
        if len(lines.samples):
            parts.append(_encode_samples(sample_heads, lines.samples, lines.texts))
        if lines.ready:
            parts.append((b"\n".join(lines.ready) + b"\n", _ends(lines.ready)))
        return join(parts)


def join(
    parts: Sequence[tuple[bytes, npt.NDArray[np.int64]]],
) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Several encoded parts as one."""
    offsets, length = [np.zeros(1, np.int64)], 0
    for _, starts in parts:
        offsets.append(starts[1:] + length)
        length += int(starts[-1])
    return b"".join(body for body, _ in parts), np.concatenate(offsets)


def point(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value], time_ns: int
) -> bytes:
    """One line without newline; fields that are None, NaN or infinite are left out.

    Raises ValueError where nothing is left to say, or a whole number does not fit into 64 bits.
    """
    written = [
        _escape_tag(name) + b"=" + text for name, value in fields.items() if (text := _field(value))
    ]
    if not measurement or measurement.startswith("#") or not written:
        raise ValueError(f"a line needs a measurement and a field: {measurement!r} {dict(fields)}")
    head = _escape_name(measurement) + _escape_tags(tags)
    return head + b" " + b",".join(written) + b" %d" % time_ns


def machine_line(
    path: Path,
    machine: str,
    time_ns: int,
    *,
    model: str = "",
    order_in_line: int | None = None,
    asset_id: str = "",
    ideal_cycle_s: float | None = None,
) -> bytes | None:
    """What is known of a machine, sent when it changes; None where nothing is."""
    fields: dict[str, Value] = {
        "model": model or None,
        "order_in_line": order_in_line,
        "asset_id": asset_id or None,
        "ideal_cycle_s": _as_float(ideal_cycle_s),
    }
    if all(value is None for value in fields.values()):
        return None
    return point("machine", _path_tags(path) | {"machine": machine}, fields, time_ns)


def signal_line(signal: Signal, time_ns: int) -> bytes:
    """What is known of a signal, sent when it changes; it is a whole statement, not a change."""
    fields: dict[str, Value] = {
        "kind": signal.kind,
        "unit": signal.unit or None,
        "low": _as_float(signal.low),
        "high": _as_float(signal.high),
        "grade": signal.grade,
        "node": signal.node or None,
        "description": signal.description or None,
    }
    tags = _path_tags(signal.path) | {"machine": signal.machine, "signal": signal.name}
    return point("signal", tags, fields, time_ns)


def anomaly_line(
    path: Path,
    machine: str,
    signal: str,
    detector: str,
    start_ns: int,
    *,
    anomaly_id: str,
    severity: str,
    score: float,
    message: str,
    value: float | None = None,
    expected: float | None = None,
    low: float | None = None,
    high: float | None = None,
    ended_ns: int | None = None,
    contributors: Sequence[Any] | None = None,
) -> bytes:
    """One episode as it stands; `signal` is `_machine` where it is several's.

    It is sent again as it develops: its start never moves, `ended_ns` comes when it is over.
    `contributors` is anything JSON can say.
    """
    fields: dict[str, Value] = {
        "id": anomaly_id,
        "severity": severity,
        "score": float(score),
        "value": _as_float(value),
        "expected": _as_float(expected),
        "low": _as_float(low),
        "high": _as_float(high),
        "ended_ns": ended_ns,
        "message": message,
        "contributors": None if contributors is None else json.dumps(contributors),
    }
    tags = {"machine": machine, "signal": signal, "detector": detector}
    return point("anomaly", _path_tags(path) | tags, fields, start_ns)


def state_line(
    path: Path, machine: str, start_ns: int, state: str, reason: str, duration_s: float | None
) -> bytes:
    """A state of a machine; it is sent again with its duration once it is over."""
    fields: dict[str, Value] = {
        "state": state,
        "reason": reason,
        "duration_s": _as_float(duration_s),
    }
    return point("state", _path_tags(path) | {"machine": machine}, fields, start_ns)


def gateway_line(
    path: Path,
    gateway: str,
    time_ns: int,
    ledger: Ledger,
    *,
    outbox_bytes: int,
    outbox_bytes_max: int,
    hours_left: float | None,
    oldest_s: float,
    lag_ms: float,
    clock_steps: int,
    certificate_days: int | None,
    version: str,
    signals: int,
) -> bytes:
    """The gateway's own line: its ledger and how it is. It stands for its area, not for a line.

    hours_left : how long the outbox has room at the present rate; None when nothing comes
    oldest_s : the age of the oldest line that waits, 0 when none does
    certificate_days : until the gateway's own certificate expires; None where it has none
    """
    samples, lines = ledger.samples, ledger.lines
    fields: dict[str, Value] = {
        "received": samples.received,
        "derived": samples.derived,
        "filtered": samples.filtered.total(),
        "dropped": samples.dropped.total(),
        "pending": samples.pending,
        "made": lines.made,
        "acknowledged": lines.acknowledged,
        "waiting": lines.waiting,
        "replaced": lines.replaced,
        "dead_letter": lines.dead_letter.total(),
        "lines_dropped": lines.dropped.total(),
        "retimed": samples.retimed.total(),
        "missed": samples.missed.total(),
        "recovered": samples.recovered.total(),
        "withheld": sum(sink.withheld for sink in ledger.sinks.values()),
        "balanced": ledger.balanced,
        "outbox_bytes": outbox_bytes,
        "outbox_bytes_max": outbox_bytes_max,
        "hours_left": _as_float(hours_left),
        "oldest_s": float(oldest_s),
        "lag_ms": float(lag_ms),
        "clock_steps": clock_steps,
        "certificate_days": certificate_days,
        "version": version,
        "signals": signals,
    }
    tags = _path_tags(path)
    del tags["line"]
    return point("gateway", tags | {"gateway": gateway}, fields, time_ns)


def every_text(every_ns: int) -> str:
    """A window's width as its tag says it: `1s`, `10s`, `500ms`."""
    width_ns, unit = next(step for step in _DURATIONS if every_ns % step[0] == 0)
    return f"{every_ns // width_ns}{unit}"


def _encode_windows(heads: Pool, rows: Rows) -> tuple[bytes, npt.NDArray[np.int64]]:
    widths, tail = np.unique(rows["every_ns"], return_inverse=True)
    tails = pool([f",every={every_text(int(width))}".encode() for width in widths])
    cells = _cells(rows, _WINDOW_FIELDS)
    return _encode(heads, rows["signal"], tails, tail, _WINDOW_FIELDS, cells, rows["start_ns"])


def _encode_samples(
    heads: Pool, rows: Rows, texts: tuple[str, ...]
) -> tuple[bytes, npt.NDArray[np.int64]]:
    cells = _cells(rows, _SAMPLE_FIELDS)
    has_text = rows["text"] >= 0
    cells[has_text, 0] = np.float64(np.nan).view(np.uint64)
    cells[~has_text, 1] = NO_TEXT
    tail = np.zeros(len(rows), np.int64)
    strings = pool([_escape_string(text) for text in texts])
    return _encode(
        heads, rows["signal"], pool([b""]), tail, _SAMPLE_FIELDS, cells, rows["time_ns"], strings
    )


def _encode(
    heads: Pool,
    head: npt.NDArray[np.int32],
    tails: Pool,
    tail: npt.NDArray[np.intp],
    fields: tuple[tuple[str, int], ...],
    cells: npt.NDArray[np.uint64],
    time_ns: npt.NDArray[np.int64],
    texts: Pool | None = None,
) -> tuple[bytes, npt.NDArray[np.int64]]:
    return encode_lines(
        heads,
        head.astype(np.int64),
        tails,
        tail.astype(np.int64),
        pool([f"{name}=".encode() for name, _ in fields]),
        np.array([kind for _, kind in fields], np.uint8),
        cells,
        texts or pool([]),
        np.ascontiguousarray(time_ns),
    )


def _cells(rows: Rows, fields: tuple[tuple[str, int], ...]) -> npt.NDArray[np.uint64]:
    cells = np.empty((len(rows), len(fields)), np.uint64)
    for column, (name, kind) in enumerate(fields):
        dtype = np.float64 if kind == FLOAT else np.int64
        cells[:, column] = rows[name].astype(dtype).view(np.uint64)
    return cells


def _ends(ready: tuple[bytes, ...]) -> npt.NDArray[np.int64]:
    lengths = [0] + [len(line) + 1 for line in ready]
    return np.cumsum(np.array(lengths, np.int64))


def _signal_tags(signal: Signal) -> bytes:
    return _escape_tags(
        _path_tags(signal.path) | {"machine": signal.machine, "signal": signal.name}
    )


def _path_tags(path: Path) -> dict[str, str]:
    return {
        "enterprise": path.enterprise, "site": path.site, "area": path.area, "line": path.line
    }  # fmt: skip


def _escape_tags(tags: Mapping[str, str]) -> bytes:
    return b"".join(
        b"," + _escape_tag(name) + b"=" + _escape_tag(value)
        for name, value in tags.items()
        if value
    )


def _escape_tag(text: str) -> bytes:
    return re.sub(r"([,= ])", r"\\\1", _sayable(text)).encode("utf-8", "replace")


def _escape_name(text: str) -> bytes:
    return re.sub(r"([, ])", r"\\\1", _sayable(text)).encode("utf-8", "replace")


def _sayable(text: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    return re.sub(r"\\+(?=[,= ]|$)", lambda run: "/" * len(run[0]), text)


def _escape_string(text: str) -> bytes:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return b'"' + text.encode("utf-8", "replace") + b'"'


def _field(value: Value) -> bytes:
    """A field's value as line protocol writes it, b"" where there is nothing to write."""
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, str):
        return _escape_string(value)
    if isinstance(value, int):
        if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
            raise ValueError(f"{value} does not fit into a 64-bit field")
        return b"%di" % value
    return repr(float(value)).removesuffix(".0").encode() if math.isfinite(value) else b""


def _as_float(value: float | None) -> float | None:
    """A field keeps its first type, so a whole number must not turn into an integer field."""
    return None if value is None else float(value)
