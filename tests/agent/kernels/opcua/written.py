"""Bytes by the standard (OPC 10000-6, 5.2.2), for the kernels and their twin to read."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from tests.agent.kernels.opcua import naive

Bytes = st.SearchStrategy[bytes]

SIZES = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 14: 16, 19: 4}
NUMBERS = [*range(1, 12), 13, 19]
TICKS = st.sampled_from(
    [0, -1, 1, -(2**63), 2**63 - 1, naive.TICKS_1970, naive.TICKS_1970 + 1, naive.TICKS_NEVER,
     naive.TICKS_NEVER - 1, 208_678_456_368_547_757, 208_678_456_368_547_758]
) | st.integers(130_000_000_000_000_000, 140_000_000_000_000_000)  # fmt: skip


def string(content: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if content is None else struct.pack("<i", len(content)) + content


def joined(*parts: Bytes) -> Bytes:
    return st.tuples(*parts).map(b"".join)


def flagged(parts: dict[int, Bytes]) -> Bytes:
    """A byte of flags and the parts that it says are there, in this order."""

    def chosen(flags: frozenset[int]) -> Bytes:
        mask = bytes([sum(flags)])
        return joined(st.just(mask), *(part for flag, part in parts.items() if flag in flags))

    return st.frozensets(st.sampled_from(list(parts))).flatmap(chosen)


STRINGS: Bytes = (
    st.sampled_from([b"", b"a", b"running", "läuft".encode(), b"\xff\xfe"]) | st.none()
).map(string)
NODE_IDS: Bytes = st.one_of(
    st.binary(min_size=1, max_size=1).map(lambda b: b"\x00" + b),
    st.binary(min_size=3, max_size=3).map(lambda b: b"\x01" + b),
    st.binary(min_size=6, max_size=6).map(lambda b: b"\x02" + b),
    joined(st.just(b"\x03\x01\x00"), STRINGS),
    st.binary(min_size=18, max_size=18).map(lambda b: b"\x04" + b),
    joined(st.just(b"\x85\x01\x00"), STRINGS, STRINGS),
    joined(st.just(b"\x40\x07"), st.binary(min_size=4, max_size=4)),
)
STRUCTURES: Bytes = st.one_of(
    joined(NODE_IDS, st.just(b"\x00")),
    joined(NODE_IDS, st.sampled_from([b"\x01", b"\x02"]), st.just(string(b"body"))),
    joined(NODE_IDS, st.just(b"\x02"), st.just(string(None))),
)
_FOUR = st.binary(min_size=4, max_size=4)
DIAGNOSTICS: Bytes = st.recursive(
    flagged({1: _FOUR, 2: _FOUR, 4: _FOUR, 8: _FOUR, 0x10: STRINGS, 0x20: _FOUR}),
    lambda inner: inner.map(lambda sent: b"\x40" + sent),
    max_leaves=3,
)
PICOSECONDS = st.sampled_from([0, 99, 100, 9_999, 10_000, 65_535])


def values(type_id: int, depth: int) -> Bytes:
    if type_id == 0:
        return st.just(b"")
    if type_id in SIZES:
        return st.binary(min_size=SIZES[type_id], max_size=SIZES[type_id])
    if type_id == 13:
        return TICKS.map(lambda ticks: struct.pack("<q", ticks))
    if type_id in (17, 18):
        return NODE_IDS
    if type_id == 20:
        return joined(st.binary(min_size=2, max_size=2), STRINGS)
    if type_id == 21:
        return flagged({1: STRINGS, 2: STRINGS})
    if type_id == 22:
        return STRUCTURES
    if type_id == 23:
        return data_values(depth)
    if type_id == 24:
        return variants(depth)
    return DIAGNOSTICS if type_id == 25 else STRINGS


def _of_type(drawn: tuple[int, bool, int, bool], depth: int) -> Bytes:
    type_id, is_array, count, has_dimensions = drawn
    encoding = type_id | 0x80 * is_array | 0x40 * (is_array and has_dimensions)
    parts = [st.just(bytes([encoding]))]
    if is_array:
        parts.append(st.just(struct.pack("<i", count)))
    parts += [values(type_id, depth + 1)] * (max(count, 0) if is_array else 1)
    if is_array and has_dimensions:
        parts.append(st.sampled_from([[count], [1, count], [], [2, 2, 2]]).map(_dimensions))
    return joined(*parts)


def _dimensions(sizes: list[int]) -> bytes:
    return struct.pack(f"<{len(sizes) + 1}i", len(sizes), *sizes)


def variants(depth: int = 0) -> Bytes:
    types = [*range(26), 31, 63] if depth < 3 else NUMBERS
    return st.tuples(
        st.sampled_from(NUMBERS * 2 + types),
        st.booleans() if depth < 3 else st.just(False),
        st.integers(-1, 3),
        st.booleans(),
    ).flatmap(lambda drawn: _of_type(drawn, depth))


def data_values(depth: int = 0) -> Bytes:
    codes = st.sampled_from([0, 0x480, 0x80, 0x400, 0xC80, 0x808C_0000, 0x4094_0480])
    times = TICKS.map(lambda ticks: struct.pack("<q", ticks))
    tens = PICOSECONDS.map(lambda tens: struct.pack("<H", tens))
    return flagged(
        {
            0x01: variants(depth),
            0x02: codes.map(lambda code: struct.pack("<I", code)),
            0x04: times,
            0x10: tens,
            0x08: times,
            0x20: tens,
        }
    )


def items(with_handles: bool = True, handles_max: int = 12) -> Bytes:
    """An array of items with handles below `handles_max`."""

    def array(sent: list[tuple[int, bytes]]) -> bytes:
        parts = [struct.pack("<I", handle) * with_handles + value for handle, value in sent]
        return struct.pack("<i", len(sent)) + b"".join(parts)

    pairs = st.tuples(st.integers(0, handles_max - 1), data_values())
    return st.lists(pairs, max_size=6).map(array)


def changed(body: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """These bytes with some cut out, and others put in their place."""
    data = bytearray(body)
    for at, size, new in changes:
        place = at % (len(data) + 1)
        data[place : place + size] = new
    return bytes(data)


def changes() -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    new: Any = st.sampled_from(
        [b"", b"\x00", b"\xff", b"\x80", b"\x98", b"\xc0", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff",
         b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x10\x00\x00\x00"]
    ) | st.binary(max_size=4)  # fmt: skip
    return st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 4), new), max_size=4)
