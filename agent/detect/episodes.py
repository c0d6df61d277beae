"""Episodes: from what the kernels notice to anomalies that open, get worse and end.

Enters: rows of dtype EVENT, lost and regained connections. Leaves: an `Anomaly` for each change.
The open ones are kept, one a signal and detector, so that each line repeats the whole anomaly
under the same identity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy.typing as npt

from agent.detect.anomaly import Anomaly
from agent.kernels.events import (
    ALARM_RATIO,
    BAD_STATUS,
    CLOSED,
    DETECTORS,
    DROPOUT,
    LEVEL,
    OPENED,
    STUCK,
)  # fmt: skip

CONNECTION = "connection"


class Episodes:
    """The open anomalies of all signals."""

    def __init__(self, stored: Iterable[dict[str, Any]] = ()) -> None:
        anomalies = [Anomaly.from_document(document) for document in stored]
        self._open = {(anomaly.signal, anomaly.detector): anomaly for anomaly in anomalies}

    def documents(self) -> list[dict[str, Any]]:
        """The open anomalies as plain values, for the checkpoint."""
        return [asdict(anomaly) for anomaly in self._open.values()]

    def open(self) -> list[Anomaly]:
        """The open anomalies, oldest first."""
        return sorted(self._open.values(), key=lambda anomaly: anomaly.start_ns)

    def take(self, events: npt.NDArray[Any]) -> list[Anomaly]:
        """The anomalies that these events opened, raised or ended, as they now stand."""
        changed = []
        for event in events:
            key = (int(event["signal"]), DETECTORS[event["detector"]])
            if event["what"] == CLOSED:
                anomaly = self._close(key, event)
            else:
                anomaly = self._raise(key, event)
            if anomaly is not None:
                changed.append(anomaly)
        return changed

    def lost(self, signal: int, time_ns: int, reason: str) -> Anomaly:
        """A machine's connection is lost; `signal` stands for the machine."""
        anomaly = Anomaly(signal, CONNECTION, time_ns, time_ns, ALARM_RATIO, reason=reason)
        self._open[signal, CONNECTION] = anomaly
        return anomaly

    def regained(self, signal: int, time_ns: int) -> Anomaly | None:
        """The connection is back; None where it was not missed."""
        return self._end((signal, CONNECTION), time_ns)

    def end(self, time_ns: int, signal: int | None = None) -> list[Anomaly]:
        """End all open anomalies, or those of one signal, at `time_ns` at the earliest."""
        keys = [key for key in self._open if signal is None or key[0] == signal]
        ended = [self._end(key, max(time_ns, self._open[key].noticed_ns)) for key in keys]
        return [anomaly for anomaly in ended if anomaly is not None]

    def _end(self, key: tuple[int, str], time_ns: int) -> Anomaly | None:
        anomaly = self._open.pop(key, None)
        return None if anomaly is None else replace(anomaly, ended_ns=time_ns)

    def _close(self, key: tuple[int, str], event: Any) -> Anomaly | None:
        anomaly = self._end(key, int(event["time_ns"]))
        if anomaly is None:
            return None
        if event["detector"] == LEVEL:
            return _measured(anomaly, event)
        if event["detector"] in (STUCK, DROPOUT):
            return replace(anomaly, pause_ns=float(event["high"]))
        return anomaly

    def _raise(self, key: tuple[int, str], event: Any) -> Anomaly:
        known = self._open.get(key)
        if event["what"] == OPENED or known is None:
            anomaly = _opened(key, event)
        else:
            anomaly = _measured(known, event)
        self._open[key] = anomaly
        return anomaly


def _opened(key: tuple[int, str], event: Any) -> Anomaly:
    signal, detector = key
    kind = event["detector"]
    start_ns, noticed_ns = int(event["start_ns"]), int(event["time_ns"])
    anomaly = Anomaly(signal, detector, start_ns, noticed_ns, float(event["ratio"]))
    if kind in (STUCK, DROPOUT):
        return replace(
            anomaly,
            value=float(event["value"]),
            usual_ns=float(event["low"]),
            pause_ns=float(event["high"]),
        )
    if kind == BAD_STATUS:
        return replace(anomaly, value=math.nan, status=int(event["value"]))
    return _measured(anomaly, event)


def _measured(anomaly: Anomaly, event: Any) -> Anomaly:
    """An anomaly of the level with the worst value so far."""
    return replace(
        anomaly,
        ratio=float(event["ratio"]),
        value=float(event["value"]),
        expected=float(event["expected"]),
        low=float(event["low"]),
        high=float(event["high"]),
    )
