"""Rows: what the readers of one batch found, put into the order in which the messages came.

Enters: columns of what kernels read, and readings one by one, each with the number of its message.
Leaves: a `Batch`. Nothing fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.batch import Batch, Float64, Int32, Int64, UInt32, Waveform
from agent.sources.mqtt.layouts import Decoded
from agent.sources.mqtt.packets import Publishes
from agent.sources.mqtt.sparkplug import Rows as SparkplugRows


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Rows as columns of equal length; `message` is the place of what brought each."""

    message: Int64
    signal: Int32
    time_ns: Int64
    value: Float64
    status: UInt32


class Rows:
    """The rows of one batch.

    waveforms : of rows that were added one by one, with their places among those
    """

    def __init__(self) -> None:
        self.waveforms: list[Waveform] = []
        self._message: list[int] = []
        self._signal: list[int] = []
        self._time_ns: list[int] = []
        self._value: list[float] = []
        self._status: list[int] = []
        self._columns: list[_Columns] = []
        self._texts: list[str] = []

    def __len__(self) -> int:
        """How many were added one by one."""
        return len(self._message)

    @property
    def texts(self) -> int:
        """How many texts there are."""
        return len(self._texts)

    def add(self, message: int, signal: int, time_ns: int, value: float, status: int) -> None:
        """Add one row."""
        self._message.append(message)
        self._signal.append(signal)
        self._time_ns.append(time_ns)
        self._value.append(value)
        self._status.append(status)

    def text(self, text: str) -> float:
        """The value that stands for a text."""
        self._texts.append(text)
        return float(len(self._texts) - 1)

    def take(self, found: SparkplugRows | None, behind: int | None = None) -> None:
        """Add what a Sparkplug host read; its texts are numbered already, behind those here.

        behind : the number of messages, where no message brought them
        """
        if found is None or not len(found):
            return
        message = found.message if behind is None else np.full(len(found), behind, np.int64)
        self._columns.append(
            _Columns(message, found.signal, found.time_ns, found.value, found.status)
        )
        self._texts += found.texts

    def add_decoded(self, found: Decoded, messages: Publishes, received_ns: int) -> None:
        """Add what the kernels read."""
        if not len(found):
            return
        value = found.value
        numbers: dict[bytes, float] = {}
        for row in np.flatnonzero(found.text_at >= 0).tolist():
            at = int(found.text_at[row])
            text = messages.body[at : at + int(found.text_len[row])]
            if text not in numbers:
                numbers[text] = self.text(text.decode())
            value[row] = numbers[text]
        time_ns = np.where(found.time_ns == 0, received_ns, found.time_ns)
        self._columns.append(_Columns(found.message, found.signal, time_ns, value, found.status))

    def batch(self, received_ns: int) -> Batch:
        """All of them, in the order of their messages."""
        listed = _Columns(
            np.array(self._message, np.int64), np.array(self._signal, np.int32),
            np.array(self._time_ns, np.int64), np.array(self._value, np.float64),
            np.array(self._status, np.uint32),
        )  # fmt: skip
        parts = [listed, *self._columns]
        order = np.argsort(np.concatenate([part.message for part in parts]), kind="stable")
        return Batch(
            np.concatenate([part.signal for part in parts])[order],
            np.concatenate([part.time_ns for part in parts])[order],
            np.concatenate([part.value for part in parts])[order],
            np.concatenate([part.status for part in parts])[order],
            received_ns,
            texts=tuple(self._texts),
            waveforms=self._placed(order),
        )

    def _placed(self, order: Int64) -> tuple[Waveform, ...]:
        """The waveforms at the rows where they are now; rows added one by one stood first."""
        if not self.waveforms:
            return ()
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        moved = (Waveform(int(place[one.row]), one.rate_hz, one.values) for one in self.waveforms)
        return tuple(sorted(moved, key=lambda one: one.row))
