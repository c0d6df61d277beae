"""What was derived between two collections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.batch import BAD_NO_COMMUNICATION, Batch, Int32
from agent.derive.machine_states import MachineState
from agent.detect.anomaly import Anomaly
from agent.lines import NO_SAMPLES, SAMPLE

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What was derived since the last `collect`.

    windows : (w,) WINDOW; samples : (s,) SAMPLE, with `texts`; anomalies, states : each as it now
        stands
    """

    windows: Array
    samples: Array
    texts: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]
    states: tuple[MachineState, ...] = ()


class Made:
    """Blocks gathered between two collections."""

    def __init__(self) -> None:
        self.windows: list[Array] = []
        self.texts: list[str] = []
        self.texts_derived = 0
        self.anomalies: list[Anomaly] = []
        self._samples: list[Array] = []
        self._states: dict[tuple[int, int], MachineState] = {}

    def __bool__(self) -> bool:
        return bool(self.windows or self._samples or self.anomalies or self._states)

    def derived(self, windows: Array) -> Derived:
        """All of it, with these of the windows."""
        samples = np.concatenate(self._samples) if self._samples else NO_SAMPLES
        states = tuple(self._states.values())
        return Derived(windows, samples, tuple(self.texts), tuple(self.anomalies), states)

    def add_states(self, changed: Iterable[MachineState]) -> None:
        """States that began or ended; of one that did both only the end is said."""
        for state in changed:
            self._states[state.signal, state.start_ns] = state

    def add_lost(self, numbers: Int32, time_ns: Array) -> None:
        """These signals are missed from these times on: no value, and nothing that came."""
        if not len(numbers):
            return
        rows = np.empty(len(numbers), SAMPLE)
        rows["signal"], rows["time_ns"] = numbers, time_ns
        rows["status"], rows["value"], rows["text"] = BAD_NO_COMMUNICATION, np.nan, -1
        self._samples.append(rows)

    def add_samples(self, batch: Batch, rows: npt.NDArray[np.bool_]) -> None:
        """Samples that go out as they came."""
        self._samples.append(_sample_rows(batch, rows))

    def add_texts(self, batch: Batch, text: npt.NDArray[np.bool_]) -> None:
        """Samples of text, with their words."""
        rows = _sample_rows(batch, text)
        good = np.isfinite(rows["value"])
        rows["text"][good] = rows["value"][good].astype(np.int32) + len(self.texts)
        rows["value"] = np.nan
        self._samples.append(rows)
        self.texts += batch.texts
        self.texts_derived += len(rows)


def _sample_rows(batch: Batch, rows: npt.NDArray[np.bool_]) -> Array:
    out = np.empty(int(rows.sum()), SAMPLE)
    out["signal"] = batch.signal[rows]
    out["status"] = batch.status[rows]
    out["time_ns"] = batch.time_ns[rows]
    out["value"] = batch.value[rows]
    out["text"] = -1
    return out
