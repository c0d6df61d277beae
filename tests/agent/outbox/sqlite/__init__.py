"""Tests of `agent/outbox/sqlite`."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.outbox.sqlite import SqliteOutbox, open_outbox


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance that repeats


class Gateway:
    """A folder with an outbox file that is opened again and again, as by one agent after another.

    A power failure is another folder, with a copy of the files as they are.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        self._options = options
        self._lives = 0
        self._opened: list[SqliteOutbox] = []
        self.path = folder / "0" / "outbox.db"
        self.path.parent.mkdir()

    def __call__(
        self, sinks: Sequence[str], *, crash: bool = False, **options: Any
    ) -> SqliteOutbox:
        if crash:
            self._lives += 1
            after = self._folder / str(self._lives) / "outbox.db"
            copy(self.path, after)
            self.path = after
        elif self._opened:
            self._opened[-1].close()
        outbox = open_outbox(self.path, sinks, **(self._options | options))
        self._opened.append(outbox)
        return outbox

    def close(self) -> None:
        for outbox in self._opened:
            outbox.close()


def copy(path: Path, target: Path) -> None:
    """The outbox file and its log as they are now, without what only a running system has."""
    target.parent.mkdir(exist_ok=True)
    for suffix in ("", "-wal"):
        if path.with_name(path.name + suffix).exists():
            shutil.copy(path.with_name(path.name + suffix), target.with_name(target.name + suffix))
