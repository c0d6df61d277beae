"""How far listening is, on stderr and only where that is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import rich.progress

    from agent.sources.mqtt.browse import Heard

PAUSE_S: Final = 0.2
"""Between two drawings."""


class Progress:
    """A bar that fills with the time, and counts topics and messages beside it."""

    def __init__(self, heard: Heard, seconds: float) -> None:
        self._heard = heard
        self._seconds = seconds
        self._bar: rich.progress.Progress | None = None
        self._drawn_s = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("listening"),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._seconds)
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
        """Draw what has been heard since."""
        if self._bar is None or time.monotonic() - self._drawn_s < PAUSE_S:
            return
        self._drawn_s = time.monotonic()
        heard = self._heard
        self._bar.update(
            self._task,
            completed=heard.seconds,
            description=f"{len(heard.topics):,} topics, {heard.messages:,} messages; "
            "Ctrl-C for what there is",
        )
