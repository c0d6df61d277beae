"""paho's client, told what the configuration says, and supervised.

Left alone, paho reads nothing while a callback waits, waits up to two keep-alive intervals for a
peer that has vanished, and leaves a connection that nobody reads where its thread dies
(paho.mqtt.python#894). Here a silent broker is asked after `PROBE_S` and given up `ANSWER_S` later,
and `on_end` is called when the thread ends, with all that is known of why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.config.mqtt import BrokerTable
from agent.mqtt.tls import context

Version = Literal["3.1.1", "5"]

PROBE_S: Final = 5.0
"""A broker that has said nothing for so long is asked whether it is there."""
ANSWER_S: Final = 5.0
"""A broker that was asked and says nothing for so long is not there."""
SESSION_FOR_EVER: Final = 0xFFFF_FFFF
"""MQTT 5.0, 3.1.2.11.2: a session that never expires."""


UNKNOWN_VERSION: Final = "Unsupported protocol version"
"""How paho calls the broker's no to a version of MQTT."""
_CONNACK: Final = 0x20
_KNOW_NOT_THE_VERSION: Final = (b"\x01", b"\x84")
"""What CONNACK says then (MQTT 3.1.1, 3.2.2.3; 5.0, 3.2.2.2)."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection is lost (MQTT 5.0, 3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """Why a client's thread has ended, as far as that is known.

    error : of the socket, of TLS, or of our own
    reason : what the broker said as it hung up, or what paho makes of it
    by_broker : it was the broker's word
    silent : the broker answered nothing any more
    """

    error: Exception | None = None
    reason: ReasonCode | None = None
    by_broker: bool = False
    silent: bool = False


class Client(paho.Client):
    """paho's client for one connection; its thread connects, and tells when it ends.

    on_end : called once in paho's thread, last of all
    paused : nothing is read on purpose, so the broker's silence says nothing
    """

    on_end: Callable[[End], object]
    paused: bool = False
    _error: Exception | None = None
    _reason: ReasonCode | None = None
    _by_broker: bool = False
    _silent: bool = False

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """In paho's thread. When to try again is the owner's business: the first failure ends."""
        try:
            return super().loop_forever(timeout, retry_first_connection=False)
        except Exception as error:
            self._error = error
            self._sock_close()
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self.on_end(End(self._error, self._reason, self._by_broker, self._silent))

    def loop_misc(self) -> MQTTErrorCode:
        """In paho's thread, between reads: see whether the broker is there."""
        if self.paused:
            self._ping_t = 0.0
            self.heard()
        elif self._sock is not None and self.is_connected():
            silent_s = time.monotonic() - self._last_bytes_received
            if silent_s >= PROBE_S and not self._ping_t:
                self._send_pingreq()
            elif self._ping_t and silent_s >= ANSWER_S < time.monotonic() - self._ping_t:
                self._silent = True
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_KEEPALIVE)
        return super().loop_misc()

    def heard(self) -> None:
        """Note that the broker is there."""
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()

    def noted(self, error: Exception) -> None:
        """Keep what the socket said, which paho would only log."""
        self._error = error

    def hand_over(self, command: int, body: bytes | bytearray) -> MQTTErrorCode:
        """In paho's thread: have it handle a packet that was read elsewhere.

        command : the packet's first byte; body : what follows its length
        A CONNACK that does not know the version is told to `on_connect` in whichever version it
        comes: paho reads but one, and keeps that of 3.1.1 to itself.
        """
        if command & 0xF0 == _CONNACK and body[1:2] in _KNOW_NOT_THE_VERSION:
            told: Any = self.on_connect
            refused = ReasonCode(PacketTypes.CONNACK, UNKNOWN_VERSION)
            told(self, None, paho.ConnectFlags(session_present=False), refused, None)
            return MQTTErrorCode.MQTT_ERR_CONN_REFUSED
        packet = self._in_packet
        packet["command"], packet["packet"] = command, bytearray(body)
        packet["remaining_length"] = len(body)
        return self._packet_handle()

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            return super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.noted(error)
            raise

    def said_goodbye(
        self, _client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        """What paho calls `on_disconnect`."""
        self._reason = reason
        self._by_broker = flags.is_disconnect_packet_from_server


C = TypeVar("C", bound=Client)


def new_client(
    kind: type[C],
    broker: BrokerTable,
    client_id: str,
    version: Version,
    *,
    clean_start: bool,
    manual_ack: bool = False,
    will: Will | None = None,
) -> C:
    """A client of this kind, not connected. Raises ConfigError where a file cannot be used."""
    options: dict[str, Any] = {} if version == "5" else {"clean_session": clean_start}
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if version == "5" else paho.MQTTv311,
        transport="websockets" if broker.websockets else "tcp",
        reconnect_on_failure=False,
        manual_ack=manual_ack,
        **options,
    )
    client.connect_timeout = broker.connect_timeout_s
    client.on_disconnect = client.said_goodbye
    if broker.user is not None:
        secret = broker.password
        client.username_pw_set(broker.user, secret.get_secret_value() if secret else None)
    if broker.tls:
        client.tls_set_context(context(broker))
    if broker.websockets:
        client.ws_set_options(broker.path)
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    return client


def connect(
    client: Client,
    broker: BrokerTable,
    version: Version,
    *,
    clean_start: bool,
    session_expiry_s: int = 0,
    receive_max: int = 65_535,
) -> None:
    """Let the client's thread connect; `on_connect` and `on_end` tell how it went.

    session_expiry_s : how long an MQTT 5 broker keeps the session after the connection
    receive_max : how many messages an MQTT 5 broker may send ahead of their acknowledgement
    """
    options: dict[str, Any] = {}
    if version == "5":
        wishes: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.SessionExpiryInterval = session_expiry_s
        wishes.ReceiveMaximum = receive_max
        options = {"clean_start": clean_start, "properties": wishes}
    client.connect_async(broker.host, broker.port, broker.keepalive_s, **options)
    client.loop_start()
