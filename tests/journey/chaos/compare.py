"""What the cloud holds against what the sender knows, sample by sample.

For each series and window: n, and that no value is in it that was not sent; what a counter counted;
of series sent sample by sample, each sample's time and value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.journey.chaos.publisher import LINE, SECOND_NS, Record, Series

EVERY_NS: Final = SECOND_NS
FINDINGS_MAX: Final = 20
VALUES: Final = ("min", "max", "first", "last")

Columns = dict[str, list[Any]]
Ints = npt.NDArray[np.int64]


@dataclass
class Findings:
    """What is wrong, counted in samples; `words` names the first of it."""

    lost: int = 0
    duplicates: int = 0
    wrong: int = 0
    words: list[str] = field(default_factory=list)

    def say(self, what: str) -> None:
        if len(self.words) < FINDINGS_MAX:
            self.words.append(what)

    def count(self, what: str, sent: int, stored: int) -> None:
        """So many of these were sent, so many are stored."""
        self.lost += max(0, sent - stored)
        self.duplicates += max(0, stored - sent)
        if sent != stored:
            self.say(f"{what}: {sent} sent, {stored} stored")


@dataclass(frozen=True)
class _Sent:
    """The samples of one series in a range, and the one before each window."""

    series: Series
    times_ns: Ints
    values: Ints

    def window(self, start_ns: int) -> tuple[int, int]:
        """The places of the window's first sample and of the one after its last."""
        ends = (start_ns, start_ns + EVERY_NS)
        low, high = np.searchsorted(self.times_ns, ends)
        return int(low), int(high)


class Comparison:
    """Compares range after range; what has been found wrong once is not found again."""

    def __init__(self) -> None:
        self._known: set[tuple[object, ...]] = set()

    def compare(self, record: Record, windows: Columns, samples: Columns, from_ns: int) -> Findings:
        """Of all that begins at `from_ns` or later, a window's start."""
        findings = Findings()
        stored = _by_series(windows)
        lines = _by_series(samples)
        for series in LINE:
            track = record[series.key]
            sent = _Sent(
                series, np.array(track.times_ns, np.int64), np.array(track.values, np.int64)
            )
            if series.kind != "text":
                self._windows(findings, sent, stored[series.key], from_ns)
            if series.as_lines:
                self._lines(findings, sent, lines[series.key], from_ns)
        return findings

    def _windows(
        self, findings: Findings, sent: _Sent, rows: list[dict[str, Any]], from_ns: int
    ) -> None:
        by_start = {row["time_ns"]: row for row in rows}
        for start_ns in (start for start, seen in Counter(r["time_ns"] for r in rows).items()
                         if seen > 1):  # fmt: skip
            findings.duplicates += 1
            findings.say(f"{sent.series.key}: window {start_ns} is there twice")
        recent = sent.times_ns[sent.times_ns >= from_ns]
        starts = set((recent // EVERY_NS * EVERY_NS).tolist()) | by_start.keys()
        for start_ns in sorted(starts):
            self._window(findings, sent, start_ns, by_start.get(start_ns))

    def _window(
        self, findings: Findings, sent: _Sent, start_ns: int, row: dict[str, Any] | None
    ) -> None:
        low, high = sent.window(start_ns)
        n = 0 if row is None else row["n"]
        what = f"{sent.series.key} window {start_ns}"
        if not self._is_new(what, high - low, n):
            return
        findings.count(what, high - low, n)
        if row is None or n != high - low:
            return
        # A window begins with the value that held from before.
        allowed = set(sent.values[max(low - 1, 0) : high].tolist())
        strange = {name: row[name] for name in VALUES if row[name] not in (None, *allowed)}
        if sent.series.kind == "counter" and n:
            counted = int(sent.values[high - 1] - sent.values[max(low - 1, 0)])
            if row["increase"] != counted:
                strange["increase"] = f"{row['increase']} for {counted}"
        if strange and self._is_new(what, str(strange)):
            findings.wrong += 1
            findings.say(f"{what}: {strange} was never sent")

    def _lines(
        self, findings: Findings, sent: _Sent, rows: list[dict[str, Any]], from_ns: int
    ) -> None:
        kind = "text" if sent.series.kind == "text" else "value"
        stored = Counter((row["time_ns"], float(row[kind])) for row in rows)
        pairs = zip(sent.times_ns.tolist(), sent.values.tolist(), strict=True)
        told = Counter((time_ns, float(value)) for time_ns, value in pairs if time_ns >= from_ns)
        for sample in sorted((told - stored) | (stored - told)):
            what = f"{sent.series.key} sample {sample}"
            if self._is_new(what, told[sample], stored[sample]):
                findings.count(what, told[sample], stored[sample])

    def _is_new(self, *what: object) -> bool:
        """Whether this was not wrong already, in just this way."""
        if len(what) == 3 and what[1] == what[2]:
            return True
        if what in self._known:
            return False
        self._known.add(what)
        return True


def _by_series(columns: Columns) -> dict[str, list[dict[str, Any]]]:
    """Rows of each `machine/signal`."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(names, values, strict=True))
        found[f"{row['machine']}/{row['signal']}"].append(row)
    return found
