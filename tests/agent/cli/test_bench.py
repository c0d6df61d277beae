"""`andon bench`: it measures, says what it measured, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cli.bench import _PIPELINE


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "throughput.INTERVALS": 40,
        "throughput.LINES": 2000,
        "throughput.RUNS": 1,
        "footprint.SIGNALS": 100,
        "footprint.WARM_S": 1.0,
    }.items():
        monkeypatch.setattr(f"agent.cli.bench.{name}", value)


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", "pipeline", *map(str, words)], env={"NO_COLOR": "1"})


def test_the_pipeline_is_measured_and_nothing_is_left_behind(tmp_path: Path) -> None:
    result = bench("--seconds", 1, "--data", tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert set(figures) == set(_PIPELINE)
    assert all(value > 0 for value in figures.values())
    assert figures["samples"] == 40_000
    assert figures["samples_per_s"] > 10_000
    assert 0.05 < figures["encode_us_per_line"] < 100
    assert 20 < figures["rss_mb_10k_signals"] <= figures["rss_peak_mb_10k_signals"] < 2000
    assert figures["cpu_share_10k_signals"] < 2
    assert 0.01 < figures["disk_gb_per_day_10k_signals"] < 100
    assert list(tmp_path.iterdir()) == []


def test_a_person_reads_a_figure_a_line_in_words_with_its_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = dict.fromkeys(_PIPELINE, 0.0312) | {"samples_per_s": 1_034_120.4}
    monkeypatch.setattr("agent.cli.bench.throughput.measure", lambda folder: figures)
    monkeypatch.setattr("agent.cli.bench.footprint.measure", lambda folder, seconds: {})
    result = bench()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(_PIPELINE)
    assert lines[0] == f"{'samples a second and core, into the committed outbox':<54}   1,034,120"
    assert f"{'share of one core':<54}        3.12 %" in lines
    assert result.stderr.splitlines()[0].startswith("throughput: 1,000 signals")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = bench("--data", tmp_path / "none")
    assert result.exit_code == 2
    assert "there is no such folder" in result.stderr


def test_an_agent_that_cannot_be_measured_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.bench.throughput.measure", lambda folder: {})
    monkeypatch.setattr("agent.cli.bench.footprint.SIGNALS", "many")
    result = bench("--seconds", 1, "--data", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2].startswith("error: the measured agent failed")
    assert list(tmp_path.iterdir()) == []
