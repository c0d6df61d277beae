"""A conversation with one server: subscriptions and what is read of them, over several sessions.

Enters: sessions, one after the other. Leaves: batches; where a session ended without being closed,
the next one takes its subscriptions over (TransferSubscriptions), asks for the messages that did
not come (Republish), and says again what held meanwhile. Where the server cannot do that, or some
messages are gone, a new conversation begins, and the history fills the gap. So it is where it is
not known for sure what the server monitors: a call was not answered, or live messages were lost.

Fails: as asyncua does, with OSError, TimeoutError or UaError.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Final

import numpy as np
from asyncua import ua

from agent.batch import Batch, status_name
from agent.config import OpcuaConfig
from agent.signals import Signal
from agent.sources.drain import Taken
from agent.sources.opcua.events import Events
from agent.sources.opcua.history import Filler, Span
from agent.sources.opcua.publishing import (
    RESUMED_SILENT_S,
    Gap,
    Publisher,
    Stream,
)
from agent.sources.opcua.reading import Known, Reading
from agent.sources.opcua.session import Session
from agent.sources.opcua.subscription import Missing, Subscriptions
from agent.sources.opcua.transfer import catch_up, let_go, take_over
from agent.sources.opcua.wire import Publication, WireError

log = logging.getLogger("andon.opcua")

MESSAGE: Final = "message"
REPUBLISHED: Final = "republished"
HISTORY_MARGIN_NS: Final = 10_000_000_000
"""History is read from so long before the outage at most, in case something came late, and until
so long after its end: the clock that a server shows may stand still for seconds between updates."""
RENEW_EVERY_S: Final = 60.0
"""After messages were lost, all values are asked for anew; not more often than this."""
NODE_GONE: Final = (
    np.uint32(ua.StatusCodes.BadNodeIdUnknown),
    np.uint32(ua.StatusCodes.BadNodeIdInvalid),
)
"""StatusCodes of an item whose node was deleted; servers differ (OPC 10000-4, 5.13.1.2)."""
CODE: Final = np.uint32(0xFFFF_0000)
"""The part of a StatusCode that says which it is."""


class Conversation:
    """What was agreed on with a server, and the session over which it is spoken at present.

    opening : batches to be handed on before anything else
    gone : signals whose nodes were deleted while they were read
    missing : why signals are not delivered, by their id
    taken : publications that were handed on, of the present session
    """

    def __init__(
        self,
        config: OpcuaConfig,
        session: Session,
        known: Known,
        events: Events,
        now_ns: Callable[[], int],
    ) -> None:
        self.config = config
        self.session = session
        self.opening: list[Batch] = []
        self.gone: set[int] = set()
        self.missing: dict[int, Missing] = {}
        self.publisher = Publisher(config.name, session)
        self.reading = Reading(known)
        self.subscriptions = Subscriptions(session, self.publisher, self.reading, config)
        self.taken = Taken()
        self._known = known
        self._events = events
        self._now_ns = now_ns
        self._early = 0
        self._until_ns = 0
        self._event_ids: set[int] = set()
        self._is_live = self._is_ended = False
        self._is_sound = True
        """Whether the server answered every call that changed what it monitors."""

    def use(self, config: OpcuaConfig) -> None:
        """From now on ask as this configuration says; `follow` brings it about."""
        self.config = config
        self.subscriptions.use(config)

    @property
    def is_living(self) -> bool:
        """Whether its session lives, as far as is known."""
        return self.publisher.lost is None

    @property
    def goes_on(self) -> bool:
        """Whether it may go on over another session, once this one is lost.

        Not before anything live was read: until then, what was known before the outage counts.
        """
        return self._is_live and self._is_sound and not self._is_ended

    def end(self) -> None:
        """It does not go on over another session."""
        self._is_ended = True

    async def begin(self, signals: Sequence[tuple[int, Signal]]) -> None:
        """Subscribe; signals : (id, signal)."""
        self.reading.begin_outage(await self.session.now_ns(), self._now_ns())
        stream = await self.subscriptions.open()
        await self.follow(signals)
        await self._follow_events(stream, signals)
        self.reading.end_outage()
        self._early = len(self.publisher)
        server_ns = await self.session.now_ns()
        self._until_ns = server_ns + HISTORY_MARGIN_NS if server_ns else 0

    async def follow(self, signals: Sequence[tuple[int, Signal]]) -> None:
        """Read these signals and no others; those that are not delivered are told as Bad."""
        gone = set(self.gone)
        self._is_sound = False
        try:
            await self.subscriptions.drop(sorted(gone))
            missing = await self.subscriptions.follow([s for s in signals if self._is_read(s[1])])
        except TimeoutError:
            self.publisher.lose("the server does not answer")
            raise
        self._is_sound = True
        self.gone -= gone
        missing |= {n: one for n, one in self.missing.items() if n in self._event_ids}
        told = {
            number: one.status
            for number, one in missing.items()
            if number not in gone and self.missing.get(number) != one
        }
        if told:
            self.opening.append(self.reading.told(told, self._now_ns()))
            self.publisher.nudge()
        self.missing = missing

    async def _follow_events(self, stream: Stream, signals: Sequence[tuple[int, Signal]]) -> None:
        """Monitor the events too; a table that the server refuses stops no other."""
        ids = {(signal.machine, signal.name): number for number, signal in signals}
        pairs = []
        for table in self.config.events:
            machine = table.machine or self.config.machine
            told = ids[machine, table.name]
            pairs.append((told, ids.get((machine, table.state_signal), told)))
        if not pairs:
            return
        self._event_ids = {number for pair in pairs for number in pair}
        handles = [self.reading.add(pair, ("text", "text"), {}) for pair in pairs]
        await self._events.open(self.session, stream.number, [(a, b) for a, b in handles])
        for number, status in self._events.refused.items():
            why = f"the server does not tell these events: {status_name(status)}"
            self.missing[pairs[number][0]] = Missing(why, status)

    def _is_read(self, signal: Signal) -> bool:
        """Whether it is a variable; else it stands for events."""
        return (signal.machine, signal.name) in self.config.variables

    async def resume(self, session: Session) -> bool:
        """Go on over another session; False where the server does not, or messages are gone.

        What came, and what the server still had up to the first message that is gone, is handed on
        in either case; what is behind that is of the outage.
        """
        self._hand_on_left()
        streams = self.subscriptions.streams
        if not await self._is_clock_known(session):
            self.end()
        available = await take_over(session, streams)
        if available is None or not self.goes_on:
            self.end()
            await let_go(session, streams if available is not None else ())
            return False
        publisher = Publisher(self.config.name, session)
        again, is_whole = [], True
        for stream in streams:
            found, whole = await catch_up(publisher, stream, available[stream.number])
            again += found
            is_whole &= whole
        handles = [handle for handle, _ in self.subscriptions.handles().values()]
        if is_whole and (held := self.reading.held(handles, self._now_ns())) is not None:
            self.opening.append(held)
        for batch in self._batches(again):
            self._known.recovered[REPUBLISHED] += len(batch)
            self.opening.append(batch)
        if not is_whole:
            self.end()
            await let_go(session, streams)
            return False
        self.session = self.subscriptions.session = session
        self.publisher = self.subscriptions.publisher = publisher
        self._events.resume(session)
        self.taken, self._early = Taken(), 0
        for stream in streams:
            stream.published_ns, stream.patience_s = 0, RESUMED_SILENT_S
            publisher.add(stream)
        return True

    async def _is_clock_known(self, session: Session) -> bool:
        """Whether what was vouched for can be set in relation to the server's clock."""
        server_ns = await session.now_ns()
        known = self._known
        return known.vouched_ns > 0 and not known.is_ahead_of(server_ns, self._now_ns())

    def _hand_on_left(self) -> None:
        """What came over the session that was lost and nobody took."""
        left = self.publisher.left()
        if not self._is_live:
            return
        whole = list(takewhile(lambda one: isinstance(one, Publication), left))
        self._is_sound &= len(whole) == len(left)
        self.opening += self._batches(whole)  # type: ignore[arg-type]

    async def batches(self) -> AsyncIterator[Batch]:
        """What is read, in order, until the session is lost (SourceUnreachable) or closed."""
        while self.opening:
            yield self.opening.pop(0)
        async for batch in self._fill():
            yield batch
        self._is_live = True
        while True:
            while self.opening:
                yield self.opening.pop(0)
            came = await self.publisher.take()
            if not came and self.publisher.is_stopped:
                return
            async for batch in self._read(came):
                yield batch
            self.taken.add(sum(isinstance(one, Publication) for one in came))

    async def _read(self, came: Sequence[Publication | Gap]) -> AsyncIterator[Batch]:
        """Batches of what came, with what is asked for again where there is a gap."""
        publications: list[Publication] = []
        for one in came:
            if isinstance(one, Publication):
                publications.append(one)
                continue
            for batch in self._batches(publications):
                yield batch
            publications = []
            again = await self.publisher.again(one)
            lost = len(one.numbers) - len(again)
            if lost:
                self._known.missed[MESSAGE] += lost
                self._events.missed()
                log.error("%s: %d messages of the server are lost", self.config.name, lost)
                self._renew()
            for batch in self._batches(again):
                self._known.recovered[REPUBLISHED] += len(batch)
                yield batch
        for batch in self._batches(publications):
            yield batch
        if self._events.is_refresh_due:
            await self._events.refresh()

    def _renew(self) -> None:
        """What was lost may be the last news of a signal: all values are asked for anew."""
        if time.monotonic() >= self._known.renewable_s:
            self._known.renewable_s = time.monotonic() + RENEW_EVERY_S
            self.end()
            self.publisher.lose("messages were lost; all values are asked for anew")

    def _batches(self, publications: Sequence[Publication]) -> Iterator[Batch]:
        """What events say, then what the variables say, which vouches for both."""
        if not publications:
            return
        if self._event_ids:
            try:
                items = self._events.items(publications, self._now_ns())
                yield self.reading.texts(items, self._now_ns())
            except WireError as error:
                self._known.missed[MESSAGE] += 1
                self._events.missed()
                log.error("%s: events cannot be read and are lost: %s", self.config.name, error)
        yield self._batch(publications)

    def _batch(self, publications: Sequence[Publication]) -> Batch:
        is_early, self._early = self._early > 0, max(0, self._early - len(publications))
        batch = self.reading.batch(publications, self._now_ns(), is_early=is_early)
        code = batch.status & CODE
        gone = (code == NODE_GONE[0]) | (code == NODE_GONE[1])
        if gone.any():
            self.gone.update(batch.signal[gone].tolist())
        return batch

    async def _fill(self) -> AsyncIterator[Batch]:
        """What the server's history has of the outage, signal by signal, before anything live."""
        if self.config.history == "never" or self._known.vouched_ns <= 0 or not self._until_ns:
            return
        spans = self._spans()
        if not spans:
            return
        limits, samples = self.session.limits, 0
        filler = Filler(
            self.session.client, self.reading.decoder, limits.nodes_per_history_max,
            without=self._known.without_history,
        )  # fmt: skip
        async with aclosing(filler.fill(spans)) as filling:
            async for items in filling:
                samples += len(items.handle)
                yield self.reading.history(items, self._now_ns())
        self._until_ns = 0
        self.reading.filled(filler.filled)
        self.reading.broken(filler.broken)
        self._say_history(samples, filler)

    def _say_history(self, samples: int, filler: Filler) -> None:
        if not (filler.filled or filler.broken):
            return
        without = len(filler.failed) - len(filler.broken)
        parts = [f"{samples:,} samples of {len(filler.filled):,} signals"]
        if without:
            parts.append(f"{without:,} signals have no history")
        if filler.broken:
            parts.append(f"that of {len(filler.broken):,} could not be read to its end")
        log.info("%s: history of the outage: %s", self.config.name, "; ".join(parts))

    def _spans(self) -> list[Span]:
        vouched_ns, spans = self._known.vouched_ns, []
        for number, (handle, node) in self.subscriptions.handles().items():
            at = self.session.node(node)
            last_ns = int(self._known.last_ns[number])
            # After a restart it is not known what came late, but what was committed is.
            after_ns = max(last_ns, vouched_ns - HISTORY_MARGIN_NS) if last_ns > 0 else vouched_ns
            if at is not None and after_ns < self._until_ns:
                spans.append(Span(handle, at, after_ns, self._until_ns))
        return spans
