"""Chaos, short: some seeded runs, and that the driver notices what it is there to notice.

The long way: `python -m tests.journey.chaos --runs 200 --seed 1 --json`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.journey.chaos.__main__ import main
from tests.journey.chaos.compare import Columns, Comparison, Findings
from tests.journey.chaos.plan import KINDS, PHASE_S, draw
from tests.journey.chaos.publisher import LINE, SECOND_NS, Record, Track

START_NS = 1_800_000_000 * SECOND_NS
SAMPLES = 5


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_doubled_whatever_happens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--runs", "3", "--seed", "8", "--json", "--keep", str(tmp_path)])
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert code == 0, printed.err
    assert summary["runs"] == 3
    assert summary.get("faults_agent_kill", 0) + summary.get("faults_agent_kills", 0) == 3
    assert summary["samples"] > 1000
    assert (summary["lost"], summary["duplicates"], summary["ledger_unbalanced"]) == (0, 0, 0)


def test_the_same_seed_plans_the_same_faults_within_the_phase() -> None:
    plans = [draw(7, run) for run in range(200)]
    assert plans == [draw(7, run) for run in range(200)]
    assert plans != [draw(8, run) for run in range(200)]
    faults = [fault for plan in plans for fault in plan]
    assert {fault.kind for fault in faults} == {kind for kinds in KINDS.values() for kind in kinds}
    assert all(0 <= fault.at_s <= fault.at_s + fault.for_s <= PHASE_S for fault in faults)
    assert all(any(fault.kind.startswith("agent_kill") for fault in plan) for plan in plans)


def test_a_store_that_holds_what_was_sent_is_found_right() -> None:
    assert compare(*stored()) == Findings()


def test_a_missing_sample_is_found_lost_and_one_too_many_a_duplicate() -> None:
    windows, samples = stored()
    windows["n"][0] -= 2
    windows["n"][1] += 1
    found = compare(windows, samples)
    assert (found.lost, found.duplicates, found.wrong) == (2, 1, 0)


def test_a_missing_window_and_a_missing_line_are_found_lost() -> None:
    windows, samples = stored()
    for column in windows.values():
        column.pop()
    for column in samples.values():
        column.pop()
    assert compare(windows, samples).lost == SAMPLES + 1


def test_a_window_that_is_there_twice_is_found_a_duplicate() -> None:
    windows, samples = stored()
    for column in windows.values():
        column.append(column[0])
    assert compare(windows, samples).duplicates == 1


def test_a_value_that_was_never_sent_is_found_wrong() -> None:
    windows, samples = stored()
    windows["max"][0] = 99.0
    assert compare(windows, samples).wrong == 1


def test_what_was_found_wrong_once_is_not_found_again() -> None:
    windows, samples = stored()
    windows["n"][0] -= 2
    comparison = Comparison()
    assert comparison.compare(record(), windows, samples, 0).lost == 2
    assert comparison.compare(record(), windows, samples, 0) == Findings()


def compare(windows: Columns, samples: Columns) -> Findings:
    return Comparison().compare(record(), windows, samples, 0)


def record() -> Record:
    """The same few samples of each series, all within one second."""
    tracks = {series.key: Track() for series in LINE}
    for series in LINE:
        for number in range(SAMPLES):
            tracks[series.key].add(START_NS + number * SECOND_NS // 10, series.value(number))
    return tracks


def stored() -> tuple[Columns, Columns]:
    """What a cloud holds of `record`: windows and samples as columns."""
    windows: list[dict[str, object]] = []
    samples: list[dict[str, object]] = []
    for series in LINE:
        names = {"machine": series.machine, "signal": series.name}
        times_ns, values = record()[series.key].times_ns, record()[series.key].values
        first, last = float(values[0]), float(values[-1])
        if series.kind != "text":
            windows.append(names | {
                "time_ns": START_NS, "n": SAMPLES, "min": first, "max": last, "first": first,
                "last": last, "increase": last - first if series.kind == "counter" else None,
            })  # fmt: skip
        if series.as_lines:
            samples += [
                names | {"time_ns": time_ns, "value": float(value), "text": str(value)}
                for time_ns, value in zip(times_ns, values, strict=True)
            ]
    return _columns(windows), _columns(samples)


def _columns(rows: list[dict[str, object]]) -> Columns:
    return {name: [row[name] for row in rows] for name in rows[0]}
