"""Sinks: far sides that take lines.

A sink sends one packet and returns, or raises; when to try again, how much to send and what to do
with a rejected line is the forwarder's business (`agent/forward`). Each sink is one folder with
its sample configuration and README.
"""

from __future__ import annotations

from typing import Protocol

from agent.lines import Packet


class Sink(Protocol):
    """One far side. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def flavour(self) -> str:
        """Which kind of server it is; empty while that is not known."""

    def send(self, packet: Packet) -> int:
        """Return when the far side has said that it has all of it that it can hold.

        Returns how many lines it cannot hold; they were left out. Raises SinkUnreachable (try
        again), SinkRefused (token or scope), SinkRejected (the lines).
        """

    def close(self) -> None:
        """Let go of the connection."""
