"""A batch: equal columns, slices that vouch for nothing, names of status codes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from agent.batch import Batch, Waveform, empty, status_name


def batch(n: int = 4) -> Batch:
    return Batch(
        np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int64), np.arange(n, dtype=np.float64),
        np.zeros(n, np.uint32), received_ns=99, alive_until_ns=50, texts=("a", "b"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("value", np.zeros(3)),
        ("value", np.zeros(4, np.float32)),
        ("signal", np.zeros(4, np.int64)),
        ("time_ns", np.zeros(4)),
        ("status", np.zeros((4, 1), np.uint32)),
    ],
)
def test_a_column_of_another_length_or_type_is_refused_by_name(column: str, values: Any) -> None:
    changed: dict[str, Any] = {column: values}
    with pytest.raises(ValueError, match=rf"Batch\.{column} is .*; it must be"):
        dataclasses.replace(batch(), **changed)


def test_two_dimensional_columns_are_refused() -> None:
    flat = batch()
    with pytest.raises(ValueError, match=r"Batch\.signal"):
        dataclasses.replace(flat, signal=flat.signal.reshape(2, 2))


def test_only_the_last_slice_vouches_for_the_batchs_time() -> None:
    whole = batch()
    first, last = whole.slice(0, 2), whole.slice(2, 4)
    assert (first.alive_until_ns, last.alive_until_ns) == (0, 50)
    assert first.signal.tolist() + last.signal.tolist() == [0, 1, 2, 3]
    assert (last.texts, last.received_ns) == (("a", "b"), 99)
    assert np.shares_memory(whole.value, last.value)


def test_an_empty_batch_only_advances_time() -> None:
    heartbeat = empty(99, 50)
    assert (len(heartbeat), heartbeat.received_ns, heartbeat.alive_until_ns) == (0, 99, 50)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0, "Good (0x00000000)"),
        (0x808C_0000, "BadSensorFailure (0x808C0000)"),
        (0x808C_0480, "BadSensorFailure (0x808C0480)"),  # info bits do not change the name
        (0x80FF_0000, "Bad (0x80FF0000)"),
        (0xC000_0000, "Bad (0xC0000000)"),
        (0x4094_0000, "Uncertain (0x40940000)"),
    ],
)
def test_a_status_is_said_by_name_and_number(status: int, name: str) -> None:
    assert status_name(status) == name


def with_waveforms() -> Batch:
    blocks = [Waveform(row, 1_000.0, np.full(3, float(row))) for row in (0, 2, 3)]
    return dataclasses.replace(batch(), waveforms=tuple(blocks))


def rows_of(some: Batch) -> list[tuple[int, float]]:
    """Each waveform's row, and the value by which it is known."""
    return [(wave.row, float(wave.values[0])) for wave in some.waveforms]


def test_slices_and_choices_keep_waveforms_with_their_rows() -> None:
    whole = with_waveforms()
    assert rows_of(whole.slice(0, 2)) == [(0, 0.0)]
    assert rows_of(whole.slice(1, 4)) == [(1, 2.0), (2, 3.0)]
    assert rows_of(whole.where(np.array([False, True, False, True]))) == [(1, 3.0)]
    assert rows_of(whole.where(np.array([False, False, True, True]))) == [(0, 2.0), (1, 3.0)]
    assert whole.where(np.ones(4, np.bool_)).waveforms[2].rate_hz == 1_000.0
