"""What the reading thread hands to the event loop: whole PUBLISH packets, as bytes.

Enters: chunks, in paho's thread. Leaves: the same, in order, in the event loop's. Bounded by bytes:
once it is full the thread stops reading, TCP fills up and the broker holds back. Nothing fails.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

BYTES_MAX: Final = 16 << 20
"""Bytes that may wait for the pipeline; then the broker waits. One chunk may go beyond it."""


class Intake:
    """Chunks that wait; `put_bytes` and `taken_bytes` count all there ever were."""

    def __init__(self) -> None:
        self.put_bytes = 0
        self.taken_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether the thread must not read on."""
        return self.put_bytes - self.taken_bytes >= BYTES_MAX

    def put(self, chunk: bytes) -> bool:
        """Add a chunk; whether there was none before."""
        with self._lock:
            self._chunks.append(chunk)
            self.put_bytes += len(chunk)
            return len(self._chunks) == 1

    def take(self, bytes_max: int) -> list[bytes]:
        """The next chunks: at least one where there is one, else no more than `bytes_max` of it."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._chunks and (not taken or size + len(self._chunks[0]) <= bytes_max):
                size += len(self._chunks[0])
                taken.append(self._chunks.popleft())
            self.taken_bytes += size
        return taken
