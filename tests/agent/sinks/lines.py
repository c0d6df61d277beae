"""Lines as the pipeline makes them, for tests of far sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.lines import WINDOW, Lines, Packet
from agent.lines.encode import Encoder, anomaly_line, point, signal_line, state_line
from agent.signals import Path, Signal
from tests.conformance.sink import packet

PATH = Path("acme", "guiyang", "assembly", "line 1")
NOW_NS = 1_763_859_600_000_000_000
S_NS = 1_000_000_000
TAGS = {
    "enterprise": "acme", "site": "guiyang", "area": "assembly", "line": "line 1",
    "machine": "press-01",
}  # fmt: skip


def signal(name: str = "ram_force", machine: str = "press-01", path: Path = PATH) -> Signal:
    return Signal(path, machine, name, "plc", unit="kN", low=0.0, high=40.0, description="press")


def window(
    start_ns: int, mean: float | None, name: str = "ram_force", machine: str = "press-01",
    *, rev: int = 0, path: Path = PATH,
) -> bytes:  # fmt: skip
    """A window of 10 s; an empty one where there is no mean."""
    row = np.zeros(1, WINDOW)
    row["start_ns"], row["every_ns"], row["rev"] = start_ns, 10 * S_NS, rev
    for field in ("mean", "std", "min", "max", "first", "last", "increase"):
        row[field] = np.nan
    if mean is not None:
        row["n"], row["good"], row["mean"], row["last"] = 10, 1.0, mean, mean + 1
    body, _ = Encoder({0: signal(name, machine, path)}).encode(Lines(windows=row))
    return body.removesuffix(b"\n")


def sample(time_ns: int, value: float | str | None, status: int = 0, name: str = "speed") -> bytes:
    fields = {"text" if isinstance(value, str) else "value": value, "status": status}
    return point("sample", TAGS | {"signal": name}, fields, time_ns)


def anomaly(start_ns: int, score: float, ended_ns: int | None = None) -> bytes:
    return anomaly_line(
        PATH, "press-01", "ram_force", "level", start_ns, anomaly_id="a1", severity="alarm",
        score=score, message='ram_force is "high", 31 % over', value=31.0, ended_ns=ended_ns,
    )  # fmt: skip


def state(start_ns: int, name: str, duration_s: float | None = None) -> bytes:
    return state_line(PATH, "press-01", start_ns, name, "", duration_s)


def about(one: Signal | None = None, time_ns: int = NOW_NS) -> bytes:
    return signal_line(one or signal(), time_ns)


def gateway(time_ns: int, received: int) -> bytes:
    tags = {name: TAGS[name] for name in ("enterprise", "site", "area")} | {"gateway": "gw-1"}
    return point("gateway", tags, {"received": received, "version": "0.5"}, time_ns)


def live(*lines: bytes, made_ns: int = NOW_NS, first: int = 1) -> Packet:
    """A packet of lines that were made just now."""
    return replace(packet(*lines, first=first), made_ns=made_ns)
