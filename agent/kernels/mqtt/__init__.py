"""MQTT (OASIS, 3.1.1 and 5.0) read in compiled loops: bytes in, columns and positions out.

Numba checks no bounds, so every kernel here reads nothing that it has not first compared with the
end. A position is int64 and at least 0; a fault is negative (`frames.py`). All arrays of bytes are
given read-only, whoever owns them: another type would be another compilation.
"""
