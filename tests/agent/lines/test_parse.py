"""A line that we write is read back as what it was made of; nothing else is taken for one."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.lines import SAMPLE, WINDOW, Lines
from agent.lines.encode import Encoder, Value, point
from agent.lines.parse import parse, parse_series
from agent.signals import Path, Signal

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAME = TEXT.filter(lambda text: text.isprintable() and "\\" not in text and text[0] != "#")
VALUE = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)
TIME = st.integers(-(2**63), 2**63 - 1)


@given(
    NAME, st.dictionaries(NAME, NAME, max_size=5),
    st.dictionaries(NAME, VALUE, min_size=1, max_size=5), TIME,
)  # fmt: skip
def test_what_point_writes_is_read_back(
    measurement: str, tags: dict[str, str], fields: dict[str, Value], time_ns: int
) -> None:
    line = parse(point(measurement, tags, fields, time_ns) + b"\n")
    series = parse_series(line.series)
    assert (series.measurement, series.tags) == (measurement, tags)
    assert line.time_ns == time_ns
    assert line.fields == fields
    for name, value in fields.items():
        assert type(line.fields[name]) is type(value)


def test_columns_of_windows_and_samples_are_read_back() -> None:
    signal = Signal(Path("acme inc", "gui=yang", "a,b", "line 1"), "press 01", "ram,force", "plc")
    windows, samples = np.zeros(2, WINDOW), np.zeros(2, SAMPLE)
    windows["every_ns"], windows["mean"], windows["n"] = 10**10, [21.5, math.nan], [7, 0]
    samples["text"], samples["value"], samples["status"] = [0, -1], [math.nan, 3.5], [0, 1 << 31]
    samples["time_ns"] = 5
    body, offsets = Encoder({0: signal}).encode(Lines(windows, samples, ('a "b"\n\\ c',)))
    lines = [parse(body[low:high]) for low, high in pairwise(offsets)]
    series = parse_series(lines[0].series)
    assert series.measurement == "window"
    assert series.tags == {
        "enterprise": "acme inc", "site": "gui=yang", "area": "a,b", "line": "line 1",
        "machine": "press 01", "signal": "ram,force", "every": "10s",
    }  # fmt: skip
    assert lines[0].fields["mean"] == 21.5
    assert lines[0].fields["n"] == 7
    assert "mean" not in lines[1].fields
    assert lines[2].fields == {"text": 'a "b"\n\\ c', "status": 0}
    assert lines[3].fields == {"value": 3.5, "status": 1 << 31}
    assert lines[3].time_ns == 5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "form"), (b"a", "form"), (b"a b=1", "form"), (b"a b=1 2 3", "form"),
        (b"a b 1", "field"), (b"a =1 1", "field"), (b"a b=1, 1", "field"), (b'a b="x 1', "field"),
        (b'a b="x"c 1', "field"), (b"a b= 1", "value"), (b"a b=x 1", "value"),
        (b"a b=nan 1", "value"), (b"a b=inf 1", "value"), (b"a b=9223372036854775808i 1", "value"),
        (b"a b=1.5i 1", "value"), (b"a b=1 x", "time"), (b"a b=1 1.5", "time"),
        (b'a b="x" ', "time"), (b"a b=1 9223372036854775808", "time"), (b"a b=\xff 1", "UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_line_is_refused_in_words(line: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(line)


@pytest.mark.parametrize(
    "series", ["", ",a=b", "m,a", "m,a=b=c", "m,a=1,a=2", r"m\,,a", r"m,\a=1,\a=2"]
)
def test_a_series_is_a_measurement_and_tags_each_once(series: str) -> None:
    with pytest.raises(ValueError, match="measurement"):
        parse_series(series)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_a_sentence(data: bytes) -> None:
    try:
        parse_series(parse(data).series)
    except ValueError as error:
        said = str(error)
    else:
        said = "a line"
    assert said
