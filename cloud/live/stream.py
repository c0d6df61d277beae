"""Server-sent events: what changed on the board, as it changes.

Enters: events of committed writes (`publish`, in the event loop). Leaves: `text/event-stream` to
each consumer. Fails: `Refusal` 503 beyond `consumers_max`.

Every message has a rising id, `<start>-<number>`, where `start` marks this run of the server. The
newest `ring_messages_max` messages (`ring_bytes_max` bytes) are kept: a consumer that comes back
with `Last-Event-ID` gets those it missed, or `event: missed` when they are gone. The same is told
to a consumer that reads so slowly that `consumer_messages_max` messages wait for it; its queue
starts afresh. After `missed`, read `/v1/board` again.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable

from cloud.errors import Refusal
from cloud.live.shape import encode
from cloud.live.snapshot import Event
from cloud.settings import Settings

RETRY_MS = 1_000
HEARTBEAT = b": heartbeat\n\n"

Message = tuple[int, bytes]


class Consumer:
    """One reader and the messages that wait for it."""

    def __init__(self, waiting: Iterable[bytes], messages_max: int, heartbeat_s: float) -> None:
        self._waiting: deque[bytes] = deque(waiting)
        self._messages_max = messages_max
        self._heartbeat_s = heartbeat_s
        self._wake = asyncio.Event()
        self._ended = False

    def put(self, message: bytes, missed: bytes) -> None:
        """Add one message; a queue that is full starts afresh with `missed` in its place."""
        if len(self._waiting) >= self._messages_max:
            self._waiting.clear()
            message = missed
        self._waiting.append(message)
        self._wake.set()

    def end(self) -> None:
        """Let the reader finish after what waits."""
        self._ended = True
        self._wake.set()

    async def read(self) -> AsyncIterator[bytes]:
        """Chunks to send, with heartbeats in quiet times."""
        yield b"retry: %d\n\n" % RETRY_MS
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._ended:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._wake.wait()
            except TimeoutError:
                yield HEARTBEAT


class Hub:
    """Hands every message to every consumer; belongs to the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._start = f"{time.time_ns():x}"
        self._last = 0
        self._ring: deque[Message] = deque()
        self._ring_bytes = 0
        self._consumers: set[Consumer] = set()
        self._closed = False

    def publish(self, events: list[Event]) -> None:
        """Send events to everybody."""
        for event in events:
            self._last += 1
            message = b"event: %s\nid: %s\ndata: %s\n\n" % (
                event.name.encode(),
                self._id(self._last),
                encode(event.data),
            )
            self._keep(message)
            for consumer in self._consumers:
                consumer.put(message, self.missed())

    def join(self, last_event_id: str | None) -> Consumer:
        """A new consumer, resumed after `last_event_id`.

        Raises
        ------
        Refusal : 503, `consumers_max` are reading already or the server is stopping.

        """
        if self._closed or len(self._consumers) >= self._settings.consumers_max:
            raise Refusal(503, "unavailable", "no more stream consumers now", {"Retry-After": "5"})
        limits = self._settings
        consumer = Consumer(
            self._since(last_event_id), limits.consumer_messages_max, limits.heartbeat_s
        )
        self._consumers.add(consumer)
        return consumer

    def leave(self, consumer: Consumer) -> None:
        """Forget a consumer."""
        self._consumers.discard(consumer)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closed = True
        for consumer in self._consumers:
            consumer.end()

    def missed(self) -> bytes:
        """The message that tells a consumer to read the board again."""
        return b"event: missed\nid: %s\ndata: {}\n\n" % self._id(self._last)

    def _id(self, number: int) -> bytes:
        return f"{self._start}-{number}".encode()

    def _keep(self, message: bytes) -> None:
        self._ring.append((self._last, message))
        self._ring_bytes += len(message)
        limits = self._settings
        while (
            len(self._ring) > limits.ring_messages_max or self._ring_bytes > limits.ring_bytes_max
        ):
            self._ring_bytes -= len(self._ring.popleft()[1])

    def _since(self, last_event_id: str | None) -> list[bytes]:
        if not last_event_id:
            return []
        start, _, number = last_event_id.rpartition("-")
        first = self._ring[0][0] if self._ring else self._last + 1
        if start != self._start or not number.isdecimal() or len(number) > 20:
            return [self.missed()]
        last = int(number)
        if not first - 1 <= last <= self._last:
            return [self.missed()]
        missing = [message for at, message in self._ring if at > last]
        return missing if len(missing) <= self._settings.consumer_messages_max else [self.missed()]
