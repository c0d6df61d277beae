"""Keeping: what is journaled, and when the journal gives way to a checkpoint.

Sources whose machine side redelivers are journaled always (`auto`): without the journal a crash
would lose open windows whose messages the machine side was told are safe. Others are journaled as
long as their samples take no more than `SHARE` of the write budget; of what is not journaled a
crash loses the open windows, which the ledger says. Decided anew at each checkpoint.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from agent.batch import empty
from agent.pipeline.budget import DAY_S
from agent.pipeline.journal import Journal, Took
from agent.sources import REDELIVERED_MAX, Packets

SHARE: Final = 0.5
JOURNAL_RATIO: Final = 4
"""A checkpoint is due when the journal is so many times its size: it then costs a quarter more."""
JOURNAL_BYTES_MIN: Final = 256 << 10
JOURNAL_BYTES_MAX: Final = 16 << 20
"""About three million samples, which are played in a second or two."""
CHECKPOINT_EVERY_S: Final = 3600.0
"""What the detectors have learned is put away this often where little is journaled."""
SAMPLE_BYTES: Final = 5.0
"""Of a journaled sample, before any was measured."""
MEASURE_S: Final = 30.0
"""Rates of a shorter time are not believed."""


class Keeping:
    """What is kept of which source, for one pipeline.

    mode : "auto", "always" or "never"
    bytes_per_day : the write budget
    """

    def __init__(self, mode: str, bytes_per_day: float, now_s: float) -> None:
        self.journaled: set[str] = set()
        self._mode = mode
        self._bytes_per_day = bytes_per_day
        self._redelivers: dict[str, bool] = {}
        self._since_s = now_s
        self._bytes = 0
        self._journal_samples = 0
        self._sample_bytes = SAMPLE_BYTES
        self._samples: Counter[str] = Counter()
        self._checkpoint_bytes = 0
        self._soon = True

    def add(self, source: str, redelivers: bool) -> None:
        """A source comes; it is journaled until it proves too costly."""
        self._redelivers[source] = redelivers
        if self._mode != "never":
            self.journaled.add(source)
        self.soon()

    def remove(self, source: str) -> None:
        """A source goes; its state is in the next checkpoint."""
        self._redelivers.pop(source, None)
        self._samples.pop(source, None)
        self.journaled.discard(source)
        self.soon()

    def soon(self) -> None:
        """Take a checkpoint with the next commit."""
        self._soon = True

    def count(self, source: str, samples: int) -> None:
        """So many samples came."""
        self._samples[source] += samples

    def wrote(self, blob: bytes, samples: int) -> None:
        """A journal blob of so many samples was committed."""
        self._bytes += len(blob)
        self._journal_samples += samples

    def is_due(self, now_s: float) -> bool:
        """Whether the next commit should take a checkpoint."""
        limit = max(JOURNAL_RATIO * self._checkpoint_bytes, JOURNAL_BYTES_MIN)
        full = self._bytes >= min(limit, JOURNAL_BYTES_MAX)
        passed_s = now_s - self._since_s
        return self._soon or full or passed_s >= CHECKPOINT_EVERY_S or self._is_costly(passed_s)

    def decide(self, now_s: float) -> None:
        """As a checkpoint is made: what is journaled from it on. Should it fail, ask for `soon`."""
        self._soon = False
        if self._journal_samples:
            self._sample_bytes = self._bytes / self._journal_samples
        passed_s = now_s - self._since_s
        if self._mode == "auto" and passed_s >= MEASURE_S:
            self.journaled = set(self._affordable(passed_s))

    def took_checkpoint(self, size: int, now_s: float) -> None:
        """A checkpoint of so many bytes was committed."""
        self._checkpoint_bytes = size
        self._since_s = now_s
        self._bytes = self._journal_samples = 0
        self._samples.clear()

    def _is_costly(self, passed_s: float) -> bool:
        """Whether something is journaled that is more than the budget bears: it should end."""
        if self._mode != "auto" or passed_s < MEASURE_S or not self._journal_samples:
            return False
        return not self.journaled <= set(self._affordable(passed_s))

    def _affordable(self, passed_s: float) -> Iterable[str]:
        """Those that must be, then the others, the cheapest first."""
        sample_bytes = self._sample_bytes
        if self._journal_samples:
            sample_bytes = self._bytes / self._journal_samples
        day = {
            name: self._samples[name] / passed_s * sample_bytes * DAY_S for name in self._redelivers
        }
        left = SHARE * self._bytes_per_day
        for name in sorted(day, key=lambda name: (not self._redelivers[name], day[name])):
            left -= day[name]
            if self._redelivers[name] or left >= 0:
                yield name


class Tails:
    """The newest packets of each source, so that a redelivery is known after a checkpoint too."""

    def __init__(self, packets: Mapping[str, Iterable[Packets]] | None = None) -> None:
        self._tails: dict[str, deque[Packets]] = {}
        self._counts: Counter[str] = Counter()
        for source, known in (packets or {}).items():
            for one in known:
                self.add(source, one)

    def add(self, source: str, packets: Packets) -> None:
        """Packets that came; the oldest beyond `REDELIVERED_MAX` are forgotten."""
        tail = self._tails.setdefault(source, deque())
        tail.append(packets)
        self._counts[source] += len(packets.ids)
        while self._counts[source] - len(tail[0].ids) >= REDELIVERED_MAX:
            self._counts[source] -= len(tail.popleft().ids)

    def pack(self) -> bytes:
        """All of them, as a journal that holds nothing else."""
        return Journal(
            [Took(name, empty(0, 0), _one(tail)) for name, tail in self._tails.items()]
        ).pack()

    @property
    def packets(self) -> dict[str, list[Packets]]:
        """All of them, oldest first, by source."""
        return {name: list(tail) for name, tail in self._tails.items()}


def _one(tail: Iterable[Packets]) -> Packets:
    parts = list(tail)
    return Packets(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.digests for part in parts]),
    )
