"""Tests of `agent/outbox`."""
