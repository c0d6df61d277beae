"""Derive: from batches to windows, raw samples and anomalies, with the account of every sample.

Enters: batches of named sources, lost and regained connections, the passing of time. Leaves, at
`collect`: the lines' columns and the changed anomalies since the last one. State lives in kernel
arrays, one row a signal, and can be taken out and put back (`checkpoint`). Nothing here fails on
data; what cannot be used is counted by cause.
"""

from __future__ import annotations

import io
import json
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import Batch
from agent.detect.anomaly import Anomaly
from agent.detect.episodes import CONNECTION, Episodes
from agent.errors import SignalsFull
from agent.kernels import events, level, silence, windows
from agent.ledger import SampleLedger
from agent.lines import NO_SAMPLES, NO_WINDOWS, SAMPLE, WINDOW
from agent.signals import KINDS, SECOND_NS, Signal, SignalTable

Array = npt.NDArray[Any]

log = logging.getLogger("andon.derive")

MACHINE_SIGNAL: Final = "_machine"
"""The signal an anomaly names when it concerns the machine as a whole."""

CLOCK_AHEAD: Final = "clock_ahead"
AHEAD_MAX_NS: Final = 60 * SECOND_NS
"""What lies further ahead of the gateway's clock is set aside: it would close all windows, and
what comes after it would be late."""

GROW_MIN: Final = 64
NO_CHECKPOINT: Final = b""


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """How the detectors are set.

    warmup_ns : how long a signal is learned before it is judged
    off_ns : how long a signal is calm before its episode is over
    """

    enabled: bool = True
    warmup_ns: int = 15 * SECOND_NS
    off_ns: int = 2 * SECOND_NS


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What was derived since the last `collect`.

    windows : (w,) WINDOW; samples : (s,) SAMPLE, with `texts`; anomalies : each as it now stands
    """

    windows: Array
    samples: Array
    texts: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]


class Derive:
    """The kernels over one signal table. Used by one thread."""

    def __init__(
        self,
        table: SignalTable,
        settings: DetectSettings,
        samples: SampleLedger,
        stored: bytes,
        started_ns: int = 0,
    ) -> None:
        self.samples = samples
        self._table = table
        self._settings = settings
        self._windows = windows.new_state(0)
        self._level = level.new_state(0)
        self._silence = silence.new_state(0)
        self._raw = np.zeros(0, np.bool_)
        self._known = 0
        self._members: dict[str, npt.NDArray[np.int32]] = {}
        self._alive: dict[str, int] = {}
        self._lost: dict[str, list[int]] = {}
        self._episodes = Episodes()
        self._filtered = np.zeros(len(windows.FILTERED), np.int64)
        self._window_out = np.empty(windows.OUT_ROWS, WINDOW)
        self._event_out = np.empty(events.OUT_ROWS, events.EVENT)
        self._made = _Made()
        if stored:
            self._restore(stored, started_ns)
        self._sync()
        self._retire(started_ns)
        self._forget_pending()

    def alive_until_ns(self, source: str) -> int:
        """Until when this source has vouched for its silence; 0 before it ever did."""
        return self._alive.get(source, 0)

    def take(self, source: str, batch: Batch) -> None:
        """Take one batch of this source, then the time that it vouches for."""
        self._sync()
        if source in self._lost:
            self._regain(source, batch)
        self.samples.received += len(batch)
        ahead_ns = batch.received_ns + AHEAD_MAX_NS
        batch = self._without_ahead(batch, ahead_ns)
        if len(batch):
            self._take_samples(batch)
        alive_ns = min(batch.alive_until_ns, ahead_ns)
        if alive_ns > self._alive.get(source, 0):
            self._alive[source] = alive_ns
            self._advance(source, alive_ns)

    def lose(self, source: str, reason: str, now_ns: int) -> None:
        """The source's connection is lost: nothing is known since it last vouched.

        Where it never did, it is missed from `now_ns` on.
        """
        self._sync()
        if source in self._lost:
            return
        members = self._member_ids(source)
        since_ns = self._alive.get(source) or now_ns
        windows.interrupt(self._windows, members, since_ns)
        silence.interrupt(self._silence, members)
        self._lost[source] = self._machines(members)
        for number in self._lost[source]:
            self._made.anomalies.append(self._episodes.lost(number, since_ns, reason))

    def pass_time(self, source: str, time_ns: int) -> None:
        """Time passes for a lost source: its windows close, uncovered."""
        self._made.windows += windows.advance(
            self._windows, self._member_ids(source), time_ns, self._window_out
        )

    def pause(self) -> None:
        """The agent stops: nobody vouches for any signal from here on."""
        for source, members in self._members.items():
            windows.interrupt(self._windows, members, self._alive.get(source, 0))
            silence.interrupt(self._silence, members)

    def collect(self) -> Derived:
        """What was derived since the last call; the sample ledger stands with it."""
        made, self._made = self._made, _Made()
        rows = np.concatenate(made.windows) if made.windows else NO_WINDOWS
        samples = np.concatenate(made.samples) if made.samples else NO_SAMPLES
        self.samples.derived += int(rows["n"].sum()) + made.texts_derived
        for cause, count in zip(windows.FILTERED, self._filtered, strict=True):
            if count:
                self.samples.filtered[cause] += int(count)
        self._filtered[:] = 0
        self.samples.pending = windows.open_samples(self._windows)
        return Derived(rows, samples, tuple(made.texts), tuple(made.anomalies))

    def open_anomalies(self) -> list[Anomaly]:
        """The anomalies that last, oldest first."""
        return self._episodes.open()

    def checkpoint(self, *, kernels: bool = True) -> bytes:
        """The state of everything, for `stored` of a later start.

        Without `kernels` it is small and holds the open anomalies alone: after a crash a later
        start then ends them, since nobody knows how they went on.
        """
        file = io.BytesIO()
        document = json.dumps({"anomalies": self._episodes.documents(), "kernels": kernels})
        known = self._known if kernels else 0
        np.savez_compressed(
            file,
            windows=self._windows[:known],
            level=self._level[:known],
            silence=self._silence[:known],
            document=np.frombuffer(document.encode(), np.uint8),
        )
        return file.getvalue()

    def _without_ahead(self, batch: Batch, ahead_ns: int) -> Batch:
        sound = batch.time_ns <= ahead_ns
        if sound.all():
            return batch
        self.samples.filtered[CLOCK_AHEAD] += len(batch) - int(sound.sum())
        return replace(
            batch, signal=batch.signal[sound], time_ns=batch.time_ns[sound],
            value=batch.value[sound], status=batch.status[sound],
        )  # fmt: skip

    def _take_samples(self, batch: Batch) -> None:
        columns = (batch.signal, batch.time_ns, batch.value, batch.status)
        self._made.windows += windows.update(
            self._windows, *columns, self._window_out, self._filtered
        )
        if self._settings.enabled:
            self._notice(level.update(
                self._level, *columns,
                self._settings.warmup_ns, self._settings.off_ns, self._event_out,
            ))  # fmt: skip
            self._notice(silence.update(
                self._silence, *columns, self._settings.warmup_ns, self._event_out
            ))  # fmt: skip
        text = self._windows["kind"][batch.signal] == windows.TEXT
        if batch.texts or text.any():
            self._made.add_texts(batch, text)
        raw = self._raw[batch.signal] & ~text
        if raw.any():
            self._made.samples.append(_sample_rows(batch, raw))

    def _advance(self, source: str, time_ns: int) -> None:
        members = self._member_ids(source)
        self._made.windows += windows.advance(self._windows, members, time_ns, self._window_out)
        if self._settings.enabled:
            self._notice(level.advance(
                self._level, members, time_ns, self._settings.off_ns, self._event_out
            ))  # fmt: skip
            self._notice(silence.advance(
                self._silence, members, time_ns, self._settings.warmup_ns, self._event_out
            ))  # fmt: skip

    def _notice(self, blocks: list[Array]) -> None:
        for block in blocks:
            self._made.anomalies += self._episodes.take(block)

    def _regain(self, source: str, batch: Batch) -> None:
        time_ns = batch.alive_until_ns or batch.received_ns
        for number in self._lost.pop(source):
            anomaly = self._episodes.regained(number, time_ns)
            if anomaly is not None:
                self._made.anomalies.append(anomaly)

    def _machines(self, members: npt.NDArray[np.int32]) -> list[int]:
        """The ids that stand for the machines of these signals as a whole."""
        machines = {(self._table[i].path, self._table[i].machine): self._table[i] for i in members}
        numbers = []
        for (path, machine), signal in machines.items():
            stands_for = Signal(path, machine, MACHINE_SIGNAL, signal.source, kind="text")
            try:
                numbers.append(self._table.add(stands_for))
            except SignalsFull as error:
                log.warning("%s: its lost connection is not told: %s", machine, error)
        return numbers

    def _member_ids(self, source: str) -> npt.NDArray[np.int32]:
        return self._members.get(source, np.empty(0, np.int32))

    def _sync(self) -> None:
        """Bring the state arrays up to the table's length."""
        count = len(self._table)
        if count == self._known:
            return
        if count > self._windows.size:
            size = max(GROW_MIN, 2 * self._windows.size, count)
            self._windows = _grown(self._windows, size)
            self._level = _grown(self._level, size)
            self._silence = _grown(self._silence, size)
            self._raw = np.concatenate([self._raw, np.zeros(size - self._raw.size, np.bool_)])
        for number in range(self._known, count):
            self._configure(number, self._table[number])
        self._known = count
        by_source: dict[str, list[int]] = {}
        for number, signal in enumerate(self._table):
            if signal.name != MACHINE_SIGNAL:
                by_source.setdefault(signal.source, []).append(number)
        self._members = {name: np.array(ids, np.int32) for name, ids in by_source.items()}

    def _configure(self, number: int, signal: Signal) -> None:
        row = self._windows[number]
        kind = KINDS.index(signal.kind)
        if row["every_ns"] != signal.every_ns or row["kind"] != kind:
            row["begun"] = False
            row["n"] = 0
        row["every_ns"] = signal.every_ns
        row["hold_ns"] = signal.hold_ns
        row["kind"] = kind
        self._level[number]["active"] = signal.kind == "analog"
        quiet = self._silence[number]
        quiet["active"] = signal.kind in ("analog", "counter")
        quiet["moves"] = signal.kind == "analog"
        quiet["vouched"] = signal.hold_ns == 0
        self._raw[number] = signal.raw

    def _forget_pending(self) -> None:
        """Samples of open windows that a crash took are dropped, by their cause."""
        lost = self.samples.pending - windows.open_samples(self._windows)
        if lost > 0:
            self.samples.dropped["restart_gap"] += lost
        self.samples.pending -= lost

    def _retire(self, now_ns: int) -> None:
        """Close what is open of signals that the configuration no longer has."""
        gone = [number for number, signal in enumerate(self._table) if not signal.source]
        for number in gone:
            row = self._windows[number]
            if row["begun"]:
                end_ns = int(row["start_ns"] + row["every_ns"])
                members = np.array([number], np.int32)
                self._made.windows += windows.advance(
                    self._windows, members, end_ns, self._window_out
                )
                row["begun"] = False
            self._end(now_ns, number)

    def _end(self, now_ns: int, signal: int | None = None) -> None:
        """End the open anomalies of one signal, or all."""
        self._made.anomalies += self._episodes.end(now_ns, signal)

    def _restore(self, stored: bytes, started_ns: int) -> None:
        with np.load(io.BytesIO(stored), allow_pickle=False) as file:
            states = (file["windows"], file["level"], file["silence"])
            document = json.loads(file["document"].tobytes())
        self._episodes = Episodes(document["anomalies"])
        expected = (windows.STATE, level.STATE, silence.STATE)
        same = all(state.dtype == dtype for state, dtype in zip(states, expected, strict=True))
        if not (same and document.get("kernels", True)):
            self._end(started_ns)
            return  # after a crash or of another version: its open windows are a restart gap
        self._windows, self._level, self._silence = states
        self._raw = np.zeros(self._windows.size, np.bool_)
        for anomaly in self._episodes.open():
            if anomaly.detector == CONNECTION:
                source = self._table[anomaly.signal].source
                self._lost.setdefault(source, []).append(anomaly.signal)


class _Made:
    """Blocks gathered between two collections."""

    def __init__(self) -> None:
        self.windows: list[Array] = []
        self.samples: list[Array] = []
        self.texts: list[str] = []
        self.texts_derived = 0
        self.anomalies: list[Anomaly] = []

    def add_texts(self, batch: Batch, text: npt.NDArray[np.bool_]) -> None:
        rows = _sample_rows(batch, text)
        good = np.isfinite(rows["value"])
        rows["text"][good] = rows["value"][good].astype(np.int32) + len(self.texts)
        rows["value"] = np.nan
        self.samples.append(rows)
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


def _grown(state: Array, size: int) -> Array:
    larger = np.zeros(size, state.dtype)
    larger[: state.size] = state
    return larger
