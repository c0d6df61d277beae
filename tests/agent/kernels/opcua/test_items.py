"""The kernels against their twin: the same rows, the same faults, nothing behind the end."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels.opcua import items, reading, texts, walking
from tests.agent.kernels.opcua import naive, written

BASE_NS = 5
KINDS = np.array([items.NUMBER, items.TEXT, items.BLOCK] * 3, np.int8)
MARGIN = b"\x0b" * 40
"""Lies before and behind what is read, so that a step too far finds values there."""

exactly = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@dataclass
class Rows:
    said: int
    handle: Any
    time_ns: Any
    value: Any
    status: Any
    special: list[list[int]]
    counts: list[int]


def walk(data: bytes, start: int, end: int, handle_size: int) -> int:
    state = np.zeros(walking.WALK, np.int64)
    state[walking.HANDLE_SIZE] = handle_size
    return int(walking.walk(np.frombuffer(data, np.uint8), start, end, state))


def read(data: bytes, spans: list[tuple[int, int, int]], given_handle: int = -1) -> Rows:
    n = sum(max(0, struct.unpack_from("<i", data, start)[0]) for start, *_ in spans)
    n = min(n, len(data))
    columns = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n, np.uint32)
    special, counts = np.empty((n, items.SPECIAL), np.int64), np.zeros(items.COUNTS, np.int64)
    said = items.read(
        np.frombuffer(data, np.uint8), np.array(spans, np.int64).reshape(-1, items.SPAN), KINDS,
        given_handle, np.empty((0, 2), np.int64), *columns, special, counts,
    )  # fmt: skip
    handle, time_ns, value, status = (column[: max(said, 0)] for column in columns)
    return Rows(
        int(said), handle, time_ns, value, status,
        special[: counts[items.SPECIALS]].tolist(), counts.tolist(),
    )  # fmt: skip


def framed(body: bytes) -> tuple[bytes, int, int]:
    return MARGIN + body + MARGIN, len(MARGIN), len(MARGIN) + len(body)


def twin(body: bytes, handle: int | None = None) -> list[naive.Item]:
    data, start, end = framed(body)
    return naive.Reader(data, start, end).items(handle)


def is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@exactly
@given(written.items())
def test_rows_are_what_the_twin_reads(body: bytes) -> None:
    data, start, end = framed(body)
    rows = read(data, [(start, end, BASE_NS)])
    wanted = twin(body)
    known = [item for item in wanted if item.handle < len(KINDS)]
    assert walk(data, start, end, 4) == end
    assert rows.said == len(known)
    assert rows.handle.tolist() == [item.handle for item in known]
    assert rows.status.tolist() == [item.status for item in known]
    assert rows.time_ns.tolist() == [item.time_ns(BASE_NS) for item in known]
    assert rows.counts[items.STRANGERS] == len(wanted) - len(known)
    assert rows.counts[items.OVERFLOWED] == sum(i.status & 0xC80 == 0x480 for i in known)
    for item, value in zip(known, rows.value.tolist(), strict=True):
        is_number = KINDS[item.handle] == items.NUMBER
        assert is_same(value, naive.number(item) if is_number else math.nan)


@exactly
@given(written.items())
def test_specials_are_the_texts_and_blocks_that_the_twin_reads(body: bytes) -> None:
    data, start, end = framed(body)
    rows = read(data, [(start, end, BASE_NS)])
    wanted: list[tuple[int, int, Any]] = []
    known = [item for item in twin(body) if item.handle < len(KINDS)]
    for row, item in enumerate(known):
        kind, value = KINDS[item.handle], item.value
        if value is None or value.is_array != (kind == items.BLOCK):
            continue
        text, block = naive.text(item), naive.block(item)
        if value.type_id in (22, 23, 24) or value.type_id > 25:
            wanted.append((items.OTHER, row, data[value.at : value.end]))
        elif kind == items.TEXT and text is not None:
            wanted.append((items.TEXT, row, text))
        elif kind == items.BLOCK and block is not None:
            wanted.append((items.BLOCK, row, np.array(block).tobytes()))
    assert [as_read(data, special) for special in rows.special] == wanted


def as_read(data: bytes, special: list[int]) -> tuple[int, int, Any]:
    what, row, type_id, at, size = special
    if what == items.OTHER:
        return what, row, data[at : at + size]
    if what == items.BLOCK:
        width = written.SIZES[type_id]
        sent = [data[at + i * width : at + (i + 1) * width] for i in range(size)]
        form = naive.FORMS[type_id]
        floats = [float(struct.unpack(form, one)[0]) for one in sent]
        return what, row, np.array(floats).tobytes()
    raw = data[at : at + size]
    form = naive.FORMS.get(type_id) or {13: "<q", 19: "<I"}.get(type_id, "")
    return what, row, (type_id, struct.unpack(form, raw)[0] if form else raw)


@exactly
@given(written.items(), written.changes())
def test_faults_are_where_the_twin_finds_them(body: bytes, changes: Any) -> None:
    agree_on(written.changed(body, changes))


@exactly
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_by_the_twin(body: bytes) -> None:
    agree_on(b"\x02\x00\x00\x00" + body)


def agree_on(body: bytes) -> None:
    data, start, end = framed(body)
    try:
        wanted = len([i for i in twin(body) if i.handle < len(KINDS)])
    except naive.Malformed:
        wanted = -1
    walked = walk(data, start, end, 4)
    assert (walked >= 0) == (wanted >= 0), said(walked)
    if len(body) >= 4:
        rows = read(data, [(start, end, BASE_NS)])
        assert rows.said == wanted if wanted >= 0 else rows.said < 0


def said(fault: int) -> str:
    return f"{reading.FAULTS[reading.fault_kind(fault)]} at {reading.fault_at(fault)}"


@exactly
@given(written.items(), st.data())
def test_whatever_is_cut_short_is_a_fault_at_a_place_inside(body: bytes, draw: Any) -> None:
    cut = body[: draw.draw(st.integers(0, len(body) - 1))]
    data, start, end = framed(cut)
    fault = walk(data, start, end, 4)
    assert fault < 0
    assert start <= reading.fault_at(fault) <= end + 2


def nested(levels: int, wrap: Callable[[bytes], bytes]) -> bytes:
    value = b"\x03\x07"
    for _ in range(levels):
        value = wrap(value)
    return b"\x01\x00\x00\x00" + bytes(4) + b"\x01" + value


@pytest.mark.parametrize(
    ("wrap", "levels"),
    [
        (lambda value: b"\x18" + value, 98),
        (lambda value: b"\x98\x01\x00\x00\x00" + value, 98),
        (lambda value: b"\x17\x01" + value, 49),
    ],
)
def test_nesting_is_followed_as_deep_as_the_standard_asks_and_no_deeper(
    wrap: Callable[[bytes], bytes], levels: int
) -> None:
    for more, is_sound in ((0, True), (1, False), (5_000, False)):
        body = nested(levels + more, wrap)
        assert (walk(body, 0, len(body), 4) == len(body)) is is_sound
        if more < 100:
            agree_on(body)


@pytest.mark.parametrize("claim", [2, 1_000, 2**31 - 1])
@pytest.mark.parametrize("type_id", range(26))
def test_an_array_that_claims_more_than_there_is_is_refused_at_once(
    type_id: int, claim: int
) -> None:
    variant = bytes([0x80 | type_id]) + struct.pack("<i", claim)
    body = b"\x01\x00\x00\x00" + bytes(4) + b"\x01" + variant
    assert walk(body, 0, len(body), 4) < 0
    assert read(body, [(0, len(body), BASE_NS)]).said < 0


def test_values_of_a_history_all_have_the_handle_that_is_given() -> None:
    values = [b"\x05\x0b" + struct.pack("<dq", v, naive.TICKS_1970 + v) for v in (1, 2)]
    body = b"\x03\x00\x00\x00" + b"".join(values) + b"\x01\x03\x09"
    assert walk(body, 0, len(body), 0) == len(body)
    rows = read(body, [(0, len(body), 0)], 3)
    assert (rows.handle.tolist(), rows.value.tolist()) == ([3, 3], [1.0, 2.0])
    assert rows.time_ns.tolist() == [100, 200]
    assert rows.counts[items.TIMELESS] == 1


def test_what_has_no_room_in_the_columns_is_a_fault() -> None:
    body = b"\x02\x00\x00\x00" + (bytes(4) + b"\x00") * 2
    columns = np.empty(1, np.int64), np.empty(1, np.int64), np.empty(1), np.empty(1, np.uint32)
    said = items.read(
        np.frombuffer(body, np.uint8), np.array([[0, len(body), 1]]), KINDS, -1,
        np.empty((0, 2), np.int64), *columns, np.empty((1, items.SPECIAL), np.int64),
        np.zeros(items.COUNTS, np.int64),
    )  # fmt: skip
    assert reading.fault_kind(said) == reading.COUNT


@exactly
@given(st.lists(st.sampled_from([b"a", b"b", b"ab", b"", b"running", b"c" * 40]), max_size=30))
def test_equal_texts_share_one_index(sent: list[bytes]) -> None:
    special = np.empty((len(sent), items.SPECIAL), np.int64)
    at = 0
    for row, text in enumerate(sent):
        special[row] = items.TEXT, row, reading.STRING, at, len(text)
        at += len(text)
    raw = np.frombuffer(b"".join(sent), np.uint8)
    value, found = np.full(len(sent), -1.0), np.empty(len(sent), np.int64)
    table = np.full(64, -1, np.int64)
    with np.errstate(over="ignore"):  # without the compiler, numpy speaks of hashes that wrap
        count = texts.distinct(raw, special, value, table, found)
    said = [sent[row] for row in found[:count].tolist()]
    assert said == list(dict.fromkeys(sent))
    assert [said[int(index)] for index in value] == sent


def test_texts_made_to_collide_cost_no_more_and_are_still_right() -> None:
    sent = [b"%04d" % number for number in range(100)] * 2
    special = np.array(
        [[items.TEXT, row, reading.STRING, 4 * row, 4] for row in range(len(sent))], np.int64
    )
    value, found = np.empty(len(sent)), np.empty(len(sent), np.int64)
    table = np.full(8, -1, np.int64)  # far too small: all places are taken
    with np.errstate(over="ignore"):
        count = texts.distinct(
            np.frombuffer(b"".join(sent), np.uint8), special, value, table, found
        )
    said = [sent[row] for row in found[:count].tolist()]
    assert [said[int(index)] for index in value] == sent
