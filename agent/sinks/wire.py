"""MQTT packets as sinks write and read them: many in one write, many in one read.

paho's `publish` costs 80 to 110 us a QoS 1 message, this about 10: frames are made here, what comes
is read in large pieces, and all but PUBACKs is handed to paho.

Enters: messages, and what a broker sends. Leaves: frames, and PUBACKs many at a time. Fails: a
packet that paho finds malformed ends the connection.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from paho.mqtt.enums import MessageType, MQTTErrorCode

from agent import mqtt
from agent.mqtt import Version

READ_BYTES: Final = 1 << 16
SEND_BUFFER_BYTES: Final = 1 << 16
"""So little lies in the socket that bytes which go into it say that the broker still reads."""
TOPIC_BYTES_MAX: Final = 65_535
"""MQTT 5.0, 1.5.4: a UTF-8 string's length is two bytes."""

_NO_LEVEL: Final = re.compile(r"[%/+#\x00-\x1f\x7f-\x9f]")
"""MQTT 5.0, 1.5.4 and 4.7.1."""
_RETAIN: Final = 0x01
_QOS1: Final = 0x02
_SHORT: Final = struct.Struct("!H")
_HEAD_BYTES_MAX: Final = 10
"""What a PUBLISH packet has beside topic and payload: kind, length, two numbers, no properties."""


class Message(NamedTuple):
    """What is to be published."""

    topic: bytes
    payload: bytes
    retain: bool = False

    @property
    def size(self) -> int:
        """The bytes of its packet, or a few more."""
        return _HEAD_BYTES_MAX + len(self.topic) + len(self.payload)


def level(name: str) -> str:
    """A name as one level of a topic; what a level cannot hold is percent-encoded, `%` as well."""
    return _NO_LEVEL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)


def frame(message: Message, version: Version, mid: int = 0) -> bytes:
    """A PUBLISH packet (MQTT 3.1.1, 3.3; in 5.0 the length of its properties is added).

    mid : the packet's number with QoS 1, 0 with QoS 0
    """
    middle = _SHORT.pack(mid) if mid else b""
    if version == "5":
        middle += b"\0"
    topic, payload, retain = message
    length = 2 + len(topic) + len(middle) + len(payload)
    head = bytearray([MessageType.PUBLISH | (_QOS1 if mid else 0) | (_RETAIN if retain else 0)])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, _SHORT.pack(len(topic)), topic, middle, payload))


def packet(data: bytearray, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends; None while it is not whole."""
    length = 0
    for i in range(1, min(5, len(data) - at)):
        length |= (data[at + i] & 0x7F) << 7 * (i - 1)
        if data[at + i] < 0x80:
            body = at + i + 1
            return (body, body + length) if body + length <= len(data) else None
    return None


class Client(mqtt.Client):
    """paho's client, with frames made elsewhere and large reads.

    sent_s : when bytes went out last, by the monotonic clock
    """

    on_pubacks: Callable[[Sequence[tuple[int, int]]], object]
    on_idle: Callable[[], object]
    sent_s: float = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unread = bytearray()

    @property
    def is_started(self) -> bool:
        """Whether its thread was started."""
        return self._thread is not None

    def new_mid(self) -> int:
        """A packet number that is not in use."""
        return self._mid_generate()

    def write(self, frames: bytes) -> None:
        """Send frames as they are; paho is told QoS 1 so that it reports none of them."""
        self._packet_queue(MessageType.PUBLISH, frames, 0, 1)

    def abandon(self) -> None:
        """Leave a broker that does not answer, so that it publishes the will."""
        self._thread_terminate = True
        self._sock_close()

    def _create_socket_connection(self) -> socket.socket:
        made: socket.socket = super()._create_socket_connection()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return made

    def _sock_send(self, buf: bytes | bytearray) -> int:
        """A PINGREQ waits behind what is on its way: bytes that go out are a sign of life, too."""
        sent = super()._sock_send(buf)
        if sent > 0:
            self.sent_s = time.monotonic()
            self.heard()
        return sent

    def loop_misc(self) -> MQTTErrorCode:
        """In paho's thread, between reads."""
        self.on_idle()
        return super().loop_misc()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """In paho's thread: read what is there."""
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self.heard()
        self._unread += data
        return self._loop_rc_handle(self._take())

    def _take(self) -> MQTTErrorCode:
        """Handle whole packets of what was read."""
        data, at, pubacks = self._unread, 0, []
        rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        while rc == MQTTErrorCode.MQTT_ERR_SUCCESS and (found := packet(data, at)):
            body, end = found
            if data[at] == MessageType.PUBACK and end - body >= 2:
                code = data[body + 2] if end - body > 2 else 0
                pubacks.append((data[body] << 8 | data[body + 1], code))
            else:
                rc = self.hand_over(data[at], data[body:end])
            at = end
        del data[:at]
        if pubacks:
            self.on_pubacks(pubacks)
        return rc
