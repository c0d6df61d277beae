"""Sources: machine sides that are read.

A source connects, yields `(Batch, ack)`, closes; each is one folder with its sample configuration
and README. When to retry, to batch and to stop is the pipeline's alone. `ack` is called once the
batch has been committed; a source whose machine side waits for acknowledgement sends it then,
never before. Commits are in the order of the batches, so one acknowledgement answers for all before
it.

A machine side that redelivers what was not acknowledged in time does so across our restarts, too.
So an `Ack` carries the packets of its batch, the commit stores them beside the samples, and
`remember` brings them back: a packet that comes again is acknowledged and not counted.

Each source has an `apply` as well, of its own configuration: True where it took the changes on the
living connection without disturbing the signals that stay, or will at its next connect; False where
they need a new source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from agent.batch import Batch, UInt32

TEXT_MAX: Final = 10_000
"""Longest text value, in characters; a longer one is not text but a document."""

REDELIVERED_MAX: Final = 10_000
"""Packets that are remembered, the newest: more than are sent ahead of their acknowledgement."""


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Packets by which a machine side may send a batch's samples again, in order of arrival.

    ids : (n,) uint16, the machine side's number for the packet, used again and again
    digests : (n,) uint32, CRC-32 of what it carries, since numbers alone do not tell

    Raises ValueError where columns differ in length or in type: a programmer's mistake.
    """

    ids: npt.NDArray[np.uint16]
    digests: UInt32

    def __post_init__(self) -> None:
        if self.ids.dtype != np.uint16 or self.digests.dtype != np.uint32:
            raise ValueError(f"Packets of {self.ids.dtype} and {self.digests.dtype}")
        if self.ids.ndim != 1 or self.ids.shape != self.digests.shape:
            raise ValueError(f"Packets of shapes {self.ids.shape} and {self.digests.shape}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Ack:
    """What the pipeline owes the machine side once the batch is committed.

    call : called in the event loop's thread, once, after that commit
    urgent : the machine side holds back until then, so the commit should not wait
    packets : to be stored with the batch's samples, in the same commit; None where nothing of it
        can be redelivered. They may be there although the batch is empty.
    """

    call: Callable[[], None]
    urgent: bool = False
    packets: Packets | None = None


NO_ACK: Final = Ack(lambda: None)
"""Of a machine side that does not wait."""


class Source(Protocol):
    """One machine side. Its signals are in the signal table under `name`."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def redelivers(self) -> bool:
        """Whether its machine side sends again what was not acknowledged, also after a restart."""

    @property
    def redelivered(self) -> int:
        """Packets since the start that came again: recognised, acknowledged and not counted."""

    def remember(self, packets: Sequence[Packets], alive_ns: int = 0) -> None:
        """What was committed before a restart; told once, before the first connect.

        packets : the newest of them, oldest first
        alive_ns : until when it had vouched for its signals' silence, UTC; 0 where that is not
            known. A machine side that keeps a history is asked from there on.
        """

    async def connect(self) -> None:
        """Open the connection, within a deadline. Raises SourceUnreachable or SourceRefused."""

    def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """Batches as they come, until the connection is lost (SourceError) or closed (the end)."""

    def rejected(self) -> dict[str, int]:
        """Messages since the start that brought no sample, by cause; the ledger filters them."""

    def missed(self) -> dict[str, int]:
        """Stretches since the start that must be feared to be lost, by cause: see the ledger."""

    def recovered(self) -> dict[str, int]:
        """Samples since the start that came by another way than live, by cause: see the ledger."""

    async def close(self) -> None:
        """Let go of the connection, within a deadline; safe to call at any time, twice too."""
