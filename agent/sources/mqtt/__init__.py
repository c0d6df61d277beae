"""The MQTT source: topics of one broker, under paho's connection.

Enters: PUBLISH packets with JSON payloads. Leaves: batches of what came since the last one, at
least every heartbeat; each vouches for the time up to now less an allowance (`vouch.py`) for
sensors' own clocks. How long a single value holds without news is its signal's `hold_ns`.
Fails: SourceUnreachable when the broker does not answer or the connection is lost, SourceRefused
when it says no. A payload that cannot be read is counted, said once a minute, and acknowledged,
so that it never stops the line.

paho's own thread reads the socket and fills a bounded queue; when that is full, it waits, TCP
fills up and the broker holds back. QoS 1 messages are acknowledged by hand after the commit, in
the session they came in: one that outlived its session is the broker's to redeliver. A session that
the broker kept begins with its backlog; until that has come, time stands still, or all of it would
be late.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from agent.batch import Batch
from agent.config import MqttConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.sources import NO_ACK, Ack
from agent.sources.mqtt.decode import Decoder, Resolve
from agent.sources.vouch import Vouch

log = logging.getLogger("andon.mqtt")

MESSAGES_MAX: Final = 20_000
"""Messages that may wait for the pipeline; then the broker waits."""
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
CLOSE_S: Final = 3.0


class MqttSource:
    """One MQTT broker. `resolve` gives the id and kind of a topic's signal."""

    def __init__(self, config: MqttConfig, client_id: str, resolve: Resolve) -> None:
        self._config = config
        self._client_id = client_id
        self._decoder = Decoder(config, resolve)
        self._client: _Client | None = None
        self._gone = asyncio.Event()
        self._session = 0
        self._messages: queue.Queue[paho.MQTTMessage] = queue.Queue(MESSAGES_MAX)
        self._unacknowledged = 0
        self._lost: SourceError | None = None
        self._closing = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._vouch = Vouch(LATENESS_NS)
        self._connected_s = 0.0
        self._has_backlog = False

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    def rejected(self) -> dict[str, int]:
        """Messages that brought no sample, by cause."""
        return dict(self._decoder.rejected)

    def signal_of(self, topic: str) -> int | None:
        """The id of the signal that a topic brings; None where it brings none."""
        return self._decoder.signal_of(topic)

    async def connect(self) -> None:
        """Connect and subscribe, within `connect_timeout_s`."""
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._lost = None
        self._closing.clear()
        self._session += 1
        self._unacknowledged = 0
        self._has_backlog = False
        self._vouch = Vouch(LATENESS_NS)
        self._messages = queue.Queue(MESSAGES_MAX)
        self._gone = asyncio.Event()
        answered: asyncio.Future[None] = self._loop.create_future()
        self._client = client = self._new_client(answered)
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                client.connect_async(config.host, config.port, config.keepalive_s)
                client.loop_start()
                await answered
        except TimeoutError:
            raise self._unreachable("timed out") from None
        self._connected_s = time.monotonic()

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """What came since the last batch, or an empty heartbeat."""
        while not self._closing.is_set():
            try:
                await asyncio.wait_for(self._news.wait(), HEARTBEAT_S)
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._news.clear()
            now_ns = time.time_ns()
            messages = self._take()
            if self._lost is not None and not messages:
                raise self._lost
            batch = self._decoder.batch(messages, now_ns, 0)
            more = len(messages) == BATCH_MESSAGES_MAX
            if not (more or self._lost or self._is_behind(batch, now_ns)):
                self._vouch.take(batch.time_ns, now_ns)
                batch = replace(batch, alive_until_ns=self._vouch.until(now_ns))
            yield batch, self._ack(messages)
            if more:
                self._news.set()

    async def close(self) -> None:
        """Say goodbye; a broker that does not answer is left."""
        client, self._client = self._client, None
        self._closing.set()
        self._news.set()
        if client is None:
            return
        client.disconnect()
        try:
            await asyncio.wait_for(self._gone.wait(), CLOSE_S)
        except TimeoutError:
            log.debug("%s: paho's thread still waits for the broker; it is left", self.name)

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

    def _new_client(self, answered: asyncio.Future[None]) -> _Client:
        config = self._config
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=config.clean_start,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = config.connect_timeout_s
        if config.user is not None:
            secret = config.password
            client.username_pw_set(config.user, secret.get_secret_value() if secret else None)
        client.on_message = self._on_message
        client.on_connect = self._on_connect(answered)
        client.on_subscribe = self._on_subscribe(answered)
        client.on_end = self._on_end(client, answered, self._gone)
        return client

    def _on_connect(self, answered: asyncio.Future[None]) -> Callable[..., None]:
        def on_connect(
            client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Any
        ) -> None:
            if client is not self._client:  # it connected after its deadline
                client.disconnect()
            elif reason.is_failure:
                self._answer(answered, self._refused(str(reason)))
            else:
                self._has_backlog = flags.session_present
                filters = dict.fromkeys(topic.filter for topic in self._config.topics)
                client.subscribe([(name, self._config.qos) for name in filters])

        return on_connect

    def _on_subscribe(self, answered: asyncio.Future[None]) -> Callable[..., None]:
        def on_subscribe(
            _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _p: Any
        ) -> None:
            failed = [str(reason) for reason in reasons if reason.is_failure]
            self._answer(answered, self._refused(f"subscription: {failed[0]}") if failed else None)

        return on_subscribe

    def _on_end(
        self, client: paho.Client, answered: asyncio.Future[None], gone: asyncio.Event
    ) -> Callable[[str], None]:
        def on_end(reason: str) -> None:
            self._answer(answered, self._unreachable(reason or "the connection was closed"))
            if client is self._client:
                said = f": {reason}" if reason else ""
                self._lost = SourceUnreachable(
                    f"{self.name}: the connection to {self._config.url} is lost{said}"
                )
            self._tell()
            self._in_loop(gone.set)

        return on_end

    def _unreachable(self, reason: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self.name}: {self._config.url} does not answer: {reason}",
            "is the broker running, is the port right, does a firewall stand between?",
        )

    def _refused(self, reason: str) -> SourceError:
        if reason == "Server unavailable":  # MQTT 3.1.1, table 3.1: a passing state
            return self._unreachable(reason)
        return SourceRefused(
            f"{self.name}: {self._config.url} refuses: {reason}",
            "check user, password and the broker's access list",
        )

    def _answer(self, answered: asyncio.Future[None], error: SourceError | None) -> None:
        def answer() -> None:
            if answered.done():
                return
            if error is None:
                answered.set_result(None)
            else:
                answered.set_exception(error)

        self._in_loop(answer)

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        """In paho's thread: queue it, and wait where the queue is full."""
        empty = self._messages.empty()
        while client is self._client:
            try:
                self._messages.put(message, timeout=HEARTBEAT_S)
                break
            except queue.Full:
                continue
        if empty:
            self._tell()

    def _tell(self) -> None:
        self._in_loop(self._news.set)

    def _in_loop(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _take(self) -> list[paho.MQTTMessage]:
        messages: list[paho.MQTTMessage] = []
        while len(messages) < BATCH_MESSAGES_MAX:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                break
        return messages

    def _ack(self, messages: list[paho.MQTTMessage]) -> Ack:
        waiting = [(message.mid, message.qos) for message in messages if message.qos > 0]
        if not waiting:
            return NO_ACK
        self._unacknowledged += len(waiting)
        session = self._session

        def call() -> None:
            if session != self._session or self._client is None:
                return
            self._unacknowledged -= len(waiting)
            for mid, qos in waiting:
                if self._client.ack(mid, qos) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return

        return Ack(call, urgent=self._unacknowledged >= URGENT_MESSAGES)


class _Client(paho.Client):
    """paho's client; its thread connects, and tells when it ends, whatever ended it.

    Left alone, one that dies leaves a connection that nobody reads (paho.mqtt.python#894).
    """

    on_end: Callable[[str], None]

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """In paho's thread. The pipeline says when to try again, so the first failure ends it."""
        reason = ""
        try:
            return super().loop_forever(timeout, retry_first_connection=False)
        except Exception as error:
            reason = str(error) or type(error).__name__
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self.on_end(reason)
