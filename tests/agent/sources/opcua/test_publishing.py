"""PublishRequests in flight, and what comes in order, over a session that the test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary

from agent.errors import SourceUnreachable
from agent.sources.opcua import publishing
from agent.sources.opcua.publishing import Gap, Publisher, Stream, following, split_at
from agent.sources.opcua.wire import Publication
from tests.agent.sources.opcua.messages import republished, response

DEADLINE_S = 5.0
LAST = 0xFFFF_FFFF
ITEMS = [(0, 1.0, 10**18, 0)]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 4 * DEADLINE_S))


@pytest.fixture(autouse=True)
def _few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "IN_FLIGHT_MORE", 2)


class PlayedSession:
    """Takes requests; the test answers them."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Buffer]] = []
        self.acknowledged: list[int] = []
        self.republished: dict[int, bytes] = {}
        self.asked_again: list[int] = []

    def publish(self, acknowledgements: Sequence[tuple[int, int]]) -> asyncio.Future[Buffer]:
        self.acknowledged += [number for _, number in acknowledgements]
        future: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    async def request(self, request: Any) -> bytes:
        number = request.Parameters.RetransmitSequenceNumber
        self.asked_again.append(number)
        if number not in self.republished:
            raise ua.uaerrors.BadMessageNotAvailable
        return self.republished[number]

    def say(self, sequence: int, *, data: bool = True, **options: Any) -> None:
        items = ITEMS if data else ()
        self.waiting.pop(0).set_result(Buffer(response(sequence, items, **options)))

    def fault(self, status: int) -> None:
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(status))
        self.waiting.pop(0).set_result(Buffer(struct_to_binary(fault)))


def publisher_of(session: PlayedSession, keep_alive_s: float = 0.1) -> Publisher:
    publisher = Publisher("press", session)  # type: ignore[arg-type]
    publisher.add(Stream(7, keep_alive_s))
    return publisher


async def sequences(publisher: Publisher, count: int) -> list[int | tuple[int, ...]]:
    """Sequence numbers of what comes, and those of gaps as tuples."""
    found: list[int | tuple[int, ...]] = []
    while len(found) < count:
        came = await asyncio.wait_for(publisher.take(), DEADLINE_S)
        found += [one.sequence if isinstance(one, Publication) else one.numbers for one in came]
    return found


def test_several_requests_wait_at_the_server_and_answers_come_in_order() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        assert len(session.waiting) == 3  # two more than there are subscriptions
        for number in (1, 2, 3):
            session.say(number)
        assert await sequences(publisher, 3) == [1, 2, 3]
        assert len(session.waiting) == 3

    run(test())


def test_each_message_is_acknowledged_and_no_keep_alive_is() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.say(2, data=False)  # a keep-alive tells the next number
        session.say(2)
        await sequences(publisher, 3)
        assert session.acknowledged == [1, 2]

    run(test())


def test_missing_sequence_numbers_are_a_gap_before_what_came() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.say(4)
        assert await sequences(publisher, 3) == [1, (2, 3), 4]

    run(test())


def test_a_keep_alive_shows_that_messages_are_missing() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.say(3, data=False)
        session.say(3)
        assert await sequences(publisher, 4) == [1, (2,), 3, 3]

    run(test())


def test_a_server_whose_keep_alives_count_otherwise_loses_nothing() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        for number, data in ((5, True), (5, False), (0, False), (6, True)):
            await asyncio.sleep(0)
            session.say(number, data=data)
        assert await sequences(publisher, 4) == [5, 5, 0, 6]

    run(test())


def test_sequence_numbers_go_round_without_0() -> None:
    assert following(LAST) == 1
    assert split_at(LAST, [2, LAST, 1, LAST - 1]) == ([LAST, 1, 2], [LAST - 1])

    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        for number in (LAST - 1, 1):
            session.say(number)
        assert await sequences(publisher, 3) == [LAST - 1, (LAST,), 1]

    run(test())


def test_what_is_missing_is_asked_for_once_more_and_what_is_gone_left_out() -> None:
    async def test() -> None:
        session = PlayedSession()
        session.republished = {2: republished(2, ITEMS), 4: republished(9, ITEMS)}
        publisher = publisher_of(session)
        again = await publisher.again(Gap(publisher.streams[7], (2, 3, 4)))
        assert session.asked_again == [2, 3, 4]
        assert [one.sequence for one in again] == [2]  # 4 answered with another message
        assert again[0].subscription == 7

    run(test())


def test_a_server_that_takes_fewer_requests_gets_fewer() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.fault(ua.StatusCodes.BadTooManyPublishRequests)
        await asyncio.sleep(0)
        assert len(session.waiting) == 2
        session.say(1)
        assert await sequences(publisher, 1) == [1]
        assert len(session.waiting) == 2

    run(test())


def test_while_too_much_waits_to_be_taken_no_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        session = PlayedSession()
        monkeypatch.setattr(publishing, "QUEUE_BYTES_MAX", 2 * len(response(1, ITEMS)))
        publisher = publisher_of(session)
        for number in (1, 2, 3):
            session.say(number)
        await asyncio.sleep(0)
        assert len(session.waiting) == 1  # asked for after the first
        assert await sequences(publisher, 3) == [1, 2, 3]
        assert len(session.waiting) == 3

    run(test())


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (ua.StatusCodes.BadSessionIdInvalid, "ends the session"),
        (ua.StatusCodes.BadNoSubscription, "does not know the subscription"),
    ],
)
def test_a_session_that_is_over_is_lost_after_what_came_before(status: int, why: str) -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.fault(status)
        assert await sequences(publisher, 1) == [1]
        with pytest.raises(SourceUnreachable, match=why):
            await publisher.take()

    run(test())


def test_one_silent_subscription_among_others_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "SILENT_S", 0.3)

    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session, 0.05)
        publisher.add(Stream(8, 0.05, patience_s=0.3))

        async def speak_for_one() -> None:
            for number in range(1, 1000):
                if session.waiting:
                    session.say(number)
                await publisher.take()
                await asyncio.sleep(0.01)

        with pytest.raises(SourceUnreachable, match="no publication for 0 s"):
            await speak_for_one()

    run(test())


@pytest.mark.parametrize("jump_s", [-3600, -2, 3600])
def test_a_jump_of_the_servers_clock_ends_the_session(jump_s: int) -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        now_ns = time.time_ns()
        session.say(1, published_ns=now_ns)
        session.say(2, published_ns=now_ns + jump_s * 10**9)
        assert await sequences(publisher, 1) == [1]
        with pytest.raises(SourceUnreachable, match="clock jumped by"):
            await publisher.take()
        assert publisher.streams[7].expected == 2  # and is asked for again by the next session

    run(test())


def test_a_publication_that_cannot_be_read_is_counted_and_shows_as_a_gap() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.waiting.pop(0).set_result(Buffer(response(2, ITEMS)[:-5]))
        session.say(3)
        assert await sequences(publisher, 3) == [1, (2,), 3]
        assert publisher.malformed == 1

    run(test())


def test_a_subscription_that_the_server_ends_is_lost() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        ended = ua.PublishResponse()
        ended.Parameters.SubscriptionId = ua.UInt32(7)
        notification = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(0x800A_0000)))
        ended.Parameters.NotificationMessage.NotificationData = [notification]
        session.waiting.pop(0).set_result(Buffer(struct_to_binary(ended)))
        await publisher.take()
        with pytest.raises(SourceUnreachable, match="the server ended the subscription: BadTimeou"):
            await publisher.take()

    run(test())


class PlayedTime:
    """The monotonic clock, which the test may set forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def test_a_pause_of_ours_is_neither_a_silence_nor_a_jump_of_the_servers_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        session, clock = PlayedSession(), PlayedTime()
        monkeypatch.setattr(publishing, "time", clock)
        monkeypatch.setattr(publishing, "QUEUE_BYTES_MAX", 1)
        publisher = publisher_of(session)
        now_ns = time.time_ns()
        for number in (1, 2, 3):
            session.say(number, published_ns=now_ns)
        await asyncio.sleep(0)
        assert session.waiting == []
        clock.ahead_s = 30.0  # nobody takes them
        assert await sequences(publisher, 3) == [1, 2, 3]
        session.say(4, published_ns=now_ns + 30 * 10**9)
        assert await sequences(publisher, 1) == [4]
        assert publisher.lost is None

    run(test())


@pytest.mark.parametrize("speaks", [True, False])
def test_it_says_whether_a_silent_subscription_ever_spoke(
    monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    monkeypatch.setattr(publishing, "SILENT_S", 0.1)
    monkeypatch.setattr(publishing, "LISTEN_S", 0.01)

    async def test() -> None:
        session = PlayedSession()
        publisher = Publisher("press", session)  # type: ignore[arg-type]
        publisher.add(Stream(7, 0.01, patience_s=0.1))
        if speaks:
            session.say(1)
            assert await sequences(publisher, 1) == [1]
        with pytest.raises(SourceUnreachable, match="no publication"):
            await publisher.take()
        assert publisher.is_mute is not speaks

    run(test())


def test_a_fault_that_cannot_be_read_ends_the_session_and_is_not_waited_on() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        fault = struct_to_binary(ua.ServiceFault())
        session.waiting.pop(0).set_result(Buffer(fault[:-6]))
        with pytest.raises(SourceUnreachable):
            await publisher.take()

    run(test())


def test_a_message_that_is_sent_again_does_not_say_that_nothing_more_follows() -> None:
    async def test() -> None:
        session = PlayedSession()
        session.republished = {2: republished(2, ITEMS)}
        publisher = publisher_of(session)
        (again,) = await publisher.again(Gap(publisher.streams[7], (2,)))
        assert again.more

    run(test())


def test_what_was_never_taken_is_left_once() -> None:
    async def test() -> None:
        session = PlayedSession()
        publisher = publisher_of(session)
        session.say(1)
        session.say(3)
        await asyncio.sleep(0)
        one, gap, three = publisher.left()
        assert isinstance(gap, Gap)
        assert isinstance(one, Publication)
        assert isinstance(three, Publication)
        assert publisher.left() == []

    run(test())
