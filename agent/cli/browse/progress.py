"""The progress of what takes a while, on stderr and only where that is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, TaskID

PAUSE_S: Final = 0.2
"""Between two drawings; counting what there is may take a while, too."""


class Progress:
    """A bar; a subclass says of which columns, and what it shows (as of rich's `update`)."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID
        self._drawn_s = 0.0

    def columns(self) -> list[ProgressColumn]:
        """What stands in its line; asked for only where it is drawn."""
        raise NotImplementedError

    def shown(self) -> dict[str, Any]:
        """How far it is."""
        raise NotImplementedError

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(*self.columns(), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None)
            self._bar.update(self._task, **self.shown())
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
        self._bar.update(self._task, **self.shown())
