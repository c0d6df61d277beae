"""One sentence a technician understands: what is wrong, what is normal, since when."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from agent.batch import GOOD, SEVERITY_SHIFT, status_name
from agent.detect.anomaly import Anomaly
from agent.detect.episodes import CONNECTION
from agent.signals import SECOND_NS, Signal


def number(value: float) -> str:
    """A value with four significant digits, thousands grouped, no exponent a person must read."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3e}"
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock(time_ns: int) -> str:
    """The time of day in UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ns // SECOND_NS, UTC):%H:%M:%S} UTC"


def sentence(anomaly: Anomaly, signal: Signal) -> str:
    """The anomaly's message."""
    unit = f" {signal.unit}" if signal.unit else ""
    what = _WHAT[anomaly.detector](anomaly, unit)
    where = (
        signal.machine if anomaly.detector == CONNECTION else f"{signal.machine} / {signal.name}"
    )
    return f"{where}: {what}"


def _level(anomaly: Anomaly, unit: str) -> str:
    return (
        f"{number(anomaly.value)}{unit} where {number(anomaly.low)} to {number(anomaly.high)} "
        f"is normal (score {anomaly.score:.2f}, since {clock(anomaly.start_ns)})"
    )


def _stuck(anomaly: Anomaly, unit: str) -> str:
    return (
        f"unchanged at {number(anomaly.value)}{unit} since {clock(anomaly.start_ns)}, "
        f"for {_seconds(anomaly.pause_ns)}; it moves at least every {_seconds(anomaly.usual_ns)}"
    )


def _dropout(anomaly: Anomaly, unit: str) -> str:
    return (
        f"no value since {clock(anomaly.start_ns)}, for {_seconds(anomaly.pause_ns)}; "
        f"one comes at least every {_seconds(anomaly.usual_ns)}. The last was "
        f"{number(anomaly.value)}{unit}"
    )


def _bad_status(anomaly: Anomaly, _unit: str) -> str:
    if anomaly.status >> SEVERITY_SHIFT == GOOD:
        return f"the machine sends no number (NaN or infinity) since {clock(anomaly.start_ns)}"
    return f"the machine reports {status_name(anomaly.status)} since {clock(anomaly.start_ns)}"


def _connection(anomaly: Anomaly, _unit: str) -> str:
    return f"no connection since {clock(anomaly.start_ns)}: {anomaly.reason}"


def _seconds(duration_ns: float) -> str:
    return f"{duration_ns / SECOND_NS:.1f} s"


_WHAT = {
    "level": _level,
    "stuck": _stuck,
    "dropout": _dropout,
    "bad_status": _bad_status,
    "connection": _connection,
}
