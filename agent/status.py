"""The status socket: how the commands ask the running service.

A Unix socket in the data folder, readable by the service's user and group. A client writes one
line of JSON, `{"ask": "status"}`, `{"ask": "config"}`, `{"ask": "rejected"}` or `{"ask": "tail"}`;
the answer is one JSON object, or of a tail one a line until the client hangs up. A client that does
not keep up misses lines and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from agent.errors import SourceRefused

SOCKET_NAME: Final = "andon.sock"
SOCKET_MODE: Final = 0o660
CLIENTS_MAX: Final = 16
EVENTS_MAX: Final = 10_000
"""Events that may wait for one client."""
EVENT_BYTES_MAX: Final = 1_048_576
"""Longest event that a client reads: far more than a text value and its names take."""
ASK_BYTES_MAX: Final = 256
ASK_S: Final = 5.0

Document = dict[str, Any]


class StatusServer:
    """Answers questions about the service; `answers` makes the answer to each."""

    def __init__(self, folder: Path, answers: Mapping[str, Callable[[], Document]]) -> None:
        self._path = folder / SOCKET_NAME
        self._answers = answers
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
            lines = [_line(event) for event in events]
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
            match await _read_ask(reader):
                case str(what) if what in self._answers:
                    answer = self._answers[what]()
                case "tail" if len(self._clients) < CLIENTS_MAX:
                    answer = {}
                case "tail":
                    answer = {"error": f"{CLIENTS_MAX} clients tail already; end one of them"}
                case _:
                    known = " or ".join(_asking(what) for what in (*self._answers, "tail"))
                    answer = {"error": f"ask {known}"}
        if answer:
            writer.write(_line(answer))
            await writer.drain()
        else:
            await self._tail(reader, writer)

    async def _tail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Tail()
        self._clients.add(client)
        tasks = [asyncio.create_task(client.send(writer)), asyncio.create_task(_end(reader))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


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

    async def send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(await self.next())
            await writer.drain()

    async def next(self) -> bytes:
        await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, []
        if self._missed:
            lines.append(_line({"type": "missed", "events": self._missed}))
            self._missed = 0
        return b"".join(lines)


async def _read_ask(reader: asyncio.StreamReader) -> object:
    """What is asked; None where it cannot be read."""
    try:
        asked = json.loads(await reader.readline())
    except ValueError:
        return None
    return asked.get("ask") if isinstance(asked, dict) else None


async def _end(reader: asyncio.StreamReader) -> None:
    """Wait until the client hangs up; what it still says is not for us."""
    while await reader.read(ASK_BYTES_MAX):
        pass


def _asking(what: str) -> str:
    return json.dumps({"ask": what})


def _line(document: Document) -> bytes:
    return json.dumps(document).encode() + b"\n"


def ask_status(folder: Path) -> Document:
    """The running service's status. Raises OSError where none runs or it does not answer."""
    return ask(folder, "status")


def ask(folder: Path, what: str) -> Document:
    """The running service's answer. Raises OSError as above, ValueError where it breaks off."""
    with _asked(folder, what) as answer:
        document: Document = json.loads(answer.readline())
    return document


def tail(folder: Path) -> Iterator[Document]:
    """What the running service makes and rejects, until it stops.

    Raises OSError where none runs, SourceRefused where too many tail already.
    """
    with _asked(folder, "tail") as answer:
        while line := answer.readline(EVENT_BYTES_MAX):
            yield _accepted(json.loads(line))


def rejected(folder: Path, newest: int = 0) -> Iterator[Document]:
    """The payloads that the running service rejected, oldest first, until it stops.

    First those that it keeps, or the `newest` of them; then, of type `counts`, how many it rejected
    by source and cause; then those that come, and how many were missed. Raises OSError and
    SourceRefused as `tail` does.
    """
    with _asked(folder, "tail") as answer:  # asked for first, so that none falls in between
        kept = _accepted(ask(folder, "rejected"))
        told = {_identity(one) for one in kept["rejected"]}
        yield from kept["rejected"][-newest:]
        yield {"type": "counts", "counts": kept["counts"]}
        while line := answer.readline(EVENT_BYTES_MAX):
            event = _accepted(json.loads(line))
            is_new = event["type"] == "rejected" and _identity(event) not in told
            if is_new or event["type"] == "missed":
                yield event


def _identity(rejected: Document) -> tuple[str, int, int]:
    return rejected["source"], rejected["number"], rejected["time_ns"]


def _accepted(document: Document) -> Document:
    """An answer that is none of an error. Raises SourceRefused."""
    if "error" in document:
        raise SourceRefused(f"the service refuses: {document['error']}")
    return document


@contextlib.contextmanager
def _asked(folder: Path, what: str) -> Iterator[BinaryIO]:
    """The answer's lines. Only a tail may pause for as long as it likes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ASK_S)
        connection.connect(str(folder / SOCKET_NAME))
        connection.sendall(_asking(what).encode() + b"\n")
        if what == "tail":
            connection.settimeout(None)
        with connection.makefile("rb") as answer:
            yield answer
