"""Rebirth requests: whom to ask for a new birth, and when, so that no storm comes of it.

Each node is asked at most once in `every_ns`, and one node at a time, `APART_NS` apart: after an
outage all nodes are asked, and a birth is the largest message they have.
"""

from __future__ import annotations

from typing import Final

from agent.sources.mqtt.sparkplug.nodes import Node

APART_NS: Final = 100_000_000


class Rebirths:
    """Nodes that wait to be asked."""

    def __init__(self, every_ns: int) -> None:
        self.every_ns = every_ns
        self._waiting: dict[Node, int] = {}
        self._next_ns = 0

    def want(self, node: Node, at_ns: int) -> None:
        """Ask it at `at_ns`, or later if it was asked not long ago."""
        asked_ns = min(node.asked_ns, at_ns)  # even where the clock was set back
        self._waiting.setdefault(node, max(at_ns, asked_ns + self.every_ns))

    def cancel(self, node: Node) -> None:
        """It needs not be asked: it was born, or it is dead."""
        self._waiting.pop(node, None)

    def clear(self) -> None:
        """Nobody needs to be asked."""
        self._waiting.clear()

    def due(self, now_ns: int) -> Node | None:
        """The node to ask now, if there is one; the caller does."""
        if now_ns < self._next_ns <= now_ns + APART_NS:
            return None
        for node, at_ns in self._waiting.items():
            if at_ns <= now_ns:
                del self._waiting[node]
                node.asked_ns = now_ns
                self._next_ns = now_ns + APART_NS
                return node
        return None
