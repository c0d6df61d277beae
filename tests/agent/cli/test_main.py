"""The command line's first second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
INTERRUPT_WHILE_LOADING = """
import os, signal, sys, types
from agent.__main__ import main
loading = types.ModuleType("agent.cli")
loading.app = lambda prog_name: os.kill(os.getpid(), signal.SIGINT)
sys.modules["agent.cli"] = loading
main()
"""


def test_ctrl_c_while_the_command_loads_ends_it_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT_WHILE_LOADING],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_command_answers_under_its_own_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Usage: andon [OPTIONS] COMMAND" in done.stdout
