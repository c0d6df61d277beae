"""A little write server that records what arrives and answers as told: the far side, in tests.

It is a real HTTP server on 127.0.0.1 with a thread per connection; it ends with its `with` block.
`stand_in` makes it answer as a server does that cannot be installed here, built from what is
published of it; the page or file is named beside each. Only VictoriaMetrics is run for real.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LINE = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^"\n])+\n?', re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """One answer. `drop` closes the connection without a word; `hole` never answers at all.

    took : lines that were written although the answer is not 204
    """

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hole: bool = False
    took: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Request:
    """One write as it came over the wire; `raw` is its body still compressed."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> bytes:
        """The body as line protocol."""
        return gzip.decompress(self.raw) if self.headers.get("content-encoding") else self.raw


def lines_of(body: bytes) -> list[bytes]:
    """The lines of a body without their ends; a line end inside a string ends no line."""
    return [line.removesuffix(b"\n") for line in _LINE.findall(body)]


class WriteServer:
    """Answers with `answers`, one each, and then with what `decide` says of each request."""

    def __init__(self, decide: Callable[[Request], Answer] = lambda request: Answer()) -> None:
        self.decide = decide
        self.ping = Answer(headers={"X-Influxdb-Version": "andon-0"})
        self.pings: list[Request] = []
        self.answers: deque[Answer] = deque()
        self.requests: list[Request] = []
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.twin = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def taken(self) -> list[bytes]:
        """Lines of the writes answered with 204, in order, and those of others that it took."""
        with self._arrived:
            return list(self._taken)

    def wait_until(self, condition: Callable[[WriteServer], bool], timeout_s: float = 5.0) -> bool:
        """Wait until something that a request changes is so."""
        with self._arrived:
            return self._arrived.wait_for(lambda: condition(self), timeout_s)

    def answer(self, request: Request) -> Answer:
        """Record a request and choose its answer."""
        with self._arrived:
            self.requests.append(request)
            answer = self.answers.popleft() if self.answers else self.decide(request)
            self._taken += answer.took
            if answer.status == 204 and not (answer.drop or answer.hole):
                self._taken += lines_of(request.body)
            self._arrived.notify_all()
        return self._given(answer)

    def answer_ping(self, request: Request) -> Answer:
        """Record that it was asked what it is."""
        with self._arrived:
            self.pings.append(request)
            self._arrived.notify_all()
        return self._given(self.ping)

    def _given(self, answer: Answer) -> Answer:
        if answer.hole:
            self._closing.wait(30)
        return answer

    def __enter__(self) -> WriteServer:
        self._taken: list[bytes] = []
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    twin: WriteServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        self._send(self.server.twin.answer_ping(self._request()))

    def do_POST(self) -> None:
        self._send(self.server.twin.answer(self._request()))

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return Request(parts.path, query, headers, raw)

    def _send(self, answer: Answer) -> None:
        if answer.drop or answer.hole:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name != "Server":  # send_response has sent it already
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:  # a 204 has no body; bytes behind it would be the next answer
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return self.server.twin.ping.headers.get("Server", "")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


def stand_in(flavour: str, wrong: Callable[[bytes], bool] = lambda line: False) -> WriteServer:
    """A server that answers as this one does; `wrong` says of a line that it breaks a rule."""
    headers, decide = _STAND_INS[flavour]
    server = WriteServer(lambda request: decide(request, wrong))
    server.ping = Answer(headers=headers)
    return server


_Wrong = Callable[[bytes], bool]


def _influxdb2(request: Request, wrong: _Wrong) -> Answer:
    """Partial writes are 422: docs.influxdata.com/influxdb/v2/write-data/troubleshoot."""
    lines = lines_of(request.body)
    right = tuple(line for line in lines if not wrong(line))
    if len(right) == len(lines):
        return Answer()
    text = f"failure writing points to database: partial write: dropped={len(lines) - len(right)}"
    return _json(422, {"code": "unprocessable entity", "message": text}, right)


def _cloud(request: Request, wrong: _Wrong) -> Answer:
    """It says yes and rejects later: docs.influxdata.com/influxdb/cloud/write-data/troubleshoot."""
    return Answer()


def _influxdb3(request: Request, wrong: _Wrong) -> Answer:
    """Partial writes are 400 and named: docs.influxdata.com/influxdb3/core/write-data/http-api."""
    lines = lines_of(request.body)
    right = tuple(line for line in lines if not wrong(line))
    named = [
        {"original_line": line.decode(), "line_number": number, "error_message": "wrong type"}
        for number, line in enumerate(lines, 1)
        if wrong(line)
    ]
    if not named:
        return Answer()
    text = "partial write of line protocol occurred"
    return _json(400, {"error": text, "data": named[:100]}, right)


def _questdb(request: Request, wrong: _Wrong) -> Answer:
    """Tables before the wrong line's are committed, gzip is not read (before 9.1.0), and only an
    escaped line end is part of a string: questdb.com/docs/ingestion/ilp/overview.
    """
    if request.headers.get("content-encoding") == "gzip":
        return _json(400, {"code": "invalid", "message": "failed to parse line protocol"})
    lines = re.findall(rb"((?:[^\\\n]|\\.)+)\n", request.body, re.DOTALL)
    for number, line in enumerate(lines, 1):
        if wrong(line) or b" " not in line:
            text = f"failed to parse line protocol:errors encountered on line(s):error in {number}"
            table = line.split(b",")[0]
            before = tuple(line for line in lines[: number - 1] if line.split(b",")[0] != table)
            return _json(400, {"code": "invalid", "message": text, "line": number}, before)
    return Answer()


def _json(status: int, body: object, took: tuple[bytes, ...] = ()) -> Answer:
    headers = {"Content-Type": "application/json"}
    return Answer(status, json.dumps(body).encode(), headers, took=took)


_STAND_INS = {
    "andon": ({"X-Influxdb-Version": "andon-0", "X-Influxdb-Build": "andon"}, _influxdb2),
    # docs.influxdata.com/influxdb/v2/api/ping
    "influxdb2": ({"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"}, _influxdb2),
    # seen in answers of its servers: no version
    "influxdb-cloud": ({"X-Influxdb-Version": "", "X-Influxdb-Build": "cloud2"}, _cloud),
    # influxdata/influxdb, influxdb3_server/src/http.rs
    "influxdb3": ({"X-Influxdb-Version": "3.2.1", "X-Influxdb-Build": "Core"}, _influxdb3),
    # questdb/questdb, LineHttpPingProcessor.java
    "questdb": ({"X-Influxdb-Version": "v2.7.4", "Server": "questDB/1.0"}, _questdb),
    # Debian's 1.79.5, run in tests/agent/sinks/test_victoriametrics.py; it never says no
    "victoriametrics": ({"X-Server-Hostname": "vm"}, _cloud),
}
