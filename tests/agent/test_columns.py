"""Columns of numbers come back bit by bit, however they were written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.columns import DIFFERENCES, PLAIN, SHORT, Column, read_column, write_column

SEEDED = settings(max_examples=200, deadline=None, derandomize=True)
RANDOM = np.random.default_rng(3)


def back(column: Column) -> Column:
    way, data = write_column(column)
    again, end = read_column(b"..." + data, 3, column.dtype, len(column), way)
    assert end == len(data) + 3
    return again


def bits(column: Column) -> bytes:
    return column.tobytes()


@SEEDED
@given(st.lists(st.floats(width=64) | st.decimals(-9999, 9999, places=3).map(float)))
def test_floats_come_back_bit_by_bit(values: list[float]) -> None:
    column = np.array(values, np.float64)
    assert bits(back(column)) == bits(column)


@SEEDED
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_come_back_even_where_differences_wrap_around(values: list[int]) -> None:
    column = np.array(values, np.int64)
    assert bits(back(column)) == bits(column)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint16])
def test_shorter_integers_come_back(dtype: type) -> None:
    column: Column = RANDOM.integers(0, 60_000, 1000).astype(dtype)
    assert bits(back(column)) == bits(column)


@pytest.mark.parametrize(
    ("column", "way"),
    [
        (np.round(RANDOM.normal(20, 3, 1000), 3), 3),
        (np.arange(1000.0), 0),
        (RANDOM.normal(20, 3, 1000).astype(np.float32).astype(np.float64), SHORT),
        (RANDOM.normal(20, 3, 1000), PLAIN),
        (np.arange(1000), DIFFERENCES),
    ],
)
def test_the_shortest_way_is_taken(column: Column, way: str | int) -> None:
    assert write_column(column)[0] == way


def test_a_value_that_only_the_probe_missed_is_not_rounded() -> None:
    column = np.round(RANDOM.normal(20, 3, 1000), 2)
    column[501] = 1 / 3
    assert bits(back(column)) == bits(column)
