"""What `andon tail` shows of what was derived, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from agent.derive import Derived
from agent.detect.explain import sentence
from agent.lines.encode import every_text
from agent.signals import SignalTable


def events(derived: Derived, table: SignalTable) -> Iterator[dict[str, Any]]:
    """Its windows, samples, states of machines and anomalies, one document each."""
    for row in derived.windows:
        signal = table[row["signal"]]
        fields = {
            name: float(row[name])
            for name in ("good", "mean", "min", "max", "last", "increase")
            if not math.isnan(row[name])
        }
        yield {
            "type": "window", "machine": signal.machine, "signal": signal.name,
            "unit": signal.unit, "every": every_text(int(row["every_ns"])),
            "time_ns": int(row["start_ns"]), "n": int(row["n"]), **fields,
        }  # fmt: skip
    for row in derived.samples:
        signal = table[row["signal"]]
        said = derived.texts[row["text"]] if row["text"] >= 0 else _finite(row["value"])
        yield {
            "type": "sample", "machine": signal.machine, "signal": signal.name,
            "unit": signal.unit, "time_ns": int(row["time_ns"]),
            "value": said, "status": int(row["status"]),
        }  # fmt: skip
    for state in derived.states:
        signal = table[state.signal]
        yield {
            "type": "state", "machine": signal.machine, "signal": signal.name,
            "state": state.state, "reason": state.reason, "time_ns": state.start_ns,
            "ended_ns": state.ended_ns,
        }  # fmt: skip
    for anomaly in derived.anomalies:
        signal = table[anomaly.signal]
        yield {
            "type": "anomaly", "machine": signal.machine, "signal": signal.name,
            "detector": anomaly.detector, "severity": anomaly.severity,
            "score": round(anomaly.score, 4), "time_ns": anomaly.start_ns,
            "noticed_ns": anomaly.noticed_ns, "ended_ns": anomaly.ended_ns,
            "message": sentence(anomaly, signal),
        }  # fmt: skip


def _finite(value: float) -> float | None:
    """The value as JSON can say it."""
    return float(value) if math.isfinite(value) else None
