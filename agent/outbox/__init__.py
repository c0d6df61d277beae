"""The outbox: what was committed and not yet acknowledged, and the ledger that commits with it.

Contract (`Outbox`), kept by `sqlite.py` on disk and by `memory.py` for tests; the conformance suite
in `tests/conformance/outbox.py` runs over both. All methods may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agent.ledger import Ledger, SampleLedger
from agent.lines import Lines, Packet
from agent.signals import Signal

FILE_NAME: Final = "outbox.db"
"""The outbox's file in the gateway's data folder."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What becomes durable together.

    lines : new lines; the outbox numbers them
    samples : the samples' side of the ledger, as it stands with these lines
    signals : signals added or changed since the last commit, by id
    checkpoint : kernel state to restart from, None to keep the stored one, b"" to forget it
    """

    lines: Lines
    samples: SampleLedger
    signals: Mapping[int, Signal] = field(default_factory=dict)
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
    """What the outbox holds: bytes on disk, lines waiting, and when the oldest of them was made."""

    bytes: int
    lines_waiting: int
    oldest_ns: int | None


class Outbox(Protocol):
    """What the pipeline and the forwarder need of an outbox."""

    @property
    def uuid(self) -> str:
        """The name this outbox keeps for life; the far side counts line ids by it."""

    def signals(self) -> dict[int, Signal]:
        """All signals ever committed, by id."""

    def checkpoint(self) -> bytes:
        """The stored kernel state, b"" when there is none."""

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none. Raises OutboxError; then commit the same once more."""

    def packet(self, sink: str, lines_max: int) -> Packet | None:
        """The next lines for this sink, at most `lines_max`; None when it has them all."""

    def acknowledge(self, sink: str, last: int, dead: Sequence[DeadLetter] = ()) -> None:
        """The sink is done with all lines up to `last`; those in `dead` it rejected.

        Lines that every sink is done with are trimmed.
        """

    def dead_letters(self, sink: str | None = None) -> list[tuple[str, DeadLetter]]:
        """Rejected lines with the sink that rejected them, oldest first."""

    def ledger(self) -> Ledger:
        """Both sides of the ledger as the last commit and acknowledgement left them."""

    def usage(self) -> Usage:
        """How much it holds."""

    def close(self) -> None:
        """Close it; it opens again with everything that was committed."""
