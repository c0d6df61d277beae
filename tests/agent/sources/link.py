"""A connection between a source and its far side that can be cut, or made deaf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Link:
    """Passes on between its own `port` and that of a far side.

    deaf : what the source says is swallowed
    """

    def __init__(self, far_port: int) -> None:
        self.port = 0
        self.deaf = False
        self._far_port = far_port
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End what is connected; new connections are let through, and heard."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self.deaf = False

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        self._writers += (writer, far_writer)
        await asyncio.gather(
            self._pump(reader, far_writer, hears=True), self._pump(far_reader, writer, hears=False)
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hears: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if not (hears and self.deaf):
                    writer.write(data)
        writer.close()


@asynccontextmanager
async def linked(far_port: int) -> AsyncIterator[Link]:
    link = Link(far_port)
    await link.open()
    try:
        yield link
    finally:
        link.close()
