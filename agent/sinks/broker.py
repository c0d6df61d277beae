"""One connection of a sink to its broker, from its opening to its end; the next is another object.

Enters, in the forwarder's thread: messages. Leaves: their frames, many in one write, and then the
broker's word that it has them. Fails: SinkUnreachable where it does not answer or the connection is
lost, SinkRefused where it says no.

QoS 1 (`deliver`): each message has its PUBACK; no more are on their way than the broker allows
(MQTT 5.0, 3.2.2.3.3). QoS 0 (`confirm`): no message has an answer, but a broker reads a connection
in order; so it is asked to drop a subscription that never was, which needs no right and changes
nothing, and its UNSUBACK says that it has read all before it. (A PINGRESP says the same, but
has no number to know it by.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent import mqtt
from agent.config.mqtt import BrokerTable
from agent.errors import SinkError, SinkRefused, SinkUnreachable
from agent.lines import LIVE_NS, Packet
from agent.mqtt import Answer, End, Version, Will
from agent.sinks.wire import Client, Message, frame

ANSWER_S: Final = 10.0
"""A broker that owes an answer, and takes nothing more, for so long is not there."""
CLOSE_S: Final = 3.0
INFLIGHT_MAX: Final = 200
"""QoS 1 messages on their way, where the broker does not allow fewer."""
WRITE_BYTES_MAX: Final = 1 << 16
"""Frames are written in pieces of about this size."""
PACKET_BYTES_MAX: Final = 268_435_460
"""MQTT 5.0, 2.1.4: no packet can be larger; a broker of MQTT 5 may take less, and says so."""
FILTERS_MAX: Final = 100
"""Topics in one SUBSCRIBE."""
FENCE: Final = "andon/never/subscribed"

_FAILURE: Final = 0x80
"""MQTT 5.0, 2.4: reason codes from here on say no."""


class UnknownVersion(SinkRefused):
    """The broker does not know MQTT 5; it may know 3.1.1."""


class Versions:
    """Which version of MQTT a broker is spoken to in, and that it does not know 5."""

    def __init__(self, broker: BrokerTable) -> None:
        self.version: Version = "5" if broker.version == "auto" else broker.version

    def connected(self, connect: Callable[[Version], Connection]) -> Connection:
        """What `connect` returns, asked again for 3.1.1 where the broker does not know 5."""
        try:
            return connect(self.version)
        except UnknownVersion:
            self.version = "3.1.1"
        try:
            return connect(self.version)
        except SinkError:
            self.version = "5"  # it was something else
            raise


class BrokerSink:
    """What all sinks have that are brokers: who they are, and the connection there is.

    client_id : the name of the session
    """

    def __init__(self, config: BrokerTable, client_id: str, now_ns: Callable[[], int]) -> None:
        self._broker = config
        self._client_id = client_id
        self._now_ns = now_ns
        self._versions = Versions(config)
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._broker.name

    @property
    def flavour(self) -> str:
        """How the broker is spoken to; empty while that is not known."""
        return f"mqtt {self._versions.version}" if self._connection is not None else ""

    def _waited(self, packet: Packet) -> bool:
        """Whether these lines come late: others have been told since, or may have been."""
        return self._now_ns() - packet.made_ns > LIVE_NS


class Connection:
    """A connection, with a thread of paho's.

    on_message : called with topic and payload, in paho's thread
    on_idle : called at least once a second, in paho's thread
    retains : whether the broker keeps retained messages
    packet_bytes_max : larger packets the broker does not take, and hangs up
    """

    def __init__(
        self,
        broker: BrokerTable,
        client_id: str,
        version: Version,
        *,
        will: Will | None = None,
        on_message: Callable[[str, bytes], object] = lambda topic, payload: None,
        on_idle: Callable[[], object] = lambda: None,
    ) -> None:
        self.retains = True
        self.packet_bytes_max = PACKET_BYTES_MAX
        self._broker = broker
        self._version: Version = version
        self._inflight_max = INFLIGHT_MAX
        self._changed = threading.Condition()
        self._is_open = False
        self._is_closing = False
        self._lost: SinkError | None = None
        self._ended = False
        self._answers: dict[int, list[ReasonCode]] = {}
        self._inflight: dict[int, int] = {}
        self._refused: dict[int, ReasonCode] = {}
        client = self._client = mqtt.new_client(
            Client, broker, client_id, version, clean_start=True, will=will
        )
        client.on_connect = self._on_connect
        client.on_subscribe = client.on_unsubscribe = self._on_answer
        client.on_message = self._on_message
        self._hand_on = on_message
        client.on_end = self._on_end
        client.on_pubacks = self._on_pubacks
        client.on_idle = on_idle

    @property
    def living(self) -> bool:
        """Whether it is open, and neither lost nor closed."""
        return self._is_open and self._lost is None and not self._is_closing

    @property
    def is_idle(self) -> bool:
        """Whether all that was written has gone out."""
        return not self._client.want_write()

    def open(self, filters: Sequence[str] = ()) -> None:
        """Connect, and subscribe with QoS 1, each within `connect_timeout_s`."""
        within_s = self._broker.connect_timeout_s
        try:
            mqtt.connect(self._client, self._broker, self._version, clean_start=True)
            self._wait(lambda: self._is_open, within_s)
            if filters:
                sent = self._client.subscribe([(name, 1) for name in filters])
                for reason in self._answer(sent, within_s):
                    if reason.is_failure:
                        raise _error(mqtt.of_reason(self._broker, reason))
        except BaseException:
            self.close()
            raise

    def write(self, frames: Iterable[bytes]) -> None:
        """Send these frames, in this order; called from any thread, it does not wait."""
        piece: list[bytes] = []
        size = 0
        for one in frames:
            piece.append(one)
            size += len(one)
            if size >= WRITE_BYTES_MAX:
                self._client.write(b"".join(piece))
                piece, size = [], 0
        if piece:
            self._client.write(b"".join(piece))

    def frame(self, message: Message, qos: int = 0) -> bytes:
        """A PUBLISH packet."""
        return frame(message, self._version, self._client.new_mid() if qos else 0)

    def confirm(self) -> None:
        """Wait until the broker has read all that was sent."""
        self._answer(self._client.unsubscribe(FENCE), ANSWER_S)

    def kept(self, topics: Sequence[str]) -> None:
        """Have `on_message` told what the broker has retained of these topics, before it returns.

        Of a topic that may not be read it is told nothing.
        """
        for at in range(0, len(topics), FILTERS_MAX):
            some = list(topics[at : at + FILTERS_MAX])
            self._answer(self._client.subscribe([(topic, 0) for topic in some]), ANSWER_S)
            self._answer(self._client.unsubscribe(some), ANSWER_S)

    def deliver(self, messages: Sequence[Message]) -> dict[int, ReasonCode]:
        """Publish with QoS 1 and wait for all answers; those that say no, by place.

        Raises SinkUnreachable after `ANSWER_S` without any answer.
        """
        with self._changed:
            self._inflight.clear()
            self._refused.clear()
        at = 0
        while at < len(messages) or self._inflight:
            frames = []
            with self._changed:
                room = self._inflight_max - len(self._inflight)
                for message in messages[at : at + room]:
                    mid = self._client.new_mid()
                    self._inflight[mid] = at
                    frames.append(frame(message, self._version, mid))
                    at += 1
                before = len(self._inflight)
            self.write(frames)
            self._wait(partial(self._is_below, before), ANSWER_S)
        return dict(self._refused)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for something that `on_message` changes and `tell` tells of; whether it is so."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._ended, timeout_s)
        return condition()

    def tell(self) -> None:
        """Let `wait_for` look again."""
        with self._changed:
            self._changed.notify_all()

    def disconnect(self, last: Iterable[bytes] = (), *, will: bool = False) -> None:
        """Send these frames and say goodbye, from any thread, without waiting.

        will : have the broker publish the will all the same (MQTT 5)
        """
        self._is_closing = True
        self.write(last)
        reason = None
        if will and self._version == "5":
            reason = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(reason)

    def close(self) -> None:
        """Say goodbye, if nobody has; a broker that does not answer is left."""
        if not self._is_closing:
            self.disconnect()
        if self._client.is_started:
            with self._changed:
                self._changed.wait_for(lambda: self._ended, CLOSE_S)

    def _wait(self, condition: Callable[[], bool], within_s: float) -> None:
        """Wait for something of this connection. Raises why it was lost, or that time is up.

        within_s : from now on, and after the last bytes went out
        """
        since_s = time.monotonic()
        with self._changed:
            while not (condition() or self._ended):
                left_s = max(since_s, self._client.sent_s) + within_s - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            if condition():
                return
        if self._lost is not None:
            raise self._lost
        name, url = self._broker.name, self._broker.url
        if self._is_closing or self._ended:
            raise SinkUnreachable(f"{name}: the connection to {url} was closed")
        self._is_closing = True
        self._client.abandon()
        raise SinkUnreachable(
            f"{name}: no answer from {url} in time",
            "is the broker overloaded, or the way to it cut?",
        )

    def _is_below(self, before: int) -> bool:
        """Whether fewer messages are on their way than before."""
        return len(self._inflight) < before

    def _answer(self, sent: tuple[MQTTErrorCode, int | None], within_s: float) -> list[ReasonCode]:
        """The broker's answer to what was just sent."""
        mid = sent[1]
        self._wait(lambda: mid in self._answers, within_s)
        with self._changed:
            return self._answers.pop(mid)  # type: ignore[arg-type]

    def _on_connect(
        self,
        client: paho.Client,
        _data: Any,
        _flags: Any,
        reason: ReasonCode,
        said: Properties | None,
    ) -> None:
        if self._is_closing:  # it connected after its deadline
            client.disconnect()
            return
        with self._changed:
            if not reason.is_failure:
                allowed = getattr(said, "ReceiveMaximum", INFLIGHT_MAX)
                self._inflight_max = min(allowed, INFLIGHT_MAX)
                self.retains = bool(getattr(said, "RetainAvailable", 1))
                self.packet_bytes_max = getattr(said, "MaximumPacketSize", PACKET_BYTES_MAX)
                self._is_open = True
            else:
                self._lost = self._unknown(str(reason) == mqtt.UNKNOWN_VERSION) or _error(
                    mqtt.of_reason(self._broker, reason)
                )
            self._changed.notify_all()

    def _on_answer(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _said: Any
    ) -> None:
        with self._changed:
            self._answers = {mid: reasons}  # one is waited for at a time
            self._changed.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._hand_on(message.topic, bytes(message.payload))

    def _on_pubacks(self, answers: Sequence[tuple[int, int]]) -> None:
        with self._changed:
            for mid, code in answers:
                place = self._inflight.pop(mid, None)
                if place is not None and code >= _FAILURE:
                    self._refused[place] = ReasonCode(PacketTypes.PUBACK, identifier=code)
            self._changed.notify_all()

    def _on_end(self, end: End) -> None:
        with self._changed:
            self._ended = True
            if self._lost is None and not self._is_closing:
                hung_up = not self._is_open and isinstance(end.error, ConnectionResetError)
                self._lost = self._unknown(hung_up) or _error(
                    mqtt.of_end(self._broker, end, opened=self._is_open)
                )
            self._changed.notify_all()

    def _unknown(self, seems_so: bool) -> UnknownVersion | None:
        """That the broker does not know MQTT 5, where it may be asked for 3.1.1."""
        if seems_so and (self._broker.version, self._version) == ("auto", "5"):
            return UnknownVersion(f"{self._broker.name}: {self._broker.url} does not know MQTT 5")
        return None


def _error(answer: Answer) -> SinkError:
    kind = SinkRefused if answer.refused else SinkUnreachable
    return kind(answer.sentence, answer.hint)
