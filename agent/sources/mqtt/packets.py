"""Packets: what a broker sends, as bytes, to columns of messages and their routes.

Enters: bytes as the socket gives them. Leaves: in paho's thread, chunks of whole PUBLISH frames,
and the other frames one by one, which are paho's; in the event loop, columns over all chunks
together, and of each topic the route that was given for it. The loops are kernels
(`agent/kernels/mqtt/`).

Fails: WireError, for bytes that no broker may send; what came before them has been given away then.
Memory is bounded by `FRAME_BYTES_MAX`, `TOPICS_MAX` and `TOPICS_BYTES_MAX`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.batch import Int32, Int64, UInt32
from agent.kernels.mqtt import frames, topics

ROOM_BYTES: Final = 262_144
"""Of the buffer, as a rule; it grows for a longer frame, and shrinks behind it."""
FRAME_BYTES_MAX: Final = 16 * 1_048_576
"""Longest packet that is read. MQTT allows 256 MB (MQTT 5.0, 2.1.4)."""
BEGINNING_BYTES: Final = ROOM_BYTES // 2
"""Of a longer one, for its topic and a look at its payload; properties have the same room."""
OTHERS_MAX: Final = 256
"""So many frames other than PUBLISH are split in one go; where there are more, in several."""
TOPICS_MAX: Final = 100_000
"""Distinct topics that have a route."""
TOPICS_BYTES_MAX: Final = 16 * 1_048_576
"""Bytes of these."""
_PLACES_MIN: Final = 1_024
_POOL_MIN: Final = 32_768

Raw = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


class WireError(Exception):
    """Bytes that no broker may send, or too many of them: says what."""


class Splitter:
    """Splits what one connection receives into frames.

    fault : why nothing can follow what was split, or None; to be raised once that is handed over
    too_long : messages that are not read, since the last time somebody took them from here
    """

    def __init__(self, v5: bool) -> None:
        self.fault: WireError | None = None
        self.too_long: list[TooLong] = []
        self._passed_over = 0  # bytes of the last of those that are still to come
        self._v5 = v5
        self._others = np.empty((OTHERS_MAX, frames.OTHER), np.int64)
        self._state = np.zeros(frames.WALK, np.int64)
        self._size = 0
        self._hold(bytearray(ROOM_BYTES))

    @property
    def room(self) -> memoryview:
        """Where to receive into; never empty. To be asked for anew after each `split`."""
        return self._view[self._size :]

    def split(self, size: int) -> tuple[list[tuple[int, bytes]], bytes]:
        """Take the first `size` bytes of `room`, which came in.

        Returns the frames other than PUBLISH in order, each its first byte and what follows its
        length; and all whole PUBLISH frames as one chunk. Raises WireError after a fault.
        """
        if self.fault is not None:
            raise self.fault
        self._size += self._pass_over(size)
        others: list[tuple[int, bytes]] = []
        pieces: list[memoryview] = []
        state = self._state
        at, more = 0, True
        while more:
            said = frames.walk(self._bytes, at, self._size, self._v5, self._others, state)
            behind, count = int(state[frames.AT]), int(state[frames.OTHERS])
            for start, end in self._others[:count].tolist():
                pieces.append(self._view[at:start])
                others.append((self._view[start], _rest(self._view[start + 1 : end])))
                at = end
            pieces.append(self._view[at:behind])
            at, more = behind, count == OTHERS_MAX
            if said < 0:
                self.fault = WireError(frames.FAULTS[-said])
        chunk = b"".join(pieces)
        self._make_room(at, int(state[frames.NEEDED]))
        return others, chunk

    def _make_room(self, at: int, needed: int) -> None:
        """Move the beginning of a frame to the front; make the buffer large enough for the rest."""
        left = self._size - at
        if needed > FRAME_BYTES_MAX:
            left = self._give_up(at, needed)
            needed = 0
        if len(self._view) != max(needed, ROOM_BYTES) and (needed > ROOM_BYTES or at):
            held = bytearray(max(needed, ROOM_BYTES))
            held[:left] = self._view[at : self._size]
            self._hold(held)
        elif at and left:
            self._view[:left] = bytes(self._view[at : self._size])
        self._size = left

    def _give_up(self, at: int, needed: int) -> int:
        """Pass over a message that is too long, once its beginning has come; bytes to keep."""
        left = self._size - at
        if self._view[at] >> 4 != frames.PUBLISH:
            self.fault = self.fault or WireError(
                f"a packet has {needed:,} bytes; at most {FRAME_BYTES_MAX:,} are read"
            )
        elif left >= BEGINNING_BYTES:
            rest = _rest(self._view[at + 1 : self._size])
            length = bytes((len(rest) & 0x7F | 0x80, len(rest) >> 7 & 0x7F | 0x80, len(rest) >> 14))
            beginning = self._view[at : at + 1].tobytes() + length + rest
            try:
                self.too_long.append(TooLong(publishes([beginning], self._v5), needed))
            except WireError as error:
                self.fault = error
            self._passed_over = needed - left
            left = 0
        return left

    def _pass_over(self, size: int) -> int:
        """Drop what came of a message that is too long; bytes that came behind it."""
        dropped = min(size, self._passed_over)
        self._passed_over -= dropped
        if 0 < dropped < size:
            self._view[: size - dropped] = bytes(self._view[dropped:size])
        return size - dropped

    def _hold(self, held: bytearray) -> None:
        self._view = memoryview(held)
        self._bytes: Raw = np.frombuffer(held, np.uint8)
        self._bytes.flags.writeable = False  # of one type with bytes, for the kernels


@dataclass(frozen=True, slots=True, eq=False)
class Publishes:
    """PUBLISH packets as columns of equal length n, in order; positions are in `body`.

    body : all packets
    topic_at, topic_len, payload_at, payload_len : (n,) int64
    qos : (n,) int8
    dup, retain : (n,) bool
    packet_id : (n,) int64, 0 at QoS 0
    subscription : (n,) int64, the identifier of the one subscription that it came by; 0 where there
        is none, or are several
    digest : (n,) uint32, CRC-32 of topic, a zero byte and payload; 0 at QoS 0
    raw : (b,) uint8, `body` again
    """

    body: bytes
    topic_at: Int64
    topic_len: Int64
    payload_at: Int64
    payload_len: Int64
    qos: npt.NDArray[np.int8]
    dup: Bool
    retain: Bool
    packet_id: Int64
    subscription: Int64
    digest: UInt32
    raw: Raw

    def __len__(self) -> int:
        return len(self.topic_at)

    def part(self, start: int, end: int) -> Publishes:
        """Those from `start` to `end`, over the same body."""
        here = slice(start, end)
        return Publishes(
            self.body, self.topic_at[here], self.topic_len[here], self.payload_at[here],
            self.payload_len[here], self.qos[here], self.dup[here], self.retain[here],
            self.packet_id[here], self.subscription[here], self.digest[here], self.raw,
        )  # fmt: skip

    def topic(self, row: int) -> bytes:
        """The topic of one, UTF-8 if the broker is right."""
        at = int(self.topic_at[row])
        return self.body[at : at + int(self.topic_len[row])]

    def payload(self, row: int) -> bytes:
        """The payload of one."""
        at = int(self.payload_at[row])
        return self.body[at : at + int(self.payload_len[row])]


@dataclass(frozen=True, slots=True, eq=False)
class TooLong:
    """A message of so many bytes, more than are read.

    beginning : the one message, with the first bytes of its payload
    """

    beginning: Publishes
    size: int


def publishes(chunks: Sequence[bytes], v5: bool) -> Publishes:
    """The messages of chunks that a Splitter made, in order. Raises WireError for other bytes."""
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    raw = np.frombuffer(body, np.uint8)
    n = frames.count(raw)
    found = Publishes(
        body,
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64),
        np.empty(n, np.int8), np.empty(n, np.bool_), np.empty(n, np.bool_),
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.uint32), raw,
    )  # fmt: skip
    said = frames.read(
        raw, v5, found.topic_at, found.topic_len, found.payload_at, found.payload_len,
        found.qos, found.dup, found.retain, found.packet_id, found.subscription, found.digest,
    )  # fmt: skip
    if said < 0:
        raise WireError(frames.FAULTS[-said])
    return found


class Topics:
    """Route numbers by topic, for the kernels; `len` says how many topics have one."""

    def __init__(self) -> None:
        self._seed = np.uint64(secrets.randbits(64))
        self.clear()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Know none any more."""
        self._count = self._used = 0
        self._hold(np.empty(_POOL_MIN, np.uint8))
        self._table = _free(_PLACES_MIN)

    def add(self, topic: bytes, route: int) -> bool:
        """Give a topic that has no route one, at least 0; False where there is no room for it."""
        end = self._used + len(topic)
        if self._count >= TOPICS_MAX or end > TOPICS_BYTES_MAX:
            return False
        if end > len(self._pool):
            pool = np.empty(max(2 * len(self._pool), end), np.uint8)
            pool[: self._used] = self._pool[: self._used]
            self._hold(pool)
        if 2 * self._count >= len(self._table):
            self._spread()
        self._pool[self._used : end] = np.frombuffer(topic, np.uint8)
        at, self._used = self._used, end
        self._count += 1
        return bool(topics.insert(self._known, at, len(topic), self._seed, route, self._table))

    def routes(self, found: Publishes) -> Int32:
        """(n,) int32, the route of each message's topic; -1 where it has none."""
        route = np.empty(len(found), np.int32)
        topics.find(
            found.raw, found.topic_at, found.topic_len, self._seed, self._known, self._table, route
        )
        return route

    def _spread(self) -> None:
        before, self._table = self._table, _free(2 * len(self._table))
        topics.move(before, self._table)

    def _hold(self, pool: Raw) -> None:
        self._pool = pool
        self._known = pool.view()
        self._known.flags.writeable = False


def _free(places: int) -> Int64:
    return np.full((places, topics.PLACE), -1, np.int64)


def _rest(frame: memoryview) -> bytes:
    """A frame without the length it begins with."""
    at = 0
    while frame[at] & 0x80:
        at += 1
    return bytes(frame[at + 1 :])
