"""Networks between the processes, and what answers in the cloud's place.

A `Link` takes TCP connections at `port` and hands the same bytes to `target`, unless it is

    cut      connections break off, and new ones do
    hole     nothing arrives any more, nobody is told; when it ends, what was on its way does arrive
    slow     each piece takes 41 ms, as with Nagle's algorithm against delayed acknowledgements

A `Front` takes HTTP requests and gives the cloud's own answers, unless trouble was asked for; then
the next write requests get it instead. 400 and 413 are given to packets of several lines only: a
single line that is refused is a dead letter by right, and no loss of ours.

    400 401 413 429 503    answered before the cloud sees the request; 429 says Retry-After: 1
    garbage                answered with something that is not HTTP
    slow                   handed on after longer than the agent waits for an answer
    unheard                handed on, but the cloud's answer is lost on the way back
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, Literal, TypeVar

from tests.peers import proxy
from tests.peers.proxy import PIECE_BYTES, Proxy

State = Literal["whole", "cut", "hole", "slow"]

STATES: Final[dict[State, proxy.State]] = {
    "whole": "whole", "cut": "cut", "hole": "stall", "slow": "drip",
}  # fmt: skip
DELAY_S: Final = 0.041
ANSWER_S: Final = 10.0

HEAD_BYTES_MAX: Final = 65_536
SLOW_S: Final = 2.0
"""The agent waits `timeout_s` = 1.5 in gateway.toml."""
SEVERAL_LINES_ONLY: Final = {"400", "413"}
REASONS: Final = {
    "400": "Bad Request",
    "401": "Unauthorized",
    "413": "Content Too Large",
    "429": "Too Many Requests\r\nRetry-After: 1",
    "503": "Service Unavailable",
}
TROUBLES: Final = (*REASONS, "garbage", "slow", "unheard")
GARBAGE: Final = b"\x16\x03\x01 what is this \xff\xfe\r\n\r\n"

T = TypeVar("T")


class Network:
    """The event loop that links live on, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(ANSWER_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


class Link:
    """One link from `port` to another port of this machine, at first whole."""

    def __init__(self, network: Network, target: int) -> None:
        self._network = network
        self._proxy = Proxy(target, drip_bytes=PIECE_BYTES, drip_s=DELAY_S)
        network.run(self._proxy.open())
        self.port = self._proxy.port

    def become(self, state: State) -> None:
        """Change it, at once."""
        self._network.run(self._become(state))

    async def _become(self, state: State) -> None:
        self._proxy.become(STATES[state])


class Front:
    """An HTTP server at `port` in front of the one at `target`."""

    def __init__(self, network: Network, target: int) -> None:
        self.given = 0
        """How many requests got trouble."""
        self._troubles: deque[str] = deque()
        self._target = target
        serve = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.port = int(network.run(serve).sockets[0].getsockname()[1])

    def trouble(self, kind: str, count: int) -> None:
        """Give the next `count` write requests this trouble."""
        self._troubles.extend([kind] * count)

    def calm(self) -> None:
        """No more trouble."""
        self._troubles.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                answer = await self._answer(head, body)
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the agent hung up, or the cloud does not answer: then nobody does
        finally:
            writer.transport.abort()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        trouble = self._next(head)
        if trouble in REASONS:
            status = f"HTTP/1.1 {trouble} {REASONS[trouble]}\r\n"
            said = b'{"code": "chaos", "message": "the front of the cloud says so"}'
            return f"{status}Content-Length: {len(said)}\r\n\r\n".encode() + said
        if trouble == "garbage":
            return GARBAGE
        if trouble == "slow":
            await asyncio.sleep(SLOW_S)
        answer = await self._ask(head, body)
        if trouble == "unheard":
            raise ConnectionError
        return answer

    def _next(self, head: bytes) -> str:
        if not self._troubles or not head.startswith(b"POST"):
            return ""
        lines = re.search(rb"x-andon-lines: *(\d+)-(\d+)\r", head, re.IGNORECASE)
        single = lines is not None and lines[1] == lines[2]
        if single and self._troubles[0] in SEVERAL_LINES_ONLY:
            return ""
        self.given += 1
        return self._troubles.popleft()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """The cloud's answer, over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            writer.write(head + body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            return answer + await reader.readexactly(_length(answer))
        finally:
            writer.transport.abort()


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0
