"""Tests of `agent.cli.service`."""
