"""Publishing: keeps PublishRequests in flight, and what comes in order.

Enters: the answers to PublishRequests of one session, in the order in which the server sent them.
Leaves: publications of all its subscriptions, and `Gap`s where sequence numbers are missing, which
`again` asks for once more (Republish). Each is acknowledged with the next request. What waits to be
taken is bounded by `QUEUE_BYTES_MAX`: then no more is asked for, the server's queues fill, and what
overflows there it marks.

Fails: SourceUnreachable where the connection is lost, the server ends a subscription, one falls
silent, or the server's clock jumps; what came before is taken first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer

from agent.batch import status_name
from agent.errors import SourceUnreachable
from agent.sources.opcua.session import Session, checked
from agent.sources.opcua.wire import Publication, WireError, publication, republication

log = logging.getLogger("andon.opcua")

IN_FLIGHT_MORE: Final = 7
"""PublishRequests that wait at the server beside one for each subscription, so that it can go on
while its answers are read."""
IN_FLIGHT_MAX: Final = 50
QUEUE_BYTES_MAX: Final = 16 << 20
TAKEN_MAX: Final = 256
"""Publications taken at once."""
SILENT_S: Final = 5.0
"""No publication for this long, and three keep-alives, means that the subscription is dead."""
FIRST_SILENT_S: Final = 20.0
"""The same of its first one: a server may be busy with all the items that it was asked for."""
RESUMED_SILENT_S: Final = 2.0
"""The same of the first one after a transfer: some servers say that they went on, and did not."""
LISTEN_S: Final = 0.2
"""So long the event loop must have listened before a silence is believed."""
GAP_MAX: Final = 1000
"""A leap of more sequence numbers is a server that counts otherwise, not a loss."""
CLOCK_BACK_S: Final = 1.0
CLOCK_AHEAD_S: Final = 10.0
"""What a publication may be late is no jump of the server's clock."""
_SEQUENCE_MAX: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class Stream:
    """One subscription's publications.

    number : the server's id
    keep_alive_s : the longest pause between two publications that the server granted
    expected : the sequence number of the next message; None before the first
    patience_s : how long it may be silent, at least
    published_ns : when the server published last, by its clock
    """

    number: int
    keep_alive_s: float
    expected: int | None = None
    published_ns: int = 0
    heard_s: float = 0.0
    patience_s: float = FIRST_SILENT_S

    @property
    def silent_s(self) -> float:
        """How long a silence means that it is dead."""
        return max(self.patience_s, 3 * self.keep_alive_s)


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of one subscription that did not come."""

    stream: Stream
    numbers: tuple[int, ...]


class Publisher:
    """The publications of one session.

    streams : by the server's subscription id
    malformed : messages that could not be read
    count : publications that came
    is_mute : whether nothing more will come because a subscription never said anything
    """

    def __init__(self, name: str, session: Session) -> None:
        self.streams: dict[int, Stream] = {}
        self.malformed = self.count = 0
        self.is_mute = False
        self._name = name
        self._session = session
        self._came: list[Publication | Gap] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._acknowledgements: list[tuple[int, int]] = []
        self._in_flight = 0
        self._in_flight_max = IN_FLIGHT_MAX
        self._heard: set[int] = set()
        self._listening_s = 0.0
        """Since when a silence counts: before, nothing was asked for."""
        self._lost: SourceUnreachable | None = None
        self._stopped = self._nudged = False

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is taken."""
        return self._stopped

    @property
    def lost(self) -> SourceUnreachable | None:
        """Why nothing more will come."""
        return self._lost

    def __len__(self) -> int:
        """How many publications wait to be taken."""
        return len(self._came)

    def add(self, stream: Stream) -> None:
        """Take the publications of this subscription too."""
        stream.heard_s = time.monotonic()
        self.streams[stream.number] = stream
        self._ask()

    async def take(self) -> list[Publication | Gap]:
        """What has come, at least one; none once it is stopped or nudged.

        Raises SourceUnreachable.
        """
        while not (self._came or self._stopped or self._nudged):
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            try:
                async with asyncio.timeout_at(self._loop_time_of_silence()):
                    await self._news.wait()
            except TimeoutError:
                await self._find_silent()
        self._nudged = False
        await self._find_silent()
        taken, self._came = self._came[:TAKEN_MAX], self._came[TAKEN_MAX:]
        self._bytes -= sum(len(one.body) for one in taken if isinstance(one, Publication))
        self._ask()
        return taken

    def left(self) -> list[Publication | Gap]:
        """What came and was never taken; it is not there any more."""
        came, self._came, self._bytes = self._came, [], 0
        return came

    async def again(self, gap: Gap) -> list[Publication]:
        """The messages of a gap that the server still has, in order (Republish).

        None of them says whether more was to follow. Where the server stops answering, these are
        all.
        """
        found = []
        for number in gap.numbers:
            request = ua.RepublishRequest()
            request.Parameters.SubscriptionId = gap.stream.number
            request.Parameters.RetransmitSequenceNumber = number
            try:
                one = republication(await self._session.request(request), gap.stream.number)
            except (ua.UaError, WireError) as error:
                log.debug("%s: message %d is not sent again: %s", self._name, number, error)
                continue
            except (OSError, TimeoutError) as error:
                log.debug("%s: no message is sent again: %r", self._name, error)
                break
            if one.sequence == number:
                found.append(replace(one, more=True))
                self.acknowledge(one.subscription, number)
        return found

    def acknowledge(self, subscription: int, number: int) -> None:
        """Tell the server with the next request that this message need not be kept."""
        self._acknowledgements.append((subscription, number))

    def nudge(self) -> None:
        """Have `take` return, though nothing came."""
        self._nudged = True
        self._news.set()

    def lose(self, what: str) -> None:
        """Nothing more will come; the first reason counts."""
        if self._lost is None and not self._stopped:
            self._lost = SourceUnreachable(f"{self._name}: {what}")
        self._news.set()

    def stop(self) -> None:
        """Take no more."""
        self._stopped = True
        self._news.set()

    def _ask(self) -> None:
        """Have as many PublishRequests at the server as there should be."""
        if self._stopped or self._lost is not None or self._bytes >= QUEUE_BYTES_MAX:
            return
        if self._in_flight == 0:  # it was not asked, so it could not speak
            self._listening_s = time.monotonic()
        wanted = min(len(self.streams) + IN_FLIGHT_MORE, self._in_flight_max) if self.streams else 0
        while self._in_flight < wanted:
            acknowledgements, self._acknowledgements = self._acknowledgements, []
            try:
                answer = self._session.publish(acknowledgements)
            except (OSError, ua.UaError) as error:
                self.lose(f"the connection is lost{_because(error)}")
                return
            self._in_flight += 1
            answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Buffer]) -> None:
        self._in_flight -= 1
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if self._stopped:
            return
        if error is not None:
            self.lose(f"the connection is lost{_because(error)}")
            return
        try:
            self._take(publication(checked(answer.result())))
        except WireError as wrong:
            self.malformed += 1
            log.error("%s: a publication cannot be read and is lost: %s", self._name, wrong)
        except ua.uaerrors.BadTooManyPublishRequests:
            self._in_flight_max = max(1, self._in_flight)
        except ua.uaerrors.BadTimeout:
            pass
        except ua.uaerrors.BadNoSubscription:
            if self.streams:
                self.lose("the server does not know the subscription any more")
            return
        except ua.UaError as refused:
            self.lose(f"the server ends the session: {refused}")
        except Exception as wrong:  # whatever asyncua raises of a malformed fault
            self.lose(f"the server's answer cannot be read: {wrong!r}")
        self._ask()

    def _take(self, one: Publication) -> None:
        stream = self.streams.get(one.subscription)
        if stream is None:  # deleted, or an earlier connection's
            return
        now_s = time.monotonic()
        if not self._is_clock_sound(stream, one, now_s):
            return
        stream.patience_s = SILENT_S
        self._heard.add(stream.number)
        stream.heard_s, stream.published_ns = now_s, one.published_ns or stream.published_ns
        has_data = bool(one.data or one.events or one.status is not None or one.unknown)
        missing = _missing(stream.expected, one.sequence)
        if missing:
            self._put(Gap(stream, missing))
        if has_data:
            self.acknowledge(one.subscription, one.sequence)
            stream.expected = following(one.sequence)
        elif missing or stream.expected is None:  # a keep-alive tells the next message's number
            stream.expected = one.sequence
        self._put(one)
        if one.status is not None:
            self.lose(f"the server ended the subscription: {status_name(one.status)}")

    def _put(self, one: Publication | Gap) -> None:
        if isinstance(one, Publication):
            self._bytes += len(one.body)
            self.count += 1
        self._came.append(one)
        self._news.set()

    def _is_clock_sound(self, stream: Stream, one: Publication, now_s: float) -> bool:
        if not (stream.published_ns and one.published_ns):
            return True
        passed_s = (one.published_ns - stream.published_ns) / 1e9
        if -CLOCK_BACK_S <= passed_s <= now_s - stream.heard_s + CLOCK_AHEAD_S:
            return True
        jump_s = passed_s - (now_s - stream.heard_s)
        self.lose(f"the server's clock jumped by {jump_s:+,.1f} s")
        return False

    async def _find_silent(self) -> None:
        if self._silent() is not None:
            await asyncio.sleep(LISTEN_S)  # where we were held up, it may have spoken meanwhile
        stream = self._silent()
        if stream is not None and self._lost is None:
            self.is_mute = stream.number not in self._heard
            self.lose(f"no publication for {stream.silent_s:.0f} s; does the server hang?")

    def _silent(self) -> Stream | None:
        """A subscription that has been silent for too long."""
        if self._bytes >= QUEUE_BYTES_MAX:  # nothing is asked for
            return None
        now_s = time.monotonic()
        return next((s for s in self.streams.values() if now_s >= self._silent_at_s(s)), None)

    def _silent_at_s(self, stream: Stream) -> float:
        """Until when it must have said something, on the monotonic clock."""
        return max(stream.heard_s, self._listening_s) + stream.silent_s

    def _loop_time_of_silence(self) -> float | None:
        """When the first subscription will have been silent for too long."""
        due_s = min(map(self._silent_at_s, self.streams.values()), default=None)
        if due_s is None:
            return None
        wait_s = max(due_s - time.monotonic(), 0.01)
        return asyncio.get_running_loop().time() + wait_s


def _because(error: BaseException) -> str:
    """What is worth saying beside that a connection is lost."""
    text = str(error) or type(error).__name__
    return "" if text == "connection lost" else f": {text}"


def following(sequence: int) -> int:
    """The sequence number after this one; 0 is never used (OPC 10000-4, 5.13.1.1)."""
    return sequence % _SEQUENCE_MAX + 1


def split_at(expected: int, available: Collection[int]) -> tuple[list[int], list[int]]:
    """Sequence numbers from the expected one on, in order, and those before it."""
    ahead = sorted((number - expected) % _SEQUENCE_MAX for number in available)
    after = [(expected + away - 1) % _SEQUENCE_MAX + 1 for away in ahead if away <= GAP_MAX]
    return after, [number for number in available if number not in set(after)]


def _missing(expected: int | None, came: int) -> tuple[int, ...]:
    """The sequence numbers from the expected one to the one before that which came."""
    if expected is None or came == expected:
        return ()
    count = (came - expected) % _SEQUENCE_MAX
    if count > GAP_MAX:
        return ()
    numbers = [expected]
    while len(numbers) < count:
        numbers.append(following(numbers[-1]))
    return tuple(numbers)
