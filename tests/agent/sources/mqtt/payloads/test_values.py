"""Values, texts, qualities and units: what is one, what it becomes, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent.batch import BAD, GOOD
from agent.sources.mqtt.payloads import Plain, Unreadable, as_number, as_text, is_inexact
from agent.sources.mqtt.payloads.reading import UNCERTAIN, status_of, unit_of
from tests.agent.sources.mqtt.payloads.support import read, read_json, values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"21.5", 21.5), (b" 21.5\r\n", 21.5), (b"21.5\0", 21.5), (b"+007", 7), (b"-.5", -0.5),
        (b"1.", 1.0), (b"2.5E-3", 0.0025), (b"true", True), (b"False", False),
        (b"18446744073709551615", 2**64 - 1),
    ],
)  # fmt: skip
def test_a_plain_number_is_read_as_devices_print_it(text: bytes, value: float) -> None:
    found = read({"number": {}}, text)
    assert values(found) == [value]
    assert type(found.taken[0].value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"21,5", b"21.5 C", b"nan", b"inf", b"1_000", b"0x10", b"1e", b".", b"- 5",
        b"on", "\u0661".encode(), b"\xff", b"1" * 5_000,
    ],
)  # fmt: skip
def test_what_only_looks_like_a_number_is_refused(text: bytes) -> None:
    with pytest.raises(Unreadable):
        read({"number": {}}, text)


def test_a_decimal_comma_is_told_as_such() -> None:
    with pytest.raises(Unreadable, match=r"'21,5' is not a number \(the decimal sign is a point\)"):
        read({"number": {}}, b"21,5")


def test_text_is_the_payload_and_nothing_is_taken_off() -> None:
    assert values(read({"text": {}}, "冷却 on \n".encode(), "text")) == ["冷却 on \n"]
    assert values(read({"text": {}}, b"", "text")) == [""]
    with pytest.raises(Unreadable, match="not UTF-8"):
        read({"text": {}}, b"\xff")


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (1, 1.0, "1"), (-2.5, -2.5, "-2.5"), (True, 1.0, "true"), (Plain("007"), 7.0, "007"),
        (Plain("true"), 1.0, "true"), (2**53 + 1, 2.0**53, "9007199254740993"),
    ],
)  # fmt: skip
def test_a_value_is_a_number_or_a_text_by_its_signals_kind(
    value: Any, number: float, text: str
) -> None:
    assert as_number(value) == number
    assert as_text(value) == text


def test_a_missing_value_is_nan_as_a_number_and_none_as_text() -> None:
    assert math.isnan(as_number(None))
    assert as_text(None) is None


@pytest.mark.parametrize(
    "value", ["1", "abc", Plain("abc"), math.inf, 10**400, Plain("9" * 400), Plain("1e999")]
)
def test_text_and_numbers_beyond_float64_are_no_numbers(value: Any) -> None:
    with pytest.raises(Unreadable):
        as_number(value)


@pytest.mark.parametrize("value", ["x" * 10_001, Plain("x" * 10_001), math.inf])
def test_documents_and_what_is_no_number_are_no_text(value: Any) -> None:
    with pytest.raises(Unreadable):
        as_text(value)


@pytest.mark.parametrize(
    ("value", "inexact"),
    [
        (2**53, False), (-(2**53) - 1, True), (2**53 + 2, True), (1e300, False), (None, False),
        (True, False), ("x", False), (Plain("9007199254740993"), True), (Plain("1e30"), False),
    ],
)  # fmt: skip
def test_whole_numbers_beyond_what_float64_holds_are_told(value: Any, inexact: bool) -> None:
    assert is_inexact(value) is inexact


@pytest.mark.parametrize(
    ("quality", "status"),
    [
        (None, GOOD), (True, GOOD), (False, BAD), (192, GOOD), (216, GOOD), (192.0, GOOD),
        (64, UNCERTAIN), (191, UNCERTAIN), (0, BAD), (24, BAD), (0x01_00 + 24, BAD),
        (0x8031_0000, 0x8031_0000), (1 << 16, 1 << 16), ("good", GOOD), ("GOOD", GOOD),
        ("Bad", BAD), ("BadNoCommunication", BAD), (" Uncertain", UNCERTAIN),
        ("Good, local override", GOOD),
    ],
)  # fmt: skip
def test_quality_is_read_in_the_ways_it_is_sent(quality: Any, status: int) -> None:
    assert status_of(quality) == status


@pytest.mark.parametrize("quality", ["", "fine", "192", -1, 1 << 32, 0.5, math.inf, [], {}])
def test_what_is_no_quality_is_refused_not_guessed(quality: Any) -> None:
    with pytest.raises(Unreadable, match="is no quality"):
        status_of(quality)


def test_units_are_text_that_can_be_shown_or_nothing() -> None:
    said = [" kN ", "\u00b0C", "x" * 33, "a\x1b[2J", 5, None]
    assert [unit_of(one) for one in said] == ["kN", "\u00b0C", "", "", "", ""]


def test_a_value_of_bad_quality_comes_with_its_status_and_a_missing_one_is_bad() -> None:
    found = read_json(
        b'[{"v": 1, "q": "bad"}, {"v": null, "q": 192}, {"v": null, "q": 2150694912}, {"v": 2}]',
        samples="", quality="q",
    )  # fmt: skip
    assert values(found) == [1, None, None, 2]
    assert [one.status for one in found.taken] == [BAD, BAD, 0x8031_0000, GOOD]
