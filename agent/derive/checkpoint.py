"""Checkpoints: arrays of kernel state and a document, in few bytes and little time.

Each field is written as `agent.columns` writes columns, byte plane by byte plane. A plane of one
byte is only named, one that hardly compresses (the low bytes of measured values) is kept as it is,
and the rest is compressed together, so that 10,000 signals take some tens of milliseconds.

What can fail: a blob that was damaged or is of another version raises ValueError; an array whose
fields have changed since is left out.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.columns import read_column, write_column

Array = npt.NDArray[Any]

_VERSION: Final = 1
_HEADER: Final = struct.Struct("<BII")
_LEVEL: Final = 1
_PROBE: Final = 1024
_PROBE_DISTINCT: Final = 200
"""A plane is kept as it is when a piece of it has more different bytes; at random it has 251."""

_KEPT: Final = -1
_COMPRESSED: Final = -2
"""What is done with a plane; else it is the one byte that it consists of."""


def pack(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """One blob of a JSON document and (n,) structured arrays."""
    writing = _Planes()
    layout = {
        name: [len(rows), [[field, *writing.add(rows[field])] for field in rows.dtype.names or ()]]
        for name, rows in arrays.items()
    }
    head = json.dumps([document, layout], separators=(",", ":")).encode()
    body = zlib.compress(head + b"".join(writing.compressed), _LEVEL)
    header = _HEADER.pack(_VERSION, len(head), len(body))
    return b"".join([header, body, *writing.kept])


def unpack(
    blob: bytes, dtypes: Mapping[str, np.dtype[Any]]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The document, and those arrays that still have these dtypes. Raises ValueError."""
    try:
        version, head_bytes, body_bytes = _HEADER.unpack_from(blob)
        if version != _VERSION:
            raise ValueError(f"its format {version} is not that of this agent")
        kept_at = _HEADER.size + body_bytes
        data = zlib.decompress(blob[_HEADER.size : kept_at])
        document, layout = json.loads(data[:head_bytes])
        reading = _Reading(data, head_bytes, blob, kept_at)
        read = {name: (n, reading.fields(n, fields)) for name, (n, fields) in layout.items()}
    except (struct.error, zlib.error, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    arrays = {}
    for name, (n, fields) in read.items():
        if name in dtypes and _fits(fields, dtypes[name]):
            arrays[name] = np.zeros(n, dtypes[name])
            for field, column in fields.items():
                arrays[name][field] = column
    return document, arrays


def _fits(fields: Mapping[str, Array], dtype: np.dtype[Any]) -> bool:
    return {name: column.dtype for name, column in fields.items()} == {
        name: _plain(dtype[name]) for name in dtype.names or ()
    }


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A bool is written as a byte."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


class _Planes:
    """Gathers the planes of all columns."""

    def __init__(self) -> None:
        self.compressed: list[bytes] = []
        self.kept: list[bytes] = []

    def add(self, column: Array) -> tuple[str, Any, list[int]]:
        """Dtype, way and what was done with each plane."""
        column = np.ascontiguousarray(column).astype(_plain(column.dtype), copy=False)
        n = len(column)
        if n == 0:
            return column.dtype.str, None, []
        way, data = write_column(column)
        planes = np.frombuffer(data, np.uint8).reshape(-1, n)
        return column.dtype.str, way, [self._plane(plane) for plane in planes]

    def _plane(self, plane: npt.NDArray[np.uint8]) -> int:
        first = int(plane[0])
        if plane[-1] == first and plane[len(plane) // 2] == first and (plane == first).all():
            return first
        piece = plane[len(plane) // 2 :][:_PROBE]
        if np.count_nonzero(np.bincount(piece, minlength=1)) > _PROBE_DISTINCT:
            self.kept.append(plane.tobytes())
            return _KEPT
        self.compressed.append(plane.tobytes())
        return _COMPRESSED


class _Reading:
    """Takes the planes apart again."""

    def __init__(self, data: bytes, at: int, kept: bytes, kept_at: int) -> None:
        self._data, self._at = data, at
        self._kept, self._kept_at = kept, kept_at

    def fields(self, n: int, fields: list[Any]) -> dict[str, Array]:
        """The columns of one array."""
        columns = {}
        for field, text, way, planes in fields:
            dtype = np.dtype(text)
            if n == 0:
                columns[field] = np.empty(0, dtype)
            else:
                data = b"".join([self._plane(plane, n) for plane in planes])
                columns[field], _ = read_column(data, 0, dtype, n, way)
        return columns

    def _plane(self, plane: int, n: int) -> bytes:
        if plane == _COMPRESSED:
            self._at += n
            return self._data[self._at - n : self._at]
        if plane == _KEPT:
            self._kept_at += n
            return self._kept[self._kept_at - n : self._kept_at]
        return bytes([plane]) * n
