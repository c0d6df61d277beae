"""Unified namespace: every line as plain JSON under its ISA-95 topic.

    UnsSink(config, client_id, now_ns=clock)

Enters: packets. Leaves: one QoS 1 message a line (`messages.py`); a packet is taken once the broker
has acknowledged each. Fails: SinkUnreachable where the broker does not answer, SinkRefused where
it says no, SinkRejected for lines that cannot be read or that the broker does not take.

What is retained is the newest of its topic: a line that has waited never takes the place of a newer
one, for which the broker is asked what it keeps of topics of which nothing was sent yet; a window
or a sample that has waited is not retained at all, since a newer one is near.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from paho.mqtt.reasoncodes import ReasonCode

from agent.config.sinks import UnsSinkConfig
from agent.errors import SinkRefused, SinkRejected
from agent.lines import Packet
from agent.lines.parse import Line, parse
from agent.mqtt import Version, of_reason
from agent.sinks.broker import BrokerSink, Connection
from agent.sinks.uns.messages import Messages
from agent.sinks.wire import Message

_OF_THE_LINE: Final = ("Topic Name invalid", "Packet too large", "Payload format invalid")
"""MQTT 5.0, 3.4.2.1: what is wrong with one message, not with us."""


class UnsSink(BrokerSink):
    """One broker that is told everything as JSON.

    client_id : the name of the session

    Raises ConfigError with the first send where certificates cannot be used.
    """

    def __init__(
        self,
        config: UnsSinkConfig,
        client_id: str,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(config, client_id, now_ns)
        self._config = config
        self._messages = Messages(config.prefix)

    def send(self, packet: Packet) -> int:
        """Publish the packet; return when the broker has acknowledged it.

        Returns how many lines it cannot hold. Raises SinkUnreachable, SinkRefused, or SinkRejected
        for single lines; the others are published.
        """
        connection = self._ready()
        is_live = not self._waited(packet)
        lines, rejected = self._read(packet)
        if self._config.retain and not is_live:
            connection.kept(self._messages.unknown(lines.values()))
        messages: list[Message] = []
        places: list[int] = []
        for place, line in lines.items():
            made = self._messages.of(line, is_live=is_live)
            if made is None:
                continue
            if made.size > connection.packet_bytes_max:
                most = connection.packet_bytes_max
                rejected[place] = f"it has {made.size:,} bytes; the broker takes {most:,}"
                continue
            messages.append(made if self._config.retain else made._replace(retain=False))
            places.append(place)
        for index, reason in connection.deliver(messages).items():
            rejected[places[index]] = self._of_the_line(reason)
        if rejected:
            raise SinkRejected(next(iter(rejected.values())), lines=rejected)
        return len(packet) - len(messages)

    def _read(self, packet: Packet) -> tuple[dict[int, Line], dict[int, str]]:
        """The lines by their place, and why others cannot be read."""
        lines: dict[int, Line] = {}
        rejected: dict[int, str] = {}
        for place, (low, high) in enumerate(pairwise(packet.offsets.tolist())):
            try:
                lines[place] = parse(packet.body[low:high])
                self._messages.find(lines[place].series)
            except ValueError as error:
                rejected[place] = str(error)
                lines.pop(place, None)
        return lines, rejected

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ready(self) -> Connection:
        """A connection that is open."""
        connection = self._connection
        if connection is None or not connection.living:
            self.close()
            connection = self._connection = self._versions.connected(self._connect)
        return connection

    def _connect(self, version: Version) -> Connection:
        connection = Connection(
            self._config, self._client_id, version,
            on_message=lambda topic, payload: self._messages.hear(topic, payload, self._now_ns()),
        )  # fmt: skip
        connection.open()
        if self._config.retain and not connection.retains:
            connection.close()
            raise SinkRefused(
                f"{self.name}: {self._config.url} keeps no retained messages",
                "say retain = false, or allow them at the broker",
            )
        return connection

    def _of_the_line(self, reason: ReasonCode) -> str:
        """Why a broker does not take one message. Raises SinkRefused where it takes none of us."""
        if str(reason) in _OF_THE_LINE:
            return f"the broker says: {reason}"
        answer = of_reason(self._config, reason)
        raise SinkRefused(answer.sentence, answer.hint)
