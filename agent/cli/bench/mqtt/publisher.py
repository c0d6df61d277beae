"""Publishes as fast as the broker takes it: `python -m agent.cli.bench.mqtt.publisher`.

Enters: the broker's port, what to send, and the file of `Counts`. Leaves: nothing; it sends from
when the client has begun until its stdin is closed, never more than `AHEAD_MAX` samples ahead of
what the client has. Fails: OSError when the broker goes away.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.cli.bench.counts import Counts
from agent.cli.bench.mqtt import messages
from agent.cli.bench.mqtt.messages import Block

AHEAD_MAX: Final = {"values": 20_000, "metrics": 500_000}
"""Samples on the way at once: enough for a client that gathers, less than the broker drops."""
LOOK_S: Final = 0.0005
BEGIN_LOOK_S: Final = 0.02
ANSWERS_BYTES: Final = 1 << 16


class Sender:
    """One connection to the broker, and what is left to send of a block."""

    def __init__(self, port: int, name: str, blocks: Iterator[Block]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(messages.connect(name))
        if self.socket.recv(4) != b"\x20\2\0\0":  # CONNACK, accepted
            raise ConnectionRefusedError("the broker refuses the publisher")
        self.socket.setblocking(False)
        self._blocks = blocks
        self._left = memoryview(b"")
        self._number = 0

    def send(self) -> int:
        """Send on; how many samples have gone with the end of a block."""
        if not self._left:
            block = next(self._blocks)
            self._left, self._number = block.at(time.time_ns() // 1_000_000), block.number
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            return 0
        return 0 if self._left else self._number

    def read_answers(self) -> None:
        """Take the broker's acknowledgements away."""
        if not self.socket.recv(ANSWERS_BYTES):
            raise ConnectionResetError("the broker has gone")


def run(port: int, what: str, qos: int, connections: int, counts: Counts) -> None:
    """Send until stdin is closed."""
    senders = [
        Sender(
            port, f"publisher-{part}",
            messages.metrics() if what == "metrics" else messages.values(qos, part, connections),
        )
        for part in range(connections)
    ]  # fmt: skip
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while not counts.begun:
            if waiting.select(BEGIN_LOOK_S):
                return
        for sender in senders:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            waiting.register(sender.socket, both, sender)
        while all(_serve(key.data, events, counts, what) for key, events in waiting.select()):
            if _is_ahead(counts, what):
                time.sleep(LOOK_S)


def _serve(sender: Sender | None, events: int, counts: Counts, what: str) -> bool:
    """Do what a connection is ready for; False where it is not one, but stdin."""
    if sender is not None and events & selectors.EVENT_READ:
        sender.read_answers()
    if sender is not None and events & selectors.EVENT_WRITE and not _is_ahead(counts, what):
        counts.sent += sender.send()
    return sender is not None


def _is_ahead(counts: Counts, what: str) -> bool:
    return counts.sent - counts.taken > AHEAD_MAX[what]


if __name__ == "__main__":
    port, what, qos, connections, file = sys.argv[1:]
    run(int(port), what, int(qos), int(connections), Counts(Path(file)))
