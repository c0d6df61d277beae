"""The ledger: accounts for every sample and every line, always.

    received = derived + filtered{cause} + dropped{cause} + pending
    made     = acknowledged + waiting + replaced + dead_letter{cause}

A sample is `derived` when the line that carries it is made, `pending` while its window is open or
while it waits in a queue, `filtered` when a rule set it aside and `dropped` when it was lost. A
line is `acknowledged` when every sink's far side has it. The counters commit with the data they
count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class SampleLedger:
    """The samples' side. `filtered` and `dropped` are counted by cause."""

    received: int = 0
    derived: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    pending: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every received sample is accounted for exactly once."""
        accounted = self.derived + self.filtered.total() + self.dropped.total() + self.pending
        return self.received == accounted and self.pending >= 0

    def copy(self) -> SampleLedger:
        """A copy that later counting does not touch."""
        return SampleLedger(
            self.received, self.derived, Counter(self.filtered), Counter(self.dropped), self.pending
        )

    def document(self) -> dict[str, Any]:
        """The counters as plain JSON values; `from_document` reads them back."""
        return {
            "received": self.received,
            "derived": self.derived,
            "filtered": dict(self.filtered),
            "dropped": dict(self.dropped),
            "pending": self.pending,
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
        )


@dataclass(slots=True)
class LineLedger:
    """The lines' side, over all sinks: a line counts as acknowledged when every sink has it."""

    made: int = 0
    acknowledged: int = 0
    waiting: int = 0
    replaced: int = 0
    dead_letter: Counter[str] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every line made is accounted for exactly once."""
        accounted = self.acknowledged + self.waiting + self.replaced + self.dead_letter.total()
        return self.made == accounted


@dataclass(slots=True)
class SinkLedger:
    """One sink's side: lines it acknowledged, lines that wait for it, lines it rejected."""

    acknowledged: int = 0
    waiting: int = 0
    dead_letter: int = 0


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
        lines = self.lines
        return {
            "balanced": self.balanced,
            "samples": self.samples.document(),
            "lines": {
                "made": lines.made,
                "acknowledged": lines.acknowledged,
                "waiting": lines.waiting,
                "replaced": lines.replaced,
                "dead_letter": dict(lines.dead_letter),
            },
            "sinks": {name: asdict(sink) for name, sink in self.sinks.items()},
        }
