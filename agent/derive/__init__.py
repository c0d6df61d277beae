"""Derive: from batches to windows, raw samples and anomalies, with the account of every sample.

Enters: batches of named sources, lost and regained connections, the passing of time. Leaves: at
`collect` the columns of new lines and the changed anomalies, at `revise` the windows that late
samples have changed. State lives in kernel arrays, one row a signal, and can be taken out and put
back (`checkpoint`); the same calls on the same state give the same bits. Nothing here fails on
data; what cannot be used is counted by cause.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import Batch
from agent.derive.checkpoint import pack, unpack
from agent.derive.clocks import AHEAD_MAX_NS, BEHIND_MAX_NS, CLOCK_AHEAD, CLOCK_BEHIND, retime
from agent.derive.made import Derived, Made
from agent.derive.revisions import KNOWN, Revisions
from agent.derive.settings import DetectSettings
from agent.derive.states import DTYPES, Ids, States
from agent.detect.anomaly import Anomaly
from agent.detect.episodes import Episodes
from agent.errors import SignalsFull
from agent.kernels import events, history, level, silence, windows
from agent.ledger import SampleLedger
from agent.lines import NO_WINDOWS, WINDOW
from agent.signals import MACHINE_SIGNAL, Signal, SignalTable

__all__ = [
    "AHEAD_MAX_NS",
    "BEHIND_MAX_NS",
    "CLOCK_AHEAD",
    "CLOCK_BEHIND",
    "NO_CHECKPOINT",
    "Derive",
    "Derived",
    "DetectSettings",
]

Array = npt.NDArray[Any]

log = logging.getLogger("andon.derive")

REVISED_ROWS_MAX: Final = 100_000
"""`revise` begins no further signal after so many windows; the rest follows with the next one."""

RESTART_GAP: Final = "restart_gap"
REMOVED: Final = "removed"
NO_CHECKPOINT: Final = b""


class Derive:
    """The kernels over one signal table. Used by one thread."""

    def __init__(
        self,
        table: SignalTable,
        settings: DetectSettings,
        samples: SampleLedger,
        stored: bytes,
        started_ns: int = 0,
        revised_rows_max: int = REVISED_ROWS_MAX,
    ) -> None:
        self.samples = samples
        self._table = table
        self._settings = settings
        self._states = States()
        self._members: dict[str, Ids] = {}
        self._alive: dict[str, int] = {}
        self._lost: dict[str, list[int]] = {}
        self._episodes = Episodes()
        self._revisions = Revisions()
        self._revised_rows_max = revised_rows_max
        self._event_out = np.empty(events.OUT_ROWS, events.EVENT)
        self._made = Made()
        self._passed: list[Array] = []
        """Revised windows that the history has let go, until `revise`."""
        self._reconfigured = False
        self._kept: frozenset[str] | None = None
        """Sources that go on as if nothing had been, after a restart; None: all."""
        if stored:
            self._restore(stored, started_ns)
        self._grow()
        self._find_members()

    @property
    def has_made(self) -> bool:
        """Whether `collect` would answer anything."""
        return bool(self._made)

    def alive_until_ns(self, source: str) -> int:
        """Until when this source has vouched for its silence; 0 before it ever did."""
        return self._alive.get(source, 0)

    def open_anomalies(self) -> list[Anomaly]:
        """The anomalies that last, oldest first."""
        return self._episodes.open()

    def take(self, source: str, batch: Batch) -> None:
        """Take one batch of this source, then the time that it vouches for."""
        self._sync(batch.received_ns)
        if source in self._lost:
            self._regain(source, batch)
        self.samples.received += len(batch)
        batch = retime(self._of_configured(batch), self.samples.retimed)
        if len(batch):
            self._take_samples(batch)
        alive_ns = min(batch.alive_until_ns, batch.received_ns + AHEAD_MAX_NS)
        if alive_ns > self._alive.get(source, 0):
            self._alive[source] = alive_ns
            self._advance(source, alive_ns)

    def lose(self, source: str, reason: str, now_ns: int) -> None:
        """The source's connection is lost: nothing is known since it last vouched.

        Where it never did, it is missed from `now_ns` on.
        """
        self._sync(now_ns)
        if source in self._lost:
            return
        members = self._member_ids(source)
        since_ns = self._alive.get(source) or now_ns
        self._made.windows += self._states.interrupt(members, since_ns)
        self._lost[source] = self._machines(members)
        for number in self._lost[source]:
            self._made.anomalies.append(self._episodes.lost(number, since_ns, reason))

    def pass_time(self, source: str, time_ns: int) -> None:
        """Time passes for a lost source: its windows close, uncovered."""
        self._made.windows += self._states.close(self._member_ids(source), time_ns)

    def pause(self) -> None:
        """The agent stops: nobody vouches for any signal from here on."""
        for source, members in self._members.items():
            self._made.windows += self._states.interrupt(members, self._alive.get(source, 0))

    def collect(self) -> Derived:
        """What was derived since the last call; the sample ledger stands with it."""
        made, self._made = self._made, Made()
        rows = np.concatenate(made.windows) if made.windows else NO_WINDOWS
        revised = rows["rev"] > 0
        if revised.any():
            self._passed.append(rows[revised])
            rows = rows[~revised]
        self.samples.derived += int(rows["n"].sum()) + made.texts_derived
        for cause, count in zip(windows.FILTERED, self._states.filtered, strict=True):
            if count:
                self.samples.filtered[cause] += int(count)
        self._states.filtered[:] = 0
        self.samples.pending = self._states.pending
        return Derived(rows, made.samples, tuple(made.texts), tuple(made.anomalies))

    def revise(self) -> Array:
        """(w,) WINDOW, each window that late samples have changed since the last call, once.

        Where one late value holds for long, or too many have changed, the rest follows with the
        next calls.

        Call it after `collect`. The late samples were pending until now and are derived with it.
        """
        h = self._states.history
        numbers = history.unrevised(h)
        if not (len(numbers) or self._passed):
            return NO_WINDOWS
        self._told(*self._states.revise(numbers, self._revised_rows_max))
        rows = np.concatenate(self._passed) if self._passed else NO_WINDOWS
        waits = h.book["late"][rows["signal"]] > 0  # those of a signal are told with its samples
        self._passed = [rows[waits]] if waits.any() else []
        final_ns = np.where(h.base["begun"], h.base["start_ns"], np.iinfo(np.int64).min)
        return self._revisions.number(rows[~waits], final_ns)

    def reconfigure(self, now_ns: int) -> None:
        """The table has changed: take up new signals, and begin those anew that changed.

        What is open of signals that are gone (`source` "") or changed is closed, not lost.
        """
        self._grow()
        self._table.take_altered()
        self._configure_anew(now_ns)

    def take_reconfigured(self) -> bool:
        """Whether signals were configured anew by what topics brought: a checkpoint must follow."""
        reconfigured, self._reconfigured = self._reconfigured, False
        return reconfigured

    def _configure_anew(self, now_ns: int) -> None:
        gone = [number for number, signal in enumerate(self._table) if not signal.source]
        changed = [
            number
            for number, signal in enumerate(self._table)
            if signal.source and not self._states.is_configured(number, signal)
        ]
        closing = np.array(gone + changed, np.int32)
        self._close_for_good(closing)
        self._states.forget_windows(closing)
        self._states.forget_learned(closing)
        for number in (*gone, *changed):
            self._made.anomalies += self._episodes.end(now_ns, number)
        for number, signal in enumerate(self._table):
            self._states.configure(number, signal)
        self._find_members()
        sources = {signal.source for signal in self._table}
        self._lost = {name: ids for name, ids in self._lost.items() if name in sources}
        self._alive = {name: ns for name, ns in self._alive.items() if name in sources}

    def checkpoint(self, *, clean: bool, journaled: Collection[str]) -> bytes:
        """The state of everything, for `stored` of a later start; call it after `revise`.

        clean : nothing comes after it
        journaled : sources of which everything that comes after it can be played again; of others
            a start after a crash has what the detectors learned, but no windows
        """
        self._grow()
        kept = [ids for name, ids in self._members.items() if clean or name in journaled]
        arrays = self._states.arrays(np.sort(np.concatenate([*kept, np.empty(0, np.int32)])))
        arrays["passed"] = np.concatenate([NO_WINDOWS, *self._passed])
        arrays["revisions"] = self._revisions.known
        document = {
            "clean": clean,
            "journaled": sorted(journaled),
            "anomalies": self._episodes.documents(),
            "alive": self._alive,
            "lost": self._lost,
            "forgotten": self._revisions.forgotten,
        }
        return pack(document, arrays)

    def know_open(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """These anomalies are open, of the sources that were not journaled."""
        kept = [one for one in self._episodes.documents() if self._is_kept(one["signal"])]
        self._episodes = Episodes([*kept, *map(dict, documents)])

    def recovered(self, samples: SampleLedger, now_ns: int, *, whole: bool = True) -> None:
        """What was journaled after the checkpoint has been played again: begin.

        whole : whether all of it could be played; else no open window can be trusted
        samples : the committed ledger. What it says is pending and was not journaled is gone:
        dropped{restart_gap}, and the anomalies of such sources end. Nobody vouches for the time
        since a source was last alive.
        """
        states = self._states
        if not whole:
            self._kept = frozenset()
        gone = np.array(
            [number for number in range(states.known) if not self._is_kept(number)], np.int32
        )
        states.forget_windows(gone)
        states.end_episodes(gone)
        for number in gone:
            self._made.anomalies += self._episodes.end(now_ns, int(number))
        self._lost = {
            source: numbers
            for source, numbers in self._lost.items()
            if self._kept is None or source in self._kept
        }
        self._kept = None
        states.filtered[:] = 0
        self.samples = samples
        lost = samples.pending - states.pending
        if lost > 0:
            samples.dropped[RESTART_GAP] += lost
        samples.pending -= lost
        self.pause()

    def _is_kept(self, number: int) -> bool:
        return self._kept is None or self._table[number].source in self._kept

    def _of_configured(self, batch: Batch) -> Batch:
        """A removed signal's stragglers would open its closed windows again: they are filtered."""
        gone = self._states.gone[batch.signal]
        if gone.any():
            self.samples.filtered[REMOVED] += int(gone.sum())
            batch = batch.where(~gone)
        return batch

    def _take_samples(self, batch: Batch) -> None:
        states = self._states
        columns = (batch.signal, batch.time_ns, batch.value, batch.status)
        self._made.windows += states.take(batch)
        if self._settings.enabled:
            self._notice(level.update(
                states.level, *columns,
                self._settings.warmup_ns, self._settings.off_ns, self._event_out,
            ))  # fmt: skip
            self._notice(silence.update(
                states.silence, *columns, self._settings.warmup_ns, self._event_out
            ))  # fmt: skip
        text = states.windows["kind"][batch.signal] == windows.TEXT
        if batch.texts or text.any():
            self._made.add_texts(batch, text)
        raw = states.raw[batch.signal] & ~text
        if raw.any():
            self._made.add_samples(batch, raw)

    def _advance(self, source: str, time_ns: int) -> None:
        members = self._member_ids(source)
        self._made.windows += self._states.close(members, time_ns)
        if self._settings.enabled:
            self._notice(level.advance(
                self._states.level, members, time_ns, self._settings.off_ns, self._event_out
            ))  # fmt: skip
            self._notice(silence.advance(
                self._states.silence, members, time_ns, self._settings.warmup_ns, self._event_out
            ))  # fmt: skip

    def _close_for_good(self, numbers: Ids) -> None:
        """Say all that is open of these signals; they held until their sources were last alive."""
        states = self._states
        for source, members in self._members.items():
            ending = np.intersect1d(members, numbers)
            self._made.windows += states.interrupt(ending, self._alive.get(source, 0))
        for number in numbers:
            self._made.windows += states.close_out(number)
        self._told(*states.revise_all(numbers))

    def _told(self, revised: list[Array], late: int) -> None:
        """Revised windows with so many late samples, which are derived with them."""
        self._passed += revised
        self.samples.derived += late
        self.samples.pending = self._states.pending

    def _notice(self, blocks: list[Array]) -> None:
        for block in blocks:
            self._made.anomalies += self._episodes.take(block)

    def _regain(self, source: str, batch: Batch) -> None:
        time_ns = batch.alive_until_ns or batch.received_ns
        for number in self._lost.pop(source):
            anomaly = self._episodes.regained(number, time_ns)
            if anomaly is not None:
                self._made.anomalies.append(anomaly)

    def _machines(self, members: Ids) -> list[int]:
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

    def _member_ids(self, source: str) -> Ids:
        return self._members.get(source, np.empty(0, np.int32))

    def _sync(self, now_ns: int) -> None:
        """Take up what is new in the table, and what topics have brought back or changed."""
        self._grow()
        if self._table.take_altered():
            self._configure_anew(now_ns)
            self._reconfigured = True

    def _grow(self) -> None:
        """Bring the state arrays up to the table's length."""
        states, count = self._states, len(self._table)
        if count == states.known and self._members:
            return
        states.grow(count)
        for number in range(states.known, count):
            states.configure(number, self._table[number])
        states.known = count
        self._find_members()

    def _find_members(self) -> None:
        by_source: dict[str, list[int]] = {}
        for number, signal in enumerate(self._table):
            self._states.raw[number] = signal.raw
            self._states.gone[number] = not signal.source
            if signal.source and signal.name != MACHINE_SIGNAL:
                by_source.setdefault(signal.source, []).append(number)
        self._members = {name: np.array(ids, np.int32) for name, ids in by_source.items()}

    def _restore(self, stored: bytes, started_ns: int) -> None:
        try:
            dtypes = {**DTYPES, "passed": WINDOW, "revisions": KNOWN}
            document, arrays = unpack(stored, dtypes)
        except ValueError as error:
            log.error("the state of the last run is left: %s", error)
            self._kept = frozenset()
            return
        self._episodes = Episodes(document["anomalies"])
        if len(arrays) < len(dtypes):
            log.error("the state of the last run is left: it is of another version")
            self._made.anomalies += self._episodes.end(started_ns)
            self._kept = frozenset()
            return
        self._kept = None if document["clean"] else frozenset(document["journaled"])
        self._states.restore(arrays)
        self._passed = [arrays["passed"]] if len(arrays["passed"]) else []
        self._revisions.known = arrays["revisions"]
        self._revisions.forgotten = document["forgotten"]
        self._alive = document["alive"]
        self._lost = document["lost"]
