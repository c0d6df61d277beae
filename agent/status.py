"""The status socket: how the commands ask the running service.

A Unix socket in the data folder, readable by the service's user and group. A client writes one
line of JSON, `{"ask": "status"}` or `{"ask": "tail"}`; the answer is one JSON object, or one a
line until the client hangs up. A client that does not keep up misses lines and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

SOCKET_NAME: Final = "andon.sock"
SOCKET_MODE: Final = 0o660
CLIENTS_MAX: Final = 16
EVENTS_MAX: Final = 10_000
"""Events that may wait for one client."""
ASK_BYTES_MAX: Final = 4_096
ASK_S: Final = 5.0

Document = dict[str, Any]


class StatusServer:
    """Answers questions about the service. `status` makes the answer to "status"."""

    def __init__(self, folder: Path, status: Callable[[], Document]) -> None:
        self._path = folder / SOCKET_NAME
        self._status = status
        self._clients: set[_Tail] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody tails."""
        return bool(self._clients)

    async def start(self) -> None:
        """Listen; a socket that a crash left behind is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=ASK_BYTES_MAX)
        self._path.chmod(SOCKET_MODE)

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def publish(self, events: Iterable[Document]) -> None:
        """Send these to everybody who tails."""
        if self._clients:
            lines = [json.dumps(event).encode() + b"\n" for event in events]
            for client in self._clients:
                client.offer(lines)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            pass  # the client went away, asked nonsense, or the service stops
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(ASK_S):
            asked = json.loads(await reader.readline())
        match asked.get("ask") if isinstance(asked, dict) else None:
            case "status":
                writer.write(json.dumps(self._status()).encode() + b"\n")
                await writer.drain()
            case "tail" if len(self._clients) < CLIENTS_MAX:
                await self._tail(writer)
            case _:
                writer.write(b'{"error": "ask for status or tail; at most 16 may tail"}\n')
                await writer.drain()

    async def _tail(self, writer: asyncio.StreamWriter) -> None:
        client = _Tail()
        self._clients.add(client)
        try:
            while True:
                writer.write(await client.next())
                await writer.drain()
        finally:
            self._clients.discard(client)


class _Tail:
    """What waits for one client."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._missed = 0
        self._news = asyncio.Event()

    def offer(self, lines: list[bytes]) -> None:
        room = EVENTS_MAX - len(self._lines)
        self._lines += lines[:room]
        self._missed += max(0, len(lines) - room)
        self._news.set()

    async def next(self) -> bytes:
        await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, []
        if self._missed:
            lines.append(json.dumps({"type": "missed", "events": self._missed}).encode() + b"\n")
            self._missed = 0
        return b"".join(lines)


async def ask_status(folder: Path) -> Document:
    """The running service's status. Raises OSError where none runs."""
    async with asyncio.timeout(ASK_S):
        reader, writer = await _ask(folder, "status")
        try:
            answer: Document = json.loads(await reader.read())
        finally:
            writer.close()
    return answer


async def tail(folder: Path) -> AsyncIterator[Document]:
    """What the running service makes, until it stops. Raises OSError where none runs."""
    reader, writer = await _ask(folder, "tail")
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        writer.close()


async def _ask(folder: Path, what: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(folder / SOCKET_NAME)
    writer.write(json.dumps({"ask": what}).encode() + b"\n")
    await writer.drain()
    return reader, writer
