"""The outbox in memory: the twin of `sqlite.py` for tests, slow and obvious.

It keeps every line and what each sink said of it, and counts the ledger from that. A `Store` stands
for the file: opening another outbox over it is a restart. It has no limits.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from agent.ledger import Ledger, LineLedger, SampleLedger, SinkLedger
from agent.lines import Packet
from agent.lines.encode import Encoder
from agent.outbox import Commit, DeadLetter, Usage
from agent.signals import Signal


@dataclass(slots=True)
class Store:
    """What survives a restart.

    lines : (made_ns, line) of every line made; the first has number 1
    positions, acknowledged, rejected : of each sink
    causes : of each line that a sink rejected, the first sink's cause
    """

    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    signals: dict[int, Signal] = field(default_factory=dict)
    checkpoint: bytes = b""
    samples: SampleLedger = field(default_factory=SampleLedger)
    floor: int = 0
    positions: dict[str, int] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    causes: dict[int, str] = field(default_factory=dict)
    dead_letters: list[tuple[str, DeadLetter]] = field(default_factory=list)


class MemoryOutbox:
    """An outbox for these sinks; see `agent.outbox.Outbox`."""

    def __init__(
        self,
        sinks: Sequence[str],
        store: Store | None = None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store or Store()
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._encoder = Encoder(self._store.signals)
        self.use_sinks(sinks)

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life."""
        return self._store.uuid

    def signals(self) -> dict[int, Signal]:
        """All signals ever committed, by id."""
        with self._lock:
            return dict(self._store.signals)

    def checkpoint(self) -> bytes:
        """The stored kernel state, b"" when there is none."""
        return self._store.checkpoint

    def commit(self, commit: Commit) -> None:
        """Take all of it."""
        with self._lock:
            store = self._store
            self._encoder.learn(commit.signals)
            body, offsets = self._encoder.encode(commit.lines)
            made_ns = self._now_ns()
            for start, stop in pairwise(offsets):
                store.lines.append((made_ns, body[start:stop]))
            store.signals |= commit.signals
            store.samples = commit.samples.copy()
            if commit.checkpoint is not None:
                store.checkpoint = commit.checkpoint

    def packet(self, sink: str, lines_max: int) -> Packet | None:
        """The next lines for this sink, at most `lines_max`; None when it has them all."""
        with self._lock:
            position = self._store.positions[sink]
            rows = self._store.lines[position : position + lines_max]
        if not rows:
            return None
        offsets = np.cumsum([0] + [len(line) for _, line in rows], dtype=np.int64)
        return Packet(position + 1, b"".join(line for _, line in rows), offsets, rows[0][0])

    def acknowledge(self, sink: str, last: int, dead: Sequence[DeadLetter] = ()) -> None:
        """The sink is done with all lines up to `last`; those in `dead` it rejected."""
        with self._lock:
            store = self._store
            if sink not in store.positions or last > len(store.lines):
                raise ValueError(f"{sink!r} acknowledges line {last}; {len(store.lines)} were made")
            position = store.positions[sink]
            dead = [letter for letter in dead if position < letter.line_id <= last]
            for letter in dead:
                store.causes.setdefault(letter.line_id, letter.cause)
                store.dead_letters.append((sink, letter))
            store.rejected[sink] += len(dead)
            store.acknowledged[sink] += max(last - position, 0) - len(dead)
            store.positions[sink] = max(position, last)
            self._raise_floor()

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """Rejected lines with the sink that rejected them, oldest first."""
        with self._lock:
            return [row for row in self._store.dead_letters if sink in (None, row[0])]

    def ledger(self) -> Ledger:
        """Both sides of the ledger, counted line by line."""
        with self._lock:
            store = self._store
            made = len(store.lines)
            lines = LineLedger(made, dead_letter=Counter(store.causes.values()))
            for number in range(1, made + 1):
                if number not in store.causes:
                    lines.acknowledged += number <= store.floor
                    lines.waiting += number > store.floor
            sinks = {
                name: SinkLedger(store.acknowledged[name], made - position, store.rejected[name])
                for name, position in sorted(store.positions.items())
            }
            return Ledger(store.samples.copy(), lines, sinks)

    def usage(self) -> Usage:
        """How much it holds."""
        with self._lock:
            kept = self._store.lines[self._store.floor :]
            oldest_ns = kept[0][0] if kept else None
            size = sum(len(line) for _, line in kept)
            return Usage(size, self.ledger().lines.waiting, oldest_ns)

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """From now on these are the sinks, and no others."""
        with self._lock:
            store = self._store
            store.positions = {name: store.positions.get(name, store.floor) for name in sinks}
            for counter in (store.acknowledged, store.rejected):
                for name in set(counter) - set(sinks):
                    del counter[name]
            self._raise_floor()

    def close(self) -> None:
        """Nothing to do: the store keeps it all."""

    def _raise_floor(self) -> None:
        self._store.floor = min(self._store.positions.values(), default=self._store.floor)
