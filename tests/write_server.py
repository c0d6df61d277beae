"""A little write server that records what arrives and answers as told: the far side, in tests.

It is a real HTTP server on 127.0.0.1 with a thread per connection; it ends with its `with` block.
"""

from __future__ import annotations

import gzip
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Answer:
    """One answer. `drop` closes the connection without a word; `hole` never answers at all."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hole: bool = False


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


class WriteServer:
    """Answers with `answers`, one each, and then with what `decide` says of each request."""

    def __init__(self, decide: Callable[[Request], Answer] = lambda request: Answer()) -> None:
        self.decide = decide
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
        """Lines of the writes answered with 204, in order."""
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
            if answer.status == 204 and not (answer.drop or answer.hole):
                self._taken += request.body.splitlines()
            self._arrived.notify_all()
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

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        answer = self.server.twin.answer(Request(parts.path, query, headers, raw))
        if answer.drop or answer.hole:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:  # a 204 has no body; bytes behind it would be the next answer
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass
