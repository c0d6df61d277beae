"""Tests of `agent.cli.outbox`."""
