"""The InfluxDB sink: the HTTP sink's promises, what is on the wire, and what it checks offline."""

from __future__ import annotations

import gzip
import logging
import ssl
from collections.abc import Iterator

import pytest

from agent.errors import ConfigError, SinkRefused, SinkUnreachable
from agent.lines.parse import parse
from agent.sinks import Sink
from agent.sinks.influxdb import InfluxdbSink
from tests.conformance.sink import Connect, HttpSinkConformance, SinkConformance, packet
from tests.write_server import Answer, WriteServer

TOKEN = "very-secret-token=="


def make(url: str, timeout_s: float = 5, token: str = TOKEN) -> InfluxdbSink:
    return InfluxdbSink(
        "cloud", url=url, token=token, outbox="outbox-uuid", org="acme", bucket="line 1",
        timeout_s=timeout_s,
    )  # fmt: skip


class TestInfluxdbSinkOverHttp(HttpSinkConformance):
    @pytest.fixture
    def connect(self) -> Connect:
        return make


class FarServer:
    """A server of the v2 API that takes everything."""

    holds_anything = True

    def __init__(self, server: WriteServer) -> None:
        self._server = server

    def sink(self) -> Sink:
        return make(self._server.url)

    def values(self) -> set[float]:
        lines = [line for body in self._taken() for line in body.splitlines()]
        return {float(parse(line).fields.get("value", -1)) for line in lines}

    def _taken(self) -> list[bytes]:
        return [request.body for request in self._server.requests]

    def leave(self) -> None:
        self._server.decide = lambda request: Answer(503)

    def come_back(self) -> None:
        self._server.decide = lambda request: Answer()


class TestInfluxdbSink(SinkConformance):
    @pytest.fixture
    def far_side(self) -> Iterator[FarServer]:
        with WriteServer() as server:
            yield FarServer(server)


def test_a_write_is_the_v2_api_to_the_letter() -> None:
    with WriteServer() as server:
        sink = make(server.url + "/prefix/")
        for number in (7, 9):
            sink.send(packet(b"a v=1 1", b"a v=2 2", first=number))
        sink.close()
        first, second = server.requests
    assert first.path == "/prefix/api/v2/write"
    assert first.query == {"org": "acme", "bucket": "line 1", "precision": "ns"}
    assert first.headers["authorization"] == f"Token {TOKEN}"
    assert first.headers["content-encoding"] == "gzip"
    assert gzip.decompress(first.raw) == b"a v=1 1\na v=2 2\n"
    assert first.headers["x-andon-outbox"] == second.headers["x-andon-outbox"] == "outbox-uuid"
    assert first.headers["x-andon-lines"] == "7-8"
    assert second.headers["x-andon-lines"] == "9-10"


def test_a_far_side_without_tokens_is_sent_none() -> None:
    with WriteServer() as server:
        sink = make(server.url, token="")
        sink.send(packet(b"a v=1 1"))
        assert "authorization" not in server.requests[0].headers
        sink.close()


def test_a_portals_web_page_is_not_taken_for_a_yes() -> None:
    page = Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html; charset=utf-8"})
    with WriteServer(lambda request: page) as server:
        sink = make(server.url)
        with pytest.raises(SinkRefused, match="web page"):
            sink.send(packet(b"a v=1 1"))
        sink.close()


def test_an_answer_that_is_no_text_is_no_crash() -> None:
    with WriteServer(lambda request: Answer(502, "网关错误".encode("gbk"))) as server:
        sink = make(server.url)
        with pytest.raises(SinkUnreachable):
            sink.send(packet(b"a v=1 1"))
        sink.close()


def test_a_server_without_tls_behind_https_is_unreachable_and_certificates_are_checked() -> None:
    with WriteServer() as server:
        sink = make(server.url.replace("http:", "https:"), 1)
        with pytest.raises(SinkUnreachable, match="TLS"):
            sink.send(packet(b"a v=1 1"))
        assert not server.requests
        pool = sink._client.api_client.rest_client.pool_manager.connection_pool_kw
        assert pool["cert_reqs"] == ssl.CERT_REQUIRED
        sink.close()


def test_the_token_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), WriteServer() as server:
        sink = make(server.url)
        sink.send(packet(b"a v=1 1"))
        server.answers.append(Answer(401, b"no"))
        with pytest.raises(SinkRefused) as caught:
            sink.send(packet(b"a v=1 1"))
        sink.close()
    assert TOKEN not in caplog.text + str(caught.value) + caught.value.hint + repr(sink)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("url", "andon.example"), ("url", "ftp://andon.example"), ("url", "http://"),
        ("url", "http://host:99999"), ("url", "http://host?org=x"), ("url", "http://[::1"),
        ("token", "a b"), ("token", "a\r\nX-Header: b"), ("token", "密"), ("org", ""),
        ("bucket", ""), ("timeout_s", 0), ("timeout_s", float("nan")), ("timeout_s", 301),
        ("flavour", "influx"),
    ],
)  # fmt: skip
def test_what_is_wrong_offline_is_said_by_the_constructor(option: str, value: object) -> None:
    options = {"url": "http://127.0.0.1:1", "token": TOKEN, "outbox": "x"} | {option: value}
    with pytest.raises(ConfigError, match=f"influxdb 'cloud': {option} ") as caught:
        InfluxdbSink("cloud", **options)  # type: ignore[arg-type]
    assert option != "token" or str(value) not in str(caught.value)
