"""The three processes of the demo, started as a plant would start them.

Each runs in a session of its own, so that Ctrl-C reaches the demo alone and it stops them in order;
each ends with the demo even when that is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent.errors import AndonError, ExitCode

READY_S: Final = 60.0
STOP_S: Final = 10.0
LOOK_S: Final = 0.2
EVENTS_MAX: Final = 1_000
_PR_SET_PDEATHSIG: Final = 1


class DemoError(AndonError):
    """A part of the demo did not do what it must."""

    exit_code = ExitCode.UNREACHABLE


class Process:
    """One child that tells its events on stdout, one JSON object a line."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
    ) -> None:
        self.name = name
        self.events: dict[str, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._log = log
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-c", f"from {module} import app; app()", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environ},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait_for(self, event: str, timeout_s: float = READY_S) -> dict[str, Any]:
        """The event of this name, once it has come. Raises DemoError with the child's own words."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while event not in self.events:
                if not self._reader.is_alive() or time.monotonic() >= deadline:
                    raise self._failed(event)
                self._news.wait(LOOK_S)
            return self.events[event]

    def tell(self, command: str) -> None:
        """Write one command to its stdin."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(f"{command}\n".encode())
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed(command) from error

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL where that does not help in time."""
        if self.running:
            self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._reader.join(STOP_S)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()

    def words(self) -> str:
        """What it said on stderr."""
        return self._log.read_text(errors="replace").strip()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            with self._news:
                if len(self.events) < EVENTS_MAX:
                    self.events[event.get("event", "")] = event
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _failed(self, wanted: str) -> DemoError:
        words = self.words().removeprefix("error: ")
        state = "hangs" if self.running else f"ended with exit code {self._child.returncode}"
        return DemoError(f"the demo's {self.name} {state} before {wanted!r}: {words}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
