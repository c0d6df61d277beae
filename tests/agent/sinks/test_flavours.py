"""What differs between the servers: all that can be written is, whichever it is.

Each is a stand-in of `tests/write_server.py`; VictoriaMetrics is also run for real beside this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.errors import SinkRejected, SinkUnreachable
from agent.forward import Forwarder, Limits
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox
from agent.sinks.influxdb import InfluxdbSink
from tests.agent.forward.support import eventually, waiting
from tests.conformance.sink import packet
from tests.write_server import Answer, WriteServer, stand_in

NAMES = ["andon", "influxdb2", "influxdb-cloud", "influxdb3", "questdb", "victoriametrics"]
TOKEN = "very-secret-token=="
MADE = [b"window,signal=s%d n=%di,mean=0.5,rev=0i %d" % (i % 3, i, i) for i in range(40)]
MADE += [b'sample,signal=t text="a\nb",status=0i %d' % i for i in range(20)]


def make(url: str, flavour: str = "auto") -> InfluxdbSink:
    return InfluxdbSink("plant", url=url, token=TOKEN, outbox="uuid", timeout_s=5, flavour=flavour)


def wrong(line: bytes) -> bool:
    return line in (MADE[3], MADE[4], MADE[39])


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_server_is_known_by_its_ping_or_by_its_name(name: str, asked: bool) -> None:
    with stand_in(name) as server:
        sink = make(server.url, "auto" if asked else name)
        assert sink.flavour == ("" if asked else name)
        for _ in range(3):
            sink.send(packet(b"a v=1 1"))
        sink.close()
        assert sink.flavour == name
        assert len(server.pings) == asked


@pytest.mark.parametrize("name", ["andon", "influxdb2", "influxdb3", "questdb"])
def test_wrong_lines_become_dead_letters_and_all_others_are_written(name: str) -> None:
    outbox = MemoryOutbox(["plant"])
    outbox.stage(Lines(ready=tuple(MADE)), early=False)
    outbox.commit(Commit(SampleLedger()))
    with stand_in(name, wrong) as server:
        forwarder = Forwarder(outbox, make(server.url), limits=Limits(retry_first_s=0.01))
        forwarder.start()
        assert eventually(lambda: waiting(outbox) == 0)
        assert forwarder.stop()
        end = b"\\\n" if name == "questdb" else b"\n"
        right = {line.replace(b"\n", end) for line in MADE if not wrong(line)}
        assert set(server.taken) == right
    assert [letter.line_id for _, letter in outbox.dead_letters()] == [4, 5, 40]
    assert outbox.ledger().lines.dead_letter == {"rejected": 3}


def test_influxdb3_names_the_wrong_lines_and_need_not_be_asked_again() -> None:
    sent = packet(*MADE[:40], first=100)
    with stand_in("influxdb3", wrong) as server:
        sink = make(server.url)
        with pytest.raises(SinkRejected) as caught:
            sink.send(sent)
        sink.close()
    assert caught.value.lines == {3: "wrong type", 4: "wrong type", 39: "wrong type"}


@pytest.mark.parametrize(
    ("lines", "is_wrong"),
    [
        ([b'a v="x\ny" 1', b"b v=1 1"], lambda line: line.startswith(b"b")),
        ([b"a v=1 %d" % i for i in range(200)], lambda line: True),
    ],
    ids=["line ends inside strings", "a list that may have been cut"],
)
def test_line_numbers_that_may_not_be_all_or_ours_are_not_used(
    lines: list[bytes], is_wrong: Callable[[bytes], bool]
) -> None:
    with stand_in("influxdb3", is_wrong) as server:
        sink = make(server.url)
        with pytest.raises(SinkRejected) as caught:
            sink.send(packet(*lines))
        sink.close()
    assert not caught.value.lines


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"parsing failed for write_lp endpoint","data":{"line_number":1}}',
        b'{"error":"partial write of line protocol occurred","data":[{"line_number":9,'
        b'"error_message":"x"}]}',
        b'{"error":"partial write of line protocol occurred","data":null}',
        b'{"error":"partial write of line protocol occurred","data":[]}',
        b'["partial write"]',
        b"partial write",
    ],
)
def test_an_answer_that_names_no_line_surely_names_none(body: bytes) -> None:
    with WriteServer(lambda request: Answer(400, body)) as server:
        sink = make(server.url)
        with pytest.raises(SinkRejected) as caught:
            sink.send(packet(b"a v=1 1", b"b v=1 1"))
        sink.close()
    assert not caught.value.lines


def test_it_is_asked_with_the_token_and_again_after_the_connection_broke() -> None:
    with stand_in("influxdb3") as server:
        sink = make(server.url)
        sink.send(packet(b"a v=1 1"))
        server.answers.append(Answer(drop=True))
        with pytest.raises(SinkUnreachable):
            sink.send(packet(b"a v=1 1"))
        server.ping = Answer(headers={"X-Server-Hostname": "vm"})  # somebody has moved house
        assert sink.send(packet(b'a t="x" 1', b"a v=1 1")) == 1
        sink.close()
        assert sink.flavour == "victoriametrics"
        assert len(server.pings) == 2
        assert server.pings[0].path == "/ping"
        assert server.pings[0].headers["authorization"] == f"Token {TOKEN}"


@pytest.mark.parametrize("status", [200, 204, 301, 401, 404])
def test_a_server_that_does_not_say_what_it_is_is_taken_for_influxdb2(status: int) -> None:
    with WriteServer() as server:
        server.ping = Answer(status)
        sink = make(server.url)
        sink.send(packet(b"a v=1 1"))
        sink.close()
        assert sink.flavour == "influxdb2"


@pytest.mark.parametrize("ping", [Answer(503, headers={"Retry-After": "7"}), Answer(drop=True)])
def test_nothing_is_written_to_a_server_that_cannot_be_asked(ping: Answer) -> None:
    with WriteServer() as server:
        server.ping = ping
        sink = make(server.url)
        with pytest.raises(SinkUnreachable) as caught:
            sink.send(packet(b"a v=1 1"))
        sink.close()
        assert not server.requests
        assert caught.value.retry_after_s == (7 if ping.status == 503 else 0)


def test_where_nothing_is_left_of_a_packet_nothing_is_sent() -> None:
    with stand_in("victoriametrics") as server:
        sink = make(server.url)
        assert sink.send(packet(b'a t="x" 1', b"window,s=a n=1i,rev=1i 1")) == 2
        sink.close()
        assert not server.requests


def test_questdb_is_sent_no_gzip() -> None:
    with stand_in("questdb") as server:
        sink = make(server.url)
        sink.send(packet(b"a v=1 1"))
        sink.close()
        assert "content-encoding" not in server.requests[0].headers
        assert server.requests[0].raw == b"a v=1 1\n"


def test_void_ids_are_told_in_a_header_of_their_own() -> None:
    with stand_in("andon") as server:
        sink = make(server.url)
        sink.send(replace(packet(b"a v=1 1", first=30), void=((3, 9), (12, 12))))
        sink.send(packet(b"a v=1 1", first=31))
        sink.close()
        first, second = server.requests
    assert first.headers["x-andon-void"] == "3-9,12-12"
    assert first.headers["x-andon-lines"] == "30-30"
    assert "x-andon-void" not in second.headers


def test_each_run_of_line_ids_is_named() -> None:
    with stand_in("andon") as server:
        sink = make(server.url)
        sink.send(replace(packet(b"a v=1 1", b"a v=2 2", b"a v=3 3"), runs=((3, 4), (9, 9))))
        sink.close()
        assert server.requests[0].headers["x-andon-lines"] == "3-4,9-9"
