"""The kernels' arrays, one row a signal, and what a signal's settings mean to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import Batch
from agent.kernels import history, level, silence, windows
from agent.lines import WINDOW
from agent.signals import KINDS, Signal

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int32]

GROW_MIN: Final = 64
LEVELS: Final = ("analog", "waveform")
"""Kinds that measure a level; a waveform's is the RMS of its blocks."""

OF_SIGNAL: Final = np.dtype([("signal", np.int32)])
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "windows": windows.STATE,
    "level": level.STATE,
    "silence": silence.STATE,
    "kept": OF_SIGNAL,
    "base": windows.STATE,
    "book": history.BOOK,
    "entries": history.ENTRY,
    "late": np.dtype([("late", np.bool_)]),
}
"""The arrays of a checkpoint; those from `kept` on are of signals whose history is in it."""


class States:
    """State of `known` signals; the arrays may be longer."""

    def __init__(self) -> None:
        self.known = 0
        self.windows = windows.new_state(0)
        self.history = history.new_history(0)
        self.level = level.new_state(0)
        self.silence = silence.new_state(0)
        self.raw = np.zeros(0, np.bool_)
        self.gone = np.zeros(0, np.bool_)
        self.told = np.zeros(0, np.bool_)
        """Whose texts are told as states of their machine."""
        self.filtered = np.zeros(len(windows.FILTERED), np.int64)
        self._out = np.empty(windows.OUT_ROWS, WINDOW)
        self._walk = history.new_walk()

    @property
    def pending(self) -> int:
        """How many samples no window has told of yet."""
        return windows.open_samples(self.windows) + history.late_samples(self.history)

    def take(self, batch: Batch) -> list[Array]:
        """Windows that these samples close; `filtered` is raised by those set aside."""
        return windows.update(
            self.windows, self.history, batch.signal, batch.time_ns, batch.value, batch.status,
            self._out, self.filtered,
        )  # fmt: skip

    def close(self, members: Ids, time_ns: int) -> list[Array]:
        """Windows of these signals that end by `time_ns`."""
        return windows.advance(self.windows, members, time_ns, self._out)

    def interrupt(self, members: Ids, time_ns: int) -> list[Array]:
        """Nobody vouches for these signals from `time_ns` on; windows that this lets go."""
        silence.interrupt(self.silence, members)
        return windows.interrupt(self.windows, self.history, members, time_ns, self._out)

    def without_windows(self, members: Ids, since_ns: int) -> tuple[Ids, Array]:
        """Those whose samples go out one by one, and from when on each is missed.

        That is after its newest sample, whose line is not to be said again.
        """
        rows = self.windows[members]
        single = self.raw[members] | (rows["kind"] == windows.TEXT)
        return members[single], np.maximum(rows["sample_ns"][single] + 1, since_ns)

    def revise(self, numbers: Ids, rows_max: int) -> tuple[list[Array], int]:
        """Windows of these signals made anew, and how many late samples they have told of."""
        late = history.late_samples(self.history)
        blocks, _ = history.revise(
            self.windows, self.history, numbers, self._walk, self._out, rows_max
        )
        return blocks, late - history.late_samples(self.history)

    def revise_all(self, numbers: Ids) -> tuple[list[Array], int]:
        """As `revise`, and nothing of these signals is left for later."""
        self.history.book["fresh"][numbers] = False
        dirty = self.history.book["dirty"][numbers]
        return self.revise(numbers[dirty], np.iinfo(np.int64).max)

    def close_out(self, number: int) -> list[Array]:
        """The open window of one signal, whether or not its time has passed."""
        row = self.windows[number]
        if not row["begun"]:
            return []
        return self.close(np.array([number], np.int32), int(row["start_ns"] + row["every_ns"]))

    def grow(self, count: int) -> None:
        """Make room for `count` signals."""
        if count > self.windows.size:
            size = max(GROW_MIN, 2 * self.windows.size, count)
            self.windows = _grown(self.windows, size)
            self.history = history.History(*(_grown(rows, size) for rows in self.history))
            self.level = _grown(self.level, size)
            self.silence = _grown(self.silence, size)
            self.raw = _grown(self.raw, size)
            self.gone = _grown(self.gone, size)
            self.told = _grown(self.told, size)

    def is_configured(self, number: int, signal: Signal) -> bool:
        """Whether this row's windows are those of the signal's settings."""
        row = self.windows[number]
        wanted = (signal.every_ns, signal.hold_ns, KINDS.index(signal.kind))
        return bool((row["every_ns"], row["hold_ns"], row["kind"]) == wanted)

    def configure(self, number: int, signal: Signal) -> None:
        """Set what the kernels need to know of a signal; its windows have not begun."""
        kind = KINDS.index(signal.kind)
        for rows in (self.windows, self.history.base):
            rows[number]["every_ns"] = signal.every_ns
            rows[number]["hold_ns"] = signal.hold_ns
            rows[number]["kind"] = kind
        self.level[number]["active"] = signal.kind in LEVELS
        quiet = self.silence[number]
        quiet["active"] = signal.kind in (*LEVELS, "counter")
        quiet["moves"] = signal.kind in LEVELS
        quiet["vouched"] = signal.hold_ns == 0

    def mark(self, number: int, signal: Signal) -> None:
        """Note how its samples are told."""
        self.raw[number] = signal.raw
        self.gone[number] = not signal.source
        self.told[number] = signal.state and signal.kind == "text"

    def forget_windows(self, numbers: Ids) -> None:
        """Their windows begin anew with the next sample; what was open is gone."""
        for rows in (self.windows, self.history.base):
            settings = rows[numbers][["every_ns", "hold_ns", "kind"]]
            rows[numbers] = np.zeros(1, rows.dtype)
            for name in settings.dtype.names or ():
                rows[name][numbers] = settings[name]
        self.history.book[numbers] = np.zeros(1, history.BOOK)
        self.history.late[numbers] = False

    def forget_learned(self, numbers: Iterable[int]) -> None:
        """The detectors learn these signals anew."""
        for number in numbers:
            self.level[number] = np.zeros(1, level.STATE)[0]
            self.silence[number] = np.zeros(1, silence.STATE)[0]

    def end_episodes(self, numbers: Ids) -> None:
        """The detectors know of no open episode of these signals."""
        self.level["open"][numbers] = False
        self.silence["open"][numbers] = False

    def arrays(self, kept: Ids) -> dict[str, Array]:
        """What a checkpoint holds: all signals, and the history of those in `kept`."""
        book = self.history.book[kept]
        book["middle"] = False  # it only saves work, and is not in the checkpoint
        places = _places(kept, book["count"])
        return {
            "windows": self.windows[: self.known],
            "level": self.level[: self.known],
            "silence": self.silence[: self.known],
            "kept": kept.view(OF_SIGNAL),
            "base": self.history.base[kept],
            "book": book,
            "entries": self.history.entries.reshape(-1)[places],
            "late": self.history.late.reshape(-1)[places].view(DTYPES["late"]),
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take what `arrays` gave. The history of others than `kept` begins with their windows."""
        self.known = len(arrays["windows"])
        self.grow(self.known)
        self.windows[: self.known] = arrays["windows"]
        self.level[: self.known] = arrays["level"]
        self.silence[: self.known] = arrays["silence"]
        h, kept = self.history, arrays["kept"]["signal"]
        h.base[: self.known] = arrays["windows"]
        h.base[kept] = arrays["base"]
        h.book[kept] = arrays["book"]
        places = _places(kept, arrays["book"]["count"])
        h.entries.reshape(-1)[places] = arrays["entries"]
        h.late.reshape(-1)[places] = arrays["late"]["late"]


def _places(kept: Ids, count: Array) -> Array:
    """Where the entries of these signals are, in the flat array of all."""
    columns = np.arange(history.HISTORY_SAMPLES)
    places = kept[:, None] * np.int64(history.HISTORY_SAMPLES) + columns
    return places[columns < count[:, None]]


def _grown(rows: Array, size: int) -> Array:
    larger = np.zeros((size, *rows.shape[1:]), rows.dtype)
    larger[: len(rows)] = rows
    return larger
