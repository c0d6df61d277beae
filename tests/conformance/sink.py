"""What every sink must keep, and what those that write over HTTP must keep besides.

A subclass of `SinkConformance` gives the fixture `far_side`: where the sink writes to, and which
can be taken away. One of `HttpSinkConformance` gives `connect`: called with a url and a deadline,
it makes the sink; its far side is `tests/write_server.py`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pytest

from agent.errors import SinkError, SinkRefused, SinkRejected, SinkUnreachable
from agent.forward import Forwarder, Limits
from agent.ledger import SampleLedger
from agent.lines import Lines, Packet
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox
from agent.sinks import Sink
from tests.write_server import Answer, WriteServer

Connect = Callable[[str, float], Sink]

WORDS = b'{"code": "some code", "message": "the far side\'s own words"}'
TIME_NS = 1_763_859_600_000_000_000
DEADLINE_S = 10.0


def packet(*lines: bytes, first: int = 1) -> Packet:
    """A packet of these lines, each given without its newline."""
    offsets = np.cumsum([0] + [len(line) + 1 for line in lines], dtype=np.int64)
    ids = ((first, first + len(lines) - 1),)
    return Packet(ids, b"".join(line + b"\n" for line in lines), offsets)


def sample(number: int) -> bytes:
    """A line that every far side can hold; its value is the number, its second as well."""
    series = b"sample,enterprise=acme,site=guiyang,area=a,line=l,machine=press-01,signal=speed"
    return b"%b value=%d,status=0i %d" % (series, number, TIME_NS + number * 10**9)


class FarSide(Protocol):
    """A far side of a kind, and how to make a sink that writes there."""

    holds_anything: bool
    """Whether it can hold lines of any measurement."""

    def sink(self) -> Sink:
        """A new sink."""

    def values(self) -> set[float]:
        """The values of the samples that have arrived."""

    def leave(self) -> None:
        """It is not there any more."""

    def come_back(self) -> None:
        """It is there again."""


class SinkConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def far_side(self) -> FarSide:
        raise NotImplementedError

    def test_what_it_took_has_arrived(self, far_side: FarSide) -> None:
        sink = far_side.sink()
        assert sink.send(packet(*map(sample, range(100)))) == 0  # lines that it cannot hold
        assert sink.send(packet(sample(100), first=101)) == 0
        wait_for(lambda: far_side.values() == set(range(101)))
        sink.close()

    def test_a_far_side_that_is_not_there_is_unreachable_and_what_came_to_nothing_is_taken_later(
        self, far_side: FarSide
    ) -> None:
        sink = far_side.sink()
        sink.send(packet(sample(1)))
        far_side.leave()
        for _ in range(2):
            with pytest.raises(SinkUnreachable) as caught:
                sink.send(packet(sample(2), sample(3), first=2))
            assert len(str(caught.value)) > 10
        far_side.come_back()
        sink.send(packet(sample(2), sample(3), first=2))
        wait_for(lambda: far_side.values() >= {2, 3})
        sink.close()

    def test_a_packet_sent_again_changes_nothing(self, far_side: FarSide) -> None:
        sink = far_side.sink()
        for _ in range(3):
            assert sink.send(packet(sample(1), sample(2))) == 0
        wait_for(lambda: far_side.values() == {1, 2})
        sink.close()

    def test_another_sink_goes_on_where_the_first_one_ended(self, far_side: FarSide) -> None:
        for number in range(3):
            sink = far_side.sink()
            sink.send(packet(sample(number), first=number + 1))
            sink.close()
        wait_for(lambda: far_side.values() == {0, 1, 2})

    def test_behind_a_forwarder_every_line_arrives_although_the_far_side_comes_and_goes(
        self, far_side: FarSide
    ) -> None:
        sink = far_side.sink()
        outbox = MemoryOutbox([sink.name])
        limits = Limits(lines_max=50, lines_min=50, retry_first_s=0.01, retry_max_s=0.05)
        forwarder = Forwarder(outbox, sink, limits=limits)
        forwarder.start()
        try:
            for turn in range(3):
                numbers = range(turn * 500, (turn + 1) * 500)
                outbox.stage(Lines(ready=tuple(map(sample, numbers))), early=turn % 2 == 0)
                outbox.commit(Commit(SampleLedger()))
                forwarder.wake.set()
                wait_for(lambda: len(far_side.values()) > turn * 500)  # noqa: B023
                far_side.leave()
                far_side.come_back()
                forwarder.try_now()
            wait_for(lambda: not outbox.ledger().lines.waiting)
            wait_for(lambda: far_side.values() == set(range(1500)))
        finally:
            forwarder.stop()
        assert outbox.ledger().balanced
        assert not outbox.dead_letters()

    def test_what_it_cannot_hold_is_counted_and_the_rest_arrives(self, far_side: FarSide) -> None:
        sink = far_side.sink()
        foreign = b"boiler,room=1 pressure=3 1763859600000000000"
        withheld = sink.send(packet(foreign, sample(1), foreign))
        assert withheld == (0 if far_side.holds_anything else 2)
        wait_for(lambda: 1 in far_side.values())
        sink.close()

    def test_it_says_who_it_is_and_which_kind_of_server_it_writes_to(
        self, far_side: FarSide
    ) -> None:
        sink = far_side.sink()
        assert sink.name
        sink.send(packet(sample(1)))
        assert sink.flavour
        sink.close()

    def test_closing_it_without_having_sent_is_harmless(self, far_side: FarSide) -> None:
        far_side.sink().close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is so, within `DEADLINE_S`."""
    until_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.01)


class HttpSinkConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def connect(self) -> Connect:
        raise NotImplementedError

    def test_what_it_sends_arrives_byte_for_byte(self, connect: Connect) -> None:
        sent = packet(b"a v=1 1", b'b v="x\ny \xe8\x89\xaf" 2')
        with WriteServer() as server:
            sink = connect(server.url, 5)
            assert sink.send(sent) == 0  # lines that it cannot hold
            assert sink.send(packet(b"c v=3 3", first=3)) == 0
            sink.close()
            assert [request.body for request in server.requests] == [sent.body, b"c v=3 3\n"]

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, SinkRejected), (422, SinkRejected), (413, SinkRejected),
            (401, SinkRefused), (403, SinkRefused), (404, SinkRefused), (302, SinkRefused),
            (408, SinkUnreachable), (429, SinkUnreachable), (500, SinkUnreachable),
            (502, SinkUnreachable), (503, SinkUnreachable), (504, SinkUnreachable),
        ],
    )  # fmt: skip
    def test_an_answer_other_than_yes_raises_its_error_with_the_far_sides_words(
        self, connect: Connect, status: int, error: type[SinkError]
    ) -> None:
        with WriteServer(lambda request: Answer(status, WORDS)) as server:
            sink = connect(server.url, 5)
            with pytest.raises(error, match=f"{status}: the far side's own words") as caught:
                sink.send(packet(b"a v=1 1"))
            assert getattr(caught.value, "too_large", False) == (status == 413)
            assert len(server.requests) == 1  # trying again is the forwarder's business
            server.decide = lambda request: Answer()
            sink.send(packet(b"a v=1 1"))
            sink.close()

    @pytest.mark.parametrize("status", [429, 503])
    def test_it_hands_on_how_long_the_far_side_wants_to_be_left_alone(
        self, connect: Connect, status: int
    ) -> None:
        with WriteServer() as server:
            sink = connect(server.url, 5)
            later = "Fri, 31 Dec 9999 23:59:59 GMT"
            for text, least, most in (("17", 17, 17), (later, 1e9, 1e12), ("soon", 0, 0)):
                server.answers.append(Answer(status, headers={"Retry-After": text}))
                with pytest.raises(SinkUnreachable) as caught:
                    sink.send(packet(b"a v=1 1"))
                assert least <= caught.value.retry_after_s <= most
            sink.close()

    def test_a_connection_closed_without_a_word_is_unreachable(self, connect: Connect) -> None:
        with WriteServer() as server:
            sink = connect(server.url, 5)
            server.answers.append(Answer(drop=True))
            with pytest.raises(SinkUnreachable):
                sink.send(packet(b"a v=1 1"))
            sink.send(packet(b"a v=1 1"))
            sink.close()

    def test_a_far_side_that_never_answers_is_given_up_at_the_deadline(
        self, connect: Connect
    ) -> None:
        with WriteServer(lambda request: Answer(hole=True)) as server:
            sink = connect(server.url, 0.3)
            start_s = time.monotonic()
            with pytest.raises(SinkUnreachable, match=r"no answer within 0.3 s"):
                sink.send(packet(b"a v=1 1"))
            assert 0.3 <= time.monotonic() - start_s < 2
            sink.close()

    def test_a_port_where_nothing_listens_is_unreachable(self, connect: Connect) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            sink = connect(f"http://127.0.0.1:{unused.getsockname()[1]}", 5)
            with pytest.raises(SinkUnreachable, match="connection refused"):
                sink.send(packet(b"a v=1 1"))
            sink.close()

    def test_it_says_which_kind_of_server_it_writes_to(self, connect: Connect) -> None:
        with WriteServer() as server:
            sink = connect(server.url, 5)
            sink.send(packet(b"a v=1 1"))
            assert sink.flavour
            sink.close()

    def test_the_far_sides_words_are_bounded(self, connect: Connect) -> None:
        with WriteServer(lambda request: Answer(400, b"word " * 100_000)) as server:
            sink = connect(server.url, 5)
            with pytest.raises(SinkRejected) as caught:
                sink.send(packet(b"a v=1 1"))
            assert len(str(caught.value)) < 500
            sink.close()
