"""The catalogues and the one table of numbers that server and browser both write."""

import re

import pytest

from cloud.web.words import CATALOGUES, choose_language, decimals_for, duration, number
from tests.cloud.web.conftest import Open

NUMBERS = [
    # value, reference, text
    (0.0, 0.0, "0"),
    (1186.6, 1827.0, "1,187"),
    (181.24, 181.8, "181.2"),
    (99.96, 99.96, "100.0"),
    (52.31, 52.7, "52.3"),
    (3.274, 3.42, "3.27"),
    (0.4123, 0.418, "0.412"),
    (0.0042, 0.034, "0.004"),
    (0.00042, 0.00042, "0.00042"),
    (-0.0004, 0.5, "0.000"),
    (-12.25, 12.25, "\N{MINUS SIGN}12.2"),
    (1234567.5, 1234567.5, "1,234,568"),
    (0.5, 0.0, "0"),
]
DURATIONS = [
    (0, "0 s"),
    (38.9, "38 s"),
    (252, "4 min 12 s"),
    (3600, "1 h"),
    (7503, "2 h 5 min"),
    (187200, "2 d 4 h"),
    (-3, "0 s"),
]


@pytest.mark.parametrize(("value", "reference", "text"), NUMBERS)
def test_numbers_carry_the_digits_their_signal_deserves(
    value: float, reference: float, text: str
) -> None:
    assert number(value, decimals_for(reference)) == text


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations_show_their_two_largest_parts(seconds: float, text: str) -> None:
    assert duration(seconds, CATALOGUES["en"]) == text


def test_the_browser_writes_numbers_and_durations_as_the_server_does(show: Open) -> None:
    page = show().page
    script = """async ([numbers, seconds]) => {
      const words = await import("/static/words.js");
      const write = ([value, reference]) => words.number(value, words.decimalsFor(reference));
      return [numbers.map(write), seconds.map(words.duration)];
    }"""
    numbers, durations = page.evaluate(
        script, [[case[:2] for case in NUMBERS], [case[0] for case in DURATIONS]]
    )
    assert numbers == [case[2] for case in NUMBERS]
    assert durations == [case[1] for case in DURATIONS]


def shape(words: object) -> object:
    """A catalogue without its language: names, and the slots of each sentence."""
    if isinstance(words, dict):
        return {name: shape(it) for name, it in words.items()}
    return sorted(set(re.findall(r"\{\w+\}", str(words))))


def test_both_languages_say_the_same_things_with_the_same_slots() -> None:
    assert shape(CATALOGUES["en"]) == shape(CATALOGUES["zh"])


@pytest.mark.parametrize(
    ("asked", "remembered", "accept", "language"),
    [
        ("zh", "en", "en", "zh"),
        (None, "zh", "en", "zh"),
        (None, None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, None, "en;q=0.3, zh-Hans;q=0.7", "zh"),
        (None, None, "fr, zh;q=0, de", "en"),
        ("../../etc", "xx", "zh;q=much", "en"),
        (None, None, "", "en"),
    ],
)
def test_the_language_is_asked_remembered_or_wished(
    asked: str | None, remembered: str | None, accept: str, language: str
) -> None:
    assert choose_language(asked, remembered, accept) == language
