"""Tests of `agent/sinks/sparkplug`."""
