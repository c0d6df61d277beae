"""Payloads as the kernels read them, against the slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.kernels.sparkplug import fields
from agent.kernels.sparkplug import metrics as kernel
from agent.sparkplug import DataType, Metric, Payload, Property, encode
from tests.agent.kernels.sparkplug import naive
from tests.agent.kernels.sparkplug.made import CHANGES, mutated, payloads


def raw(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def head(data: bytes) -> list[int]:
    out = np.zeros((1, kernel.HEAD), np.int64)
    kernel.heads(raw(data), np.zeros(1, np.int64), np.array([len(data)], np.int64), out)
    return [int(place) for place in out[0]]


def rows(data: bytes) -> list[list[int]] | int:
    found = np.zeros((max(head(data)[kernel.METRICS], 0), kernel.METRIC), np.int64)
    said = kernel.metrics(raw(data), 0, len(data), found)
    return int(said) if said < 0 else [[int(place) for place in row] for row in found[:said]]


def unsigned(bits: int) -> int:
    return bits % 2**64


def agrees(data: bytes) -> None:
    """What the kernels read is what the twin reads; they refuse what it refuses."""
    found = rows(data)
    try:
        expected = naive.read(data)
    except naive.Malformed:
        assert isinstance(found, int)
        return
    assert not isinstance(found, int)
    assert expected.metrics is not None
    said = head(data)
    assert said[kernel.FAULT] == 0
    assert unsigned(said[kernel.TIMESTAMP]) == expected.timestamp_ms
    assert said[kernel.SEQ] == expected.seq
    assert len(found) == said[kernel.METRICS] == len(expected.metrics)
    for row, one in zip(found, expected.metrics, strict=True):
        check(data, row, one)


def check(data: bytes, row: list[int], one: naive.One) -> None:
    at, size = row[kernel.NAME_AT], row[kernel.NAME_SIZE]
    assert (data[at : at + size] if size >= 0 else None) == one.name
    aliased = row[kernel.FLAGS] & kernel.ALIASED
    assert (unsigned(row[kernel.ALIAS]) if aliased else None) == one.alias
    assert unsigned(row[kernel.TIME_MS]) == one.time_ms
    assert row[kernel.DATATYPE] == one.datatype
    assert bool(row[kernel.FLAGS] & kernel.HISTORICAL) == one.is_historical
    assert bool(row[kernel.FLAGS] & kernel.TRANSIENT) == one.is_transient
    assert bool(row[kernel.FLAGS] & kernel.NULL) == one.is_null
    quality = one.quality()
    assert row[kernel.QUALITY] == (-1 if quality is None else quality)
    assert row[kernel.FIELD] == (0 if one.value is None else one.value[0])
    if one.value is not None and one.value[0] >= kernel.STRING:
        at = row[kernel.VALUE_AT]
        assert data[at : at + row[kernel.BITS]] == one.value[1]
    elif one.value is not None and one.value[0] not in (kernel.FLOAT, kernel.DOUBLE):
        assert unsigned(row[kernel.BITS]) == one.value[1]


@given(payloads(), st.booleans())
def test_what_the_encoder_writes_is_read_as_it_was_meant(payload: Payload, typed: bool) -> None:
    data = encode(payload, datatypes=typed)
    agrees(data)
    found = rows(data)
    assert not isinstance(found, int)
    for row, metric in zip(found, payload.metrics, strict=True):
        assert row[kernel.DATATYPE] == (metric.datatype if typed else 0)
        assert bool(row[kernel.FLAGS] & kernel.NULL) == (metric.value is None)
        assert (row[kernel.NAME_SIZE] >= 0) == (metric.name is not None)


@given(payloads(), CHANGES)
def test_changed_bytes_are_read_as_the_twin_reads_them_or_refused(
    payload: Payload, changes: list[tuple[int, int, int]]
) -> None:
    agrees(mutated(encode(payload), changes))


@given(st.binary(max_size=80))
@example(b"\x12\x7f")
@example(b"\x08" + b"\xff" * 9 + b"\x01")
@example(b"\x08" + b"\xff" * 10 + b"\x01")
@example(b"\x12\x0a\x52\x08\xff\xff\xff\xff\xff\xff\xff\xff")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_are_read_as_the_twin_reads_them_or_refused(data: bytes) -> None:
    agrees(data)


@given(payloads(), st.integers(0, 400))
def test_bytes_that_end_too_early_never_reach_beyond_their_end(payload: Payload, cut: int) -> None:
    data = encode(payload)
    whole = raw(data + b"\x12\x03\x0a\x01A")
    end = cut % (len(data) + 1)
    found = np.zeros((len(payload.metrics) + 1, kernel.METRIC), np.int64)
    said = kernel.metrics(whole, 0, end, found)
    alone = np.zeros_like(found)
    assert said == kernel.metrics(raw(data[:end]), 0, end, alone)
    assert (found == alone).all()


def test_heads_of_several_payloads_are_read_at_once() -> None:
    parts = [encode(Payload(1, (), 5)), b"\xff", encode(Payload(None, ()))]
    at = np.cumsum([0, *map(len, parts[:-1])]).astype(np.int64)
    out = np.zeros((3, kernel.HEAD), np.int64)
    kernel.heads(raw(b"".join(parts)), at, np.array([len(p) for p in parts], np.int64), out)
    assert out[0].tolist() == [0, 1, 5, 0, 0]
    assert out[1, kernel.FAULT] < 0
    assert out[2].tolist() == [0, 0, -1, 0, 0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x08", "the bytes end in the middle of a field (byte 1)"),
        (b"\x08" + b"\x80" * 10 + b"\1", "a number has more than ten bytes (byte 11)"),
        (b"\x12\x05\x0a", "a length reaches beyond the end (byte 2)"),
        (b"\x0b\x0c", "it has a group, which no Sparkplug message has (byte 1)"),
        (b"\x07", "it has a field of an impossible number or type (byte 1)"),
        (b"\x00\x00", "it has a field of an impossible number or type (byte 1)"),
    ],
)
def test_a_fault_says_what_is_wrong_and_where(data: bytes, words: str) -> None:
    assert fields.fault_words(head(data)[kernel.FAULT], 0) == words


def test_fields_that_nobody_knows_are_stepped_over_whatever_their_type() -> None:
    unknown = b"\xa0\x06\x7f" + b"\xa2\x06\x02\x0b\x0c" + b"\xa5\x06abcd" + b"\xa1\x06abcdefgh"
    metric = unknown + b"\x0a\x01A" + unknown + b"\x50\x05" + unknown
    data = unknown + b"\x12" + bytes([len(metric)]) + metric + unknown
    found = rows(data)
    assert not isinstance(found, int)
    assert found[0][kernel.FIELD] == kernel.INT
    assert found[0][kernel.BITS] == 5


def test_properties_are_found_in_pairs_and_not_where_one_is_missing() -> None:
    given = {"engUnit": Property(DataType.STRING, "kW"), "low": Property(DataType.DOUBLE, 1.0)}
    data = encode(Payload(1, (Metric("A", DataType.DOUBLE, 1.0, properties=given),)))
    found = rows(data)
    assert not isinstance(found, int)
    at = found[0][kernel.PROPERTIES_AT]
    end = at + found[0][kernel.PROPERTIES_SIZE]
    places = np.zeros((4, 4), np.int64)
    assert kernel.properties(raw(data), at, end, places) == 2
    assert kernel.properties(raw(data), at, end, places[:1]) == 1
    key_at, key_size, value_at, value_size = places[0].tolist()
    assert data[key_at : key_at + key_size] == b"engUnit"
    text_at, text_size = kernel.text_in(raw(data), value_at, value_at + value_size)
    assert data[text_at : text_at + text_size] == b"kW"
    one_key_more = data[at:end] + b"\x0a\x01k"
    assert kernel.properties(raw(one_key_more), 0, len(one_key_more), places) == 0
