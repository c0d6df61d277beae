"""How far listening is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.cli.browse.progress import Progress

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from agent.sources.mqtt.browse import Heard


class Listening(Progress):
    """A bar that fills with the time, and counts topics and messages beside it."""

    def __init__(self, heard: Heard, seconds: float) -> None:
        super().__init__()
        self._heard = heard
        self._seconds = seconds

    def columns(self) -> list[ProgressColumn]:
        """What stands in its line."""
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

        return [
            TextColumn("listening"), BarColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}"),
        ]  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """What has been heard."""
        heard = self._heard
        return {
            "completed": heard.seconds,
            "total": self._seconds,
            "description": f"{len(heard.topics):,} topics, {heard.messages:,} messages; "
            "Ctrl-C for what there is",
        }
