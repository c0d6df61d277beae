"""One connection to a broker, from its opening to its end; the next one is another object.

Enters: packets, in paho's own thread. Leaves: messages, in a bounded queue; where that is full the
thread waits, TCP fills up and the broker holds back. Fails: SourceUnreachable when the broker does
not answer or the connection is lost, SourceRefused when it says no.

Everything but `_on_message` and paho's callbacks runs in the event loop's thread; the callbacks
only hand over.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.sources.drain import Taken

log = logging.getLogger("andon.mqtt")

MESSAGES_MAX: Final = 20_000
"""Messages that may wait for the pipeline; then the broker waits."""
FULL_S: Final = 0.1
"""How often paho's thread looks whether a full queue was closed."""
CLOSE_S: Final = 3.0


class Connection:
    """A connection of its own thread.

    news : set when messages came or the connection ended
    kept : whether the broker had kept the session; None until it has said
    lost : why it was lost, or None
    living : it is open, subscribed and neither lost nor closed
    """

    def __init__(self, config: MqttConfig, client_id: str) -> None:
        self.news = asyncio.Event()
        self.kept: bool | None = None
        self.lost: SourceError | None = None
        self.living = False
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._messages: queue.Queue[paho.MQTTMessage] = queue.Queue(MESSAGES_MAX)
        self._taken = Taken()
        self._closing = threading.Event()
        self._gone = asyncio.Event()
        self._opened: asyncio.Future[bool] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._client = self._new_client(client_id)

    async def open(self, filters: Collection[str], stale: Collection[str]) -> None:
        """Connect, give up the stale filters of a kept session, and subscribe.

        Within `connect_timeout_s`.
        """
        config = self._config
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                self._client.connect_async(config.host, config.port, config.keepalive_s)
                self._client.loop_start()
                self.kept = await self._opened
                if self.kept:
                    await self.unsubscribe(stale)
                await self.subscribe(filters)
        except TimeoutError:
            raise self._unreachable("timed out") from None
        self.living = self.lost is None

    async def subscribe(self, filters: Collection[str]) -> None:
        """Read these too. Raises SourceRefused where the broker does not allow one of them."""
        if filters:
            topics = [(name, self._config.qos) for name in filters]
            for reason in await self._answer(self._client.subscribe(topics)):
                if reason.is_failure:
                    raise self._refused(f"subscription: {reason}")

    async def unsubscribe(self, filters: Collection[str]) -> None:
        """Read these no more; what the broker sent before has come when this returns."""
        if filters:
            await self._answer(self._client.unsubscribe(list(filters)))

    def drop(self, filters: Collection[str]) -> None:
        """Unsubscribe, without waiting for the answer."""
        if filters:
            self._client.unsubscribe(list(filters))

    def take(self, messages_max: int) -> list[paho.MQTTMessage]:
        """The next messages, in the order they came."""
        messages: list[paho.MQTTMessage] = []
        while len(messages) < messages_max:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                break
        self._taken.add(len(messages))
        return messages

    async def drain(self) -> None:
        """Return once what has come until now was taken."""
        await self._taken.reach(self._taken.count + self._messages.qsize())

    def acknowledge(self, packets: Iterable[tuple[int, int]]) -> None:
        """Acknowledge (packet id, QoS); once the connection is lost there is nobody to tell."""
        for mid, qos in packets:
            if self._client.ack(mid, qos) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    async def close(self) -> None:
        """Say goodbye; a broker that does not answer is left."""
        self.living = False
        self._closing.set()
        self.news.set()
        self._client.disconnect()
        try:
            await asyncio.wait_for(self._gone.wait(), CLOSE_S)
        except TimeoutError:
            log.debug("%s: paho's thread waits for the broker; it is left", self._config.name)

    def _new_client(self, client_id: str) -> _Client:
        config = self._config
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
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
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.on_end = lambda reason: self._in_loop(lambda: self._end(reason))
        return client

    async def _answer(self, sent: tuple[MQTTErrorCode, int | None]) -> list[ReasonCode]:
        """The broker's answer to what was just sent."""
        code, mid = sent
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._unreachable("the connection was closed")
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            return await answer
        finally:
            del self._answers[mid]

    def _on_connect(
        self, client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Any
    ) -> None:
        if self._closing.is_set():  # it connected after its deadline
            client.disconnect()
        elif reason.is_failure:
            self._in_loop(lambda: _settle(self._opened, self._refused(str(reason))))
        else:
            self._in_loop(lambda: _settle(self._opened, flags.session_present))

    def _on_answer(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _p: Any
    ) -> None:
        def settle() -> None:  # in the loop, after `_answer` has noted whom it is for
            if mid in self._answers:
                _settle(self._answers[mid], reasons)

        self._in_loop(settle)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        """Queue it, and wait where the queue is full."""
        empty = self._messages.empty()
        while not self._closing.is_set():
            try:
                self._messages.put(message, timeout=FULL_S)
                break
            except queue.Full:
                continue
        if empty:
            self._in_loop(self.news.set)

    def _end(self, reason: str) -> None:
        said = f": {reason}" if reason else ""
        url = self._config.url
        self.living = False
        self.lost = SourceUnreachable(f"{self._config.name}: the connection to {url} is lost{said}")
        ended = self._unreachable(reason or "the connection was closed")
        _settle(self._opened, ended)
        for answer in self._answers.values():
            _settle(answer, ended)
        self.news.set()
        self._gone.set()

    def _in_loop(self, call: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _unreachable(self, reason: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self._config.name}: {self._config.url} does not answer: {reason}",
            "is the broker running, is the port right, does a firewall stand between?",
        )

    def _refused(self, reason: str) -> SourceError:
        if reason == "Server unavailable":  # MQTT 3.1.1, table 3.1: a passing state
            return self._unreachable(reason)
        return SourceRefused(
            f"{self._config.name}: {self._config.url} refuses: {reason}",
            "check user, password and the broker's access list",
        )


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # nobody may be waiting any more
    else:
        future.set_result(outcome)


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
