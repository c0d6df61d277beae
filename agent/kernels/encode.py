"""Line protocol from columns: one pass over the rows, straight into one buffer of bytes.

Enters: for each row the number of its tags (heads and tails, escaped beforehand) and one 64-bit
cell per field. Leaves: the lines and where each starts. What can fail: shapes that do not fit.

Floats are written with the fewest digits that read back as the same double, digit for digit what
Python's repr gives except for a trailing ".0". Method: Raffaello Giulietti, "The Schubfach way to
render doubles" (2021), sections 8 and 9: the interval of decimals that round to v is scaled by a
126-bit estimate of a power of ten, and at most four candidates are compared.

NaN and infinities have no form in line protocol: the field is left out.
Cost: about 0.1 us a float of 17 digits, 0.8 us a window line of 245 B. Memory: 10 kB of tables.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

FLOAT: Final = 0
INTEGER: Final = 1
TEXT: Final = 2
"""What a column of cells holds: float64 bits, int64 bits, or an index into the texts."""

NO_TEXT: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
"""The cell of a text that is not there."""

NUMBER_BYTES_MAX: Final = 25
"""The longest number: sign, 17 digits, point, `e-308`; 19 digits, sign and `i` are less."""

_K_MIN: Final = -324
_K_MAX: Final = 292


def _powers() -> UInt64:
    """(617, 2) halves of 63 bits of floor(10^-k / 2^r) + 1 for k in [_K_MIN, _K_MAX].

    r is such that each has exactly 126 bits (Giulietti, section 9.8).
    """
    halves = np.empty((_K_MAX - _K_MIN + 1, 2), np.uint64)
    for row, k in enumerate(range(_K_MIN, _K_MAX + 1)):
        power = 10 ** abs(k)
        if k <= 0:
            r = power.bit_length() - 126
            g = (power >> r if r >= 0 else power << -r) + 1
        else:
            g = (1 << (power.bit_length() + 125)) // power + 1
        halves[row] = g >> 63, g & 0x7FFF_FFFF_FFFF_FFFF
    return halves


_POWERS = _powers()
_TENS = np.array([10**i for i in range(20)], np.uint64)
_PAIRS = np.frombuffer("".join(f"{i:02d}" for i in range(100)).encode(), np.uint8).copy()

# Named because a literal is a signed integer to numba, and uint64 with int64 becomes a float there.
_0 = np.uint64(0)
_1 = np.uint64(1)
_2 = np.uint64(2)
_10 = np.uint64(10)
_32 = np.uint64(32)
_52 = np.uint64(52)
_63 = np.uint64(63)
_100 = np.uint64(100)
_10000 = np.uint64(10_000)
_100000000 = np.uint64(100_000_000)
_LOW_32 = np.uint64(0xFFFF_FFFF)
_LOW_63 = np.uint64(0x7FFF_FFFF_FFFF_FFFF)
_HIDDEN = np.uint64(1 << 52)
_FRACTION = np.uint64((1 << 52) - 1)
_EXPONENT = np.uint64(0x7FF)


@njit(cache=True, nogil=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    """High and low 64 bits of a * b, by halves of 32 bits."""
    a1, a0 = a >> _32, a & _LOW_32
    b1, b0 = b >> _32, b & _LOW_32
    low = a0 * b0
    middle = a1 * b0 + (low >> _32)
    carry = a0 * b1 + (middle & _LOW_32)
    return a1 * b1 + (middle >> _32) + (carry >> _32), (carry << _32) | (low & _LOW_32)


@njit(cache=True, nogil=True)
def _scaled(g1, g0, cp):  # type: ignore[no-untyped-def]
    """The product g * cp / 2^127, rounded to odd (Giulietti, section 9.9)."""
    x1, _ = _product(g0, cp)
    y1, y0 = _product(g1, cp)
    z = (y0 >> _1) + x1
    return (y1 + (z >> _63)) | (((z & _LOW_63) + _LOW_63) >> _63)


@njit(cache=True, nogil=True)
def _shortest(exponent, fraction):  # type: ignore[no-untyped-def]
    """(d, k) with d * 10^k the shortest decimal in the rounding interval, closest to the double."""
    if exponent == 0:
        c, q = fraction, -1074
    else:
        c, q = fraction | _HIDDEN, exponent - 1075
    cb = c << _2
    if fraction != _0 or exponent <= 1:
        k = (q * 661_971_961_083) >> 41  # floor(log10(2^q))
        cb_low = cb - _2
    else:  # a power of two: the doubles below are twice as dense
        k = (q * 661_971_961_083 - 274_743_187_321) >> 41  # floor(log10(3/4 * 2^q))
        cb_low = cb - _1
    h = np.uint64(q + ((-k * 913_124_641_741) >> 38) + 2)  # floor(log2(10^-k)) inside
    g1, g0 = _POWERS[k - _K_MIN, 0], _POWERS[k - _K_MIN, 1]
    vb = _scaled(g1, g0, cb << h)
    low = _scaled(g1, g0, cb_low << h) + (c & _1)  # an odd c does not own the ends
    high = _scaled(g1, g0, (cb + _2) << h) - (c & _1)
    s = vb >> _2
    if s >= _10:
        ten = s // _10 * _10
        low_in, high_in = low <= ten << _2, (ten + _10) << _2 <= high
        if low_in != high_in:
            return (ten if low_in else ten + _10), k
    low_in, high_in = low <= s << _2, (s + _1) << _2 <= high
    if low_in != high_in:
        return (s if low_in else s + _1), k
    half = (s << _2) + _2
    nearer = vb < half or (vb == half and s & _1 == _0)
    return (s if nearer else s + _1), k


@njit(cache=True, nogil=True)
def _without_zeros(d, k):  # type: ignore[no-untyped-def]
    """The same decimal without trailing zeros; d has at most 18 digits and is not 0."""
    if d % _100000000 == _0:
        d, k = d // _100000000, k + 8
    if d % _10000 == _0:
        d, k = d // _10000, k + 4
    while d % _100 == _0:
        d, k = d // _100, k + 2
    if d % _10 == _0:
        d, k = d // _10, k + 1
    return d, k


@njit(cache=True, nogil=True)
def _count(d):  # type: ignore[no-untyped-def]
    """How many digits d has."""
    if d >= _TENS[15]:
        n = 16
        while n < 20 and d >= _TENS[n]:
            n += 1
        return n
    n = 1
    while d >= _TENS[n]:
        n += 1
    return n


@njit(cache=True, nogil=True)
def _put_digits(out, at, d, n):  # type: ignore[no-untyped-def]
    """Write the n digits of d at `at`; returns where they end."""
    i = at + n
    while d >= _100:
        pair = np.int64(d % _100) * 2
        d = d // _100
        i -= 2
        out[i], out[i + 1] = _PAIRS[pair], _PAIRS[pair + 1]
    pair = np.int64(d) * 2
    if d >= _10:
        out[i - 2] = _PAIRS[pair]
    out[i - 1] = _PAIRS[pair + 1]
    return at + n


@njit(cache=True, nogil=True)
def _put_float(out, at, bits):  # type: ignore[no-untyped-def]
    """Write a finite double as repr does, without a trailing ".0"."""
    if bits >> _63:
        out[at] = 45  # -
        at += 1
    exponent, fraction = np.int64((bits >> _52) & _EXPONENT), bits & _FRACTION
    if exponent == 0 and fraction == _0:
        out[at] = 48
        return at + 1
    trailing = 1075 - exponent  # bits behind the binary point
    if 0 <= trailing <= 52 and (fraction & ((_1 << np.uint64(trailing)) - _1)) == _0:
        d = (fraction | _HIDDEN) >> np.uint64(trailing)  # a whole number below 2^53
        return _put_digits(out, at, d, _count(d))
    d, k = _shortest(exponent, fraction)
    d, k = _without_zeros(d, k)
    n = _count(d)
    point = n + k
    if -4 < point <= 16:
        return _put_plain(out, at, d, n, point)
    return _put_scientific(out, at, d, n, point - 1)


@njit(cache=True, nogil=True)
def _put_plain(out, at, d, n, point):  # type: ignore[no-untyped-def]
    """Write the n digits of d with the point behind the first `point` of them, -4 < point <= 16."""
    if point <= 0:
        out[at], out[at + 1] = 48, 46
        for i in range(-point):
            out[at + 2 + i] = 48
        return _put_digits(out, at + 2 - point, d, n)
    if point >= n:
        end = _put_digits(out, at, d, n)
        for i in range(point - n):
            out[end + i] = 48
        return end + point - n
    end = _put_digits(out, at + 1, d, n)
    for i in range(at, at + point):
        out[i] = out[i + 1]
    out[at + point] = 46
    return end


@njit(cache=True, nogil=True)
def _put_scientific(out, at, d, n, exponent):  # type: ignore[no-untyped-def]
    """Write d with one digit before the point and an exponent of at least two digits."""
    end = _put_digits(out, at + 1, d, n)
    out[at] = out[at + 1]
    if n == 1:
        end = at + 1
    else:
        out[at + 1] = 46
    out[end], out[end + 1] = 101, 45 if exponent < 0 else 43  # e, sign
    digits = np.uint64(abs(exponent))
    if digits < _10:
        out[end + 2] = 48
        return _put_digits(out, end + 3, digits, 1)
    return _put_digits(out, end + 2, digits, _count(digits))


@njit(cache=True, nogil=True)
def _put_integer(out, at, bits):  # type: ignore[no-untyped-def]
    """Write an int64 given as its bits."""
    if bits >> _63:
        out[at] = 45
        at += 1
        bits = ~bits + _1
    return _put_digits(out, at, bits, _count(bits))


@njit(cache=True, nogil=True)
def _put_bytes(out, at, pool, row, starts):  # type: ignore[no-untyped-def]
    """Copy one entry of a pool of byte strings."""
    for i in range(starts[row], starts[row + 1]):
        out[at] = pool[i]
        at += 1
    return at


@njit(cache=True, nogil=True)
def _put_cell(out, at, kind, cell, texts, texts_at):  # type: ignore[no-untyped-def]
    """Write one field's value."""
    if kind == FLOAT:
        return _put_float(out, at, cell)
    if kind == TEXT:
        return _put_bytes(out, at, texts, np.int64(cell), texts_at)
    at = _put_integer(out, at, cell)
    out[at] = 105  # i
    return at + 1


@njit(cache=True, nogil=True)
def _put_lines(  # type: ignore[no-untyped-def]
    out, offsets, heads, heads_at, head, tails, tails_at, tail,
    names, names_at, kinds, cells, texts, texts_at, time_ns,
):  # fmt: skip
    """Write every row; returns the length of what was written."""
    at = 0
    for row in range(len(time_ns)):
        offsets[row] = at
        at = _put_bytes(out, at, heads, head[row], heads_at)
        at = _put_bytes(out, at, tails, tail[row], tails_at)
        separator = 32  # a space before the first field, commas before the others
        for column in range(len(kinds)):
            kind, cell = kinds[column], cells[row, column]
            if kind == FLOAT and (cell >> _52) & _EXPONENT == _EXPONENT:
                continue
            if kind == TEXT and cell == NO_TEXT:
                continue
            out[at] = separator
            at = _put_bytes(out, at + 1, names, column, names_at)
            at = _put_cell(out, at, kind, cell, texts, texts_at)
            separator = 44
        out[at] = 32
        at = _put_integer(out, at + 1, time_ns[row])
        out[at] = 10
        at += 1
    offsets[len(time_ns)] = at
    return at


Pool = tuple[UInt8, Int64]
"""Byte strings end to end, and where each starts: (bytes,) and (entries + 1,)."""


def pool(entries: list[bytes]) -> Pool:
    """The pool of these byte strings."""
    starts = np.zeros(len(entries) + 1, np.int64)
    np.cumsum([len(entry) for entry in entries], out=starts[1:])
    return np.frombuffer(b"".join(entries), np.uint8), starts


def encode_lines(
    heads: Pool,
    head: Int64,
    tails: Pool,
    tail: Int64,
    names: Pool,
    kinds: UInt8,
    cells: UInt64,
    texts: Pool,
    time_ns: Int64,
) -> tuple[bytes, Int64]:
    """Lines of n rows with f fields each, ended by newlines, and (n + 1,) where each starts.

    heads, head : measurement and tags, and (n,) which of them each row has
    tails, tail : further tags, and (n,) which of them each row has
    names : f field names, each with its `=`
    kinds : (f,) FLOAT, INTEGER or TEXT
    cells : (n, f) uint64, the bits of the values; a text is an index into `texts` or NO_TEXT
    texts : quoted and escaped already
    time_ns : (n,)

    A row must have a field that is neither NaN nor absent. Raises ValueError where shapes or
    indices do not fit: a programmer's mistake.
    """
    n, fields = len(time_ns), len(kinds)
    if cells.shape != (n, fields) or len(names[1]) != fields + 1:
        raise ValueError(f"cells are {cells.shape} for {n} rows and {fields} fields")
    present = cells[:, kinds == TEXT]
    present = present[present != NO_TEXT].astype(np.int64)
    bound = n * (len(names[0]) + (fields + 1) * (NUMBER_BYTES_MAX + 1))
    for what, entries, rows in (
        ("head", heads, head), ("tail", tails, tail), ("text", texts, present),
    ):  # fmt: skip
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(entries[1]) - 1:
            raise ValueError(f"a {what} index is outside 0..{len(entries[1]) - 2}")
        bound += int(np.diff(entries[1])[rows].sum())
    if not len(head) == len(tail) == n:
        raise ValueError(f"{len(head)} heads and {len(tail)} tails for {n} rows")
    out, offsets = np.empty(bound, np.uint8), np.empty(n + 1, np.int64)
    end = _put_lines(
        out, offsets, *heads, head, *tails, tail,
        *names, kinds, cells, *texts, time_ns.view(np.uint64),
    )  # fmt: skip
    return out[:end].tobytes(), offsets
