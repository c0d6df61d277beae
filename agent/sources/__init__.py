"""Sources: machine sides that are read.

A source connects, yields `(Batch, ack)`, closes; each is one folder with its sample configuration
and README. When to retry, to batch and to stop is the pipeline's alone. `ack` is called once the
batch has been committed; a source whose machine side waits for acknowledgement sends it then,
never before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from agent.batch import Batch

TEXT_MAX: Final = 10_000
"""Longest text value, in characters; a longer one is not text but a document."""


@dataclass(frozen=True, slots=True)
class Ack:
    """What the pipeline owes the machine side once the batch is committed.

    call : called in the event loop's thread, once, after that commit
    urgent : the machine side holds back until then, so the commit should not wait
    """

    call: Callable[[], None]
    urgent: bool = False


NO_ACK: Final = Ack(lambda: None)
"""Of a machine side that does not wait."""


class Source(Protocol):
    """One machine side. Its signals are in the signal table under `name`."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    async def connect(self) -> None:
        """Open the connection, within a deadline. Raises SourceUnreachable or SourceRefused."""

    def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """Batches as they come, until the connection is lost (SourceError) or closed (the end)."""

    def rejected(self) -> dict[str, int]:
        """Messages since the start that brought no sample, by cause; the ledger filters them."""

    async def close(self) -> None:
        """Let go of the connection, within a deadline; safe to call at any time, twice too."""
