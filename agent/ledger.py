"""The ledger: accounts for every sample and every line, always.

    received = derived + filtered{cause} + dropped{cause} + pending
    made     = acknowledged + waiting + replaced + dropped{cause} + dead_letter{cause}

A sample is `derived` when the line that carries it is made, `pending` while its window is open or
while it waits in a queue, `filtered` when a rule set it aside and `dropped` when it was lost.

Three stand beside the balance: `retimed`, samples whose time could not be and was moved; `missed`,
stretches in which samples are known or must be feared to be lost before they reached the gateway;
`recovered`, samples among those received that came by another way than live.

A line is `acknowledged` when every sink's far side has it, `replaced` when a revision took its
place before it was sent, `dropped` when there was no room for it, a `dead_letter` when a far side
rejected it. The counters commit with the data they count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class SampleLedger:
    """The samples' side. All but `received`, `derived` and `pending` are counted by cause.

    missed : `server_queue`, one a sample before which the server's queue was full; `message`, one a
        notification message that could not be sent again; `outage`, one a signal whose outage was
        not filled from history; `history`, one a signal whose history could not be read to the end
    recovered : `history`; `republished`; `held`, the last value said once more where a subscription
        was taken up again
    """

    received: int = 0
    derived: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    retimed: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every received sample is accounted for exactly once."""
        accounted = self.derived + self.filtered.total() + self.dropped.total() + self.pending
        return self.received == accounted and self.pending >= 0

    def copy(self) -> SampleLedger:
        """A copy that later counting does not touch."""
        return self.from_document(self.document())

    def document(self) -> dict[str, Any]:
        """The counters as plain JSON values; `from_document` reads them back."""
        return {
            "received": self.received,
            "derived": self.derived,
            "filtered": dict(self.filtered),
            "dropped": dict(self.dropped),
            "pending": self.pending,
            "retimed": dict(self.retimed),
            "missed": dict(self.missed),
            "recovered": dict(self.recovered),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> SampleLedger:
        """The counters that `document` wrote; of an empty one, all are 0."""
        return cls(
            document.get("received", 0),
            document.get("derived", 0),
            Counter(document.get("filtered", {})),
            Counter(document.get("dropped", {})),
            document.get("pending", 0),
            Counter(document.get("retimed", {})),
            Counter(document.get("missed", {})),
            Counter(document.get("recovered", {})),
        )


@dataclass(slots=True)
class LineLedger:
    """The lines' side, over all sinks. `dropped` and `dead_letter` are counted by cause."""

    made: int = 0
    acknowledged: int = 0
    waiting: int = 0
    replaced: int = 0
    dead_letter: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every line made is accounted for exactly once."""
        lost = self.dropped.total() + self.dead_letter.total()
        accounted = self.acknowledged + self.waiting + self.replaced + lost
        return self.made == accounted and self.waiting >= 0

    def document(self) -> dict[str, Any]:
        """The counters as plain JSON values; `from_document` reads them back."""
        return {
            "made": self.made,
            "acknowledged": self.acknowledged,
            "waiting": self.waiting,
            "replaced": self.replaced,
            "dead_letter": dict(self.dead_letter),
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> LineLedger:
        """The counters that `document` wrote; of an empty one, all are 0."""
        return cls(
            document.get("made", 0),
            document.get("acknowledged", 0),
            document.get("waiting", 0),
            document.get("replaced", 0),
            Counter(document.get("dead_letter", {})),
            Counter(document.get("dropped", {})),
        )

    def copy(self) -> LineLedger:
        """A copy that later counting does not touch."""
        return replace(self, dead_letter=Counter(self.dead_letter), dropped=Counter(self.dropped))


@dataclass(slots=True)
class SinkLedger:
    """One sink's side: lines it acknowledged, lines that wait for it, lines it rejected.

    `withheld` of the acknowledged ones were not sent, since its far side cannot hold them.
    """

    acknowledged: int = 0
    waiting: int = 0
    dead_letter: int = 0
    withheld: int = 0


@dataclass(slots=True)
class Ledger:
    """Both sides as one commit left them, and each sink's own."""

    samples: SampleLedger = field(default_factory=SampleLedger)
    lines: LineLedger = field(default_factory=LineLedger)
    sinks: dict[str, SinkLedger] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether both sides balance."""
        return self.samples.balanced and self.lines.balanced

    def document(self) -> dict[str, Any]:
        """Both sides as plain values."""
        return {
            "balanced": self.balanced,
            "samples": self.samples.document(),
            "lines": self.lines.document(),
            "sinks": {name: asdict(sink) for name, sink in self.sinks.items()},
        }
