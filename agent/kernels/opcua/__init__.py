"""OPC UA Binary (OPC 10000-6, 5.2) read in compiled loops: bytes in, columns and positions out.

Numba checks no bounds, so every kernel here reads nothing that it has not first compared with the
end. A position is int64 and at least 0; a fault is negative and says where and what (`reading.py`).
"""
