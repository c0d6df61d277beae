"""What was heard under each topic: how often, and samples of the payloads. Bounded memory.

Enters: messages, with when they came. Leaves: counts, gaps and at most `SAMPLES_MAX` payloads of
each topic. Nothing fails; what does not fit is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SAMPLES_MAX: Final = 20
"""Payloads kept of a topic."""
FIRST: Final = 5
"""So many are kept at once, the others a while apart, for what changes slowly."""
TOPIC_BYTES_MAX: Final = 256 << 10
"""Of payloads kept of a topic."""
BYTES_MAX: Final = 64 << 20
"""Of all payloads kept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A payload and when it came, UTC; `retained` is one that the broker had kept."""

    payload: bytes
    at_ns: int
    retained: bool


@dataclass(slots=True)
class Topic:
    """What came under one topic.

    live : messages that came as they were sent
    retained : messages that the broker had kept
    empty : messages without a payload, which only clear what is kept
    gap_ns : the longest pause between two live messages; 0 with fewer than two
    bytes_max : of the longest payload
    """

    name: str
    live: int = 0
    retained: int = 0
    empty: int = 0
    gap_ns: int = 0
    bytes_max: int = 0
    samples: list[Sample] = field(default_factory=list)
    _kept_bytes: int = 0
    _first_ns: int = 0
    _last_ns: int = 0

    def pause_s(self, now_ns: int) -> float:
        """The longest pause there was until now between live messages; 0 with fewer than two."""
        return max(self.gap_ns, now_ns - self._last_ns) / 1e9 if self.live > 1 else 0.0

    @property
    def interval_s(self) -> float:
        """The mean time from one live message to the next; 0 with fewer than two."""
        return (self._last_ns - self._first_ns) / 1e9 / (self.live - 1) if self.live > 1 else 0.0

    def hear(self, payload: bytes, at_ns: int, retained: bool, spread_ns: int, room: int) -> int:
        """Take a message; how many bytes of it are kept.

        spread_ns : how far samples are apart, after the first ones
        room : how many bytes may be kept
        """
        if retained:
            self.retained += 1
        else:
            self._count(at_ns)
        self.bytes_max = max(self.bytes_max, len(payload))
        if not payload:
            self.empty += 1
            return 0
        wanted = len(self.samples) < FIRST or (
            len(self.samples) < SAMPLES_MAX and at_ns - self.samples[-1].at_ns >= spread_ns
        )
        if not wanted or len(payload) > min(room, TOPIC_BYTES_MAX - self._kept_bytes):
            return 0
        self.samples.append(Sample(payload, at_ns, retained))
        self._kept_bytes += len(payload)
        return len(payload)

    def _count(self, at_ns: int) -> None:
        if self.live:
            self.gap_ns = max(self.gap_ns, at_ns - self._last_ns)
        else:
            self._first_ns = at_ns
        self._last_ns = at_ns
        self.live += 1


class Heard:
    """All that was heard.

    topics_max : topics that are kept apart
    spread_ns : how far samples of a topic are apart, after the first ones
    beyond : messages of topics that are one too many
    unnamed : messages whose topic is not UTF-8
    too_long : messages that no source reads, for their length
    seconds, now_ns : how long was listened, and when that was, UTC
    """

    def __init__(self, topics_max: int, spread_ns: int = 0) -> None:
        self.topics: dict[bytes, Topic] = {}
        self.topics_max = topics_max
        self.messages = 0
        self.beyond = 0
        self.unnamed = 0
        self.too_long = 0
        self.seconds = 0.0
        self.now_ns = 0
        self._spread_ns = spread_ns
        self._room = BYTES_MAX

    def hear(self, topic: bytes, payload: bytes, at_ns: int, retained: bool) -> None:
        """Take a message."""
        self.messages += 1
        known = self.topics.get(topic)
        if known is None:
            known = self._meet(topic)
        if known is not None:
            self._room -= known.hear(payload, at_ns, retained, self._spread_ns, self._room)

    def pass_over(self, _message: object) -> None:
        """Count a message that is too long."""
        self.too_long += 1

    def _meet(self, topic: bytes) -> Topic | None:
        if len(self.topics) >= self.topics_max:
            self.beyond += 1
            return None
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            self.unnamed += 1
            return None
        met = self.topics[topic] = Topic(name)
        return met
