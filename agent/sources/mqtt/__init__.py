"""The MQTT source: topics of one broker, under paho's connection.

Enters: PUBLISH packets: numbers, text, JSON, CSV, waveforms, Sparkplug B. Leaves: batches of what
came since the last one, at least every heartbeat; each vouches for the time up to now less an
allowance (`vouch.py`) for sensors' own clocks. How long a single value holds without news is its
signal's `hold_ns`. Fails: SourceUnreachable when the broker does not answer or the connection is
lost, SourceRefused when it says no. A payload that cannot be read is counted, kept for a look
(`quarantine`), and acknowledged, so that it never stops the line.

QoS 1 and 2 messages are acknowledged by hand after the commit, in the connection they came in (of
QoS 2 with PUBREC, since with that the broker gives them into our hands). One that outlived its
connection is the broker's to send again, and is recognised then (`redelivery.py`): its samples are
taken already. A session that the broker kept begins with its backlog; until that has come, time
stands still, or all of it would be late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from agent.batch import Batch
from agent.config import MqttConfig
from agent.config.mqtt import ON_THE_CONNECTION
from agent.errors import ConfigError, SourceError, SourceRefused, SourceUnreachable
from agent.mqtt import Version
from agent.sources import NO_ACK, Ack, Packets
from agent.sources.mqtt.connection import Connection
from agent.sources.mqtt.decode import Decoder, Resolve
from agent.sources.mqtt.filters import filters_of, overlapping
from agent.sources.mqtt.packets import FRAME_BYTES_MAX, Publishes, TooLong, WireError, publishes
from agent.sources.mqtt.redelivery import Redelivery, Sorted
from agent.sources.mqtt.sparkplug import Host
from agent.sources.mqtt.sparkplug import Resolve as ResolveMetric
from agent.sources.mqtt.window import RECEIVE_MAX, Window
from agent.sources.quarantine import Quarantine
from agent.sources.rounding import Rounding
from agent.sources.vouch import Vouch

log = logging.getLogger("andon.mqtt")

BATCH_BYTES_MAX: Final = 4 << 20
MESSAGES_MIN: Final = 500
MESSAGES_MAX: Final = 16_000
TURN_S: Final = 0.05
"""Reading a batch takes about so long at most, since other sources wait meanwhile: it has as many
messages as the last ones say, from `MESSAGES_MIN` to `MESSAGES_MAX`."""
HEARTBEAT_S: Final = 0.1
GATHER_S: Final = 0.02
"""How long a batch waits for company."""
LATENESS_NS: Final = 250_000_000
SETTLE_S: Final = 1.0
"""After connecting, time stands still this long: retained messages and the backlog come first."""
BACKLOG_MAX_S: Final = 120.0
"""After so long, messages that are old are so because a sensor's clock is wrong."""
TOO_LONG: Final = "too_long"
"""Counts messages that are longer than is read."""
VERSIONS: Final[tuple[Version, ...]] = ("5", "3.1.1")
"""What `auto` tries."""


class MqttSource:
    """One MQTT broker.

    resolve, resolve_metric : give the id and kind of what a topic, or a Sparkplug metric, brings
    now_ns : the gateway's clock, UTC
    quarantine : payloads that could not be read
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        resolve: Resolve,
        resolve_metric: ResolveMetric,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.quarantine = Quarantine(config.name, now_ns)
        self._config = config
        self._client_id = client_id
        self._now_ns = now_ns
        self._resolvers = resolve, resolve_metric
        self._host = (
            None
            if config.sparkplug is None
            else Host(config.sparkplug, resolve_metric, now_ns, self._publish, self.quarantine)
        )
        self._decoder = Decoder(config, resolve, self.quarantine, self._host)
        self._version = VERSIONS[0] if config.version == "auto" else config.version
        self._redelivery = Redelivery()
        self._connection: Connection | None = None
        self._connections = 0
        self._batches = 0
        self._changing = asyncio.Lock()
        self._has_session = False
        self._held: set[str] = set()
        self._window = Window()
        self._vouch = Vouch(LATENESS_NS)
        self._connected_s = 0.0
        self._has_backlog = False
        self._rounding = Rounding(config.name, log)
        self._messages_max = MESSAGES_MIN
        self._was_connected = False

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

    def expect(self, nodes: Iterable[tuple[str, str]]) -> None:
        """Sparkplug nodes, as (group, node), that were read before a restart.

        They are asked for their births once the connection is there, or they would be silent until
        they have something to say. Told before the first connect.
        """
        if self._host is not None:
            self._host.expect(nodes)

    def rejected(self) -> dict[str, int]:
        """Messages that brought no sample, by cause."""
        return dict(self.quarantine.rejected)

    def missed(self) -> dict[str, int]:
        """Sparkplug numbers its messages; else a broker does not say what it let go."""
        return {} if self._host is None else dict(self._host.missed)

    def recovered(self) -> dict[str, int]:
        """What the broker kept comes as all else does."""
        return {}

    async def connect(self) -> None:
        """Connect and subscribe, within `connect_timeout_s`."""
        async with self._changing:
            try:
                await self._connect()
            except SourceError as error:
                connection, before = self._connection, self._version
                if self._config.version != "auto" or connection is None:
                    raise
                if not connection.version_refused:
                    # Some brokers (amqtt) misread MQTT 5 and are silent: then the next time.
                    if connection.silent and not self._was_connected:
                        self._version = _other(before)
                    raise
                self._version = _other(before)
                log.debug("%s (as MQTT %s; %s is tried)", error, before, self._version)
                try:
                    await self._connect()
                except SourceError:
                    self._version = before  # it was the way to the broker, not the version
                    raise

    async def apply(
        self, config: MqttConfig, resolve: Resolve, resolve_metric: ResolveMetric
    ) -> bool:
        """Take a changed configuration; False where it needs a new source.

        Topics and signals are changed on the living connection; what the broker sent of removed
        ones is read first. Without a connection, the next one brings it all.
        """
        async with self._changing:
            connection, before = self._connection, self._config
            if (config.sparkplug is None) != (before.sparkplug is None):
                return False
            if connection is not None and connection.living:
                if _of_connection(config) != _of_connection(before):
                    return False
                self._renew(config, resolve, resolve_metric)
                if not await self._subscribe_anew(connection, config):
                    self._renew(before, *self._resolvers)
                    self._decoder.settle()
                    return False
            else:
                self._renew(config, resolve, resolve_metric)
            self._decoder.settle()
            self._config, self._resolvers = config, (resolve, resolve_metric)
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
            chunks = connection.take(BATCH_BYTES_MAX)
            if connection.lost is not None and not chunks:
                self._lose()
                raise connection.lost
            try:
                packets = publishes(chunks, connection.version == "5")
            except WireError as error:
                raise SourceUnreachable(
                    f"{self.name}: {self._config.url} sends what is not MQTT: {error}"
                ) from error
            if connection.waiting:
                connection.news.set()
            behind = 0
            while behind < max(len(packets), 1):
                messages = packets.part(behind, behind + self._messages_max)
                behind += self._messages_max
                yield self._read(connection, messages, now_ns, more=behind < len(packets))
                await asyncio.sleep(0)
                if connection is not self._connection:
                    return

    def _read(
        self, connection: Connection, messages: Publishes, now_ns: int, *, more: bool
    ) -> tuple[Batch, Ack]:
        """A batch of these messages.

        more : others wait already
        """
        began_s = time.monotonic()
        self._batches += 1
        found = self._redelivery.sort(messages, self._connections, self._batches)
        connection.acknowledge(found.committed)
        batch = self._decoder.batch(messages, found.fresh, now_ns)
        of_host = 0 if self._host is None else self._host.inexact
        self._rounding.say(self._decoder.inexact + of_host)
        ack = self._ack(connection, found)
        more |= connection.waiting
        if not (more or connection.lost or self._is_behind(batch, now_ns)):
            self._vouch.take(batch.time_ns, now_ns)
            batch = replace(batch, alive_until_ns=self._vouch.until(now_ns))
        self._pace(time.monotonic() - began_s, len(messages))
        return batch, ack

    def _pace(self, took_s: float, messages: int) -> None:
        """Read as many messages in one go as the event loop can wait for."""
        if took_s > TURN_S:
            self._messages_max = max(MESSAGES_MIN, int(messages * TURN_S / took_s))
        elif messages == self._messages_max and took_s < TURN_S / 2:
            self._messages_max = min(2 * messages, MESSAGES_MAX)

    async def close(self) -> None:
        """Say goodbye; a broker that does not answer is left."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._lose()
            await connection.close()

    async def _connect(self) -> None:
        self._window = Window()
        self._has_backlog = False
        self._vouch = Vouch(LATENESS_NS)
        self._connections += 1
        filters = filters_of(self._config)
        try:
            connection = Connection(
                self._config, self._client_id, self._version, RECEIVE_MAX, self._put_aside
            )
        except ConfigError as error:  # a certificate's file, which may be mended while we run
            raise SourceRefused(str(error), error.hint) from error
        self._connection = connection
        try:
            await connection.open(filters, self._held - filters, overlapping(filters))
        finally:
            if connection.kept is False:
                self._begin_session()
        self._has_backlog = bool(connection.kept)
        self._was_connected = True
        self._connected_s = time.monotonic()
        self._held = filters
        if self._host is not None:
            self._host.connected()

    def _renew(self, config: MqttConfig, resolve: Resolve, resolve_metric: ResolveMetric) -> None:
        self._decoder.renew(config, resolve)
        if self._host is not None and config.sparkplug is not None:
            self._host.renew(config.sparkplug, resolve_metric)

    def _publish(self, topic: str, payload: bytes) -> None:
        """What a Sparkplug host has to say to its nodes."""
        if self._connection is not None:
            self._connection.publish(topic, payload)

    def _put_aside(self, one: TooLong) -> None:
        """Count a message that is too long to be read."""
        topic = one.beginning.topic(0).decode(errors="backslashreplace")
        why = f"it has {one.size:,} bytes; at most {FRAME_BYTES_MAX:,} are read"
        self.quarantine.put(TOO_LONG, topic, one.beginning.payload(0), why)

    def _lose(self) -> None:
        """Whoever spoke over the connection may say anything meanwhile."""
        if self._host is not None:
            self._host.lost()

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
        before, after = filters_of(self._config), filters_of(config)
        added, removed = after - before, before - after
        apart = overlapping(after)
        added |= set(apart).difference(overlapping(before))
        self._held |= added
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                await connection.subscribe(added, apart)
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
            quiet = len(batch) == 0 and self._window.waiting == 0
            self._has_backlog = not (fresh or quiet or connected_s > BACKLOG_MAX_S)
        return self._has_backlog

    def _ack(self, connection: Connection, found: Sorted) -> Ack:
        if found.packets is None:
            return NO_ACK
        number, window = self._batches, self._window
        window.came(found.owed.size, time.monotonic())

        def call() -> None:
            self._redelivery.commit(number)
            if connection is self._connection:
                window.acknowledged(found.owed.size, time.monotonic())
                connection.acknowledge(found.owed)

        return Ack(call, window.urgent, found.packets)


def _other(version: Version) -> Version:
    return VERSIONS[1 - VERSIONS.index(version)]


def _of_connection(config: MqttConfig) -> dict[str, Any]:
    """The settings that need a new connection."""
    return config.model_dump(exclude=set(ON_THE_CONNECTION))
