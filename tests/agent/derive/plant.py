"""A plant in small: signals, a derive under test, and what a restart is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import settings

from agent.batch import Batch
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.detect.anomaly import Anomaly
from agent.ledger import SampleLedger
from agent.signals import SECOND_NS, Path, Signal, SignalTable

SEEDED = settings(max_examples=60, deadline=None, derandomize=True)
START = 1_700_000_000 * SECOND_NS
TENTH = SECOND_NS // 10
LINE = Path("acme", "guiyang", "assembly", "line-1")
BAD = 0x808C_0000
STARTED = START + 3600 * SECOND_NS
Rows = npt.NDArray[Any]


def signal(name: str, machine: str = "press-01", source: str = "opc", **more: Any) -> Signal:
    return Signal(LINE, machine, name, source, **{"every_ns": SECOND_NS, **more})


SIGNALS = (
    signal("force"),
    signal("strokes", kind="counter"),
    signal("unit", kind="text"),
    signal("power", raw=True),
    signal("zone", machine="oven-01"),
    signal("speed", machine="conveyor-01", source="mqtt", hold_ns=2 * SECOND_NS),
    signal("state", kind="text", state=True),
)


class Plant:
    """A table, a ledger and what a restart is given."""

    def __init__(self, *signals: Signal, signals_max: int = 50) -> None:
        self.table = SignalTable(signals_max)
        for one in signals or SIGNALS:
            self.table.add(one)
        self.stored = NO_CHECKPOINT
        self.committed = SampleLedger()
        self.windows: list[Rows] = []
        self.samples: list[Rows] = []
        self.anomalies: list[Anomaly] = []
        self.derive = Derive(self.table, DetectSettings(), SampleLedger(), NO_CHECKPOINT)

    def start(self) -> None:
        """As a start does: from the stored state, without a journal."""
        self.derive = Derive(self.table, DetectSettings(), SampleLedger(), self.stored, STARTED)
        self.derive.recovered(self.committed.copy(), STARTED)
        self.derive.reconfigure(STARTED)

    def take(self, source: str, samples: Sequence[tuple[Any, ...]], alive_ns: int = 0) -> None:
        self.derive.take(source, batch(samples, alive_ns))

    def collect(self) -> Any:
        """Collect and revise, as a commit does."""
        derived = self.derive.collect()
        self.windows += [derived.windows, self.derive.revise()]
        self.samples.append(derived.samples)
        self.anomalies += derived.anomalies
        self.committed = self.derive.samples.copy()
        return derived

    def stop(self) -> None:
        self.derive.pause()
        self.collect()
        self.stored = self.derive.checkpoint(clean=True, journaled=())
        self.start()

    def crash(self, journaled: Sequence[str] = ()) -> None:
        """What was journaled was so up to the last commit, which this checkpoint stands for."""
        self.stored = self.derive.checkpoint(clean=False, journaled=journaled)
        self.start()

    @property
    def newest(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The newest revision of each window, by signal and start."""
        return {(row["signal"], row["start_ns"]): row for row in self.rows}

    @property
    def rows(self) -> list[dict[str, Any]]:
        names = self.windows[0].dtype.names or ()
        return [
            dict(zip(names, row, strict=True)) for block in self.windows for row in block.tolist()
        ]


def batch(
    samples: Sequence[tuple[Any, ...]], alive_ns: int = 0, received_ns: int | None = None
) -> Batch:
    """Samples (signal, time_ns, value or text[, status]), received when the newest was made."""
    texts = tuple(value for _, _, value, *_ in samples if isinstance(value, str))
    numbers, times, values, status = [], [], [], []
    found = 0
    for number, time_ns, value, *rest in samples:
        numbers.append(number)
        times.append(time_ns)
        values.append(float(found) if isinstance(value, str) else value)
        found += isinstance(value, str)
        status.append(rest[0] if rest else 0)
    if received_ns is None:
        received_ns = max(alive_ns, *times, 0)
    return Batch(
        np.array(numbers, np.int32), np.array(times, np.int64), np.array(values, np.float64),
        np.array(status, np.uint32), received_ns, alive_ns, texts,
    )  # fmt: skip


def moving(number: int, seconds: float, begin_ns: int = START, seed: int = 1) -> list[Any]:
    """Noise at 10 Hz."""
    values = 50 + np.random.default_rng(seed).normal(size=round(seconds * 10))
    return [(number, begin_ns + i * TENTH, float(value)) for i, value in enumerate(values)]
