"""`andon demo` as a newcomer runs it, on another seed than its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.journey.plant import port_in_use

COMMAND = [sys.executable, "-c", "from agent.cli import app; app()", "demo"]
LATENCY_MS_MAX = 1000.0


@pytest.mark.timeout(300)
def test_the_demo_keeps_its_promise() -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "60", "--json", "--seed", "37"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["planted"] >= 4
    assert result["caught"] == result["planted"], result["missed"]
    assert result["false_alarms"] <= 1
    assert result["ledger_balanced"]
    assert result["received"] == result["sent"] > 5000
    assert result["windows"] > 800
    assert result["lines_acknowledged"] == result["lines_made"] > result["windows"]
    assert result["latency_ms_p99"] <= LATENCY_MS_MAX
    assert "/login?code=" in result["board_url"]
    for words in ("Traceback", "Error:", "WARNING", "ERROR"):
        assert words not in done.stderr


@pytest.mark.timeout(120)
def test_a_port_in_use_ends_the_demo_with_one_clear_message() -> None:
    with port_in_use() as port:
        done = subprocess.run(
            [*COMMAND, "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 3
    assert done.stdout == ""
    assert f"{port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
