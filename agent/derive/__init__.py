"""Derive: from batches to windows, raw samples and anomalies, with the account of every sample.

Enters: batches of named sources, lost and regained connections, the passing of time. Leaves: at
`collect` the columns of new lines, the changed anomalies and machine states, at `revise` the
windows that late samples have changed. State lives in kernel arrays, one row a signal, and can be
taken out and put back (`checkpoint`); the same calls on the same state give the same bits. Nothing
here fails on data; what cannot be used is counted by cause.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import AHEAD_MAX_NS, Batch
from agent.derive.checkpoint import pack, unpack
from agent.derive.clocks import retime
from agent.derive.machine_states import MachineState, MachineStates
from agent.derive.made import Derived, Made
from agent.derive.members import Members
from agent.derive.outages import Outages
from agent.derive.revisions import KNOWN, Revisions
from agent.derive.settings import DetectSettings
from agent.derive.states import DTYPES, Ids, States
from agent.detect.anomaly import Anomaly
from agent.detect.episodes import Episodes
from agent.kernels import events, history, level, silence, windows
from agent.ledger import SampleLedger
from agent.lines import NO_WINDOWS, WINDOW
from agent.signals import SignalTable

__all__ = ["NO_CHECKPOINT", "Derive", "Derived", "DetectSettings"]

Array = npt.NDArray[Any]
Documents = Iterable[Mapping[str, Any]]

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
        self._members = Members()
        self._alive: dict[str, int] = {}
        self._outages = Outages(table)
        self._episodes = Episodes()
        self._machines = MachineStates()
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

    def open_states(self) -> list[MachineState]:
        """The machine states that last."""
        return self._machines.open()

    def take(self, source: str, batch: Batch) -> None:
        """Take one batch of this source, then the time that it vouches for."""
        self._sync(batch.received_ns)
        if source in self._outages:
            back_ns = batch.alive_until_ns or batch.received_ns
            self._made.anomalies += self._outages.end(source, back_ns, self._episodes)
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

        Where it never did, it is missed from `now_ns` on. Signals whose samples go out one by one
        get one that says so; windows say it by their gap.
        """
        self._sync(now_ns)
        if source in self._outages:
            return
        members = self._members.of(source)
        since_ns = self._alive.get(source) or now_ns
        self._interrupt(members, since_ns)
        self._made.add_lost(*self._states.without_windows(members, since_ns))
        self._made.anomalies += self._outages.begin(
            source, members, since_ns, reason, self._episodes
        )

    def pass_time(self, source: str, time_ns: int) -> None:
        """Time passes for a lost source: its windows close, uncovered."""
        self._made.windows += self._states.close(self._members.of(source), time_ns)

    def pause(self) -> None:
        """The agent stops: nobody vouches for any signal from here on."""
        for source, members in self._members:
            self._interrupt(members, self._alive.get(source, 0))

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
        return made.derived(rows)

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
        untold = {one.signal for one in self.open_states() if not self._table[one.signal].state}
        changed = [
            number
            for number, signal in enumerate(self._table)
            if signal.source
            and (number in untold or not self._states.is_configured(number, signal))
        ]
        closing = np.array(gone + changed, np.int32)
        self._close_for_good(closing)
        self._states.forget_windows(closing)
        self._states.forget_learned(closing)
        self._machines.forget(closing.tolist())
        for number in (*gone, *changed):
            self._made.anomalies += self._episodes.end(now_ns, number)
        for number, signal in enumerate(self._table):
            self._states.configure(number, signal)
        self._find_members()
        sources = {signal.source for signal in self._table}
        self._outages.keep(sources)
        self._alive = {name: ns for name, ns in self._alive.items() if name in sources}

    def checkpoint(self, *, clean: bool, journaled: Collection[str]) -> bytes:
        """The state of everything, for `stored` of a later start; call it after `revise`.

        clean : nothing comes after it
        journaled : sources of which everything that comes after it can be played again; of others
            a start after a crash has what the detectors learned, but no windows
        """
        self._grow()
        kept = [ids for name, ids in self._members if clean or name in journaled]
        arrays = self._states.arrays(np.sort(np.concatenate([*kept, np.empty(0, np.int32)])))
        arrays["passed"] = np.concatenate([NO_WINDOWS, *self._passed])
        arrays["revisions"] = self._revisions.known
        document = {
            "clean": clean,
            "journaled": sorted(journaled),
            "anomalies": self._episodes.documents(),
            "alive": self._alive,
            "lost": self._outages.lost,
            "machine_states": self._machines.document(),
            "forgotten": self._revisions.forgotten,
        }
        return pack(document, arrays)

    def know_open(self, anomalies: Documents, states: Documents = ()) -> None:
        """These anomalies and machine states are open, of the sources that were not journaled."""
        kept = [one for one in self._episodes.documents() if self._is_kept(one["signal"])]
        self._episodes = Episodes([*kept, *map(dict, anomalies)])
        told = [one.signal for one in self._machines.open()]
        self._machines.forget([number for number in told if not self._is_kept(number)])
        self._machines.know(states)

    def recovered(
        self,
        samples: SampleLedger,
        now_ns: int,
        *,
        whole: bool = True,
        vouched: Mapping[str, int] | None = None,
    ) -> None:
        """What was journaled after the checkpoint has been played again: begin.

        whole : whether all of it could be played; else no open window can be trusted
        vouched : until when sources that were not journaled had vouched, by name
        samples : the committed ledger. What it says is pending and was not journaled is gone:
        dropped{restart_gap}, and the anomalies of such sources end. Nobody vouches for the time
        since a source was last alive.
        """
        states = self._states
        for source, alive_ns in (vouched or {}).items():
            self._alive[source] = max(alive_ns, self._alive.get(source, 0))
        if not whole:
            self._kept = frozenset()
        gone = np.array(
            [number for number in range(states.known) if not self._is_kept(number)], np.int32
        )
        states.forget_windows(gone)
        states.end_episodes(gone)
        for number in gone:
            self._made.anomalies += self._episodes.end(now_ns, int(number))
        if self._kept is not None:
            self._outages.keep(self._kept)
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
            self._made.add_states(self._machines.take(batch, states.told[batch.signal]))
        raw = states.raw[batch.signal] & ~text
        if raw.any():
            self._made.add_samples(batch, raw)

    def _advance(self, source: str, time_ns: int) -> None:
        members = self._members.of(source)
        self._made.windows += self._states.close(members, time_ns)
        if self._settings.enabled:
            self._notice(level.advance(
                self._states.level, members, time_ns, self._settings.off_ns, self._event_out
            ))  # fmt: skip
            self._notice(silence.advance(
                self._states.silence, members, time_ns, self._settings.warmup_ns, self._event_out
            ))  # fmt: skip

    def _interrupt(self, members: Ids, time_ns: int) -> None:
        """Nobody vouches for these signals from `time_ns` on."""
        self._made.windows += self._states.interrupt(members, time_ns)
        self._made.add_states(self._machines.end(members.tolist(), time_ns))

    def _close_for_good(self, numbers: Ids) -> None:
        """Say all that is open of these signals; they held until their sources were last alive."""
        states = self._states
        for source, members in self._members:
            ending = np.intersect1d(members, numbers)
            self._interrupt(ending, self._alive.get(source, 0))
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
        for number, signal in enumerate(self._table):
            self._states.mark(number, signal)
        self._members = Members(self._table)

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
        self._outages.lost = document["lost"]
        self._machines = MachineStates(document.get("machine_states"))
