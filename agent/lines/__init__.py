"""Lines: what the agent sends, as columns until the moment of sending.

Windows and samples are structured arrays, everything rarer (anomalies, metadata, the gateway's
own line) is line protocol already. `agent.outbox` stores them, `agent.lines.encode` turns them
into bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

WINDOW: Final = np.dtype(
    [
        ("signal", np.int32),
        ("rev", np.int32),
        ("start_ns", np.int64),
        ("every_ns", np.int64),
        ("n", np.int64),
        ("good", np.float64),
        ("mean", np.float64),
        ("std", np.float64),
        ("min", np.float64),
        ("max", np.float64),
        ("first", np.float64),
        ("last", np.float64),
        ("increase", np.float64),
    ]
)
"""One closed window. A field that is NaN is not sent: an empty window carries `n=0i,good=0,rev`."""

SAMPLE: Final = np.dtype(
    [
        ("signal", np.int32),
        ("status", np.uint32),
        ("time_ns", np.int64),
        ("value", np.float64),
        ("text", np.int32),
    ]
)
"""One raw sample; `text` is the index into the block's texts, -1 where the value is a number."""

LIVE_NS: Final = 5 * 10**9
"""Lines younger than this are live: they go first, from memory. Older ones have waited."""

Rows = npt.NDArray[Any]

NO_WINDOWS: Final[Rows] = np.empty(0, WINDOW)
NO_SAMPLES: Final[Rows] = np.empty(0, SAMPLE)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Lines of one commit, in the order of their ids: windows, then samples, then ready ones.

    windows : (w,) of dtype WINDOW
    samples : (s,) of dtype SAMPLE
    texts : dictionary of the samples' text values
    ready : line protocol, one line each, without newline
    """

    windows: Rows = field(default_factory=lambda: NO_WINDOWS)
    samples: Rows = field(default_factory=lambda: NO_SAMPLES)
    texts: tuple[str, ...] = ()
    ready: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.windows) + len(self.samples) + len(self.ready)

    def part(self, start: int, stop: int) -> Lines:
        """Lines [start, stop) of these, with the same texts."""
        windows, samples = len(self.windows), len(self.windows) + len(self.samples)
        return Lines(
            self.windows[start:stop],
            self.samples[max(start - windows, 0) : max(stop - windows, 0)],
            self.texts,
            self.ready[max(start - samples, 0) : max(stop - samples, 0)],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """Lines of the outbox as line protocol, ready to be sent.

    runs : their ids in the order of the lines, as closed intervals that ascend
    body : the lines, each ended by a newline
    offsets : (n + 1,) int64, where each line starts in `body`; the last is its length
    made_ns : when the oldest of them was made, UTC
    void : closed intervals of ids that are never to be sent, told along with these lines
    """

    runs: tuple[tuple[int, int], ...]
    body: bytes
    offsets: npt.NDArray[np.int64]
    made_ns: int = 0
    void: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def first(self) -> int:
        """Id of the first line."""
        return self.runs[0][0]

    @property
    def last(self) -> int:
        """Id of the last line."""
        return self.runs[-1][1]

    def id_of(self, line: int) -> int:
        """Id of the line with this place in the packet, counted from 0."""
        return self._cut(line, line + 1)[0][0]

    def part(self, start: int, stop: int) -> Packet:
        """Lines [start, stop) of this packet."""
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - low
        runs = self._cut(start, stop)
        return Packet(runs, self.body[low:high], offsets, self.made_ns, self.void)

    def _cut(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        cut, at = [], 0
        for first, last in self.runs:
            low, high = max(first, first + start - at), min(last, first + stop - at - 1)
            if low <= high:
                cut.append((low, high))
            at += last - first + 1
        return tuple(cut)
