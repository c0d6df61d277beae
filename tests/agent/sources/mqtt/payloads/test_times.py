"""Times: numbers by their unit, ISO 8601 to the nanosecond, and what is out of range."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.mqtt.payloads import Unreadable
from agent.sources.mqtt.payloads.times import time_of, time_of_cell

S = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("unit", "value", "time_ns"),
    [
        ("s", 1_700_000_000, S), ("s", 1_700_000_000.5, S + 500_000_000),
        ("s", 1_763_859_600.123456, 1_763_859_600_123_456_000),
        ("ms", 1_700_000_000_123, S + 123_000_000),
        ("ms", 1_700_000_000_123.456, S + 123_456_000),
        ("us", 1_700_000_000_123_456, S + 123_456_000), ("us", 1.5, 2_000), ("us", 2.5, 2_000),
        ("ns", S + 123_456_789, S + 123_456_789), ("ns", 1.7e18, S),
        ("iso", "2023-11-14T22:13:20Z", S), ("iso", "2023-11-14T22:13:20", S),
        ("iso", "2023-11-15T06:13:20.123456+08:00", S + 123_456_000),
        ("iso", "2023-11-14 22:13:20.5Z", S + 500_000_000),
        ("iso", "20231114T221320.123456789Z", S + 123_456_789),
        ("iso", "2023-11-14T22:13:20.1234567+00:00", S + 123_456_700),
        ("iso", "2023-11-14T22:13:20.12345678999Z", S + 123_456_789),
        ("iso", "2023-11-14", 1_699_920_000 * 10**9),
        ("auto", "2023-11-14T22:13:20Z", S), ("auto", 1_700_000_000, S),
        ("auto", 1_700_000_000.25, S + 250_000_000), ("auto", 1_700_000_000_000, S),
        ("auto", 1_700_000_000_000_000, S), ("auto", S, S),
        ("auto", 10**11, 10**17), ("auto", 10**14, 10**17), ("auto", 10**17, 10**17),
    ],
)  # fmt: skip
def test_a_time_counts_to_its_last_digit(unit: Any, value: Any, time_ns: int) -> None:
    assert time_of(value, unit) == time_ns


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("ms", None), ("ms", True), ("ms", "1700000000123"), ("ms", 0), ("ms", -5), ("ms", 1e300),
        ("ms", -1e300), ("s", 9_223_372_037), ("s", 9_223_372_037.0), ("ns", 10**400),
        ("us", 0.4), ("iso", 1_700_000_000), ("iso", "9999-12-31T23:59:59Z"),
        ("iso", "0001-01-01T00:00:00+14:00"), ("iso", "now"), ("iso", "1970-01-01T00:00:00Z"),
        ("auto", "1700000000123"), ("auto", None), ("auto", 10**400), ("auto", -1), ("auto", []),
        ("auto", 99_999_999_999.0),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(unit: Any, value: Any) -> None:
    with pytest.raises(Unreadable, match=r"^time "):
        time_of(value, unit)


@pytest.mark.parametrize(
    ("unit", "cell", "time_ns"),
    [
        ("ms", "1700000000000", S), ("s", "1700000000.5", S + 500_000_000),
        ("iso", "2023-11-14T22:13:20Z", S), ("auto", "1700000000", S),
        ("auto", "2023-11-14 22:13:20", S), ("iso", "20231114", 1_699_920_000 * 10**9),
    ],
)  # fmt: skip
def test_a_time_without_quotes_is_a_number_or_iso(unit: Any, cell: str, time_ns: int) -> None:
    assert time_of_cell(cell, unit) == time_ns


@pytest.mark.parametrize(("unit", "cell"), [("ms", ""), ("auto", ""), ("ms", "true"), ("s", "x")])
def test_a_cell_without_a_time_is_refused(unit: Any, cell: str) -> None:
    with pytest.raises(Unreadable, match=r"^time "):
        time_of_cell(cell, unit)
