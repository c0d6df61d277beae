"""An OPC UA server that can saturate any client: `python -m agent.cli.bench.opcua.server`.

Enters: how many notifications a message carries, and how many a second are sent; 0 is as many as
the client asks for. Leaves: a server on a free port of this machine for each size of message; their
URLs are one line on stdout.
Security None, one session a connection, anonymous. It ends when its stdin does, as when the process
that started it is gone. Fails: with AndonError where its bytes are not asyncua's; a client that
breaks the protocol loses its connection.

At a fixed rate, what is owed to a client that does not ask for it is kept for `OWED_S_MAX`; then it
is lost, as in any server's queue.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary, struct_to_binary

from agent.cli.bench.opcua import messages
from agent.cli.bench.opcua.channel import Channel, Refused
from agent.cli.bench.opcua.services import Services, fault
from agent.cli.bench.opcua.subscription import Subscription

TICK_S: Final = 0.005
PUBLISH_REQUESTS_MAX: Final = 100
OWED_S_MAX: Final = 1.0
SEQUENCE_MAX: Final = 2**32 - 1

_AFTER_TOKEN: Final = struct.Struct("<qIIiI3si")
"""Time, handle, diagnostics, no audit entry, timeout, no more; number of acknowledgements."""
_PUBLISH_TYPE: Final = b"\x01\x00" + struct.pack("<H", 826)

_numbers = itertools.count(1)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, per_message: int, rate_hz: float) -> None:
        self._per_message = per_message
        self._rate_hz = rate_hz
        self._channel = Channel(next(_numbers))
        self._out: list[bytes] = []
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._turn = 0
        self._owed = 0.0 if rate_hz < math.inf else math.inf
        self._ticked_s = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = transport.get_extra_info("sockname")[:2]
        self._services = Services(f"opc.tcp://{host}:{port}", self._per_message)
        self._publish_start = _PUBLISH_TYPE + nodeid_to_binary(self._services.token)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer."""
        try:
            for request, body in self._channel.feed(data):
                self._take(request, body)
        except Refused as error:
            sys.stderr.write(f"bench server: closes a connection: {error}\n")
            self._transport.close()
        self._flush()

    def _take(self, request: int, body: bytes) -> None:
        if body.startswith(self._publish_start):
            self._publish(request, *self._asked(body))
        elif request:
            self._out.append(self._channel.frames(request, self._services.answer(body)))
        elif body.startswith(ua.MessageType.SecureClose):
            self._transport.close()
        else:
            self._out.append(self._channel.greet(body))

    def _asked(self, body: bytes) -> tuple[int, int]:
        """Handle and number of acknowledgements of a PublishRequest."""
        _, handle, _, audit, _, more, acks = _AFTER_TOKEN.unpack_from(
            body, len(self._publish_start)
        )
        if audit == -1 and more == b"\0\0\0":  # as all clients here send it
            return handle, max(0, acks)
        request = struct_from_binary(ua.PublishRequest, Buffer(body))
        acks = len(request.Parameters.SubscriptionAcknowledgements)
        return request.RequestHeader.RequestHandle, acks

    def _flush(self) -> None:
        """What there is to say, in one write."""
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _publish(self, request: int, handle: int, acks: int) -> None:
        if not self._services.subscriptions:
            self._fail(request, handle, ua.StatusCodes.BadNoSubscription)
            return
        if len(self._waiting) >= PUBLISH_REQUESTS_MAX:
            oldest, of_oldest, _ = self._waiting.popleft()
            self._fail(oldest, of_oldest, ua.StatusCodes.BadTooManyPublishRequests)
        self._waiting.append((request, handle, acks))
        self._serve()

    def _fail(self, request: int, handle: int, code: int) -> None:
        response = fault(code)
        response.ResponseHeader.RequestHandle = handle
        self._out.append(self._channel.frames(request, struct_to_binary(response)))

    def _tick(self) -> None:
        """What became due with time: notifications at a fixed rate, keep-alives."""
        now_s = time.monotonic()
        if self._rate_hz < math.inf:
            due = self._rate_hz * (now_s - self._ticked_s)
            self._owed = min(self._owed + due, self._rate_hz * OWED_S_MAX)
        self._ticked_s = now_s
        self._serve()
        self._flush()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _serve(self) -> None:
        """Answer waiting requests for as long as there is something to say."""
        now_s = time.monotonic()
        while self._waiting and (turn := self._turn_of(now_s)) is not None:
            subscription, message = turn
            request, handle, acks = self._waiting.popleft()
            now = messages.ticks(time.time_ns())
            said = (handle, subscription.number, subscription.sequence, now, acks)
            if message is None:
                body = messages.keep_alive(*said)
            else:
                body = message.body(*said)
                self._owed -= len(message)
                subscription.sequence = subscription.sequence % SEQUENCE_MAX + 1
            subscription.sent_s = now_s
            self._out.append(self._channel.frames(request, body))

    def _turn_of(self, now_s: float) -> tuple[Subscription, messages.Message | None] | None:
        """Who speaks next, in turn, and what; no message is a keep-alive."""
        subscriptions = list(self._services.subscriptions.values())
        for _ in subscriptions:
            self._turn = (self._turn + 1) % len(subscriptions)
            subscription = subscriptions[self._turn]
            message = subscription.next() if self._owed > 0 else None
            if message is not None or now_s - subscription.sent_s >= subscription.keep_alive_s:
                return subscription, message
        return None


async def listen(per_message: int, rate_hz: float) -> tuple[asyncio.Server, str]:
    """A server and its URL; `rate_hz` 0 is as fast as clients ask."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(per_message, rate_hz or math.inf), "127.0.0.1", 0
    )
    return server, f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _run(sizes: Sequence[int], rate_hz: float) -> None:
    urls = [(await listen(per_message, rate_hz))[1] for per_message in sizes]
    sys.stdout.write(f"{' '.join(urls)}\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate-hz", type=float, default=0)
    parser.add_argument("per_message", type=int, nargs="+")
    arguments = parser.parse_args()
    for size in arguments.per_message:
        messages.check(size)
    asyncio.run(_run(arguments.per_message, arguments.rate_hz))
