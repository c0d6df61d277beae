"""How far a long walk is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.cli.browse.progress import Progress

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from agent.sources.opcua.browse import AddressSpace, Bounds


class Walking(Progress):
    """A bar that fills with the nodes that are browsed and then with those that are read.

    How many there are is not known before the end: the whole grows while the walk goes on.
    """

    def __init__(self, space: AddressSpace, bounds: Bounds) -> None:
        super().__init__()
        self._space = space
        self._bounds = bounds

    def columns(self) -> list[ProgressColumn]:
        """What stands in its line."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

        return [
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(),
        ]  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """What has been browsed, or read."""
        found = self._space.counts(self._bounds.depth_max)
        if found.pending:
            return {"description": "nodes", "completed": found.browsed, "total": found.nodes}
        return {"description": "variables", "completed": found.read, "total": found.variables}
