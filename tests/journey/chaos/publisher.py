"""The machines of the line and their own record of what they sent.

Enters: the passing of time. Leaves: messages `line-1/<machine>/<signal>` over one MQTT connection,
QoS 1, and the record of those that the broker acknowledged. The n-th sample of a series carries a
value that no other one of the series has, so that a stored value names the sample it came from.
While there is no broker, samples are made all the same and wait; they go out later with their own
times. A message without its acknowledgement when the connection breaks is sent again and counted
`in_doubt`, since the broker may then have it twice: stop the broker inside `held()`, and there are
none.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.cloud.server import until

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
STEPS: Final = (1, 3, 2, 7)
"""What a counter counts from one sample to the next, in turn."""

TICK_S: Final = 0.004
ANSWER_S: Final = 5.0
AHEAD_MAX: Final = 500
"""Messages on their way without acknowledgement."""
RECONNECT_S: Final = 0.05

CONNECT: Final = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06plants"
CONNACK: Final = b"\x20\x02\x00\x00"
PUBLISH_QOS_1: Final = 0x32
PUBACK: Final = 0x40
PACKET_IDS: Final = 65_535
SHORT_MAX: Final = 127
"""Longest packet whose length takes one byte; ours are shorter."""


@dataclass(frozen=True)
class Series:
    """One signal of the line and how fast it is sampled."""

    machine: str
    name: str
    kind: str
    hz: int
    raw: bool = False

    @property
    def key(self) -> str:
        return f"{self.machine}/{self.name}"

    @property
    def as_lines(self) -> bool:
        """Whether each of its samples is a line of its own."""
        return self.raw or self.kind == "text"

    def value(self, number: int) -> int:
        """The value of its sample of this number."""
        if self.kind == "counter":
            rounds, rest = divmod(number, len(STEPS))
            return rounds * sum(STEPS) + sum(STEPS[:rest])
        return number

    def payload(self, value: int, time_ns: int) -> bytes:
        said = str(value) if self.kind == "text" else value
        return json.dumps({"v": said, "ts": time_ns // MILLISECOND_NS}).encode()


LINE: Final = (
    Series("mill-01", "force", "analog", 200),
    Series("mill-01", "speed", "analog", 50),
    Series("mill-01", "parts", "counter", 20),
    Series("mill-02", "temperature", "analog", 10),
    Series("mill-02", "current", "analog", 20, raw=True),
    Series("mill-02", "state", "discrete", 10),
    Series("mill-02", "note", "text", 5),
)
"""What runs: 315 samples a second."""


@dataclass
class Track:
    """What the broker has acknowledged of one series, in the order of sending."""

    times_ns: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    def add(self, time_ns: int, value: int) -> None:
        self.times_ns.append(time_ns)
        self.values.append(value)

    def forget(self, times_ns: set[int]) -> None:
        """Take back what the broker acknowledged and then lost."""
        kept = [i for i, time_ns in enumerate(self.times_ns) if time_ns not in times_ns]
        self.times_ns = [self.times_ns[i] for i in kept]
        self.values = [self.values[i] for i in kept]


Record = dict[str, Track]


@dataclass(frozen=True)
class Message:
    """One sample on its way."""

    series: Series
    time_ns: int
    value: int


class Publisher(threading.Thread):
    """Publishes `LINE` to the broker at this port of 127.0.0.1 until `close`."""

    def __init__(self, port: int) -> None:
        super().__init__(name="publisher", daemon=True)
        self.record: Record = {series.key: Track() for series in LINE}
        self.in_doubt = 0
        self._port = port
        self._socket: socket.socket | None = None
        self._waiting: deque[Message] = deque()
        self._ahead: dict[int, Message] = {}
        self._ids = itertools.cycle(range(1, PACKET_IDS + 1))
        self._numbers: Counter[str] = Counter()
        self._due_ns: dict[str, int] = {}
        self._gate = threading.Lock()
        self._making = threading.Event()
        self._sending = threading.Event()
        self._sending.set()
        self._closing = threading.Event()
        self._buffer = b""

    @property
    def sent(self) -> int:
        """How many samples the broker has acknowledged."""
        return sum(len(track.times_ns) for track in self.record.values())

    def produce(self) -> None:
        """Let the machines run from now on."""
        self._due_ns = {}
        self._making.set()

    def rest(self, wait_s: float) -> None:
        """Stop the machines, and wait until all they said is acknowledged."""
        with self._gate:
            self._making.clear()
        until(lambda: not self._waiting and not self._ahead, wait_s)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is on its way to the broker inside."""
        with self._gate:
            self._sending.clear()
        try:
            until(lambda: not self._ahead or self._socket is None, ANSWER_S)
            yield
        finally:
            self._sending.set()

    def close(self) -> None:
        self._closing.set()
        self.join()

    def run(self) -> None:
        while not self._closing.is_set():
            try:
                self._exchange()
            except OSError:
                self._disconnect()
                time.sleep(RECONNECT_S)
        self._disconnect()

    def _make(self, now_ns: int) -> None:
        """All samples that are due, in whole milliseconds, each series evenly."""
        due: list[Message] = []
        for series in LINE:
            every_ns = SECOND_NS // series.hz
            time_ns = self._due_ns.get(series.key, now_ns // MILLISECOND_NS * MILLISECOND_NS)
            while time_ns <= now_ns:
                number = self._numbers[series.key]
                self._numbers[series.key] += 1
                due.append(Message(series, time_ns, series.value(number)))
                time_ns += every_ns
            self._due_ns[series.key] = time_ns
        self._waiting.extend(sorted(due, key=lambda message: message.time_ns))

    def _exchange(self) -> None:
        """Make what is due, send what waits, take the acknowledgements of one tick."""
        with self._gate:
            if self._making.is_set():
                self._make(time.time_ns())
            if self._sending.is_set():
                self._send()
        connection = self._socket
        if connection is None:
            time.sleep(TICK_S)
        elif select.select([connection], [], [], TICK_S)[0]:
            self._take(connection.recv(65_536))

    def _send(self) -> None:
        connection = self._socket or self._connect()
        packets = []
        while self._waiting and len(self._ahead) < AHEAD_MAX:
            number = next(self._ids)
            self._ahead[number] = message = self._waiting.popleft()
            packets.append(_publish(number, message))
        connection.sendall(b"".join(packets))

    def _take(self, received: bytes) -> None:
        if not received:
            raise ConnectionError
        data = self._buffer + received
        whole = len(data) // 4 * 4
        for at in range(0, whole, 4):
            assert data[at] == PUBACK, data[at : at + 4]
            message = self._ahead.pop(int.from_bytes(data[at + 2 : at + 4]))
            self.record[message.series.key].add(message.time_ns, message.value)
        self._buffer = data[whole:]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), ANSWER_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(CONNECT)
        answer = connection.recv(4)
        if answer != CONNACK:
            connection.close()
            raise ConnectionError
        self._socket = connection
        return connection

    def _disconnect(self) -> None:
        """Forget the connection; what it left unanswered goes first on the next one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""
        self.in_doubt += len(self._ahead)
        self._waiting.extendleft(reversed(self._ahead.values()))
        self._ahead.clear()


def _publish(number: int, message: Message) -> bytes:
    """PUBLISH with QoS 1 (MQTT 3.1.1, 3.3)."""
    topic = f"line-1/{message.series.key}".encode()
    body = len(topic).to_bytes(2) + topic + number.to_bytes(2)
    body += message.series.payload(message.value, message.time_ns)
    assert len(body) <= SHORT_MAX
    return bytes([PUBLISH_QOS_1, len(body)]) + body
