"""Kernel arrays for tests, also where numba does not compile.

Compiled code reads a field as an attribute of its row; numpy alone does not offer that. So with
NUMBA_DISABLE_JIT=1 the arrays are wrapped, and the same kernels run as plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Sample = tuple[int, int, float, int]
"""Signal, time_ns, value, status."""


class _Row:
    def __init__(self, array: Array, index: Any) -> None:
        object.__setattr__(self, "_at", (array, index))

    def __getattr__(self, name: str) -> Any:
        array, index = object.__getattribute__(self, "_at")
        return array[name][index]

    def __setattr__(self, name: str, value: Any) -> None:
        array, index = object.__getattribute__(self, "_at")
        array[name][index] = value


class _Rows:
    def __init__(self, array: Array) -> None:
        self.array = array
        self.size = array.size

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer) or (isinstance(key, tuple) and self.array.dtype.names):
            return _Row(self.array, key)
        return self.array[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, _Row):
            array, index = object.__getattribute__(value, "_at")
            value = array[index]
        self.array[key] = value


def rows(array: Array) -> Any:
    if numba.config.DISABLE_JIT and array.dtype.names:  # type: ignore[attr-defined]
        return _Rows(array)
    return array


def all_rows(arrays: Any) -> Any:
    """A named tuple of arrays, each as `rows` makes it."""
    return type(arrays)(*map(rows, arrays))


def bits(array: Any) -> dict[str, bytes]:
    """Every field's bits, without the padding between fields."""
    fields = array[:]
    return {name: fields[name].tobytes() for name in fields.dtype.names}


def said(blocks: Sequence[Array]) -> dict[str, bytes]:
    """The bits of all rows of these blocks, however they were cut into blocks."""
    return bits(np.concatenate(blocks)) if blocks else {}


def columns(samples: Sequence[Sample]) -> tuple[Array, Array, Array, Array]:
    signal, time_ns, value, status = zip(*samples, strict=True) if samples else ((), (), (), ())
    return (
        np.array(signal, np.int32),
        np.array(time_ns, np.int64),
        np.array(value, np.float64),
        np.array(status, np.uint32),
    )
