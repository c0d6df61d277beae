"""How a column of numbers is written so that it compresses well and comes back bit by bit.

Integers are written as differences: signals come in turns and times at a beat. Floats are mostly
decimals that a machine rounded, or 32-bit floats made wide; where all of a column are, whole
numbers or the short form are written instead (the idea of Afroozeh, Kuffo and Boncz (2023), "ALP:
Adaptive Lossless floating-Point compression", for a whole column). Then byte plane by byte plane,
since the high bytes repeat where the low ones do not.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

DECIMALS_MAX: Final = 6
_WHOLE_MAX: Final = float(1 << 52)

PLAIN: Final = "plain"
SHORT: Final = "short"
DIFFERENCES: Final = "differences"
"""Ways to write a column; a number is the decimals of a column of rounded values."""

Way = str | int


def write_column(column: Column) -> tuple[Way, bytes]:
    """How the column was written, and its bytes."""
    if column.dtype.kind != "f":
        return DIFFERENCES, _planes(_differences(column))
    decimals = _decimals(column)
    if decimals is not None:
        whole = np.rint(column * 10.0**decimals).astype(np.int64)
        return decimals, _planes(_differences(whole))
    with np.errstate(over="ignore"):
        short = column.astype(np.float32)
    if _same(short.astype(np.float64), column):
        return SHORT, _planes(short)
    return PLAIN, _planes(column)


def read_column(data: bytes, at: int, dtype: np.dtype[Any], n: int, way: Way) -> tuple[Column, int]:
    """The n values written at `at`, and where the next column begins."""
    if isinstance(way, int):
        whole, end = _read_planes(data, at, np.dtype(np.int64), n)
        return np.cumsum(whole) / 10.0**way, end
    if way == SHORT:
        short, end = _read_planes(data, at, np.dtype(np.float32), n)
        return short.astype(dtype), end
    column, end = _read_planes(data, at, dtype, n)
    return (np.cumsum(column, dtype=dtype) if way == DIFFERENCES else column), end


def _decimals(column: Column) -> int | None:
    """So many decimals say every value exactly; None where no few do."""
    if column.size == 0 or not (np.abs(column) < _WHOLE_MAX / 10.0**DECIMALS_MAX).all():
        return None
    probe = column[:: max(1, column.size // 64)]
    for decimals in range(DECIMALS_MAX + 1):
        if _is_decimal(probe, decimals):
            return decimals if _is_decimal(column, decimals) else None
    return None


def _is_decimal(column: Column, decimals: int) -> bool:
    scale = 10.0**decimals
    return _same(np.rint(column * scale).astype(np.int64) / scale, column)


def _same(ours: Column, theirs: Column) -> bool:
    """Bit by bit: -0.0 is not 0.0, and NaN keeps its payload."""
    return bool((ours.view(np.int64) == theirs.view(np.int64)).all())


def _differences(column: Column) -> Column:
    differences = column.copy()
    differences[1:] -= column[:-1]  # wraps around like the sum that undoes it
    return differences


def _planes(column: Column) -> bytes:
    width = column.dtype.itemsize
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), width).T.tobytes()


def _read_planes(data: bytes, at: int, dtype: np.dtype[Any], n: int) -> tuple[Column, int]:
    planes = np.frombuffer(data, np.uint8, dtype.itemsize * n, at)
    rows = np.ascontiguousarray(planes.reshape(dtype.itemsize, n).T)
    return rows.view(dtype).reshape(n), at + dtype.itemsize * n
