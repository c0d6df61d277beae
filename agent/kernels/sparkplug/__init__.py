"""Sparkplug B payloads (Sparkplug 3.0, 6.4) read in compiled loops: bytes in, columns out.

Numba checks no bounds, so nothing is read that was not first compared with the end. What this does
not know is stepped over by its length, never entered: no input makes it nest. A position is int64
and at least 0; a fault is negative and says where and what (`fields.py`).
"""
