"""Tests of `agent.cli.check`."""
