"""What was derived between two collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.batch import Batch
from agent.detect.anomaly import Anomaly
from agent.lines import NO_SAMPLES, SAMPLE

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What was derived since the last `collect`.

    windows : (w,) WINDOW; samples : (s,) SAMPLE, with `texts`; anomalies : each as it now stands
    """

    windows: Array
    samples: Array
    texts: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]


class Made:
    """Blocks gathered between two collections."""

    def __init__(self) -> None:
        self.windows: list[Array] = []
        self.texts: list[str] = []
        self.texts_derived = 0
        self.anomalies: list[Anomaly] = []
        self._samples: list[Array] = []

    def __bool__(self) -> bool:
        return bool(self.windows or self._samples or self.anomalies)

    @property
    def samples(self) -> Array:
        """(s,) SAMPLE."""
        return np.concatenate(self._samples) if self._samples else NO_SAMPLES

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
