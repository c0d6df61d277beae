"""What every sink that writes over HTTP must keep, against `tests/write_server.py`.

A subclass gives the fixture `connect`: called with a url and a deadline, it makes the sink.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import numpy as np
import pytest

from agent.errors import SinkError, SinkRefused, SinkRejected, SinkUnreachable
from agent.lines import Packet
from agent.sinks import Sink
from tests.write_server import Answer, WriteServer

Connect = Callable[[str, float], Sink]

WORDS = b'{"code": "some code", "message": "the far side\'s own words"}'


def packet(*lines: bytes, first: int = 1) -> Packet:
    """A packet of these lines, each given without its newline."""
    offsets = np.cumsum([0] + [len(line) + 1 for line in lines], dtype=np.int64)
    ids = ((first, first + len(lines) - 1),)
    return Packet(ids, b"".join(line + b"\n" for line in lines), offsets)


class SinkConformance:
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
