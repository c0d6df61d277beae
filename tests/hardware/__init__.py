"""Tests of the plant side."""
