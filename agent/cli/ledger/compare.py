"""What this gateway says it has sent, against what a cloud says it has.

Enters: a sink's side as the outbox keeps it, read first, and then the cloud's account of that
outbox (`/v1/gateways`). Leaves: a `Proof`. Pure; nothing here fails.

Each id that the cloud acknowledged, or acknowledged to be void, must be received or void there:
those that are not are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.errors import AndonError
from agent.outbox import STAGED_LINES_MAX
from agent.outbox.intervals import Interval, Intervals, count


@dataclass(frozen=True, slots=True)
class Sent:
    """What this gateway says of one sink.

    done : ids that it does not need any more
    known : those of them that it acknowledged, or was told that they are void
    waiting : how many lines wait for it
    """

    done: Sequence[Interval]
    known: Sequence[Interval]
    waiting: int


@dataclass(slots=True)
class Proof:
    """What came of asking one far side.

    skipped : why it was not asked for a proof, "" where it was
    error : why it gave none, None where it did
    covered : ids that it received, or knows to be void
    void_total : how many of them are void
    holes_forgotten : holes that it gave up remembering: there nothing is proved
    holes : ids that it misses
    waiting : those of them that wait here
    untold : ids void here, which it has not been told of
    lost : ids that it acknowledged and does not have
    in_flight : lines that it has and that were not acknowledged here when the outbox was read
    newer : it has lines that this outbox has not made yet: the file is an older copy
    """

    name: str
    url: str
    skipped: str = ""
    error: AndonError | None = None
    covered: list[Interval] = field(default_factory=list)
    void_total: int = 0
    repeats: int = 0
    holes_forgotten: int = 0
    holes: list[Interval] = field(default_factory=list)
    waiting: list[Interval] = field(default_factory=list)
    untold: list[Interval] = field(default_factory=list)
    lost: list[Interval] = field(default_factory=list)
    in_flight: int = 0
    newer: bool = False

    @property
    def balanced(self) -> bool:
        """Whether both sides agree, as far as it was asked."""
        return not self.lost and not self.newer

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        if self.skipped or self.error:
            return {"url": self.url, "skipped": self.skipped or None, "error": _text(self.error)}
        names = self.__slots__[self.__slots__.index("covered") :]
        told = {name: getattr(self, name) for name in names}
        return {"url": self.url, "skipped": None, "error": None, **told, "balanced": self.balanced}


def compare(proof: Proof, sent: Sent, account: Mapping[str, Any]) -> Proof:
    """Fill in what follows from both sides.

    account : the cloud's `received`, `void`, `void_total`, `repeats` and `holes_forgotten`
    """
    done, known = Intervals(sent.done), Intervals(sent.known)
    received, covered = Intervals(_pairs(account["received"])), Intervals(_pairs(account["void"]))
    for interval in received:
        covered.add(*interval)
    proof.covered, proof.void_total = list(covered), account["void_total"]
    proof.repeats, proof.holes_forgotten = account["repeats"], account["holes_forgotten"]
    proof.holes = covered.missing(1, max((last for _, last in covered), default=0))
    proof.waiting = [rest for hole in proof.holes for rest in done.missing(*hole)]
    proof.lost = [rest for interval in known for rest in covered.missing(*interval)]
    proof.untold = [
        rest
        for interval in done
        for unheard in covered.missing(*interval)
        for rest in known.missing(*unheard)
    ]
    proof.in_flight = sum(count(done.missing(*interval)) for interval in received)
    proof.newer = proof.in_flight > sent.waiting + STAGED_LINES_MAX
    return proof


def _pairs(intervals: Iterable[Iterable[int]]) -> list[Interval]:
    return [(first, last) for first, last in intervals]


def _text(error: AndonError | None) -> str | None:
    return str(error) if error else None
