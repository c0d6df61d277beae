"""The MQTT source: topics of one broker, under paho's connection.

Enters: PUBLISH packets with JSON payloads. Leaves: batches of what came since the last one, at
least every heartbeat; each vouches for the time up to now less an allowance (`vouch.py`) for
sensors' own clocks. How long a single value holds without news is its signal's `hold_ns`.
Fails: SourceUnreachable when the broker does not answer or the connection is lost, SourceRefused
when it says no. A payload that cannot be read is counted, said once a minute, and acknowledged,
so that it never stops the line.

QoS 1 messages are acknowledged by hand after the commit, in the connection they came in. One that
outlived its connection is the broker's to send again, and is recognised then (`redelivery.py`):
its samples are taken already. A session that the broker kept begins with its backlog; until that
has come, time stands still, or all of it would be late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from agent.batch import Batch
from agent.config import MqttConfig
from agent.errors import SourceError
from agent.sources import NO_ACK, Ack, Packets
from agent.sources.mqtt.connection import Connection
from agent.sources.mqtt.decode import Decoder, Resolve
from agent.sources.mqtt.redelivery import Redelivery, Sorted, packets_of
from agent.sources.vouch import Vouch

log = logging.getLogger("andon.mqtt")

BATCH_MESSAGES_MAX: Final = 5_000
HEARTBEAT_S: Final = 0.1
GATHER_S: Final = 0.02
"""How long a batch waits for company."""
LATENESS_NS: Final = 250_000_000
SETTLE_S: Final = 1.0
"""After connecting, time stands still this long: retained messages and the backlog come first."""
BACKLOG_MAX_S: Final = 120.0
"""After so long, messages that are old are so because a sensor's clock is wrong."""
URGENT_MESSAGES: Final = 10
"""Half of mosquitto's max_inflight_messages: so many unacknowledged ones make a commit urgent."""


class MqttSource:
    """One MQTT broker.

    resolve : gives the id and kind of a topic's signal
    now_ns : the gateway's clock, UTC
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        resolve: Resolve,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._client_id = client_id
        self._now_ns = now_ns
        self._resolve = resolve
        self._decoder = Decoder(config, resolve)
        self._redelivery = Redelivery()
        self._connection: Connection | None = None
        self._connections = 0
        self._batches = 0
        self._changing = asyncio.Lock()
        self._has_session = False
        self._held: set[str] = set()
        self._unacknowledged = 0
        self._vouch = Vouch(LATENESS_NS)
        self._connected_s = 0.0
        self._has_backlog = False

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    @property
    def redelivers(self) -> bool:
        """Whether the broker keeps a session with messages that wait for acknowledgement."""
        return self._config.qos > 0 and not self._config.clean_start

    @property
    def redelivered(self) -> int:
        """Messages since the start that came again: acknowledged and not counted."""
        return self._redelivery.redelivered

    def remember(self, packets: Sequence[Packets], alive_ns: int = 0) -> None:
        """What was committed before a restart; a broker has nothing but what it redelivers."""
        self._redelivery.remember(packets)
        self._has_session = len(self._redelivery) > 0

    def rejected(self) -> dict[str, int]:
        """Messages that brought no sample, by cause."""
        return dict(self._decoder.rejected)

    def missed(self) -> dict[str, int]:
        """A broker does not say what it let go."""
        return {}

    def recovered(self) -> dict[str, int]:
        """What the broker kept comes as all else does."""
        return {}

    def signal_of(self, topic: str) -> int | None:
        """The id of the signal that a topic brings; None where it brings none."""
        return self._decoder.signal_of(topic)

    async def connect(self) -> None:
        """Connect and subscribe, within `connect_timeout_s`."""
        async with self._changing:
            self._unacknowledged = 0
            self._has_backlog = False
            self._vouch = Vouch(LATENESS_NS)
            self._connections += 1
            filters = _filters(self._config)
            connection = self._connection = Connection(self._config, self._client_id)
            try:
                await connection.open(filters, self._held - filters)
            finally:
                if connection.kept is False:
                    self._begin_session()
            self._has_backlog = bool(connection.kept)
            self._connected_s = time.monotonic()
            self._held = filters

    async def apply(self, config: MqttConfig, resolve: Resolve) -> bool:
        """Take a changed configuration; False where it needs a new source.

        Topics and signals are changed on the living connection; what the broker sent of removed
        ones is read first. Without a connection, the next one brings it all.
        """
        async with self._changing:
            connection, before = self._connection, self._config
            if connection is not None and connection.living:
                if _of_connection(config) != _of_connection(before):
                    return False
                self._decoder.renew(config, resolve)
                if not await self._subscribe_anew(connection, config):
                    self._decoder.renew(before, self._resolve)
                    self._decoder.settle()
                    return False
            else:
                self._decoder.renew(config, resolve)
            self._decoder.settle()
            self._config, self._resolve = config, resolve
            return True

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """What came since the last batch, or an empty heartbeat."""
        connection = self._connection
        while connection is not None:
            try:
                await asyncio.wait_for(connection.news.wait(), HEARTBEAT_S)
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            if connection is not self._connection:
                return
            connection.news.clear()
            now_ns = self._now_ns()
            messages = connection.take(BATCH_MESSAGES_MAX)
            if connection.lost is not None and not messages:
                raise connection.lost
            self._batches += 1
            found = self._redelivery.sort(messages, self._connections, self._batches)
            connection.acknowledge(found.committed)
            batch = self._decoder.batch(found.fresh, now_ns, 0)
            more = len(messages) == BATCH_MESSAGES_MAX
            if more:
                connection.news.set()
            ack = self._ack(connection, found)
            if not (more or connection.lost or self._is_behind(batch, now_ns)):
                self._vouch.take(batch.time_ns, now_ns)
                batch = replace(batch, alive_until_ns=self._vouch.until(now_ns))
            yield batch, ack

    async def close(self) -> None:
        """Say goodbye; a broker that does not answer is left."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _begin_session(self) -> None:
        """The broker knows nothing of us: packet ids mean other messages from now on."""
        self._redelivery.forget()
        was_known, self._has_session = self._has_session, self.redelivers
        if was_known and self.redelivers:
            log.error(
                "%s: the broker lost this client's session: what it held is gone. Does it keep "
                "sessions on disk, and for longer than the gateway may be away?", self.name,
            )  # fmt: skip

    async def _subscribe_anew(self, connection: Connection, config: MqttConfig) -> bool:
        """Change the subscriptions; False where the broker does not let us, but lives."""
        before, after = _filters(self._config), _filters(config)
        added, removed = after - before, before - after
        self._held |= added
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                await connection.subscribe(added)
                await connection.unsubscribe(removed)
        except (SourceError, TimeoutError) as error:
            if connection.living:
                log.warning("%s: topics cannot be changed: %s", self.name, error or "timed out")
                connection.drop(added)
            return not connection.living  # a lost one is made anew, with what is held
        self._held -= removed
        if removed:
            await connection.drain()
        return True

    def _is_behind(self, batch: Batch, now_ns: int) -> bool:
        """Whether messages of before may still come: then time must not run ahead of them."""
        connected_s = time.monotonic() - self._connected_s
        if connected_s < SETTLE_S:
            return True
        if self._has_backlog:
            allowance_ns = self._vouch.allowance_ns
            fresh = len(batch) > 0 and int(batch.time_ns.max()) >= now_ns - allowance_ns
            quiet = len(batch) == 0 and self._unacknowledged == 0
            self._has_backlog = not (fresh or quiet or connected_s > BACKLOG_MAX_S)
        return self._has_backlog

    def _ack(self, connection: Connection, found: Sorted) -> Ack:
        if not found.packets:
            return NO_ACK
        self._unacknowledged += len(found.owed)
        number = self._batches

        def call() -> None:
            self._redelivery.commit(number)
            if connection is self._connection:
                self._unacknowledged -= len(found.owed)
                connection.acknowledge(found.owed)

        urgent = self._unacknowledged >= URGENT_MESSAGES
        return Ack(call, urgent, packets_of(found.packets))


def _filters(config: MqttConfig) -> set[str]:
    return {topic.filter for topic in config.topics}


def _of_connection(config: MqttConfig) -> dict[str, Any]:
    """The settings that need a new connection."""
    return config.model_dump(exclude={"topics", "signals", "connect_timeout_s"})
