"""The sentences a technician reads, word for word."""

from __future__ import annotations

import math

import pytest

from agent.detect.anomaly import Anomaly
from agent.detect.explain import clock, number, sentence
from agent.signals import SECOND_NS, Path, Signal

NOON = 1_700_049_600 * SECOND_NS
FORCE = Signal(Path("e", "s", "a", "l"), "press-01", "ram_force", "opc", unit="kN")
BARE = Signal(Path("e", "s", "a", "l"), "press-01", "ratio", "opc")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1850.0, "1,850"),
        (1850.449, "1,850"),
        (12.3456, "12.35"),
        (-48.06, "-48.06"),
        (999.96, "1,000"),
        (0.5, "0.5"),
        (0.0123456, "0.01235"),
        (0.000123456, "0.0001235"),
        (1_234_567.8, "1,234,568"),
        (0.00001, "1.000e-05"),
        (1.797e308, "1.797e+308"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_number_has_four_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_clock_is_utc_to_the_second() -> None:
    assert clock(NOON + 999_999_999) == "12:00:00 UTC"


LEVEL = Anomaly(0, "level", NOON, NOON, 2.0, value=2051.25, low=10.5, high=1900.0)


def test_a_level_says_value_range_score_and_since_when() -> None:
    assert sentence(LEVEL, FORCE) == (
        "press-01 / ram_force: 2,051 kN where 10.5 to 1,900 is normal "
        "(score 0.94, since 12:00:00 UTC)"
    )


def test_a_signal_without_unit_is_said_without_one() -> None:
    assert sentence(LEVEL, BARE).startswith("press-01 / ratio: 2,051 where 10.5 to 1,900 is")


def test_a_stuck_value_says_for_how_long_and_how_often_it_moves() -> None:
    stuck = Anomaly(
        0, "stuck", NOON, NOON, 1.0, value=24.5, pause_ns=2.04e9, usual_ns=0.3e9
    )  # fmt: skip
    assert sentence(stuck, FORCE) == (
        "press-01 / ram_force: unchanged at 24.5 kN since 12:00:00 UTC, for 2.0 s; "
        "it moves at least every 0.3 s"
    )


def test_a_dropout_says_since_when_and_the_last_value() -> None:
    dropout = Anomaly(0, "dropout", NOON, NOON, 2.0, value=24.5, pause_ns=6e9, usual_ns=2e9)
    assert sentence(dropout, FORCE) == (
        "press-01 / ram_force: no value since 12:00:00 UTC, for 6.0 s; "
        "one comes at least every 2.0 s. The last was 24.5 kN"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0x808C_0000, "the machine reports BadSensorFailure (0x808C0000) since 12:00:00 UTC"),
        (0x4000_0000, "the machine reports Uncertain (0x40000000) since 12:00:00 UTC"),
        (0, "the machine sends no number (NaN or infinity) since 12:00:00 UTC"),
    ],
)
def test_a_bad_status_says_what_the_machine_reports(status: int, words: str) -> None:
    bad = Anomaly(0, "bad_status", NOON, NOON, 2.0, status=status)
    assert sentence(bad, FORCE) == f"press-01 / ram_force: {words}"


def test_a_lost_connection_says_why() -> None:
    lost = Anomaly(0, "connection", NOON, NOON, 2.0, reason="opc: connection refused")
    assert sentence(lost, FORCE) == (
        "press-01: no connection since 12:00:00 UTC: opc: connection refused"
    )
