"""How lines lie on disk: the columns of one block, compressed, in an order that compresses well.

Enters: `Lines`. Leaves: bytes, and back. Each column is stored byte plane by byte plane (all lowest
bytes, then all second ones, ...), since ids, times and exponents repeat where mantissas do not.
Format, little-endian: version, numbers of windows, samples, texts and ready lines, then zlib of the
columns of windows and samples in the order of their dtypes and, for texts and ready lines, their
lengths and bytes.
What can fail: a block that was damaged on disk raises BlockDamagedError.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from agent.lines import SAMPLE, WINDOW, Lines, Rows

_VERSION: Final = 1
_HEADER: Final = struct.Struct("<5I")
_LEVEL: Final = 1
_DTYPES: Final = (WINDOW, SAMPLE)


class BlockDamagedError(Exception):
    """The bytes of a block are not what was written."""


def pack(lines: Lines) -> bytes:
    """One block of these lines."""
    columns = [_planes(rows) for rows in (lines.windows, lines.samples)]
    texts = [text.encode("utf-8", "replace") for text in lines.texts]
    strings = [_strings(texts), _strings(list(lines.ready))]
    counts = len(lines.windows), len(lines.samples), len(lines.texts), len(lines.ready)
    return _HEADER.pack(_VERSION, *counts) + zlib.compress(b"".join(columns + strings), _LEVEL)


def unpack(block: bytes, crc: int) -> Lines:
    """The lines of a block whose CRC-32 was `crc`. Raises BlockDamagedError."""
    if zlib.crc32(block) != crc:
        raise BlockDamagedError("its checksum does not match its content")
    version, *counts = _HEADER.unpack_from(block)
    if version != _VERSION:
        raise BlockDamagedError(f"its format {version} is newer than this agent")
    data, at, tables = zlib.decompress(block[_HEADER.size :]), 0, []
    for dtype, count in zip(_DTYPES, counts, strict=False):
        tables.append(_rows(data, at, dtype, count))
        at += dtype.itemsize * count
    texts, at = _read_strings(data, at, counts[2])
    ready, at = _read_strings(data, at, counts[3])
    return Lines(tables[0], tables[1], tuple(text.decode() for text in texts), tuple(ready))


def _planes(rows: Rows) -> bytes:
    width = rows.dtype.itemsize
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), width).T.tobytes()


def _rows(data: bytes, at: int, dtype: np.dtype[np.void], count: int) -> Rows:
    planes = np.frombuffer(data, np.uint8, dtype.itemsize * count, at)
    return np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T).view(dtype).reshape(count)


def _strings(items: list[bytes]) -> bytes:
    return np.array([len(item) for item in items], "<u4").tobytes() + b"".join(items)


def _read_strings(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    lengths = np.frombuffer(data, "<u4", count, at).tolist()
    at += 4 * count
    items = []
    for length in lengths:
        items.append(data[at : at + length])
        at += length
    return items, at
