"""What the outbox in memory holds (`memory.py`), and what of it survives a restart.

Enters and leaves: plain Python collections, a line each. Nothing here fails.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace

from agent.ledger import LineLedger, SampleLedger
from agent.outbox import DeadLetter
from agent.outbox.intervals import Intervals
from agent.outbox.pieces import Piece
from agent.signals import Signal


@dataclass(frozen=True, slots=True)
class Line:
    """piece : id of its piece's first line; key : of a window its signal, width and start."""

    piece: Piece
    body: bytes
    key: tuple[int, int, int] | None
    revises: bool


@dataclass(slots=True)
class Sink:
    """done : held lines it does not need; void : ids it is still to be told of."""

    done: set[int] = field(default_factory=set)
    void: Intervals = field(default_factory=Intervals)
    acknowledged: int = 0
    rejected: int = 0
    withheld: int = 0


@dataclass(slots=True)
class State:
    """What a commit makes durable. `lines` are not settled; `rejected` are those of any sink."""

    next_id: int = 1
    reserved: int = 0
    ledger: LineLedger = field(default_factory=LineLedger)
    lines: dict[int, Line] = field(default_factory=dict)
    rejected: set[int] = field(default_factory=set)
    sinks: dict[str, Sink] = field(default_factory=dict)
    signals: dict[int, Signal] = field(default_factory=dict)
    dead_letters: list[tuple[str, DeadLetter]] = field(default_factory=list)
    samples: SampleLedger = field(default_factory=SampleLedger)
    journal: list[bytes] = field(default_factory=list)
    checkpoint: bytes = b""

    def copy(self) -> State:
        """One that does not change with this."""
        sinks = {
            name: replace(sink, done=set(sink.done), void=sink.void.copy())
            for name, sink in self.sinks.items()
        }
        return replace(
            self,
            ledger=self.ledger.copy(),
            lines=dict(self.lines),
            rejected=set(self.rejected),
            sinks=sinks,
            signals=dict(self.signals),
            dead_letters=list(self.dead_letters),
            samples=self.samples.copy(),
            journal=list(self.journal),
        )


@dataclass(slots=True)
class Store:
    """What survives a restart: the state of the last commit, and whether it was closed."""

    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    committed: State = field(default_factory=State)
    clean: bool = True
