"""The progress of a long walk, on stderr and only where that is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import rich.progress

    from agent.sources.opcua.browse import AddressSpace, Bounds

PAUSE_S: Final = 0.2
"""Between two drawings; counting a large address space takes a while."""


class Progress:
    """A bar that fills with the nodes that are browsed and then with those that are read.

    How many there are is not known before the end: the whole grows while the walk goes on.
    """

    def __init__(self, space: AddressSpace, bounds: Bounds) -> None:
        self._space = space
        self._bounds = bounds
        self._bar: rich.progress.Progress | None = None
        self._drawn_s = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("nodes", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self) -> None:
        """Draw what has been done since."""
        if self._bar is None or time.monotonic() - self._drawn_s < PAUSE_S:
            return
        self._drawn_s = time.monotonic()
        found = self._space.counts(self._bounds.depth_max)
        if found.pending:
            self._bar.update(
                self._task, description="nodes", completed=found.browsed, total=found.nodes
            )
        else:
            self._bar.update(
                self._task, description="variables", completed=found.read, total=found.variables
            )
