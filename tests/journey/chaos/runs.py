"""One run after another: production, faults, mending, and the question whether all has arrived."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.journey.chaos.compare import Comparison, Findings
from tests.journey.chaos.plan import PHASE_S, Fault, draw
from tests.journey.chaos.publisher import SECOND_NS
from tests.journey.chaos.rig import Rig, counts_of
from tests.journey.plant import columns

ACKNOWLEDGED_S: Final = 30.0
ARRIVED_S: Final = 90.0
STILL_S: Final = 10.0
"""When nothing has moved for so long, what is missing does not come any more."""
LOOK_S: Final = 0.05
LOOK_BACK_NS: Final = 60 * SECOND_NS
"""Windows that began so long before a run are compared once more: late samples revise them."""
PAGE_ROWS: Final = 10_000


@dataclass
class Result:
    """How one run went."""

    run: int
    faults: tuple[str, ...]
    findings: Findings
    samples: int = 0
    unbalanced: bool = False
    holes: int = 0
    in_doubt: int = 0
    broker_lost: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    broken: bool = False
    """Whether it could not be brought to its end."""

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        found = self.findings
        return not (
            found.lost or found.duplicates or found.wrong or self.notes
            or self.unbalanced or self.holes or self.in_doubt
        )  # fmt: skip


class Runs:
    """Runs on one rig; what one run left wrong is not held against the next."""

    def __init__(self, rig: Rig, seed: int, only: frozenset[str] = frozenset()) -> None:
        self._rig = rig
        self._seed = seed
        self._only = only
        self._comparison = Comparison()
        self.adrift = 0
        """How many samples more than were sent the agent has received in earlier runs."""
        self._in_doubt = 0
        self._holes: set[tuple[int, int]] = set()
        self._given_up: dict[str, int] = {}

    def run(self, number: int) -> Result:
        """One run with the faults of its number."""
        faults = self.plan(number)
        return self.go(number, lambda: self._rig.suffer(faults), tuple(map(str, faults)))

    def plan(self, number: int) -> tuple[Fault, ...]:
        """The faults of this run that the rig can suffer and was asked for."""
        faults = draw(self._seed, number, self._rig.subjects)
        return tuple(fault for fault in faults if not self._only or fault.kind in self._only)

    def go(self, number: int, suffer: Callable[[], None], faults: tuple[str, ...]) -> Result:
        """Produce and suffer, mend, wait, compare."""
        rig, begin_s, begin_ns = self._rig, time.monotonic(), time.time_ns()
        sent_before, rig.notes = rig.publisher.sent, []
        rig.publisher.produce()
        suffer()
        time.sleep(max(0.0, begin_s + PHASE_S - time.monotonic()))
        rig.mend()
        rig.publisher.rest(ACKNOWLEDGED_S)
        arrived = self._all_arrived()
        asked = rig.gateway.ask_ledger()
        from_ns = (begin_ns - LOOK_BACK_NS) // SECOND_NS * SECOND_NS
        result = Result(number, faults, self.compare(from_ns))
        ledger = rig.gateway.ledger(asked)
        result.notes = [*rig.notes, *arrived, *self._gone(ledger)]
        result.samples = rig.publisher.sent - sent_before
        result.unbalanced = not self._balances(ledger)
        result.holes = self._new_holes()
        result.in_doubt = rig.publisher.in_doubt - self._in_doubt
        self._in_doubt = rig.publisher.in_doubt
        result.seconds = time.monotonic() - begin_s
        return result

    def compare(self, from_ns: int = 0) -> Findings:
        """The store against the record, from this time on."""
        cloud = self._rig.cloud
        start = datetime.fromtimestamp(from_ns // SECOND_NS, UTC).isoformat()
        ask: dict[str, str | int] = {"from_": start, "limit": PAGE_ROWS}
        windows = columns(cloud, "windows", **ask)
        samples = columns(cloud, "samples", **ask)
        return self._comparison.compare(self._rig.publisher.record, windows, samples, from_ns)

    def _all_arrived(self) -> list[str]:
        """Wait until all that was sent is derived and acknowledged; else what was waited for."""
        sent = self._rig.publisher.sent + self.adrift
        still_s = time.monotonic()
        deadline_s, most, least = still_s + ARRIVED_S, -1, math.inf
        while time.monotonic() < min(deadline_s, still_s + STILL_S):
            status = self._rig.gateway.status()
            received, pending, waiting = counts = counts_of(status)
            if counts == (sent, 0, 0):
                return []
            if received > most or pending + waiting < least:
                most, least, still_s = received, pending + waiting, time.monotonic()
            time.sleep(LOOK_S)
        how = {name: status.get(name) for name in ("sources", "sinks", "outbox")}
        return [f"waited in vain for {sent} received, 0 pending, 0 waiting; it is {counts}, {how}"]

    def _balances(self, ledger: dict[str, Any]) -> bool:
        """Whether the ledger balances, and has received just what the broker acknowledged."""
        adrift = ledger["samples"]["received"] - self._rig.publisher.sent
        drifted, self.adrift = adrift != self.adrift, adrift
        return bool(ledger["balanced"]) and not drifted

    def _gone(self, ledger: dict[str, Any]) -> list[str]:
        """Samples and lines that the agent gave up since the last run, in words."""
        now = {
            f"{what} {how}{{{cause}}}": count
            for what in ("samples", "lines")
            for how in ("filtered", "dropped", "dead_letter")
            for cause, count in ledger[what].get(how, {}).items()
        }
        before, self._given_up = self._given_up, now
        new = {what: count - before.get(what, 0) for what, count in now.items()}
        return [f"{count} {what}" for what, count in new.items() if count]

    def _new_holes(self) -> int:
        """Line ids that the cloud has missed since the last run."""
        gateways = self._rig.cloud.get("/v1/gateways")["gateways"]
        holes = {(first, last) for one in gateways for first, last in one["holes"]}
        new, self._holes = holes - self._holes, holes
        return sum(last - first + 1 for first, last in new)


def keep(folder: Path, kept: Path, result: Result) -> Path:
    """Copy the rig's logs and data of a failing run; where they are."""
    where = kept / f"run-{result.run}"
    ignore = shutil.ignore_patterns("*.sock", "filler", "outbox.reserve")
    shutil.copytree(folder, where, ignore=ignore, dirs_exist_ok=True)
    lines = [*result.faults, *result.notes, *result.findings.words]
    (where / "run.txt").write_text("\n".join([repr(result), *lines, ""]))
    return where


def say(result: Result) -> None:
    """One run, on stderr."""
    found = result.findings
    verdict = "ok" if result.good else (
        f"WRONG: {found.lost} lost, {found.duplicates} duplicates, {found.wrong} wrong, "
        f"{result.holes} holes, {result.in_doubt} in doubt"
        + (", ledger unbalanced" if result.unbalanced else "")
    )  # fmt: skip
    faults = ", ".join(result.faults) or "no faults"
    tell(f"run {result.run}: {result.samples} samples, {result.seconds:.1f} s, {verdict}; {faults}")
    for words in (*result.notes, *found.words):
        tell(f"  {words}")


def tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
