"""The OPC UA source: one server, read as fast as it speaks, through whatever happens between.

    session       one connection: asyncua's, secured (`security`) and guarded (`client`)
    publishing    PublishRequests in flight, publications in order
    subscription  monitored items, on as many subscriptions as they need
    wire          from a publication's bytes to columns; the kernels are in `agent/kernels/opcua`
    reading       from columns to batches: first values, vouching, what is known over connections
    conversation  what goes on over several sessions: `transfer` and republish, `history`
    events        events and alarms, as text

Enters: publications. Leaves: batches, vouching for silence up to the server's publish time less an
allowance; keep-alives are empty batches. Fails: SourceUnreachable when nothing answers, or the
connection or a subscription ends or falls silent, SourceRefused when the server says no, or is not
trusted. One node or namespace that the server does not know never stops the others: it is said,
told as a Bad sample, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from asyncua import ua

from agent.batch import Batch
from agent.config import OpcuaConfig
from agent.config.opcua.server import ON_THE_CONNECTION
from agent.errors import SourceError
from agent.signals import Signal
from agent.sources import NO_ACK, Ack, Packets
from agent.sources.opcua.conversation import Conversation
from agent.sources.opcua.events import Events
from agent.sources.opcua.reading import Known
from agent.sources.opcua.session import Session, explained, open_session, reason
from agent.sources.opcua.wire import Decoder
from agent.sources.rounding import Rounding
from agent.trust import Trust

log = logging.getLogger("andon.opcua")

HEAL_FIRST_S: Final = 5.0
HEAL_MAX_S: Final = 300.0
"""Signals that are not delivered are tried again after pauses that grow to this."""
HEAL_LOOK_S: Final = 1.0
TRUST_LOOK_S: Final = 3600.0
"""Certificates that expire are looked for this often."""
MISSING_SHOWN_MAX: Final = 5
"""So many signals that are not delivered are named; the others are counted."""


class OpcuaSource:
    """One OPC UA server.

    signals : (id, signal) as the signal table has them
    trust : the gateway's certificate and those it trusts; None where security is "none"
    now_ns : the gateway's clock, UTC
    """

    redelivers = False
    redelivered = 0

    def __init__(
        self,
        config: OpcuaConfig,
        signals: Sequence[tuple[int, Signal]],
        trust: Trust | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._signals = list(signals)
        self._trust = trust
        self._now_ns = now_ns
        self._known = Known()
        self._events = Events(config.name, config.events)
        self._conversation: Conversation | None = None
        self._kept: Conversation | None = None
        """One whose connection was lost, and which may go on over the next."""
        self._changing = asyncio.Lock()
        self._healing: asyncio.Task[None] | None = None
        self._closed = self._is_warm = False
        self._missing_said: list[str] = []
        self._rounding = Rounding(config.name, log)
        self._look_s = 0.0

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    @property
    def _where(self) -> str:
        return f"{self.name}: {self._config.endpoint}"

    def rejected(self) -> dict[str, int]:
        """Notifications of what was known already, by cause."""
        return dict(self._known.rejected)

    def missed(self) -> dict[str, int]:
        """Stretches of signals in which samples may be lost, by cause."""
        return dict(self._known.missed)

    def recovered(self) -> dict[str, int]:
        """Samples that came by another way than live, by that way."""
        return dict(self._known.recovered)

    def remember(self, packets: Sequence[Packets], alive_ns: int = 0) -> None:
        """Nothing is redelivered; the outage since `alive_ns` is filled from history."""
        if alive_ns > self._known.vouched_ns:
            self._known.vouched_ns, self._known.is_restarted = alive_ns, True

    async def connect(self) -> None:
        """Open session and subscriptions; the session within `connect_timeout_s`.

        Raises SourceUnreachable or SourceRefused.
        """
        async with self._changing:
            self._closed = False
            if not self._is_warm:  # compiling may take longer than a server waits
                await asyncio.to_thread(Decoder)
                self._is_warm = True
            with explained(self._where):
                session = await open_session(self._config, self._trust)
                try:
                    conversation = await self._converse(session)
                except BaseException:
                    goes_on = self._kept is not None and self._kept.goes_on
                    await session.close(delete_subscriptions=not goes_on)
                    raise
            log.info("%s: %s", self.name, session.security)
            self._conversation, self._kept = conversation, None
            self._healing = asyncio.create_task(self._heal(conversation))
            self._say_missing()
        if self._closed:
            await self.close()

    async def apply(self, config: OpcuaConfig, signals: Sequence[tuple[int, Signal]]) -> bool:
        """Take a changed configuration; False where it needs a new source.

        Signals are added to and removed from the living subscriptions; what the server sent of
        removed ones is read first. Without a connection, the next one brings it all.
        """
        async with self._changing:
            living, anew = self._living(), _of_connection(config) != _of_connection(self._config)
            if living is None:
                self._take_over(config, signals)
                if anew:
                    self._kept, self._events = None, Events(config.name, config.events)
                return True
            if anew or not living.subscriptions.has_room(signals):
                return False
            living.use(config)
            try:
                await living.session.look_up()
                await living.follow(signals)
            except (OSError, TimeoutError, ua.UaError) as error:
                if living is self._living():
                    living.use(self._config)
                    log.warning("%s: signals cannot be changed: %s", self.name, reason(error))
                    return False
            self._take_over(config, signals)
            self._say_missing()
            # And one more: a publication may have been on its way.
            await living.taken.reach(living.publisher.count + 1)
            return True

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """Batches as they come."""
        conversation = self._conversation
        if conversation is None:
            return
        try:
            with explained(self._where):
                async for batch in conversation.batches():
                    yield batch, NO_ACK
        except SourceError as error:
            conversation.publisher.lose(str(error))
            raise

    async def close(self) -> None:
        """End session and connection; what was agreed on goes on over the next, if it was lost."""
        conversation, self._conversation = self._conversation, None
        healing, self._healing = self._healing, None
        self._closed = True
        if healing is not None:
            healing.cancel()
            (ended,) = await asyncio.gather(healing, return_exceptions=True)
            if isinstance(ended, Exception):
                log.error("%s: unexpected: %r", self.name, ended, exc_info=ended)
        if conversation is None:
            return
        publisher = conversation.publisher
        # What is silent from the start goes on being so: some servers take subscriptions over
        # and publish to the connection that was lost.
        if publisher.is_mute:
            conversation.end()
        is_lost = not conversation.is_living
        if is_lost and _of_connection(conversation.config) == _of_connection(self._config):
            self._kept = conversation
        publisher.stop()
        goes_on = self._kept is conversation and conversation.goes_on
        await conversation.session.close(delete_subscriptions=not goes_on)

    async def _converse(self, session: Session) -> Conversation:
        """Go on with what was agreed on before the connection was lost, or begin anew."""
        kept = self._kept
        if kept is not None:
            kept.use(self._config)
            if await kept.resume(session):
                await kept.follow(self._signals)
                log.info("%s: the server went on with the subscriptions; none is lost", self.name)
                return kept
        config = self._config
        conversation = Conversation(config, session, self._known, self._events, self._now_ns)
        if kept is not None:
            conversation.opening = list(kept.opening)
        await conversation.begin(self._signals)
        return conversation

    async def _heal(self, conversation: Conversation) -> None:
        """Try again, now and then, what the server did not take."""
        pause_s, due_s = HEAL_FIRST_S, time.monotonic() + HEAL_FIRST_S
        tried: set[int] = set()
        """Signals whose nodes were gone: once more at once, after that with the others."""
        while True:
            await asyncio.sleep(HEAL_LOOK_S)
            self._say_notes()
            wants = conversation.gone | conversation.missing.keys()
            is_due = time.monotonic() >= due_s
            if not wants and is_due:
                tried.clear()
            if not (conversation.gone - tried or (wants and is_due)):
                continue
            tried |= conversation.gone
            async with self._changing:
                if conversation is not self._living():
                    return
                missing = set(conversation.missing)
                if not conversation.subscriptions.has_room(self._signals):
                    conversation.end()
                    conversation.publisher.lose("nodes came and went too often; all begins anew")
                    return
                try:
                    await conversation.session.look_up()
                    await conversation.follow(self._signals)
                except (OSError, TimeoutError, ua.UaError) as error:
                    log.debug("%s: missing signals: %s", self.name, reason(error))
                self._say_missing()
            same = missing == set(conversation.missing)
            pause_s = min(2 * pause_s, HEAL_MAX_S) if same else HEAL_FIRST_S
            due_s = time.monotonic() + pause_s

    def _living(self) -> Conversation | None:
        """The conversation, while its connection lives."""
        conversation = self._conversation
        return conversation if conversation is not None and conversation.is_living else None

    def _take_over(self, config: OpcuaConfig, signals: Sequence[tuple[int, Signal]]) -> None:
        self._config, self._signals = config, list(signals)

    def _say_notes(self) -> None:
        """What a person should know of a session that lasts; each once, or once a day."""
        if self._trust is not None and time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + TRUST_LOOK_S
            self._trust.say_warnings()
        self._rounding.say(self._known.inexact)

    def _say_missing(self) -> None:
        """Name the signals that will not come; the same ones only once."""
        missing = self._conversation.missing if self._conversation is not None else {}
        said = [
            f"{signal.label} ({signal.node}): {missing[number].why}"
            for number, signal in self._signals
            if number in missing
        ]
        if said and said != self._missing_said:
            more = len(said) - MISSING_SHOWN_MAX
            log.warning(
                "%s: %d of %d signals are not delivered: %s%s. The others are. Check these nodes "
                "in the configuration; they are tried again now and then.",
                self.name, len(said), len(self._signals),
                "; ".join(said[:MISSING_SHOWN_MAX]), f"; and {more:,} more" if more > 0 else "",
            )  # fmt: skip
        elif self._missing_said and not said:
            log.info("%s: all signals are delivered again", self.name)
        self._missing_said = said


def _of_connection(config: OpcuaConfig) -> dict[str, Any]:
    """The settings that need a new connection, or new subscriptions."""
    return config.model_dump(exclude={"signals", *ON_THE_CONNECTION})
