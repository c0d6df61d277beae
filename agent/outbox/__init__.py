"""The outbox: lines that are made and not yet acknowledged, and the ledger that commits with them.

Contract (`Outbox`), kept by `sqlite` on disk and by `memory.py` for tests; the conformance suite in
`tests/conformance/outbox.py` runs over both. `stage` and `commit` belong to the pipeline (`commit`
may run in a thread of its own while `stage` goes on), `packet` and `acknowledge` to one thread per
sink, everything else to anyone.

A line has a number for life. For a sink it is done when the far side has it, when the far side
rejected it, or when it is *void*: never to be sent, with a cause. It is settled when it is done for
every sink; only then is it forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from agent.ledger import Ledger, SampleLedger
from agent.lines import Lines, Packet
from agent.outbox.intervals import Interval
from agent.signals import Signal

FILE_NAME: Final = "outbox.db"
"""The outbox's file in the gateway's data folder."""

BYTES_MAX: Final = 1 << 30
AGE_MAX_NS: Final = 90 * 86_400 * 10**9
STAGED_LINES_MAX: Final = 1 << 18
"""Lines in memory that no commit has made durable; beyond it the least valuable are shed."""
PIECE_LINES_MAX: Final = 8192
"""Lines of one class that are shed, dropped and stored together."""
SHED_SHARE: Final = 0.01
"""What of that limit is shed at once, so that not every line that comes has to look for another."""
RUNS_MAX: Final = 50
"""Runs of consecutive ids in one packet: they travel in a header."""
KEEP_AHEAD_MAX: Final = 8000
"""Ready lines go ahead of others as long as what the far side knows is in fewer pieces than this:
the cloud keeps account of 10,000."""
VOIDS_MAX: Final = 50
"""Void intervals told with one packet: they travel in a header."""
VOIDS_EAGER_MAX: Final = 1000
"""With more to tell than this, only what lies below the first waiting line is told: what the far
side knows must not fall into ever more pieces."""
DEAD_LETTERS_MAX: Final = 1000
"""Rejected lines kept to be looked at; their count goes on."""


class LineClass(IntEnum):
    """What goes first when there is no room: raw samples, then windows, ready lines last.

    The gateway's own lines, which say how it stood at a moment, go with raw samples (`pieces.py`).
    """

    RAW = 0
    WINDOW = 1
    KEEP = 2


@dataclass(frozen=True, slots=True)
class Commit:
    """What becomes durable together with the lines staged since the last commit.

    samples : the samples' side of the ledger, as it stands with these lines
    journal : what was received since the last commit, b"" where nothing is to be kept
    checkpoint : state to restart from, as it is after this commit: it is stored and the journal up
        to and including this commit forgotten. b"" forgets checkpoint and journal, None keeps both
    """

    samples: SampleLedger
    journal: bytes = b""
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A line that a far side rejected for good: its id, the cause and the far side's words."""

    line_id: int
    cause: str
    reason: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What the outbox holds and how that changes; rates are means (`rates.py`).

    bytes, bytes_max : in use in the file, and its limit
    lines_waiting, oldest_ns : lines that are not settled, and when the oldest of them was made
    lines_in_per_s, lines_out_per_s : made, and settled by far sides
    bytes_in_per_s : what the made lines take when they are stored (with the way to the far side
        open most never are)
    """

    bytes: int
    bytes_max: int
    lines_waiting: int
    oldest_ns: int | None
    lines_in_per_s: float = 0.0
    lines_out_per_s: float = 0.0
    bytes_in_per_s: float = 0.0

    @property
    def hours_left(self) -> float | None:
        """How long there is room if nothing is sent any more; None when nothing comes."""
        if self.bytes_in_per_s <= 0:
            return None
        return max(self.bytes_max - self.bytes, 0) / self.bytes_in_per_s / 3600

    @property
    def drain_s(self) -> float | None:
        """How long until nothing waits; None when more comes than goes."""
        if not self.lines_waiting:
            return 0.0
        gain = self.lines_out_per_s - self.lines_in_per_s
        return self.lines_waiting / gain if gain > 0 else None


class Outbox(Protocol):
    """What the pipeline and the forwarder need of an outbox."""

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life; the far side counts line ids by it."""

    @property
    def dirty(self) -> bool:
        """Whether there is something that only the next commit makes durable."""

    @property
    def staged_lines(self) -> int:
        """Lines in memory that no commit has made durable; commit well before the limit."""

    @property
    def written_bytes(self) -> int:
        """Bytes this outbox has caused to be written to the disk since it was opened."""

    @property
    def checkpoint_wanted(self) -> bool:
        """Whether the journal was lost and nothing is journaled until a checkpoint is committed."""

    def signals(self) -> dict[int, Signal]:
        """All signals ever staged, by id."""

    def checkpoint(self) -> bytes:
        """The stored state to restart from, b"" when there is none, or none that can be read."""

    def journal(self) -> list[bytes]:
        """What was committed to the journal since the checkpoint, oldest first.

        Where a blob, or the checkpoint before all of them, cannot be read, b"" stands in its place
        and ends the list: what follows is of no use, and the caller knows. It is said.
        """

    def stage(self, lines: Lines, signals: Mapping[int, Signal] = ..., *, early: bool) -> None:
        """Number these lines; they become durable with the next commit.

        signals : those added or changed since the last call, by id
        early : whether they may be sent before they are durable
        Windows with rev > 0 always wait for their commit, which *replaces* the windows they revise
        (same signal, width and start) where these are still waiting and not on their way.
        """

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none. Raises OutboxError; what is staged then stays staged."""

    def packet(self, sink: str, lines_max: int, *, live: bool) -> Packet | None:
        """The next lines for this sink, at most `lines_max`; None when there are none.

        live : from memory, the oldest that are younger than `LIVE_NS`, one run of consecutive ids.
            Else committed lines with the lowest ids, in at most `RUNS_MAX` runs: ready ones where
            some wait (see `KEEP_AHEAD_MAX`), then any
        Ready lines go in the order of their ids, whatever the lane: of a point that is sent again
        as it develops the last word must come last. With the packet go void ids that the sink has
        not been told of. Its lines are on their way until they are acknowledged or the sink asks
        for the next packet. Raises OutboxError when the file cannot be read.
        """

    def acknowledge(
        self,
        sink: str,
        first: int,
        last: int,
        dead: Sequence[DeadLetter] = (),
        void: Sequence[Interval] = (),
        withheld: int = 0,
    ) -> None:
        """The sink is done with lines first..last; those in `dead` it rejected.

        void : void ids it has been told of
        withheld : how many of the lines its far side cannot hold; they count as acknowledged too
        Durable with the next commit. Lines it was done with before change nothing. Raises
        ValueError for an unknown sink or lines that were never made.
        """

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """Rejected lines with the sink that rejected them, oldest first."""

    def ledger(self) -> Ledger:
        """The lines' side as it is now, the samples' side as the last commit left it."""

    def usage(self) -> Usage:
        """How much it holds."""

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """From now on these are the sinks, and no others; new ones start with what is held."""

    def close(self) -> None:
        """Close it; it opens again with everything that was committed or acknowledged."""
