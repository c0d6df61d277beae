"""The wire: answers of an OPC UA server, as bytes, to what they say and to columns.

Enters: the bytes of an answer from its type id on, as asyncua's session gives them. Leaves: the
envelope of a publication at once, with every item in it stepped over; its items, of several
publications together, when they are wanted. The loops are kernels (`agent/kernels/opcua/`); what
those do not know, structures mostly, asyncua's decoder reads, one value at a time, and `fallbacks`
counts it (`fallback.py`). Texts become Python objects once each, blocks of numbers once a block.

Fails: WireError, for any bytes that are not what they should be; nothing else, in a time and memory
bounded by the number of bytes. What `publication` and `history` have let through can be read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import Float64, Int64, UInt32, root_mean_square
from agent.kernels.opcua import envelope as kernel
from agent.kernels.opcua import items as columns
from agent.kernels.opcua import reading, texts, walking
from agent.signals import Kind
from agent.sources.opcua import fallback

FOUND_GUESS: Final = 4
"""An answer with more notifications, or histories, is read twice."""

_READ_AS: Final[dict[Kind, int]] = {"text": columns.TEXT, "waveform": columns.BLOCK}
_DTYPES: Final = (
    "", "<u1", "<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8",
)  # fmt: skip
"""Of number types, by their type's number."""

Kernel = Callable[..., reading.Int]
Raw = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Spans = tuple[tuple[int, int], ...]


class WireError(Exception):
    """Bytes that are no such answer: says where and what."""


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """What a PublishResponse or RepublishResponse says (OPC 10000-4, 5.14.5, 5.14.6, 7.26).

    body : the answer, from its type id on
    available : sequence numbers that the server can send again
    published_ns : UTC, by the server's clock; 0 where there is none that can be
    results : StatusCodes of the acknowledgements that went with the request
    data : start and end of each DataChangeNotification in `body`
    events : the same of each EventNotificationList; its Variants have been stepped over
    status : of a StatusChangeNotification, or None
    unknown : notifications of other types
    items : in all of `data` together
    detours : start and end of Variants in `data` which do not say where they end
    service_result : StatusCode of the answer itself
    """

    body: bytes
    subscription: int
    sequence: int
    more: bool
    available: tuple[int, ...]
    published_ns: int
    results: tuple[int, ...]
    data: Spans
    events: Spans
    status: int | None
    unknown: int
    items: int
    detours: Spans
    service_result: int


@dataclass(frozen=True, slots=True, eq=False)
class HistoryPart:
    """One result of a HistoryReadResponse (OPC 10000-4, 5.11.3; OPC 10000-11, 6.6).

    status : StatusCode of this node's history
    continuation : continuation point, b"" at the end
    start, end : where its HistoryData lies in the body; equal where there is none
    items : values in it
    """

    status: int
    continuation: bytes
    start: int
    end: int
    items: int = 0
    detours: Spans = ()


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Items as columns of equal length n, in order. Nobody else holds or changes these arrays.

    handle : (n,) int64, client handles
    time_ns : (n,) int64, UTC, source time, else server time, else publication, else reception
    value : (n,) float64, NaN for what is missing or cannot be what its handle is read as; of a text
        the index into `texts`, of a waveform the root mean square of its block
    status : (n,) uint32, StatusCodes as sent
    texts : distinct ones, but for what asyncua said
    waveforms : row and block of each waveform, in order
    overflowed : items whose status says that the server's queue overflowed before them
    fallbacks : items that asyncua's decoder was asked for
    inexact : integers beyond 2^53, which float64 may have rounded
    strangers : items of handles that were never given; not in the columns
    timeless : items of a history without a time; not in the columns
    """

    handle: Int64
    time_ns: Int64
    value: Float64
    status: UInt32
    texts: tuple[str, ...] = ()
    waveforms: tuple[tuple[int, Float64], ...] = ()
    overflowed: int = 0
    fallbacks: int = 0
    inexact: int = 0
    strangers: int = 0
    timeless: int = 0

    def __len__(self) -> int:
        return len(self.handle)


def publication(body: bytes) -> Publication:
    """A PublishResponse, from its type id on. Raises WireError."""
    return _envelope(kernel.publish, body, None)


def republication(body: bytes, subscription: int) -> Publication:
    """A RepublishResponse, which does not say of which subscription it is. Raises WireError."""
    return _envelope(kernel.republish, body, subscription)


def history(body: bytes) -> list[HistoryPart]:
    """The results of a HistoryReadResponse, in the order of its request. Raises WireError."""
    head, found = _run(kernel.history, body, kernel.RESULTS, kernel.RESULT)
    return [
        HistoryPart(
            status, body[at:behind], start, end, items,
            _detours(body, start, end, 0) if head[kernel.STUCK] and items else (),
        )
        for status, at, behind, start, end, items in found
    ]  # fmt: skip


class Decoder:
    """Reads the items of one source; its client handles are given by `add`, densely from 0."""

    def __init__(self) -> None:
        self._kinds = np.empty(0, np.int8)
        self._warm_up()

    def __len__(self) -> int:
        """How many handles were given."""
        return len(self._kinds)

    def add(self, kinds: Sequence[Kind]) -> range:
        """New handles, read as their signals' kinds say."""
        first = len(self)
        read_as = np.array([_READ_AS.get(kind, columns.NUMBER) for kind in kinds], np.int8)
        self._kinds = np.append(self._kinds, read_as)
        return range(first, len(self))

    def items(self, publications: Sequence[Publication], received_ns: int) -> Items:
        """The items of several publications, in order; `received_ns` > 0."""
        spans: list[int] = []
        detours: list[int] = []
        n = offset = 0
        for one in publications:
            base_ns = one.published_ns or received_ns
            for start, end in one.data:
                spans += (offset + start, offset + end, base_ns)
            for start, end in one.detours:
                detours += (offset + start, offset + end)
            n += one.items
            offset += len(one.body)
        bodies = [one.body for one in publications]
        return self._read(bodies[0] if len(bodies) == 1 else b"".join(bodies), n, spans, detours)

    def values(self, part: HistoryPart, body: bytes, handle: int) -> Items:
        """The values of a part of this body, all of one handle. Raises WireError: not of it."""
        if not 0 <= part.start <= part.end <= len(body):
            raise WireError(f"history at {part.start:,} to {part.end:,} of {len(body):,} bytes")
        detours = [at for detour in part.detours for at in detour]
        spans = [part.start, part.end, 0] if part.items else []
        return self._read(body, part.items, spans, detours, handle)

    def _read(
        self, body: bytes, n: int, spans: list[int], detours: list[int], given: int = -1
    ) -> Items:
        raw = np.frombuffer(body, np.uint8)
        handle, time_ns = np.empty(n, np.int64), np.empty(n, np.int64)
        value, status = np.empty(n, np.float64), np.empty(n, np.uint32)
        special = np.empty((n, columns.SPECIAL), np.int64)
        counted = np.zeros(columns.COUNTS, np.int64)
        rows = columns.read(
            raw, np.array(spans, np.int64).reshape(-1, columns.SPAN), self._kinds, given,
            np.array(detours, np.int64).reshape(-1, 2),
            handle, time_ns, value, status, special, counted,
        )  # fmt: skip
        if rows < 0:
            raise _error(rows, body)
        counts = counted.tolist()
        special = special[: counts[columns.SPECIALS]]
        said: list[str] = []
        waves: list[tuple[int, Float64]] = []
        fallbacks, inexact = 0, counts[columns.INEXACT]
        if counts[columns.TEXTS]:
            said = _take_texts(raw, special, counts[columns.TEXTS], value)
        if len(special) > counts[columns.TEXTS]:
            others = special[special[:, 0] != columns.TEXT].tolist()
            fallbacks = self._ask_asyncua(body, others, handle, value, said, waves)
            inexact += _take_blocks(raw, others, value, waves)
        return Items(
            handle[:rows], time_ns[:rows], value[:rows], status[:rows],
            tuple(said), tuple(waves), counts[columns.OVERFLOWED], fallbacks, inexact,
            counts[columns.STRANGERS], counts[columns.TIMELESS],
        )  # fmt: skip

    def _ask_asyncua(
        self, body: bytes, specials: list[list[int]], handle: Int64, value: Float64,
        said: list[str], waves: list[tuple[int, Float64]],
    ) -> int:  # fmt: skip
        """Have asyncua read what the kernel did not; how many items that were."""
        asked = 0
        for what, row, _, start, size in specials:
            if what != columns.OTHER:
                continue
            asked += 1
            try:
                decoded, _ = fallback.decoded(body, start, start + size)
            except fallback.Undecodable:
                continue  # its structure was sound, so the others are not touched: NaN
            read_as = self._kinds[handle[row]]
            if read_as == columns.NUMBER:
                value[row] = fallback.number(decoded)
            elif read_as == columns.TEXT:
                text = fallback.text(decoded)
                if text is not None:
                    value[row] = len(said)
                    said.append(text)
            else:
                block = fallback.block(decoded)
                if block is not None:
                    value[row] = root_mean_square(block)
                    waves.append((row, block))
        return asked

    def _warm_up(self) -> None:
        """Compile the kernels, or load them, before a message has to wait for it."""
        header = bytes(17) + b"\xff\xff\xff\xff" + bytes(3)
        self.items((publication(b"\x01\x00\x3d\x03" + header + bytes(33)),), 1)
        republication(b"\x01\x00\x43\x03" + header + bytes(16), 0)
        history(b"\x01\x00\x9b\x02" + header + bytes(8))
        _take_texts(
            np.frombuffer(b"", np.uint8), np.empty((0, columns.SPECIAL), np.int64), 0, np.empty(0)
        )


def _envelope(read: Kernel, body: bytes, subscription: int | None) -> Publication:
    head, found = _run(read, body, kernel.NOTIFICATIONS, kernel.FOUND)
    data: list[tuple[int, int]] = []
    events: list[tuple[int, int]] = []
    detours: list[tuple[int, int]] = []
    items = 0
    for type_id, start, end, count in found:
        if type_id == kernel.DATA_CHANGE:
            data.append((start, end))
            items += count
            if head[kernel.STUCK]:
                detours += _detours(body, start, end, 4)
        else:
            events.append((start, end))
    status = head[kernel.STATUS]
    return Publication(
        body,
        head[kernel.SUBSCRIPTION] if subscription is None else subscription,
        head[kernel.SEQUENCE],
        head[kernel.MORE] != 0,
        _numbers(body, head[kernel.AVAILABLE_AT], head[kernel.AVAILABLE]),
        head[kernel.PUBLISHED_NS],
        _numbers(body, head[kernel.RESULTS_AT], head[kernel.RESULTS]),
        tuple(data),
        tuple(events),
        None if status < 0 else status,
        head[kernel.UNKNOWN],
        items,
        tuple(detours),
        head[kernel.SERVICE_RESULT],
    )


def _run(read: Kernel, body: bytes, count: int, width: int) -> tuple[list[int], Any]:
    """Let a kernel read an answer: its head, and what was found, `head[count]` rows of `width`."""
    raw = np.frombuffer(body, np.uint8)
    head, state = np.empty(kernel.HEAD, np.int64), np.empty(walking.WALK, np.int64)
    found = np.empty((FOUND_GUESS, width), np.int64)
    said = read(raw, head, found, state)
    if said >= 0 and head[count] > FOUND_GUESS:
        found = np.empty((head[count], width), np.int64)
        said = read(raw, head, found, state)
    if said < 0:
        raise _error(said, body)
    numbers = head.tolist()
    return numbers, found[: numbers[count]].tolist()


def _detours(body: bytes, start: int, end: int, handle_size: int) -> Spans:
    """The Variants of an array of items which do not say where they end; asyncua finds it."""
    raw, state = np.frombuffer(body, np.uint8), np.zeros(walking.WALK, np.int64)
    state[walking.HANDLE_SIZE] = handle_size
    found: list[tuple[int, int]] = []
    while True:
        said = walking.walk(raw, start, end, state)
        if said >= 0:
            return tuple(found)
        if reading.fault_kind(said) != reading.LENGTHLESS:
            raise _error(said, body)
        value_at = int(state[walking.AT]) + handle_size + 1
        try:
            _, value_end = fallback.decoded(body, value_at, end)
        except fallback.Undecodable as error:
            raise WireError(f"{_error(said, body)}, and asyncua says: {error}") from error
        found.append((value_at, value_end))
        state[walking.VALUE_END] = value_end


def _error(said: reading.Int, body: bytes) -> WireError:
    what = reading.FAULTS[reading.fault_kind(said)]
    return WireError(f"{what}, at byte {reading.fault_at(said):,} of {len(body):,}")


def _numbers(body: bytes, at: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}I", body, at) if count else ()


def _take_texts(raw: Raw, special: Rows, count: int, value: Float64) -> list[str]:
    """The distinct texts of `count` specials; their rows get the index, those of none NaN."""
    places = max(texts.PLACES_MIN, 1 << (2 * count - 1).bit_length())
    found = np.empty(count, np.int64)
    table = np.full(places, -1, np.int64)
    found = found[: texts.distinct(raw, special, value, table, found)]
    said: list[str] = []
    for index, (_, _, type_id, at, size) in enumerate(special[found].tolist()):
        text = fallback.text_of(type_id, raw[at : at + size].tobytes())
        if text is None:
            rows = special[special[:, 0] == columns.TEXT, 1]
            value[rows[value[rows] == index]] = math.nan
        said.append(text or "")
    return said


def _take_blocks(
    raw: Raw, specials: list[list[int]], value: Float64, waves: list[tuple[int, Float64]]
) -> int:
    """The blocks of numbers among these; how many of their integers are inexact."""
    inexact = 0
    for what, row, type_id, at, count in specials:
        if what != columns.BLOCK:
            continue
        dtype = np.dtype(_DTYPES[type_id])
        sent = raw[at : at + count * dtype.itemsize].view(dtype)
        if type_id == reading.BOOLEAN:
            sent = sent != 0
        elif type_id in (reading.INT64, reading.UINT64):
            inexact += int(
                np.count_nonzero((sent > reading.EXACT_MAX) | (sent < -reading.EXACT_MAX))
            )
        block = sent.astype(np.float64)
        value[row] = root_mean_square(block)
        waves.append((row, block))
    waves.sort(key=lambda wave: wave[0])
    return inexact
