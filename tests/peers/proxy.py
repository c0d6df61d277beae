"""A TCP connection's way through a network that can fail.

A `Proxy` takes connections at `port` and hands the same bytes to another port of this machine,
both ways, unless it is

    cut      connections end (FIN), and new ones do
    reset    connections break off (RST), and new ones do
    hole     nothing arrives any more and nobody is told; new connections hang. What was swallowed
             is gone: when it ends, its connections stay dead, as after a firewall that restarted
    stall    the same, but when it ends, all that was on its way does arrive
    deaf     what clients say is swallowed; they hear everything
    drip     `drip_bytes` arrive every `drip_s` in each direction
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["whole", "cut", "reset", "hole", "stall", "deaf", "drip"]

PIECE_BYTES: Final = 65_536
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""With this, to close is to reset."""


@dataclass(eq=False, slots=True)
class _Way:
    """One direction of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    from_client: bool
    is_dead: bool = False


class Proxy:
    """One way through to `far_port`, at first whole; opened and used on one event loop."""

    def __init__(self, far_port: int, *, drip_bytes: int = 1_000, drip_s: float = 0.05) -> None:
        self.port = 0
        self.state: State = "whole"
        self.connections = 0
        """How many were let through so far."""
        self.drip_bytes = drip_bytes
        self.drip_s = drip_s
        self._far_port = far_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._moves = asyncio.Event()
        self._moves.set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def become(self, state: State) -> None:
        """Change it, at once."""
        self.state = state
        if state in ("hole", "stall"):
            self._moves.clear()
        else:
            self._moves.set()
        if state in ("cut", "reset"):
            self._end_all()

    def break_off(self, how: Literal["cut", "reset"] = "cut") -> None:
        """End what is connected; new connections are let through, and heard."""
        self.become(how)
        self.become("whole")

    async def close(self) -> None:
        """Nobody is here any more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_all(self) -> None:
        for writer in tuple(self._writers):
            self._end(writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self.state == "reset":
            peer: socket.socket = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._moves.wait()
            if self.state in ("cut", "reset"):
                self._end(writer)
            else:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens at the far end, one end has gone, or all of it is closed
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        self._writers.add(far_writer)
        self.connections += 1
        there = _Way(reader, far_writer, from_client=True)
        back = _Way(far_reader, writer, from_client=False)
        try:
            await asyncio.gather(self._pass(there), self._pass(back))
        finally:
            self._writers.discard(far_writer)
            far_writer.close()

    async def _pass(self, way: _Way) -> None:
        while piece := await way.reader.read(PIECE_BYTES):
            if self._swallows(way):
                continue
            if self.state == "stall":
                await self._moves.wait()
            await self._hand_on(way, piece)
        if self._swallows(way):
            await asyncio.Event().wait()  # the end of it is not heard of either
        with contextlib.suppress(OSError):
            way.writer.write_eof()

    def _swallows(self, way: _Way) -> bool:
        """Whether what came is lost; a connection that lost a byte cannot go on."""
        if self.state == "hole" or (self.state == "deaf" and way.from_client):
            way.is_dead = True
        return way.is_dead

    async def _hand_on(self, way: _Way, piece: bytes) -> None:
        start = 0
        while start < len(piece):
            size = len(piece)
            if self.state == "drip":
                size = self.drip_bytes
                await asyncio.sleep(self.drip_s)
            if self._swallows(way):
                return
            way.writer.write(piece[start : start + size])
            await way.writer.drain()
            start += size


@asynccontextmanager
async def proxied(far_port: int) -> AsyncIterator[Proxy]:
    """A way through to `far_port`, for as long as it is needed."""
    proxy = Proxy(far_port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
