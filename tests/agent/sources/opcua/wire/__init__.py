"""Bytes of answers to columns."""
