"""The day without cloud, short: minutes instead of hours, and that the soak notices what is wrong.

The long way: `python -m tests.journey.day --hours 24 --json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.signals import SECOND_NS
from tests.journey.day.__main__ import faults, main
from tests.journey.day.far_side import Register

GOOD: dict[str, Any] = {
    "balanced": True, "balanced_before": True, "backlog_missing": 0, "dead_letters": 0,
    "drain_s": 1.0, "dropped": 0, "holes": 0, "lines_repeated": 0, "lines_strange": 0,
    "live_ms_max": 80.0, "missing": 0, "samples_arrived": 20, "samples_derived": 20,
    "waiting_after": 0, "windows_repeated": 0,
}  # fmt: skip


@pytest.mark.timeout(120)
def test_minutes_without_cloud_drain_completely_while_live_windows_stay_live(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--hours", "0.05", "--json", "--data", str(tmp_path)])
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert code == 0, (figures["wrong"], printed.err)
    assert figures["windows_arrived"] == figures["windows_made"] > 500 * 180
    assert figures["samples_arrived"] == figures["samples_derived"] > 10_000 * 180
    assert figures["live_windows"] >= 2500
    assert figures["bytes_per_million_windows"] < 60e6
    assert figures["bytes_after"] < figures["bytes_before"] / 4


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("missing", 1, "windows are missing"),
        ("backlog_missing", 1, "windows of the outage are missing"),
        ("windows_repeated", 1, "windows came twice"),
        ("holes", 1, "line ids have holes"),
        ("samples_arrived", 19, "samples are missing"),
        ("drain_s", float("inf"), "it did not drain"),
        ("balanced", False, "a ledger does not balance"),
        ("live_ms_max", 5001.0, "live windows came late"),
    ],
)
def test_each_fault_is_named(name: str, value: float, words: str) -> None:
    assert faults(GOOD) == []
    assert faults(GOOD | {name: value}) == [words]


def test_the_far_side_knows_each_window_and_what_is_missing_repeated_or_late() -> None:
    register = Register(signals=60, start_s=1000, seconds=10, backlog_s=1)
    register.take(window(0, 7, 1000) + window(1, 9, 1000) + b'note text="window,"  5\n', "1-3", "")
    register.take(window(1, 9, 1000) + window(1, 9, 1001) + window(9, 9, 1001), "5-7", "4-4")
    register.take(window(1, 9, 1008), "9-9", "")
    found = register.stats()
    assert np.argwhere(register.seen).tolist() == [[7, 0], [59, 0], [59, 1], [59, 8]]
    assert (found["windows_arrived"], found["windows_repeated"]) == (5, 1)
    assert found["backlog_missing"] == 58
    assert (found["lines_other"], found["lines_strange"]) == (1, 1)
    assert (found["lines_repeated"], found["holes"]) == (0, 1)
    assert found["samples_arrived"] == 4 * 20
    assert found["live_windows"] == 2
    assert found["live_ms_max"] > 1e9


def window(machine: int, signal: int, start_s: int) -> bytes:
    tags = f"window,line=line-1,machine=machine-{machine:03},signal=signal_{signal:02},every=1s"
    return f"{tags} n=20i,good=1,mean=3.5,rev=0i {start_s * SECOND_NS}\n".encode()
