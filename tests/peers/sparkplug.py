"""Sparkplug B as nobody here wrote it: an edge node and a reader, each a process of npm's.

    edge = EdgeNode(folder, url=broker.url())
    edge.start()
    edge.do("birth", metrics=[{"name": "Motor/Current", "type": "Double", "value": 1.5}])

The options and commands are those of `sparkplug_node/edge.mjs` and `sparkplug_node/reader.mjs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import npm
from tests.peers.driven import Driven


class _Program(Driven):
    """One of the two, at first not running."""

    program: str

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(self.program, folder)
        self.options = options

    def start(self, **options: Any) -> None:
        """Start it, with these options changed; returns when it is connected and subscribed."""
        self.options |= options
        npm.install(npm.SPARKPLUG)
        program = str(npm.SPARKPLUG / f"{self.program}.mjs")
        self.launch([npm.node(), program, json.dumps(self.options)])


class EdgeNode(_Program):
    """sparkplug-client: publishes births, data and deaths, and hears commands."""

    program = "edge"


class Reader(_Program):
    """sparkplug-payload: decodes what is published; its messages are its `events`."""

    program = "reader"

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """Those of one type, such as `DDATA`, in order."""
        return [one for one in self.events if f"/{kind}/" in one["topic"]]


@contextmanager
def edge_node(folder: Path, **options: Any) -> Iterator[EdgeNode]:
    """An edge node for as long as it is needed."""
    edge = EdgeNode(folder, **options)
    try:
        edge.start()
        yield edge
    finally:
        edge.kill()


@contextmanager
def reader(folder: Path, **options: Any) -> Iterator[Reader]:
    """A reader for as long as it is needed."""
    it = Reader(folder, **options)
    try:
        it.start()
        yield it
    finally:
        it.kill()
