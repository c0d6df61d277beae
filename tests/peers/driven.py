"""A process that is told what to do by JSON lines on its stdin, and answers on its stdout.

Its first line says that it is ready; then one line answers each command, in their order, with
what it found or {"error": ...}. Between them it may say what happened: {"event": ..., ...}.
"""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 60.0
ANSWER_S: Final = 20.0
STOP_S: Final = 5.0


class PeerError(Exception):
    """It did not start, did not answer, or could not do it; the message says which."""


class Driven:
    """One such process, at first not running.

    name : says which it is, in errors and in the name of its log
    folder : for what it says on stderr
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.events: list[dict[str, Any]] = []
        """What happened, in order, since it was last started."""
        self._answers: queue.Queue[str] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def launch(self, command: list[str]) -> dict[str, Any]:
        """Start it; what it says when it is ready. Raises PeerError."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
        said = self._process.stdout
        assert said is not None
        self._answers, self.events = queue.Queue(), []
        sort = threading.Thread(target=_sort, args=(said, self._answers, self.events), daemon=True)
        sort.start()
        return self._answer("start", START_S)

    def do(self, command: str, **what: Any) -> dict[str, Any]:
        """Have it do something; what it found. Raises PeerError."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **what}) + "\n")
        self._process.stdin.flush()
        return self._answer(command, ANSWER_S)

    async def ask(self, command: str, **what: Any) -> dict[str, Any]:
        """The same, while the event loop goes on."""
        return await asyncio.to_thread(self.do, command, **what)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None

    def _answer(self, command: str, within_s: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=within_s))
        except (queue.Empty, ValueError) as error:
            said = self.log.read_text(errors="replace")[-2_000:]
            raise PeerError(f"{self.name}: no answer to {command}: {error!r}; {said}") from error
        if "error" in answer:
            raise PeerError(f"{self.name}: {command}: {answer['error']}")
        return answer


def _sort(lines: Iterable[str], answers: queue.Queue[str], events: list[dict[str, Any]]) -> None:
    for line in lines:
        if line.startswith('{"event"'):
            events.append(json.loads(line))
        else:
            answers.put(line)
