"""CRC-32 as zlib has it (ISO 3309; polynomial 0x04C11DB7, reflected), eight bytes a step.

Enters: bytes, and the code of those before them. Leaves: the code of all. Fails never. The eight
tables are those of the byte-wise algorithm, applied to what a byte becomes 0 to 7 bytes later.

Cost: 0.6 ns a byte. Memory: 16 kB, once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.reading import Int, compiled

NOTHING: Final = np.uint64(0)
"""The code of no bytes."""

_POLYNOMIAL: Final = 0xEDB8_8320
_ALL: Final = np.uint64(0xFFFF_FFFF)
_BYTE: Final = np.uint64(0xFF)
_EIGHT: Final = np.uint64(8)


def _tables() -> Any:
    tables = np.zeros((8, 256), np.uint64)
    for byte in range(256):
        code = byte
        for _ in range(8):
            code = code >> 1 ^ (_POLYNOMIAL if code & 1 else 0)
        tables[0, byte] = code
    for later in range(1, 8):
        before = tables[later - 1]
        tables[later] = before >> _EIGHT ^ tables[0][before & _BYTE]
    return tables


_0, _1, _2, _3, _4, _5, _6, _7 = _tables()


@compiled
def crc32(body: Any, at: Int, end: Int, code: Any) -> Any:
    """CRC-32, uint64, of `body[at:end]` behind bytes with this code."""
    p, behind = np.uint64(at), np.uint64(end)
    code ^= _ALL
    while p + np.uint64(8) <= behind:
        code = (
            _7[(code ^ np.uint64(body[p])) & _BYTE]
            ^ _6[(code >> _EIGHT ^ np.uint64(body[p + np.uint64(1)])) & _BYTE]
            ^ _5[(code >> np.uint64(16) ^ np.uint64(body[p + np.uint64(2)])) & _BYTE]
            ^ _4[code >> np.uint64(24) ^ np.uint64(body[p + np.uint64(3)])]
            ^ _3[body[p + np.uint64(4)]]
            ^ _2[body[p + np.uint64(5)]]
            ^ _1[body[p + np.uint64(6)]]
            ^ _0[body[p + np.uint64(7)]]
        )
        p += np.uint64(8)
    while p < behind:
        code = code >> _EIGHT ^ _0[(code ^ np.uint64(body[p])) & _BYTE]
        p += np.uint64(1)
    return code ^ _ALL


@compiled
def crc32_zero(code: Any) -> Any:
    """CRC-32 behind one zero byte more."""
    code ^= _ALL
    return code >> _EIGHT ^ _0[code & _BYTE] ^ _ALL
