"""The outbox in memory: the twin of `sqlite` for tests, slow and obvious.

It keeps every line by itself and counts as it goes. A `Store` stands for the file: opening another
outbox over it is a restart, after `close` a clean one, without it a crash. It has no limit of
bytes; lines that wait too long and lines that no commit takes are dropped as on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from agent.ledger import Ledger, SinkLedger
from agent.lines import LIVE_NS, Lines, Packet
from agent.lines.encode import Encoder
from agent.outbox import (
    AGE_MAX_NS,
    BYTES_MAX,
    KEEP_AHEAD_MAX,
    RUNS_MAX,
    SHED_SHARE,
    STAGED_LINES_MAX,
    VOIDS_MAX,
    Commit,
    DeadLetter,
    LineClass,
    Usage,
)
from agent.outbox.intervals import Interval, Intervals
from agent.outbox.pieces import Piece, split
from agent.outbox.state import Line, Sink, Store
from agent.signals import Signal

__all__ = ["MemoryOutbox", "Store"]


class MemoryOutbox:
    """An outbox for these sinks; see `agent.outbox.Outbox`."""

    checkpoint_wanted = False

    def __init__(
        self,
        sinks: Sequence[str],
        store: Store | None = None,
        *,
        age_max_ns: int = AGE_MAX_NS,
        staged_lines_max: int = STAGED_LINES_MAX,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._store = store or Store()
        self._age_max_ns = age_max_ns
        self._staged_lines_max = staged_lines_max
        self._now_ns = now_ns
        self._monotonic_ns, self._opened_ns = monotonic_ns, monotonic_ns()
        self._lock = threading.RLock()
        self._state = self._store.committed.copy()
        self._encoder = Encoder(self._state.signals)
        self._in_flight: dict[str, list[int]] = {}
        self._written = 0
        if not self._store.clean:
            self._skip_ids()
        self._opened_at = self._state.next_id
        self.use_sinks(sinks)
        self._keep()

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life."""
        return self._store.uuid

    @property
    def dirty(self) -> bool:
        """Whether there is something that only the next commit makes durable."""
        with self._lock:
            return self._state != self._store.committed

    @property
    def staged_lines(self) -> int:
        """Lines of pieces that no commit has made durable and that are not settled."""
        with self._lock:
            return sum(len(piece) for piece in self._staged_pieces())

    @property
    def written_bytes(self) -> int:
        """The bytes of the lines that were committed."""
        return self._written

    def signals(self) -> dict[int, Signal]:
        """All signals ever staged, by id."""
        with self._lock:
            return dict(self._state.signals)

    def checkpoint(self) -> bytes:
        """The stored state to restart from."""
        return self._state.checkpoint

    def journal(self) -> list[bytes]:
        """What was committed to the journal since the checkpoint; memory is never damaged."""
        with self._lock:
            return list(self._state.journal)

    def stage(
        self, lines: Lines, signals: Mapping[int, Signal] | None = None, *, early: bool
    ) -> None:
        """Number these lines; shed the least valuable when there are too many."""
        with self._lock:
            state = self._state
            self._encoder.learn(signals or {})
            state.signals |= signals or {}
            for piece in split(lines, state.next_id, self._now_ns(), early=early):
                body, offsets = self._encoder.encode(piece.lines)
                for i in range(len(piece)):
                    key, revises = None, False
                    if len(piece.lines.windows):
                        row = piece.lines.windows[i]
                        key = int(row["signal"]), int(row["every_ns"]), int(row["start_ns"])
                        revises = bool(row["rev"] > 0)
                    line = Line(piece, body[offsets[i] : offsets[i + 1]], key, revises)
                    state.lines[piece.first + i] = line
            state.next_id += len(lines)
            state.ledger.made += len(lines)
            self._shed()

    def commit(self, commit: Commit) -> None:
        """Take all of it."""
        with self._lock:
            state = self._state
            self._replace_predecessors()
            state.samples = commit.samples.copy()
            state.journal += [commit.journal] if commit.journal else []
            if commit.checkpoint is not None:
                state.checkpoint, state.journal = commit.checkpoint, []
            bodies = [line.body for i, line in state.lines.items() if i > self._committed]
            self._written += sum(map(len, bodies))
            self._keep()

    def packet(self, sink: str, lines_max: int, *, live: bool) -> Packet | None:
        """The next lines for this sink."""
        with self._lock:
            state = self._state
            self._in_flight.pop(sink, None)
            ids = self._live(sink) if live else self._in_order(sink)
            runs = Intervals((i, i) for i in ids[:lines_max]).head(1 if live else RUNS_MAX)
            if not runs:
                return None
            ids = [i for first, last in runs for i in range(first, last + 1)]
            self._in_flight[sink] = ids
            bodies = [state.lines[i].body for i in ids]
            offsets = np.cumsum([0] + [len(body) for body in bodies], dtype=np.int64)
            made_ns, void = state.lines[ids[0]].piece.made_ns, state.sinks[sink].void
            return Packet(runs, b"".join(bodies), offsets, made_ns, void.head(VOIDS_MAX))

    def acknowledge(
        self,
        sink: str,
        first: int,
        last: int,
        dead: Sequence[DeadLetter] = (),
        void: Sequence[Interval] = (),
        withheld: int = 0,
    ) -> None:
        """The sink is done with lines first..last; those in `dead` it rejected."""
        with self._lock:
            state = self._state
            if sink not in state.sinks or not 0 < first <= last < state.next_id:
                raise ValueError(
                    f"{sink!r} acknowledges lines {first}-{last}; {state.next_id - 1} were made"
                )
            mine = state.sinks[sink]
            new = {i for i in range(first, last + 1) if i in state.lines and i not in mine.done}
            letters = {letter.line_id: letter for letter in dead if letter.line_id in new}
            for number, letter in letters.items():
                if number not in state.rejected:
                    state.rejected.add(number)
                    state.ledger.dead_letter[letter.cause] += 1
                state.dead_letters.append((sink, letter))
            mine.acknowledged += len(new) - len(letters)
            mine.rejected += len(letters)
            mine.withheld += min(withheld, len(new) - len(letters))
            mine.done |= new
            for told in ((first, last), *void):
                mine.void.remove(*told)
            for number in letters:
                mine.void.add(number, number)
            self._settle()

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """Rejected lines with the sink that rejected them, oldest first."""
        with self._lock:
            return [row for row in self._state.dead_letters if sink in (None, row[0])]

    def ledger(self) -> Ledger:
        """The lines' side as it is now, the samples' side as the last commit left it."""
        with self._lock:
            state = self._state
            lines = state.ledger.copy()
            lines.waiting = len(state.lines) - len(state.rejected)
            sinks = {
                name: SinkLedger(
                    sink.acknowledged,
                    len(state.lines) - len(sink.done),
                    sink.rejected,
                    sink.withheld,
                )
                for name, sink in sorted(state.sinks.items())
            }
            return Ledger(state.samples.copy(), lines, sinks)

    def usage(self) -> Usage:
        """How much it holds; it knows no rates."""
        with self._lock:
            held = list(self._state.lines.values())
            oldest_ns = held[0].piece.made_ns if held else None
            size = sum(len(line.body) for line in held)
            return Usage(size, BYTES_MAX, self.ledger().lines.waiting, oldest_ns)

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """From now on these are the sinks, and no others."""
        with self._lock:
            state = self._state
            for name in set(sinks) - set(state.sinks):
                gone = Intervals([(1, state.next_id - 1)] if state.next_id > 1 else [])
                for number in state.lines:
                    gone.remove(number, number)
                state.sinks[name] = Sink(void=gone)
            state.sinks = {name: state.sinks[name] for name in sinks}
            self._in_flight = {s: ids for s, ids in self._in_flight.items() if s in sinks}
            self._settle()

    def close(self) -> None:
        """Keep what was acknowledged too; with lines that no commit took it is as after a crash."""
        with self._lock:
            if self._state.next_id - 1 == self._committed:
                self._keep()
                self._store.clean = True

    @property
    def _committed(self) -> int:
        """The last id that is durable."""
        return self._store.committed.next_id - 1

    def _keep(self) -> None:
        self._drop_old()
        self._state.reserved = self._state.next_id - 1 + self._staged_lines_max
        self._store.committed = self._state.copy()
        self._store.clean = False

    def _skip_ids(self) -> None:
        """Ids that may have been sent before the crash never come twice."""
        state = self._state
        for sink in state.sinks.values():
            sink.void.add(state.next_id, state.reserved)
        state.next_id = state.reserved + 1

    def _staged_pieces(self) -> list[Piece]:
        lines = self._state.lines
        pieces = {lines[i].piece.first: lines[i].piece for i in lines if i > self._committed}
        return list(pieces.values())

    def _live(self, sink: str) -> list[int]:
        """Lines that may go at once: no ready line past an older one that may not."""
        ids, oldest = list[int](), True
        for number, line in self._waiting(sink):
            keep = line.piece.line_class is LineClass.KEEP
            if self._goes(number) and (oldest or not keep):
                ids.append(number)
            elif ids:
                break
            elif keep:
                oldest = False
        return ids

    def _goes(self, number: int) -> bool:
        piece = self._state.lines[number].piece
        return (
            number >= self._opened_at
            and piece.last <= self._state.reserved
            and abs(self._now_ns() - piece.made_ns) < LIVE_NS
            and (piece.early or number <= self._committed)
            and not piece.revises
        )

    def _in_order(self, sink: str) -> list[int]:
        """Committed lines, ready ones where they may go ahead."""
        waiting = [(i, line) for i, line in self._waiting(sink) if i <= self._committed]
        keep = [i for i, line in waiting if line.piece.line_class is LineClass.KEEP]
        ahead = keep and len(self._known(sink)) < KEEP_AHEAD_MAX
        return keep if ahead else [i for i, _ in waiting]

    def _waiting(self, sink: str) -> list[tuple[int, Line]]:
        done = self._state.sinks[sink].done
        return [(i, line) for i, line in self._state.lines.items() if i not in done]

    def _known(self, sink: str) -> Intervals:
        """Ids that its far side has or was told are void."""
        made, void = self._state.next_id - 1, self._state.sinks[sink].void
        known = Intervals(void.missing(1, made) if made else [])
        for number, _ in self._waiting(sink):
            known.remove(number, number)
        return known

    def _flying(self, piece: Piece) -> bool:
        return any(piece.first <= i <= piece.last for i in self._all_in_flight())

    def _all_in_flight(self) -> set[int]:
        return {i for ids in self._in_flight.values() for i in ids}

    def _replace_predecessors(self) -> None:
        state, waiting = self._state, dict[Any, list[int]]()
        flying = self._all_in_flight()
        for number, line in list(state.lines.items()):
            if line.revises and number > self._committed:
                for other in waiting.pop(line.key, []):
                    state.ledger.replaced += 1
                    self._void([other])
            busy = number in flying
            busy |= any(number in sink.done for sink in state.sinks.values())
            if line.key and not busy and number not in state.rejected:
                waiting.setdefault(line.key, []).append(number)

    def _shed(self) -> None:
        excess = self.staged_lines - self._staged_lines_max
        excess += int(self._staged_lines_max * SHED_SHARE) * (excess > 0)
        for piece in sorted(self._staged_pieces(), key=lambda p: (p.line_class, p.first)):
            if excess > 0 and not self._flying(piece):
                self._drop(range(piece.first, piece.last + 1), "overload")
                excess -= len(piece)

    def _drop_old(self) -> None:
        now_ns, passed_ns = self._now_ns(), self._monotonic_ns() - self._opened_ns
        for number, line in list(self._state.lines.items()):
            age_ns = now_ns - line.piece.made_ns
            if number >= self._opened_at:  # however its clock has been set since
                age_ns = min(age_ns, passed_ns)
            too_old = age_ns > self._age_max_ns
            if too_old and number <= self._committed and not self._flying(line.piece):
                self._drop([number], "age")

    def _drop(self, ids: Iterable[int], cause: str) -> None:
        dropped = [i for i in ids if i in self._state.lines]
        counted = [i for i in dropped if i not in self._state.rejected]
        self._state.ledger.dropped[cause] += len(counted)
        self._void(dropped)

    def _void(self, ids: Iterable[int]) -> None:
        """These are not to be sent any more: whoever has not got them is told."""
        for number in ids:
            for sink in self._state.sinks.values():
                if number not in sink.done:
                    sink.void.add(number, number)
            self._forget(number)

    def _settle(self) -> None:
        sinks = self._state.sinks.values()
        if not sinks:
            return
        for number in sorted(set.intersection(*(sink.done for sink in sinks))):
            self._state.ledger.acknowledged += number not in self._state.rejected
            self._forget(number)

    def _forget(self, number: int) -> None:
        del self._state.lines[number]
        self._state.rejected.discard(number)
        for sink in self._state.sinks.values():
            sink.done.discard(number)
