"""CSV lines and binary blocks: cells, broken lines, types, byte orders, lengths."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.batch import BAD, GOOD
from agent.sources.mqtt.payloads import Plain, Readings, Unreadable, as_number, as_text
from agent.sources.mqtt.payloads.reading import READINGS_MAX
from tests.agent.sources.mqtt.payloads.support import NOW_NS, read, times, values

MS = 1_000_000


def lines(payload: bytes, *columns: str, **options: Any) -> Readings:
    return read({"csv": {"columns": columns or ("time", "heat", "-", "lot"), **options}}, payload)


def binary(payload: bytes, kind: Any = "waveform", **options: Any) -> Readings:
    return read({"binary": {"dtype": "int16", "rate_hz": 1_000.0, **options}}, payload, kind)


def test_each_line_is_a_sample_of_each_column_that_is_a_signal() -> None:
    found = lines(b"5,21.5,x,0012\r\n7, -1e3 ,,\n\n   \n")
    assert [one.signal for one in found.taken] == ["heat", "lot"] * 2
    assert values(found) == [Plain("21.5"), Plain("0012"), Plain("-1e3"), None]
    assert times(found) == [5 * MS, 5 * MS, 7 * MS, 7 * MS]
    assert [one.status for one in found.taken] == [GOOD, GOOD, GOOD, BAD]
    assert (as_number(values(found)[2]), as_text(values(found)[1])) == (-1000.0, "0012")
    assert found.unreadable == 0


def test_quotes_separators_headers_and_a_byte_order_mark_are_understood() -> None:
    payload = b'\xef\xbb\xbf"when";what;;lot\n2026-01-31T06:00:00Z; "2,5;";;"say ""a""\nb"\n'
    found = lines(payload, separator=";", time_unit="iso", header=True)
    assert values(found) == [Plain("2,5;"), Plain('say "a"\nb')]
    assert times(found) == [1_769_839_200 * 10**9] * 2


def test_without_a_time_column_the_time_is_that_of_arrival() -> None:
    assert times(lines(b"1\n2\n", "heat")) == [None, None]


def test_a_broken_line_is_counted_and_the_others_are_taken() -> None:
    found = lines(b"5,1,,a\nnoon,2,,b\n6,3\n7,4,,c,,\n8,5,,d,e\n9,6,,f\n")
    assert [as_text(value) for value in values(found)] == ["1", "a", "4", "c", "6", "f"]
    assert (found.unreadable, found.reason) == (3, "line 2: time 'noon' is not a number")


def test_a_quote_that_never_ends_costs_what_follows_it_alone() -> None:
    found = lines(b'1\n"2\n3\n', "heat")
    assert values(found) == [Plain("1")]
    assert found.unreadable == 1
    assert found.reason.startswith("line 3: ")


@pytest.mark.parametrize("payload", [b"", b"\n \r\n", b"\xff\xfe"])
def test_a_payload_without_a_line_is_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        lines(payload)


def test_too_many_lines_are_set_aside_as_a_whole() -> None:
    with pytest.raises(Unreadable, match="more than 100,000"):
        lines(b"1\n" * (READINGS_MAX + 1), "heat")


@given(st.text(alphabet='5,;"\n\r a\0', max_size=40).map(str.encode) | st.binary(max_size=30))
def test_any_text_is_read_as_lines_or_refused(payload: bytes) -> None:
    with suppress(Unreadable):
        found = lines(payload)
        assert found.taken or found.unreadable


@pytest.mark.parametrize("name", ["int8", "uint16", "int32", "uint64", "float32", "float64"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_block_is_a_waveform_whose_last_value_is_of_now(name: str, order: Any) -> None:
    block = np.array([1, 2, 100], name)
    sent = block.astype(block.dtype.newbyteorder(order)).tobytes()
    found = binary(b"head" + sent, dtype=name, byte_order=order, skip_bytes=4, scale=0.5, offset=1)
    [one] = found.taken
    assert one.waveform is not None
    assert one.waveform.tolist() == [1.5, 2.0, 51.0]
    assert one.value == pytest.approx(math.sqrt((1.5**2 + 2**2 + 51**2) / 3))
    assert (one.time_ns, one.rate_hz, one.status) == (NOW_NS - 2 * MS, 1_000.0, GOOD)


def test_of_another_kind_each_value_is_a_reading_and_nan_a_missing_one() -> None:
    sent = np.array([1.5, math.nan, 2.5], "<f4").tobytes()
    found = binary(sent, "analog", dtype="float32")
    assert values(found) == [1.5, None, 2.5]
    assert times(found) == [NOW_NS - 2 * MS, NOW_NS - MS, NOW_NS]
    assert [one.status for one in found.taken] == [GOOD, BAD, GOOD]


def test_a_nan_in_a_block_stays_one_and_makes_the_reading_bad() -> None:
    [one] = binary(np.array([1.5, math.nan], "<f8").tobytes(), dtype="float64").taken
    assert one.waveform is not None
    assert math.isnan(one.waveform[1])
    assert one.status == BAD


def test_whole_numbers_beyond_what_float64_holds_are_counted() -> None:
    sent = np.array([2**53, 2**53 + 1, -(2**53) - 1], "<i8").tobytes()
    assert binary(sent, dtype="int64").inexact == 2
    assert binary(np.array([2**64 - 1, 5], "<u8").tobytes(), dtype="uint64").inexact == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "it has 0 bytes: there is no value behind the 2 that are skipped"),
        (b"a", "no value"), (b"ab", "no value"),
        (b"abc", "1 bytes are no whole number of int16 values, of 2 bytes each"),
    ],
)  # fmt: skip
def test_a_length_that_cannot_be_is_unreadable(payload: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        binary(payload, skip_bytes=2)


def test_a_block_too_long_for_single_readings_is_set_aside() -> None:
    sent = bytes(READINGS_MAX + 1)
    assert len(binary(sent, dtype="int8").taken) == 1
    with pytest.raises(Unreadable, match="more than 100,000"):
        binary(sent, "analog", dtype="int8")
