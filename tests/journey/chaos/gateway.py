"""The gateway of the chaos line: the agent as a process that dies and comes back, and its disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agent.status import ask_status
from tests.journey.chaos.skewed import OFFSET, VARIABLE

ROOT: Final = Path(__file__).parents[3]
CONFIG: Final = Path(__file__).with_name("gateway.toml")
STOP_S: Final = 20.0
LEDGER_S: Final = 60.0
DISK_BYTES: Final = 64 * 2**20
FILLER: Final = "filler"
PIECE: Final = 2**20
PAGE: Final = 4096


class Disk:
    """A small filesystem of its own at `folder`, that can be filled up. Only root can mount it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        options = f"size={DISK_BYTES}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "andon-chaos", str(folder)]
        self.small = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True).returncode

    def fill(self) -> None:
        """Leave no room."""
        assert self.small
        with (self._folder / FILLER).open("ab", buffering=0) as file:
            for size in (PIECE, PAGE):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def clear(self) -> None:
        """There is room again."""
        (self._folder / FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        if self.small:
            subprocess.run(["umount", str(self._folder)], check=True)


class Gateway:
    """`andon run` with its data in `data`, told where everything is by `environ`."""

    def __init__(self, folder: Path, data: Path, environ: Mapping[str, str]) -> None:
        self._data = data
        self._log = folder / "agent.log"
        self._clock = folder / "clock"
        self._environ = {
            **os.environ, **environ,
            "ANDON_CHAOS_DATA": str(data), VARIABLE: str(self._clock),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.step(0)

    def start(self) -> None:
        """Start it, and do not wait; one that runs is left."""
        if self._process is not None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.journey.chaos.skewed", "run", str(CONFIG)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env=self._environ, start_new_session=True,
            )  # fmt: skip

    def end(self, number: signal.Signals) -> None:
        """End it by this signal; one that has ended already is left."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the agent did not end within {STOP_S:g} s of {number}") from None
        finally:
            self._process = None

    def ended_by_itself(self) -> int | None:
        """The exit code of an agent that nobody ended; it can then be started anew."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self._process = None
        return code

    def step(self, offset_ms: int) -> None:
        """Set its clock off by so much from now on."""
        if not self._clock.exists():
            self._clock.write_bytes(OFFSET.pack(0))
        with self._clock.open("r+b") as file:
            file.write(OFFSET.pack(offset_ms * 1_000_000))

    def status(self) -> dict[str, Any]:
        """Its status; empty while it does not answer."""
        try:
            return ask_status(self._data)
        except (OSError, ValueError):
            return {}

    def ask_ledger(self) -> subprocess.Popen[bytes]:
        """Begin `andon ledger --json`."""
        return subprocess.Popen(
            [sys.executable, "-m", "agent", "ledger", "--json", str(CONFIG)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=self._environ,
        )  # fmt: skip

    def ledger(self, asked: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What it printed; it exits 6 where the ledger does not balance."""
        printed, said = asked.communicate(timeout=LEDGER_S)
        assert asked.returncode in (0, 6), said.decode()
        document: dict[str, Any] = json.loads(printed)
        assert document["balanced"] == (asked.returncode == 0)
        return document
