"""The quick way to a metric's bytes gives the bytes of the general one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sinks.sparkplug.data import (
    NO_DATA,
    alias_piece,
    metric_piece,
    quality,
    time_piece,
)
from agent.sinks.sparkplug.node import DATATYPES
from agent.sparkplug import DataType, Metric, Payload, encode

VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)
STATUS = st.sampled_from([0, NO_DATA, 0x4000_0000, 0x8000_0000, 0x8031_0000, 0x80AB_0001])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), VALUE, st.booleans(), STATUS)
def test_it_writes_what_the_general_encoder_writes(
    alias: int, time_ms: int, value: bool | int | float | str | None, historical: bool, status: int
) -> None:
    datatype = DataType.DOUBLE if value is None else DATATYPES[type(value)]
    metric = Metric(
        None, datatype, value, time_ms, alias, historical, properties=quality(status)
    )  # fmt: skip
    expected = encode(Payload(None, [metric]), datatypes=False)
    piece = metric_piece(alias_piece(alias), time_piece(time_ms), value, historical, status)
    assert piece == expected


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (NO_DATA, 500), (0x8031_0000, 500), (0x808A_0000, 500), (0x8000_0000, 0),
        (0x4000_0000, 192),
    ],
)  # fmt: skip
def test_quality_is_one_of_three_numbers_of_32_bits(status: int, code: int) -> None:
    said = quality(status)
    assert (said["Quality"].datatype, said["Quality"].value) == (DataType.INT32, code)
    assert ("status" in said) == (status != NO_DATA)


def test_good_says_nothing() -> None:
    assert not quality(0)
