"""Numbers in text to the nearest float64 (RFC 8259, 6).

Enters: a position. Leaves: the number, correctly rounded with halves to even, and where it ends.
Fails: with NONE, for what is no number and for what is left to the general decoder: more than 19
digits that count, beyond float64 or below its normal numbers.

    value = m * 10^q: exact where m <= 2^53 and |q| <= 22, both being float64 then; else after
    Daniel Lemire, "Number parsing at a gigabyte per second" (2021), section 5: m times the upper
    128 bits of 5^q, of which the lower 64 count only where the upper 64 do not decide.

Cost: 6 ns a number of few digits, 20 ns one of 17. Memory: 10 kB of tables, once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.reading import Int, byte, compiled, word

NONE: Final = 0
WHOLE: Final = 1
BROKEN: Final = 2
"""What a number is: none, one without point and exponent, any other."""

EXACT_MAX: Final = 1 << 53
_DIGITS_MAX: Final = 19
_EXPONENT_MAX: Final = 99_999
_POWER_MIN: Final = -342
_POWER_MAX: Final = 308
_WHOLE_MAX: Final = np.uint64(2**63 - 1)
_EXACT: Final = np.uint64(1 << 53)
_MINUS: Final = 45
_PLUS: Final = 43
_POINT: Final = 46
_ZERO: Final = 48
_E: Final = 101

_HIGH_NIBBLES: Final = np.uint64(0xF0F0_F0F0_F0F0_F0F0)
_SIXES: Final = np.uint64(0x0606_0606_0606_0606)
_THREES: Final = np.uint64(0x3333_3333_3333_3333)
_DIGITS: Final = np.uint64(0x0F0F_0F0F_0F0F_0F0F)
_PAIRS: Final = np.uint64(0x00FF_00FF_00FF_00FF)
_FOURS: Final = np.uint64(0x0000_FFFF_0000_FFFF)
_TEN: Final = np.uint64(10)
_EIGHT_DIGITS: Final = np.uint64(100_000_000)
_HUNDRED: Final = np.uint64(100)
_TEN_THOUSAND: Final = np.uint64(10_000)
_FORTY_EIGHT: Final = np.uint64(48)
_NINE: Final = np.uint64(9)
_0: Final = np.uint64(0)
_1: Final = np.uint64(1)
_3: Final = np.uint64(3)
_4: Final = np.uint64(4)
_8: Final = np.uint64(8)
_16: Final = np.uint64(16)
_32: Final = np.uint64(32)
_63: Final = np.uint64(63)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_UNDECIDED: Final = np.uint64(0x1FF)
_HIDDEN: Final = np.uint64(1 << 52)
_DROPPED: Final = np.uint64(9)
_SIGN: Final = np.uint64(1 << 63)
_EXPONENT_SHIFT: Final = np.uint64(52)


def _powers() -> Any:
    """(651, 2) upper and lower 64 of the 128 bits of 5^q; rounded up where q < 0."""
    halves = np.empty((_POWER_MAX - _POWER_MIN + 1, 2), np.uint64)
    for row, q in enumerate(range(_POWER_MIN, _POWER_MAX + 1)):
        power = 5 ** abs(q)
        size = power.bit_length()
        if q >= 0:
            bits = power << 128 - size if size <= 128 else power >> size - 128
        else:
            bits = (1 << 127 + (power - 1).bit_length()) // power + 1
        halves[row] = bits >> 64, bits & 0xFFFF_FFFF_FFFF_FFFF
    return halves


_POWERS: Final = _powers()
_TENS: Final = np.array([10.0**q for q in range(23)])


@compiled
def _high(a: Any, b: Any) -> Any:
    """The upper 64 bits of a product."""
    a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
    low, middle = a0 * b0, a1 * b0
    carried = (low >> _32) + (middle & _LOW) + a0 * b1
    return a1 * b1 + (middle >> _32) + (carried >> _32)


@compiled
def _leading_zeros(m: Any) -> Int:
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if m >> np.uint64(64 - step) == _0:
            m <<= np.uint64(step)
            zeros += step
    return zeros


@compiled
def _bits(m: Any, q: Int) -> Any:
    """The float64 nearest to m * 10^q as bits, m > 0; 0 for what is not decided here."""
    if q < _POWER_MIN or q > _POWER_MAX:
        return _0
    zeros = _leading_zeros(m)
    m <<= np.uint64(zeros)
    row = q - _POWER_MIN
    low, high = m * _POWERS[row, 0], _high(m, _POWERS[row, 0])
    if high & _UNDECIDED == _UNDECIDED:
        more = _high(m, _POWERS[row, 1])
        low += more
        if low < more:
            high += _1
        if low == _ALL and (q < -27 or q > 55):
            return _0
    upper = high >> _63
    shift = upper + _DROPPED
    found = high >> shift
    exponent = ((217_706 * q) >> 16) + 63 + np.int64(upper) - zeros + 1_023
    if low <= _1 and -4 <= q <= 23 and found & _3 == _1 and found << shift == high:
        found &= ~_1
    found = (found + (found & _1)) >> _1
    if found >> np.uint64(53):
        found = _HIDDEN
        exponent += 1
    if exponent <= 0 or exponent >= 2_047:
        return _0
    return found & ~_HIDDEN | np.uint64(exponent) << _EXPONENT_SHIFT


@compiled
def nearest(m: Any, q: Int, negative: bool) -> Any:
    """The float64 nearest to m * 10^q; NaN for what is not decided here."""
    value: Any = 0.0
    if m <= _EXACT and -22 <= q <= 22:
        value = np.float64(m)
        value = value / _TENS[-q] if q < 0 else value * _TENS[q]
    elif m != _0:
        bits = _bits(m, q)
        value = np.uint64(bits).view(np.float64) if bits != _0 else np.nan
    return -value if negative else value


@compiled
def _digits(body: Any, p: Int, end: Int, m: Any) -> tuple[Int, Any]:
    """Behind the digits at `p`, and `m` with them at its end; it wraps beyond 19."""
    while end - p >= 8:
        eight = word(body, p)
        if (eight & _HIGH_NIBBLES) | ((eight + _SIXES) & _HIGH_NIBBLES) >> _4 != _THREES:
            break
        eight &= _DIGITS
        eight = (eight * _TEN + (eight >> _8)) & _PAIRS
        eight = (eight * _HUNDRED + (eight >> _16)) & _FOURS
        m = m * _EIGHT_DIGITS + ((eight * _TEN_THOUSAND + (eight >> _32)) & _LOW)
        p += 8
    while p < end:
        digit = np.uint64(body[np.uint64(p)]) ^ _FORTY_EIGHT
        if digit > _NINE:
            break
        m = m * _TEN + digit
        p += 1
    return p, m


@compiled
def _exponent(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """Behind the exponent whose letter is at `p`, and what it says; -1 where it has no digit."""
    p += 1
    sign = byte(body, p) if p < end else np.int64(0)
    if sign in (_MINUS, _PLUS):
        p += 1
    start, power = p, 0
    while p < end and byte(body, p) ^ _ZERO <= 9:
        power = min(power * 10 + (byte(body, p) ^ _ZERO), _EXPONENT_MAX)
        p += 1
    if p == start:
        p = np.int64(-1)
    return p, -power if sign == _MINUS else power


@compiled
def _counting(body: Any, p: Int, count: Int) -> Int:
    """How many of so many digits from `p` on count: not zeros at the front."""
    while count > 0 and (byte(body, p) == _ZERO or byte(body, p) == _POINT):
        count -= byte(body, p) == _ZERO
        p += 1
    return count


@compiled
def number(body: Any, p: Int, end: Int) -> tuple[Int, Int, Int, float]:
    """The number at `p`: behind it, what it is, its value if it is WHOLE, its value."""
    negative = p < end and byte(body, p) == _MINUS
    if negative:
        p += 1
    start = p
    p, m = _digits(body, start, end, _0)
    count, power = p - start, np.int64(0)
    kind = WHOLE if count else NONE
    if count > 1 and byte(body, start) == _ZERO:
        kind = NONE
    if p < end and byte(body, p) == _POINT:
        point = p
        p, m = _digits(body, p + 1, end, m)
        power = point + 1 - p
        kind = BROKEN if kind == WHOLE and power < 0 else NONE
        count -= power
    if p < end and kind != NONE and byte(body, p) | 32 == _E:
        kind = BROKEN
        p, said = _exponent(body, p, end)
        power += said
        if p < 0:
            kind = NONE
    if count > _DIGITS_MAX and _counting(body, start, count) > _DIGITS_MAX:
        kind = NONE
    whole, value = np.int64(0), 0.0
    if kind == WHOLE:
        if m > _WHOLE_MAX:
            kind = NONE
        else:
            whole = -np.int64(m) if negative else np.int64(m)
            value = np.float64(whole)
    elif kind == BROKEN:
        value = nearest(m, power, negative)
        if np.isnan(value):
            kind = NONE
    return p, kind, whole, value
