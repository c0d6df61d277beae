"""paho's client with a reader of our own: whole reads, split by a kernel.

In paho's thread. Enters: bytes of the socket, as many as there are. Leaves: PUBLISH packets, many
in one piece, to the intake; every other packet to paho's own handlers, which keep connection,
session and subscriptions. Fails: a packet that cannot be one ends the connection, as the standard
asks (MQTT 5.0, 4.13.1).

paho reads a byte at a time and makes an object of each message, 19 to 25 us. Here the thread waits
a moment before it reads on, so that a fast broker's packets come in hundreds; it does not read at
all while the intake is full, and goes on saying that it is there.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from paho.mqtt.enums import MQTTErrorCode

from agent.mqtt import Client
from agent.sources.mqtt.packets import Splitter, TooLong, WireError

GATHER_S: Final = 0.002
"""How long the thread lets packets gather before it reads on; an acknowledgement waits as long."""
FULL_S: Final = 0.02
"""How often the thread looks whether a full intake was emptied."""

PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x60
PUBCOMP: Final = 0x70
"""MQTT 5.0, table 2-1: packet types, in the upper half of the first byte."""

BYTES_MAX: Final = 16 << 20
"""Bytes that may wait for the pipeline; then the broker waits. One chunk may go beyond it."""


class Intake:
    """Chunks on their way from the reading thread to the event loop's, in order.

    Bounded by bytes: once it is full the thread stops reading, TCP fills up and the broker holds
    back. `put_bytes` and `taken_bytes` count all there ever were.
    """

    def __init__(self) -> None:
        self.put_bytes = 0
        self.taken_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether the thread must not read on."""
        return self.put_bytes - self.taken_bytes >= BYTES_MAX

    def put(self, chunk: bytes) -> bool:
        """Add a chunk; whether there was none before."""
        with self._lock:
            self._chunks.append(chunk)
            self.put_bytes += len(chunk)
            return len(self._chunks) == 1

    def take(self, bytes_max: int) -> list[bytes]:
        """The next chunks: at least one where there is one, else no more than `bytes_max` of it."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._chunks and (not taken or size + len(self._chunks[0]) <= bytes_max):
                size += len(self._chunks[0])
                taken.append(self._chunks.popleft())
            self.taken_bytes += size
        return taken


class Reading(Client):
    """A client whose PUBLISH packets go to `intake`, unread.

    on_chunk : called in paho's thread when the intake is no longer empty
    on_too_long : called in paho's thread with a message that is not read
    """

    intake: Intake
    splitter: Splitter
    on_chunk: Callable[[], object]
    on_too_long: Callable[[TooLong], object]

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read what there is and hand it on."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        self.paused = self.intake.full
        if self.paused:
            time.sleep(FULL_S)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            received = self._receive()
            if not received:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            self.heard()
            others, chunk = self.splitter.split(received)
        except (WireError, OSError) as error:
            return self._give_up(error)
        if chunk:
            if self.intake.put(chunk):
                self.on_chunk()
            time.sleep(GATHER_S)
        while self.splitter.too_long:
            self.on_too_long(self.splitter.too_long.pop(0))
        for command, body in others:
            code = self._handle(command, body)
            if code:
                return self._loop_rc_handle(code)
        if self.splitter.fault is not None:
            return self._give_up(self.splitter.fault)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def send(self, packets: bytes) -> None:
        """Send packets that are acknowledgements, in one write; once it is lost, nobody waits."""
        if packets and self._sock is not None:
            self._packet_queue(PUBACK, packets, 0, 0)

    def _give_up(self, error: Exception) -> MQTTErrorCode:
        self.noted(error)
        return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def _receive(self) -> int:
        """Bytes read into the splitter; 0 where there are none after all."""
        sock: Any = self._sock
        room = self.splitter.room
        try:
            if hasattr(sock, "recv_into"):
                received = int(sock.recv_into(room))
            else:  # paho's WebSockets
                data = sock.recv(len(room))
                received = len(data)
                room[:received] = data
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except ssl.SSLWantWriteError:
            self._call_socket_register_write()
            return 0
        if received == 0:
            raise ConnectionResetError("the broker closed the connection")
        return received

    def _handle(self, command: int, body: bytes) -> MQTTErrorCode:
        """Give one packet to paho's handlers."""
        if command & 0xF0 == PUBREL:
            return self._released(body)
        return self.hand_over(command, body)

    def _released(self, body: bytes) -> MQTTErrorCode:
        """The broker may forget a QoS 2 message, whose samples were committed before its PUBREC."""
        if len(body) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return self._packet_queue(PUBCOMP, bytes((PUBCOMP, 2)) + body[:2], 0, 0)
