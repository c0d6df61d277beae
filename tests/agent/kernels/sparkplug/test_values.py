"""Values of known metrics as columns, against the slow twin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kernels.sparkplug import values as kernel
from agent.sparkplug import DataType, Metric, Payload, Property, encode
from agent.sparkplug.datatypes import NUMBERS
from tests.agent.kernels.sparkplug import naive
from tests.agent.kernels.sparkplug.made import CHANGES, basics, metrics, mutated

D = DataType
GOOD, UNCERTAIN, BAD, NO_COMMUNICATION = 0, 0x4000_0000, 0x8000_0000, 0x8031_0000
BASE_NS, ROOM = 1_000, 64


@dataclass
class Entry:
    """A metric of a table; the signal is its place unless it says another."""

    name: str
    datatype: D = D.DOUBLE
    alias: int | None = None
    signal: int | None = None
    text: bool = False


@dataclass
class Taken:
    signal: list[int]
    time_ns: list[int]
    value: list[float]
    status: list[int]
    special: list[list[int]]
    counts: list[int]


def take(data: bytes, entries: Sequence[Entry], since_ns: int = 0) -> Taken | int:
    """What the kernel makes of a payload, or its fault."""
    by_name = sorted(entries, key=lambda one: one.name.encode())
    names = [one.name.encode() for one in by_name]
    aliases = sorted(
        (one.alias - 2**64 if one.alias >= 2**63 else one.alias, row)
        for row, one in enumerate(by_name)
        if one.alias is not None
    )
    table = [
        (entries.index(one) if one.signal is None else one.signal, one.datatype, one.text)
        for one in by_name
    ]
    signal, time_ns = np.full(ROOM, -9, np.int32), np.full(ROOM, -9, np.int64)
    value, status = np.full(ROOM, -9.0), np.full(ROOM, 9, np.uint32)
    special, counts = np.zeros((ROOM, kernel.SPECIAL), np.int64), np.zeros(kernel.COUNTS, np.int64)
    said = kernel.take(
        np.frombuffer(data, np.uint8), 0, len(data),
        np.frombuffer(b"".join(names), np.uint8),
        np.cumsum([0, *map(len, names)], dtype=np.int64),
        np.array(aliases, np.int64).reshape(-1, 2),
        np.array(table, np.int64).reshape(-1, kernel.ENTRY),
        BASE_NS, since_ns, 0, signal, time_ns, value, status, special, counts,
    )  # fmt: skip
    if said < 0:
        return int(said)
    return Taken(
        signal[:said].tolist(), time_ns[:said].tolist(), value[:said].tolist(),
        status[:said].tolist(), special[: counts[kernel.SPECIALS]].tolist(), counts.tolist(),
    )  # fmt: skip


def taken(sent: Sequence[Metric], entries: Sequence[Entry], since_ns: int = 0) -> Taken:
    found = take(encode(Payload(1, tuple(sent))), entries, since_ns)
    assert not isinstance(found, int)
    return found


def one_value(metric: Metric, datatype: D) -> float:
    return taken([metric], [Entry(metric.name or "A", datatype)]).value[0]


@pytest.mark.parametrize("datatype", sorted(NUMBERS))
def test_numbers_of_every_type_come_as_they_were_sent(datatype: D) -> None:
    @given(basics(datatype))
    def check(value: float) -> None:
        found = one_value(Metric("A", datatype, value, 5), datatype)
        expected = value / 1000 if datatype == D.DATE_TIME else float(value)
        assert found == expected or (math.isnan(found) and math.isnan(expected))

    check()


@pytest.mark.parametrize(
    ("data", "datatype", "value"),
    [
        (b"\x50\xff\x01", D.INT8, -1.0),
        (b"\x50\xff\xff\xff\xff\x0f", D.INT8, -1.0),
        (b"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", D.INT32, -1.0),
        (b"\x58\x05", D.UINT32, 5.0),
        (b"\x50\x05", D.INT64, 5.0),
        (b"\x50\x05", D.DOUBLE, 5.0),
        (b"\x70\x01", D.INT32, 1.0),
        (b"\x50\x07", D.BOOLEAN, 1.0),
        (b"\x65\x00\x00\xc0\x3f", D.DOUBLE, 1.5),
    ],
)
def test_other_peoples_ways_to_write_a_number_are_understood(
    data: bytes, datatype: D, value: float
) -> None:
    metric = b"\x0a\x01A" + data
    found = take(b"\x12" + bytes([len(metric)]) + metric, [Entry("A", datatype)])
    assert not isinstance(found, int)
    assert found.value == [value]
    assert found.status == [GOOD]


@pytest.mark.parametrize(
    ("quality", "status"),
    [(None, GOOD), (192, GOOD), (255, GOOD), (64, UNCERTAIN), (0, BAD), (500, NO_COMMUNICATION),
     (128, BAD), (256, BAD), (-1, BAD)],
)  # fmt: skip
def test_the_quality_becomes_the_status_and_the_value_stays(quality: int, status: int) -> None:
    given = {} if quality is None else {"Quality": Property(D.INT32, quality)}
    found = taken([Metric("A", D.DOUBLE, 2.5, 5, properties=given)], [Entry("A")])
    assert (found.value, found.status) == ([2.5], [status])


def test_a_null_is_missing_and_bad_with_the_quality_where_that_is_worse() -> None:
    stale = {"Quality": Property(D.INT32, 500)}
    sent = [Metric("A", D.DOUBLE, None, 5), Metric("A", D.DOUBLE, None, 6, properties=stale)]
    found = taken(sent, [Entry("A")])
    assert all(math.isnan(value) for value in found.value)
    assert found.status == [BAD, NO_COMMUNICATION]


@pytest.mark.parametrize(
    "metric",
    [Metric("A", D.DOUBLE, math.nan, 5), Metric("A", D.STRING, "x", 5),
     Metric("A", D.BYTES, b"12345678", 5)],
)  # fmt: skip
def test_what_is_no_number_is_missing_and_bad(metric: Metric) -> None:
    found = taken([metric], [Entry("A")])
    assert math.isnan(found.value[0])
    assert found.status == [BAD]


def test_the_time_is_the_metrics_own_else_the_one_given() -> None:
    sent = [
        Metric("A", D.DOUBLE, 1.0, 7),
        Metric("A", D.DOUBLE, 1.0, None),
        Metric("A", D.DOUBLE, 1.0, 2**63),
    ]
    assert taken(sent, [Entry("A")]).time_ns == [7_000_000, BASE_NS, BASE_NS]


def test_no_time_is_before_the_given_one_unless_it_is_historical() -> None:
    old = Metric("A", D.DOUBLE, 1.0, 7)
    sent = [old, replace(old, is_historical=True), replace(old, timestamp_ms=9)]
    found = taken(sent, [Entry("A")], 8_000_000)
    assert found.time_ns == [8_000_000, 7_000_000, 9_000_000]
    assert found.counts[kernel.LATEST_NS] == 9_000_000


def test_a_transient_metric_is_counted_and_not_taken() -> None:
    found = taken([Metric("A", D.DOUBLE, 1.0, 7, is_transient=True)], [Entry("A")])
    assert found.signal == []
    assert found.counts[kernel.SKIPPED_TRANSIENT] == 1


def test_what_stands_in_place_of_a_signal_is_counted_by_its_cause() -> None:
    entries = [
        Entry("left out", signal=kernel.LEFT_OUT),
        Entry("unsupported", signal=kernel.UNSUPPORTED),
        Entry("no signal", signal=kernel.NO_SIGNAL),
    ]
    names = [one.name for one in entries] + ["unknown"]
    found = taken([Metric(name, D.DOUBLE, 1.0, 7) for name in names], entries)
    assert found.signal == []
    assert found.counts[: kernel.INEXACT] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("datatype", "value", "inexact"),
    [(D.INT64, 2**53, 0), (D.INT64, -(2**53) - 1, 1), (D.UINT64, 2**64 - 1, 1),
     (D.UINT64, 2**53, 0), (D.DOUBLE, 1e300, 0), (D.DATE_TIME, 2**60, 0)],
)  # fmt: skip
def test_integers_beyond_2_53_are_counted(datatype: D, value: float, inexact: int) -> None:
    found = taken([Metric("A", datatype, value, 7)], [Entry("A", datatype)])
    assert found.counts[kernel.INEXACT] == inexact


def test_texts_are_told_with_where_they_are_and_numbers_for_text_signals_with_their_bits() -> None:
    entries = [Entry("A", D.STRING, text=True), Entry("B", D.INT16, text=True)]
    data = encode(Payload(1, (Metric("B", D.INT16, -2, 7), Metric("A", D.STRING, "ab", 7))))
    found = take(data, entries)
    assert not isinstance(found, int)
    number, text = found.special
    assert number == [0, naive.INT, 2**32 - 2, 0, D.INT16]
    assert text[0] == 1
    assert text[1] == naive.STRING
    assert data[text[3] : text[3] + text[2]] == b"ab"


@given(st.lists(metrics(), max_size=8), st.data())
def test_names_and_aliases_lead_to_their_signals_in_any_order(
    sent: list[Metric], data: st.DataObject
) -> None:
    names = ["A", "B", "Motor/Current", "Motor/Current 2", "温度", ""]
    aliases = data.draw(st.permutations([0, 1, 2, 3, 2**63, 2**64 - 1]))
    entries = [Entry(n, D.INT16, alias) for n, alias in zip(names, aliases, strict=True)]
    by_alias = {one.alias: place for place, one in enumerate(entries)}
    found = taken(sent, entries)
    expected: list[int] = []
    unknown = transient = 0
    for metric in sent:
        if metric.name is not None:
            place = names.index(metric.name) if metric.name in names else None
        else:
            place = by_alias.get(metric.alias)
        unknown += place is None
        transient += place is not None and metric.is_transient
        if place is not None and not metric.is_transient:
            expected.append(place)
    assert found.signal == expected
    assert found.counts[kernel.UNKNOWN] == unknown
    assert found.counts[kernel.SKIPPED_TRANSIENT] == transient


@given(st.lists(metrics(), max_size=5), CHANGES, st.sampled_from(sorted(NUMBERS)))
def test_changed_bytes_bring_what_the_twin_makes_of_them_or_a_fault(
    sent: list[Metric], changes: list[tuple[int, int, int]], datatype: D
) -> None:
    data = mutated(encode(Payload(1, tuple(sent))), changes)
    found = take(data, [Entry("A", datatype)])
    try:
        message = naive.read(data)
    except naive.Malformed:
        assert isinstance(found, int)
        return
    assert not isinstance(found, int)
    assert message.metrics is not None
    known = [one for one in message.metrics if one.name == b"A" and not one.is_transient]
    numbers = [one.number(datatype) for one in known]
    np.testing.assert_array_equal(found.value, numbers)
