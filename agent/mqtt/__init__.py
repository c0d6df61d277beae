"""What reading from a broker and sending to one have in common: a paho client, opened by a table.

Enters: a broker's table of the configuration. Leaves: a client with TLS, WebSockets, MQTT 3.1.1 or
5 and credentials set, whose thread says when it ends, whatever ended it. Fails: ConfigError for
files that cannot be read; what a broker or the way to it answers is told by `answers.py`. Sessions,
subscriptions and acknowledgements are those of sources and sinks.
"""

from __future__ import annotations

from agent.mqtt.answers import Answer, of_end, of_reason
from agent.mqtt.client import (
    SESSION_FOR_EVER,
    UNKNOWN_VERSION,
    Client,
    End,
    Version,
    Will,
    connect,
    new_client,
)

__all__ = [
    "SESSION_FOR_EVER",
    "UNKNOWN_VERSION",
    "Answer",
    "Client",
    "End",
    "Version",
    "Will",
    "connect",
    "new_client",
    "of_end",
    "of_reason",
]
