"""Tests of `agent/detect`."""
