"""Tests of `agent/sinks/uns`."""
