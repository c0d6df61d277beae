"""Listening to a broker for a while, without a word of our own.

Enters: a broker's table, topic filters. Leaves: what was heard. Fails: SourceUnreachable when the
broker does not answer or the connection is lost, SourceRefused when it says no.

QoS 0, a clean session and a client id of its own: the broker keeps nothing for us, and no other
client is disturbed. Nothing is published; Sparkplug nodes are asked nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

from agent.config import MqttConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.mqtt import Version
from agent.sources.mqtt.browse.heard import Heard
from agent.sources.mqtt.connection import Connection
from agent.sources.mqtt.packets import WireError, publishes

LOOK_S: Final = 0.05
TAKE_BYTES_MAX: Final = 4 << 20
RECEIVE_MAX: Final = 1000
"""At QoS 0 it limits nothing."""


async def listen(
    broker: MqttConfig,
    filters: Collection[str],
    seconds: float,
    heard: Heard,
    enough: asyncio.Event,
    step: Callable[[], None],
) -> None:
    """Take what comes for so long, or until it is enough; `step` is called again and again."""
    quiet = broker.model_copy(update={"qos": 0, "clean_start": True, "session_expiry_s": 1})
    connection = await _connected(quiet, filters, heard.pass_over)
    began_s = time.monotonic()
    try:
        while not enough.is_set() and heard.seconds < seconds:
            heard.seconds, heard.now_ns = time.monotonic() - began_s, time.time_ns()
            _take(connection, heard)
            step()
            if connection.lost is not None and not connection.waiting:
                raise connection.lost
            if not connection.waiting:
                await asyncio.sleep(LOOK_S)
            else:
                await asyncio.sleep(0)
    finally:
        await connection.close()


async def _connected(
    broker: MqttConfig, filters: Collection[str], on_too_long: Callable[[object], None]
) -> Connection:
    """An open connection, of the newest version of MQTT that the broker speaks."""
    versions: tuple[Version, ...] = (
        ("5", "3.1.1") if broker.version == "auto" else (broker.version,)
    )
    # Brokers may allow letters and digits only, 23 of them (MQTT 3.1.1, 3.1.3.1).
    client_id = f"andonbrowse{secrets.token_hex(6)}"
    for version in versions:
        connection = Connection(broker, client_id, version, RECEIVE_MAX, on_too_long)
        try:
            await connection.open(filters, ())
        except SourceError as error:
            await connection.close()
            if not connection.version_refused or version == versions[-1]:
                raise _explained(error, filters) from None
        else:
            return connection
    raise AssertionError("the last version is returned or raised")


def _explained(error: SourceError, filters: Collection[str]) -> SourceError:
    """The same, with the way out that this command has where `#` is not allowed."""
    if isinstance(error, SourceRefused) and "to subscribe to" in str(error) and "#" in filters:
        error.hint = "name the topics that the user may read with --topics, such as 'floor/#'"
    return error


def _take(connection: Connection, heard: Heard) -> None:
    try:
        found = publishes(connection.take(TAKE_BYTES_MAX), connection.version == "5")
    except WireError as error:
        raise SourceUnreachable(f"the broker sends what is not MQTT: {error}") from error
    for row, retained in enumerate(found.retain.tolist()):
        heard.hear(found.topic(row), found.payload(row), heard.now_ns, retained)
