"""Tests of `agent/sinks`."""
