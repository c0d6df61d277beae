"""One connection to a broker, from its opening to its end; the next one is another object.

Enters: packets, in paho's own thread (`reading.py`). Leaves: chunks of PUBLISH packets, bounded.
Fails: SourceUnreachable when the broker does not answer or the connection is lost, SourceRefused
when it says no.

Everything but paho's callbacks runs in the event loop's thread; the callbacks only hand over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.config import MqttConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.mqtt import (
    SESSION_FOR_EVER,
    UNKNOWN_VERSION,
    Answer,
    End,
    Version,
    connect,
    new_client,
    of_end,
    of_reason,
)
from agent.sources.drain import Taken
from agent.sources.mqtt.filters import identifier
from agent.sources.mqtt.packets import Splitter, TooLong
from agent.sources.mqtt.reading import FULL_S, PUBACK, PUBREC, Intake, Reading
from agent.sources.mqtt.redelivery import Owed

log = logging.getLogger("andon.mqtt")

CLOSE_S: Final = 3.0


class Connection:
    """A connection of its own thread.

    receive_max : messages that a broker of MQTT 5 may send ahead of their acknowledgement
    on_too_long : called with a message that is not read, and has been acknowledged
    news : set when packets came or the connection ended
    kept : whether the broker had kept the session; None until it has said
    lost : why it was lost, or None
    living : it is open, subscribed and neither lost nor closed
    silent : nothing was answered when its time was up
    version_refused : the broker does not speak this version of MQTT, or hung up at our first word,
        as old ones say that
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        version: Version,
        receive_max: int,
        on_too_long: Callable[[TooLong], object],
    ) -> None:
        self._on_too_long = on_too_long
        self.news = asyncio.Event()
        self.kept: bool | None = None
        self.lost: SourceError | None = None
        self.living = False
        self.version: Final = version
        self.version_refused = False
        self.silent = False
        self._identifies = version == "5"
        self._receive_max = receive_max
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._intake = Intake()
        self._taken = Taken()
        self._closing = threading.Event()
        self._gone = asyncio.Event()
        self._opened: asyncio.Future[bool] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._agreeing: asyncio.Task[None] | None = None
        self._given_bytes = 0
        self._client = self._new_client(client_id)

    async def open(
        self, filters: Collection[str], stale: Collection[str], overlapping: Collection[str] = ()
    ) -> None:
        """Connect, give up the stale filters of a kept session, and subscribe.

        Within `connect_timeout_s`; `overlapping` as of `subscribe`.
        """
        config = self._config
        wanted_s = config.session_expiry_s
        expiry_s = 0 if config.clean_start else SESSION_FOR_EVER if wanted_s is None else wanted_s
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                connect(
                    self._client, config, self.version,
                    clean_start=config.clean_start, session_expiry_s=expiry_s,
                    receive_max=self._receive_max,
                )  # fmt: skip
                self.kept = await self._opened
                await self._agree(filters, stale if self.kept else (), overlapping)
        except TimeoutError:
            self.silent = self.kept is None
            raise self._error(of_end(config, End(TimeoutError()), opened=False)) from None
        self.living = self.lost is None

    async def _agree(
        self, filters: Collection[str], stale: Collection[str], overlapping: Collection[str]
    ) -> None:
        """Give up the stale filters and subscribe.

        A kept session's backlog and retained messages come before the broker's answer. Where they
        fill the intake, it is awaited while batches are taken, or it would never be read.
        """
        agreeing = asyncio.create_task(self._say_filters(filters, stale, overlapping))
        try:
            while not (agreeing.done() or self._intake.full):
                await asyncio.wait({agreeing}, timeout=FULL_S)
        except asyncio.CancelledError:
            agreeing.cancel()
            raise
        if agreeing.done():
            agreeing.result()
        else:
            self._agreeing = agreeing
            agreeing.add_done_callback(self._agreed)

    async def _say_filters(
        self, filters: Collection[str], stale: Collection[str], overlapping: Collection[str]
    ) -> None:
        await self.unsubscribe(stale)
        await self.subscribe(filters, overlapping)

    def _agreed(self, agreeing: asyncio.Task[None]) -> None:
        """The broker's answer came while batches were taken; a no ends the connection."""
        error = None if agreeing.cancelled() else agreeing.exception()
        if isinstance(error, SourceError) and self.lost is None:
            self.lost, self.living = error, False
            self._client.disconnect()
            self.news.set()

    async def subscribe(self, filters: Collection[str], overlapping: Collection[str] = ()) -> None:
        """Read these too. Raises SourceRefused where the broker does not allow one of them.

        overlapping : of them those to which MQTT 5 subscribes by their identifiers
        """
        alone = set(overlapping) & set(filters) if self._identifies else set()
        together = sorted(set(filters) - alone)
        asked = [([name], identifier(name)) for name in sorted(alone)]
        if together:
            asked.append((together, 0))
        for names, number in asked:
            for name, reason in zip(names, await self._subscribe(names, number), strict=False):
                if reason.is_failure:
                    answer = of_reason(self._config, reason)
                    raise SourceRefused(f"{answer.sentence} (to subscribe to {name})", answer.hint)
                if reason.value < self._config.qos:
                    log.warning(
                        "%s: the broker gives only QoS %s of %s: what it sends while the "
                        "connection is away may be gone", self._config.name, reason.value, name,
                    )  # fmt: skip

    async def unsubscribe(self, filters: Collection[str]) -> None:
        """Read these no more; what the broker sent before has come when this returns."""
        if filters:
            await self._answer(self._client.unsubscribe(list(filters)))

    def drop(self, filters: Collection[str]) -> None:
        """Unsubscribe, without waiting for the answer."""
        if filters:
            self._client.unsubscribe(list(filters))

    def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 0, not retained; what cannot be sent now is not."""
        if self.living:
            self._client.publish(topic, payload, 0)

    def take(self, bytes_max: int) -> list[bytes]:
        """The next chunks of PUBLISH packets, in order; those of the last call have been read."""
        self._taken.add(self._given_bytes)
        chunks = self._intake.take(bytes_max)
        self._given_bytes = sum(map(len, chunks))
        return chunks

    @property
    def waiting(self) -> bool:
        """Whether there is more to take."""
        return self._intake.put_bytes > self._intake.taken_bytes

    async def drain(self) -> None:
        """Return once what has come until now was read."""
        await self._taken.reach(self._intake.put_bytes)

    def acknowledge(self, owed: Owed) -> None:
        """Acknowledge these; once the connection is lost there is nobody to tell."""
        packets = np.empty((owed.size, 4), np.uint8)
        packets[:, 0] = np.where(owed.qos == 2, PUBREC, PUBACK)
        packets[:, 1] = 2
        packets[:, 2], packets[:, 3] = owed.ids >> 8, owed.ids & 0xFF
        self._client.send(packets.tobytes())

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

    def _new_client(self, client_id: str) -> Reading:
        config = self._config
        client = new_client(
            Reading, config, client_id, self.version,
            clean_start=config.clean_start, manual_ack=True,
        )  # fmt: skip
        client.intake = self._intake
        client.splitter = Splitter(self.version == "5")
        client.on_chunk = lambda: self._in_loop(self.news.set)
        client.on_too_long = lambda one: self._in_loop(lambda: self._pass_over(one))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.on_end = lambda end: self._in_loop(lambda: self._end(end))
        return client

    async def _subscribe(self, names: Sequence[str], number: int) -> list[ReasonCode]:
        """The broker's answers; number : of the subscription, 0 for none."""
        qos: Any = self._config.qos
        wishes: Any = None
        if self.version == "5":
            qos = SubscribeOptions(qos=self._config.qos)
        if number:
            wishes = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            wishes.SubscriptionIdentifier = number
        return await self._answer(
            self._client.subscribe([(name, qos) for name in names], properties=wishes)
        )

    async def _answer(self, sent: tuple[MQTTErrorCode, int | None]) -> list[ReasonCode]:
        """The broker's answer to what was just sent."""
        code, mid = sent
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._error(of_end(self._config, End(), opened=False))
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            return await answer
        finally:
            del self._answers[mid]

    def _on_connect(
        self,
        client: paho.Client,
        _data: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        said: Properties | None,
    ) -> None:
        self._identifies &= bool(getattr(said, "SubscriptionIdentifierAvailable", 1))
        if self._closing.is_set():  # it connected after its deadline
            client.disconnect()
        elif reason.is_failure:
            self.version_refused = str(reason) == UNKNOWN_VERSION
            error = self._error(of_reason(self._config, reason))
            self._in_loop(lambda: _settle(self._opened, error))
        else:
            self._in_loop(lambda: _settle(self._opened, flags.session_present))

    def _on_answer(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _p: Any
    ) -> None:
        def settle() -> None:  # in the loop, after `_answer` has noted whom it is for
            if mid in self._answers:
                _settle(self._answers[mid], reasons)

        self._in_loop(settle)

    def _pass_over(self, one: TooLong) -> None:
        """Acknowledge at once what brings no sample, or it would come again for ever."""
        ids, qos = one.beginning.packet_id, one.beginning.qos
        self.acknowledge(Owed(ids[qos > 0], qos[qos > 0]))
        self._on_too_long(one)

    def _end(self, end: End) -> None:
        self.living = False
        if self.lost is None:
            self.lost = self._error(of_end(self._config, end, opened=self.kept is not None))
        hung_up = end.error is None or isinstance(end.error, ConnectionResetError)
        self.version_refused |= self.kept is None and hung_up
        _settle(self._opened, self.lost)
        for answer in self._answers.values():
            _settle(answer, self.lost)
        self.news.set()
        self._gone.set()

    def _in_loop(self, call: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    @staticmethod
    def _error(answer: Answer) -> SourceError:
        kind = SourceRefused if answer.refused else SourceUnreachable
        return kind(answer.sentence, answer.hint)


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # nobody may be waiting any more
    else:
        future.set_result(outcome)
