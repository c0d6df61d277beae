"""Sparkplug B 3.0 edge node: machines as devices, windows, samples, states, anomalies as metrics.

    SparkplugSink(config, client_id, state=folder, path=path, gateway=name, now_ns=clock)

Enters: packets, in the forwarder's thread; STATE and NCMD, in paho's. Leaves: births, data, deaths.
A packet is taken once the broker has read all of its messages (`agent/sinks/broker.py`): Sparkplug
wants QoS 0, which has no answers. Fails: SinkUnreachable where the broker or the primary host is
not there, SinkRefused where the broker says no, SinkRejected for lines that cannot be read.

One lock orders what both threads publish: births asked for while a packet is on its way go before
or after it as a whole, so that seq, aliases and values fit together (`node.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Final

from agent.config.sinks import SparkplugSinkConfig
from agent.errors import SinkRefused, SinkRejected, SinkUnreachable
from agent.lines import Packet
from agent.lines.parse import parse
from agent.mqtt import Version, Will
from agent.signals import Path
from agent.sinks.broker import BrokerSink, Connection
from agent.sinks.sparkplug.bdseq import BdSeq
from agent.sinks.sparkplug.host import PrimaryHost, wants_rebirth
from agent.sinks.sparkplug.node import DATA_BYTES_MAX, Node, Published
from agent.sinks.sparkplug.points import Points
from agent.sinks.wire import Message, level
from agent.sparkplug import Topic

HOST_S: Final = 2.0
"""A broker that keeps the primary host's STATE says it within this after the subscription."""
REBIRTH_QUIET_S: Final = 1.0
"""Births asked for sooner after the last ones wait for this."""
DEFAULT_GROUP: Final = "andon"

_MS_NS: Final = 1_000_000


class SparkplugSink(BrokerSink):
    """One broker, spoken to as an edge node.

    client_id : the name of the session
    state : a folder for the number of the last session (`<name>.bdseq`)
    path, gateway : where the gateway is, and its name

    Raises ConfigError with the first send where certificates cannot be used.
    """

    def __init__(
        self,
        config: SparkplugSinkConfig,
        client_id: str,
        *,
        state: FilePath,
        path: Path,
        gateway: str,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(config, client_id, now_ns)
        self._config = config
        self._bdseq = BdSeq(state / f"{level(config.name)}.bdseq")
        group = config.group or level(path.enterprise) or DEFAULT_GROUP
        name = config.node or level(gateway)
        self._commands = str(Topic(group, "NCMD", name))
        place = {"enterprise": path.enterprise, "site": path.site, "area": path.area}
        properties = {key: text for key, text in place.items() if text}
        self._node = Node(group, name, properties, datatypes=config.datatypes)
        self._points = Points(self._node, path, windows=config.windows)
        self._host = PrimaryHost(config.primary_host) if config.primary_host else None
        self._lock = threading.Lock()
        self._is_born = False
        self._born_s = 0.0
        self._rebirth_asked = False

    def send(self, packet: Packet) -> int:
        """Publish the packet; return when the broker has read it.

        Returns how many lines it cannot hold. Raises SinkUnreachable, SinkRefused, or SinkRejected
        for lines that cannot be read; the others are published.
        """
        connection = self._ready()
        rejected: dict[int, str] = {}
        withheld = 0
        with self._lock:
            self._node.forget_changes()
            for place, (low, high) in enumerate(pairwise(packet.offsets.tolist())):
                try:
                    withheld += not self._points.take(parse(packet.body[low:high]))
                except ValueError as error:
                    rejected[place] = str(error)
            if not connection.living or (self._host is not None and not self._host.online):
                raise SinkUnreachable(f"{self.name}: the session has just ended")
            if not self._is_born:
                self._note_births()
                self._node.begin()
            waited = self._waited(packet)
            self._publish(connection, self._node.tell(self._now_ms(), waited=waited))
        connection.confirm()
        if rejected:
            raise SinkRejected(next(iter(rejected.values())), lines=rejected)
        return withheld

    def close(self) -> None:
        """Tell hosts that the node is gone, and let go of the connection."""
        connection = self._connection
        if connection is not None:
            with self._lock:
                self._end_session(connection)
            connection.close()
            self._connection = None

    def _ready(self) -> Connection:
        """A connection on which the node may be born."""
        connection = self._connection
        if connection is None or not connection.living:
            if connection is not None:
                connection.close()
            connection = self._versions.connected(self._connect)
        host = self._host
        if host is not None:
            connection.wait_for(lambda: host.online is not None, HOST_S)
            if not host.online:
                raise SinkUnreachable(
                    f"{self.name}: the primary host {self._config.primary_host} is not online",
                    f"nothing is sent until it says so in {host.topics[0]}",
                )
        return connection

    def _connect(self, version: Version) -> Connection:
        self._connection, self._is_born = None, False
        self._node.bdseq = self._bdseq.next()
        topic, payload = self._node.death(self._now_ms())
        connection = Connection(
            self._config, self._client_id, version,
            will=Will(topic.decode(), payload, qos=1, retain=False),
            on_message=lambda topic, payload: self._hear(connection, topic, payload),
            on_idle=lambda: self._look(connection),
        )  # fmt: skip
        if self._host is not None:
            self._host.online = None
        connection.open([self._commands, *(self._host.topics if self._host else ())])
        self._connection = connection
        self._node.data_bytes_max = min(DATA_BYTES_MAX, connection.packet_bytes_max // 2)
        return connection

    def _bear(self, connection: Connection) -> None:
        """Publish all births."""
        self._note_births()
        self._publish(connection, self._node.births(self._now_ms()))

    def _note_births(self) -> None:
        self._is_born, self._rebirth_asked = True, False
        self._born_s = time.monotonic()

    def _hear(self, connection: Connection, topic: str, payload: bytes) -> None:
        """In paho's thread: a command, or the primary host's state."""
        with self._lock:
            if topic == self._commands:
                self._rebirth_asked |= wants_rebirth(payload)
            elif self._host is not None:
                self._host.hear(topic, payload)
                if self._host.online is False and self._is_born:
                    self._end_session(connection)
                elif self._may_be_born(connection):
                    self._bear(connection)
        connection.tell()
        self._look(connection)

    def _may_be_born(self, connection: Connection) -> bool:
        """Whether births are due: the primary host is online, and has heard none."""
        is_ours = connection is self._connection and connection.living
        return is_ours and not self._is_born and self._host is not None and bool(self._host.online)

    def _look(self, connection: Connection) -> None:
        """In paho's thread: bear again where that was asked for, but not all the time."""
        if self._rebirth_asked and time.monotonic() - self._born_s >= REBIRTH_QUIET_S:
            with self._lock:
                if self._is_born and connection.living and connection.is_idle:
                    self._bear(connection)

    def _end_session(self, connection: Connection) -> None:
        """NDEATH and DISCONNECT; MQTT 5 brokers are asked for the will as well (6.4.26)."""
        last = []
        if self._is_born and connection.living:
            topic, payload = self._node.death(self._now_ms())
            last = [connection.frame(Message(topic, payload), qos=1)]
        self._is_born = False
        connection.disconnect(last, will=bool(last))

    def _publish(self, connection: Connection, published: Iterable[Published]) -> None:
        """Publish all of it. Raises SinkRefused, and nothing is said, where one is too large."""
        messages = [Message(topic, payload) for topic, payload in published]
        most = connection.packet_bytes_max
        for message in messages:
            if message.size > most:
                self._is_born = False
                topic = message.topic.decode()
                raise SinkRefused(
                    f"{self.name}: {topic} has {message.size:,} bytes,"
                    f" {self._config.url} takes at most {most:,} bytes",
                    "a birth cannot be split: let the broker take larger packets, or say"
                    " windows = false, which makes births a tenth as large",
                )
        connection.write(map(connection.frame, messages))

    def _now_ms(self) -> int:
        return self._now_ns() // _MS_NS
