"""How lines lie on disk: the columns of one block, compressed, in an order that compresses well.

Enters: `Lines`. Leaves: bytes, and back. Each column is written as `agent/columns.py` finds it
short: windows of machines whose values are rounded take 24 B a line, of which `mean` and `std`,
that never are, take 14.
Format, little-endian: version, numbers of windows, samples, texts and ready lines, then zlib of
how each column of windows and samples is written (int8, in the order of their dtypes), those
columns and, for texts and ready lines, their lengths and bytes.
What can fail: a block that was damaged on disk raises BlockDamagedError.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from agent.columns import DIFFERENCES, PLAIN, SHORT, Way, read_column, write_column
from agent.lines import SAMPLE, WINDOW, Lines, Rows

_VERSION: Final = 2
_HEADER: Final = struct.Struct("<5I")
_LEVEL: Final = 6
"""2.5 us a line and a fifth less than level 1, which takes 1.7: room for hours is worth it."""
_WINDOW_COLUMNS: Final = WINDOW.names or ()
_SAMPLE_COLUMNS: Final = SAMPLE.names or ()
_CODES: Final[dict[Way, int]] = {PLAIN: -1, SHORT: -2, DIFFERENCES: -3}
_WAYS: Final[dict[int, Way]] = {code: way for way, code in _CODES.items()}
"""How a column is written, as a number; from 0 on it is the number of decimals."""


class BlockDamagedError(Exception):
    """The bytes of a block are not what was written."""


def pack(lines: Lines) -> bytes:
    """One block of these lines."""
    codes, data = [], []
    for rows in (lines.windows, lines.samples):
        for name in rows.dtype.names or ():
            way, column = write_column(np.ascontiguousarray(rows[name]))
            codes.append(_CODES.get(way, way))
            data.append(column)
    texts = [text.encode("utf-8", "replace") for text in lines.texts]
    data += [_strings(texts), _strings(list(lines.ready))]
    counts = len(lines.windows), len(lines.samples), len(lines.texts), len(lines.ready)
    head = np.array(codes, np.int8).tobytes()
    return _HEADER.pack(_VERSION, *counts) + zlib.compress(head + b"".join(data), _LEVEL)


def unpack(block: bytes, crc: int) -> Lines:
    """The lines of a block whose CRC-32 was `crc`. Raises BlockDamagedError."""
    if zlib.crc32(block) != crc:
        raise BlockDamagedError("its checksum does not match its content")
    version, *counts = _HEADER.unpack_from(block)
    if version != _VERSION:
        raise BlockDamagedError(f"its format {version} is not known to this agent")
    data = zlib.decompress(block[_HEADER.size :])
    split, at = len(_WINDOW_COLUMNS), len(_WINDOW_COLUMNS) + len(_SAMPLE_COLUMNS)
    codes = np.frombuffer(data, np.int8, at).tolist()
    windows, at = _rows(data, at, WINDOW, counts[0], codes[:split])
    samples, at = _rows(data, at, SAMPLE, counts[1], codes[split:])
    texts, at = _read_strings(data, at, counts[2])
    ready, at = _read_strings(data, at, counts[3])
    return Lines(windows, samples, tuple(text.decode() for text in texts), tuple(ready))


def _rows(
    data: bytes, at: int, dtype: np.dtype[np.void], count: int, codes: list[int]
) -> tuple[Rows, int]:
    rows = np.empty(count, dtype)
    for name, code in zip(dtype.names or (), codes, strict=True):
        rows[name], at = read_column(data, at, dtype[name], count, _WAYS.get(code, code))
    return rows, at


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
