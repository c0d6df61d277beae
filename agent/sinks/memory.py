"""A far side in memory, for tests: it takes packets and can be told to fail."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from agent.errors import SinkRejected
from agent.lines import Packet

PACKETS_MAX = 100_000
LINES_MAX = 1_000_000


class MemorySink:
    """Takes packets into `packets`; see `agent.sinks.Sink`.

    failures : errors that the next sends raise, one each
    rejects : of a line, whether this far side rejects it; then nothing of the packet is taken
    names : it names the lines it rejects, and takes the others
    holds : of a line, whether this far side can hold it; those it cannot are left out
    lines_max, line_bytes_max : more lines than this, or a line longer than this, are too large
    """

    def __init__(
        self,
        name: str = "cloud",
        *,
        rejects: Callable[[bytes], bool] = lambda line: False,
        names: bool = False,
        holds: Callable[[bytes], bool] = lambda line: True,
        lines_max: int = 1_000_000,
        line_bytes_max: int = 1_000_000,
    ) -> None:
        self._name = name
        self.rejects = rejects
        self.names = names
        self.holds = holds
        self.line_bytes_max = line_bytes_max
        self.lines_max = lines_max
        self.failures: deque[Exception] = deque()
        self.packets: deque[Packet] = deque(maxlen=PACKETS_MAX)
        self._lines: deque[bytes] = deque(maxlen=LINES_MAX)
        self.attempts = 0
        self.closed = False
        self._arrived = threading.Condition()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    @property
    def flavour(self) -> str:
        """Which kind of server it is."""
        return "memory"

    @property
    def lines(self) -> list[bytes]:
        """All lines taken, in order, each with its newline."""
        with self._arrived:
            return list(self._lines)

    def send(self, packet: Packet) -> int:
        """Take the packet, or fail as told."""
        with self._arrived:
            self.attempts += 1
            self._arrived.notify_all()
            if self.failures:
                raise self.failures.popleft()
            lines = split(packet)
            if len(lines) > self.lines_max or max(map(len, lines)) > self.line_bytes_max:
                raise SinkRejected("it is too large", too_large=True)
            wrong = {i: "a line is wrong" for i, line in enumerate(lines) if self.rejects(line)}
            if wrong and not self.names:
                raise SinkRejected("a line is wrong")
            held = [line for i, line in enumerate(lines) if i not in wrong and self.holds(line)]
            if held:
                self.packets.append(packet)
                self._lines += held
            if wrong:
                raise SinkRejected("some lines are wrong", lines=wrong)
            return len(lines) - len(held)

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
