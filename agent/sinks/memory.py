"""A far side in memory, for tests: it takes packets and can be told to fail."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from agent.errors import SinkRejected
from agent.lines import Packet

PACKETS_MAX = 100_000


class MemorySink:
    """Takes packets into `packets`; see `agent.sinks.Sink`.

    failures : errors that the next sends raise, one each
    rejects : of a line, whether this far side rejects it; then nothing of the packet is taken
    lines_max : more lines than this are too large
    """

    def __init__(
        self,
        name: str = "cloud",
        *,
        rejects: Callable[[bytes], bool] = lambda line: False,
        lines_max: int = 1_000_000,
    ) -> None:
        self._name = name
        self.rejects = rejects
        self.lines_max = lines_max
        self.failures: deque[Exception] = deque()
        self.packets: deque[Packet] = deque(maxlen=PACKETS_MAX)
        self.attempts = 0
        self.closed = False
        self._arrived = threading.Condition()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    @property
    def lines(self) -> list[bytes]:
        """All lines taken, in order, each with its newline."""
        with self._arrived:
            return [line for packet in self.packets for line in split(packet)]

    def send(self, packet: Packet) -> None:
        """Take the packet, or fail as told."""
        with self._arrived:
            self.attempts += 1
            self._arrived.notify_all()
            if self.failures:
                raise self.failures.popleft()
            if len(packet) > self.lines_max:
                raise SinkRejected(f"{len(packet)} lines are too many", too_large=True)
            if any(self.rejects(line) for line in split(packet)):
                raise SinkRejected("a line is wrong")
            self.packets.append(packet)

    def wait_until(self, condition: Callable[[MemorySink], bool], timeout_s: float = 5.0) -> bool:
        """Wait until something that a send changes is so."""
        with self._arrived:
            return self._arrived.wait_for(lambda: condition(self), timeout_s)

    def close(self) -> None:
        """Note that it was let go of."""
        self.closed = True


def split(packet: Packet) -> list[bytes]:
    """The lines of a packet, each with its newline."""
    return [packet.part(i, i + 1).body for i in range(len(packet))]
