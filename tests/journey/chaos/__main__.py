"""`python -m tests.journey.chaos`: exit code 1 when something was lost, doubled or unaccounted."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.journey.chaos import broker_kills
from tests.journey.chaos.compare import Findings
from tests.journey.chaos.rig import Rig, running_rig
from tests.journey.chaos.runs import Result, Runs, keep, say, tell


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parse(arguments)
    begin_s = time.monotonic()
    kept = asked.keep or Path(tempfile.gettempdir(), f"andon-chaos-kept-{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="andon-chaos-") as name, running_rig(Path(name)) as rig:
        tell(f"seed {asked.seed}, runs {asked.first} to {asked.first + asked.runs - 1}")
        results = list(_results(rig, asked, kept))
        troubled = rig.front.given
    summary = summarise(results)
    summary["requests_troubled"] = troubled
    summary |= {"seed": asked.seed, "seconds": round(time.monotonic() - begin_s, 1)}
    if asked.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:<28} {value}")
    return 0 if all(result.good for result in results) else 1


def _results(rig: Rig, asked: argparse.Namespace, kept: Path) -> Iterator[Result]:
    """Each run's, then that of comparing everything once more; what is left wrong is kept."""
    runs = Runs(rig, asked.seed, frozenset(asked.only))
    for number in range(asked.first, asked.first + asked.runs):
        try:
            if asked.broker_kills:
                result = broker_kills.run(runs, rig, asked.seed, number)
            else:
                result = runs.run(number)
        except Exception as error:  # the rig is then in no state to go on
            plan = tuple(map(str, runs.plan(number)))
            notes = [*rig.notes, f"{error!r}", traceback.format_exc()]
            result = Result(number, plan, Findings(), notes=notes, broken=True)
        say(result)
        if not result.good:
            tell(f"  kept in {keep(rig.folder, kept, result)}")
        yield result
        if result.broken:
            return
    last = Result(0, ("everything once more",), runs.compare())
    say(last)
    yield last


def summarise(results: Sequence[Result]) -> dict[str, object]:
    """All runs as one flat object."""
    done = [one for one in results if one.run]
    kinds = Counter(fault.partition("(")[0] for one in done for fault in one.faults)
    return {
        "runs": len(done),
        "faults": kinds.total(),
        "lost": sum(one.findings.lost for one in results),
        "duplicates": sum(one.findings.duplicates for one in results),
        "ledger_unbalanced": sum(one.unbalanced for one in results),
        "wrong_values": sum(one.findings.wrong for one in results),
        "holes": sum(one.holes for one in results),
        "in_doubt": sum(one.in_doubt for one in results),
        "broker_lost": sum(one.broker_lost for one in results),
        "samples": sum(one.samples for one in results),
        "bad_runs": ",".join(str(one.run) for one in results if not one.good),
        **{f"faults_{kind}": count for kind, count in sorted(kinds.items())},
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.journey.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how many runs (20)")
    parser.add_argument("--seed", type=int, default=1, help="what faults are drawn from (1)")
    parser.add_argument("--first", type=int, default=1, help="number of the first run (1)")
    parser.add_argument("--only", action="append", default=[], help="only faults of this kind")
    parser.add_argument("--broker-kills", action="store_true", help="kill -9 of mosquitto instead")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--keep", type=Path, help="folder for what failing runs leave")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # and tidy up
    sys.exit(main())
