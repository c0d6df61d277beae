"""Machines that publish MQTT JSON, with a count of every message the broker acknowledged.

In: readings by `machine/signal`. Out: messages on `line-1/<machine>/<signal>`, QoS 1, payload
`{"v": number or text, "ts": unix milliseconds}`; `sent`, acknowledged messages per signal. Fails
with LineError where the URL cannot be read or the broker cannot be reached at the start; later
paho connects again by itself and sends what waits (at most `WAITING_MAX` messages; the rest is
counted in `dropped`).
"""

import json
import threading
import time
from collections import Counter, deque
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from hardware.line.control import ExitCode, LineError
from hardware.line.faults import Bad, Value

TOPIC_ROOT = "line-1"
WAITING_MAX = 10_000
CONNECT_DEADLINE_S = 5.0
SETTLE_POLL_S = 0.01
RECONNECT_MAX_S = 5


class Publisher:
    """Publishes readings to one broker. Not thread-safe.

    url : `mqtt://[user:password@]host[:port]`. Raises LineError(USAGE) where it is not that.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port or 1883
        except ValueError:
            port = 0
        if parts.scheme != "mqtt" or not parts.hostname or not port:
            raise LineError(
                ExitCode.USAGE,
                f"--mqtt-url is {url!r}; it must look like mqtt://127.0.0.1:1883",
            )
        self._host, self._port = parts.hostname, port
        self.url = f"mqtt://{self._host}:{self._port}"
        self._answered = threading.Event()
        self._refused = ""
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(parts.username, parts.password)
        self._client.max_queued_messages_set(WAITING_MAX)
        self._client.reconnect_delay_set(1, RECONNECT_MAX_S)
        self._client.connect_timeout = CONNECT_DEADLINE_S
        self._client.on_connect = self._on_connect
        self._waiting: deque[tuple[str, MQTTMessageInfo]] = deque()
        self.sent: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def open(self) -> None:
        """Connect. Raises LineError(UNREACHABLE) within `CONNECT_DEADLINE_S` where that fails."""
        try:
            self._client.connect(self._host, self._port)
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from None
        self._client.loop_start()
        if not self._answered.wait(CONNECT_DEADLINE_S):
            self._refused = f"no answer within {CONNECT_DEADLINE_S:g} s"
        if self._refused:
            self.close()
            raise self._unreachable(self._refused)

    def publish(self, key: str, value: Value, time_ns: int) -> None:
        """Send one reading. time_ns : source time; whole milliseconds are sent."""
        assert not isinstance(value, Bad), "MQTT machines have no status"
        payload = json.dumps({"v": value, "ts": time_ns // 1_000_000})
        info = self._client.publish(f"{TOPIC_ROOT}/{key}", payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self.dropped[key] += 1
        else:
            self._waiting.append((key, info))
        self._count_acknowledged()

    def settle(self, deadline_s: float) -> int:
        """Wait until all is acknowledged, `deadline_s` at most; how many messages are not."""
        deadline = time.monotonic() + deadline_s
        self._count_acknowledged()
        while self._waiting and time.monotonic() < deadline:
            time.sleep(SETTLE_POLL_S)
            self._count_acknowledged()
        return len(self._waiting)

    def close(self) -> None:
        """Disconnect and end paho's thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _count_acknowledged(self) -> None:
        # Acknowledgements come in the order of sending, so the oldest decides.
        while self._waiting and _acknowledged(self._waiting[0][1]):
            self.sent[self._waiting.popleft()[0]] += 1

    def _on_connect(
        self, client: Client, userdata: object, flags: object, reason: object, properties: object
    ) -> None:
        if getattr(reason, "is_failure", False):
            self._refused = str(reason)
        self._answered.set()

    def _unreachable(self, why: str) -> LineError:
        return LineError(
            ExitCode.UNREACHABLE,
            f"cannot reach the MQTT broker at {self.url}: {why}; "
            "start one there, name another with --mqtt-url, or use --embedded-broker",
        )


def _acknowledged(info: MQTTMessageInfo) -> bool:
    # paho raises where the message was queued while disconnected; it is then sent and
    # acknowledged later all the same, without the result code ever being cleared.
    return info._published
