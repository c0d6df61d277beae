"""The far side: a write server in a process of its own that marks each window it is sent.

    python -m tests.journey.day.far_side SIGNALS START_S SECONDS BACKLOG_SECONDS

START_S : the first second of the day, UNIX time; SECONDS : how many may come
BACKLOG_SECONDS : windows from then on are live, and how late each came is noted

Prints its port; ends when its standard input does. `GET /stats` answers what came, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.outbox.intervals import Intervals, count
from agent.signals import SECOND_NS

MACHINE: Final = np.frombuffer(b",machine=machine-", np.uint8)
SIGNAL: Final = np.frombuffer(b",signal=signal_", np.uint8)
WINDOW: Final = np.frombuffer(b"window,", np.uint8)
REVISION: Final = np.frombuffer(b",rev=", np.uint8)
SIGNALS_A_MACHINE: Final = 50
FIRST_S: Final = 5
"""A start takes a moment; live windows of the first seconds are looked at apart."""


class Register:
    """What came: how often each window of each second, and how late the live ones.

    ids : of lines that came, and those told void
    """

    def __init__(self, signals: int, start_s: int, seconds: int, backlog_s: int) -> None:
        self.seen: npt.NDArray[np.uint8] = np.zeros((signals, seconds), np.uint8)
        self.ids, self.void = Intervals(), Intervals()
        self.requests = self.repeated = 0
        self._totals = np.zeros(4, np.int64)
        self._start_s = start_s
        self._backlog_s = backlog_s
        self._late: list[npt.NDArray[np.int64]] = []
        self._lock = threading.Lock()

    def take(self, body: bytes, lines: str, void: str) -> None:
        """Mark the windows of one write; `lines` and `void` are its headers."""
        arrived_ns = time.time_ns()
        text = np.frombuffer(body, np.uint8)
        with self._lock:
            live = mark(text, self.seen, self._start_s, self._backlog_s, self._totals)
            late_ns = arrived_ns - (self._start_s + live + 1) * SECOND_NS
            self._late.append(np.stack([live, late_ns]))
            self.requests += 1
            for first, last in _intervals(lines):
                self.repeated += count(self.ids.within(first, last))
                self.ids.add(first, last)
            for told in _intervals(void):
                self.void.add(*told)

    def stats(self) -> dict[str, float]:
        """What came, by name."""
        with self._lock:
            live = np.concatenate([np.empty((2, 0), np.int64), *self._late], axis=1)
            windows, other, samples, strange = self._totals.tolist()
            accounted = self.ids.copy()
            for told in self.void:
                accounted.add(*told)
            backlog = self.seen[:, : self._backlog_s]
            return {
                "requests": self.requests,
                "windows_arrived": windows,
                "windows_distinct": int(np.count_nonzero(self.seen)),
                "windows_repeated": windows - int(np.count_nonzero(self.seen)),
                "backlog_missing": int(np.count_nonzero(backlog == 0)),
                "lines_other": other,
                "lines_strange": strange,
                "lines_repeated": self.repeated,
                "holes": max(len(accounted) - 1, 0),
                "samples_arrived": samples,
            } | _lateness(live)


def _lateness(live: npt.NDArray[np.int64]) -> dict[str, float]:
    """Of windows that the line made while it was drained: from a window's end to its arrival."""
    later = live[1][live[0] >= live[0].min(initial=1 << 62) + FIRST_S] / 1e6
    if not len(later):
        return {"live_windows": 0}
    return {
        "live_windows": live.shape[1],
        "live_ms_p50": float(np.median(later)),
        "live_ms_p99": float(np.quantile(later, 0.99)),
        "live_ms_max": float(later.max()),
        "live_ms_max_of_all": float(live[1].max() / 1e6),
    }


def _intervals(header: str) -> Iterator[tuple[int, int]]:
    for part in filter(None, header.split(",")):
        first, _, last = part.partition("-")
        yield int(first), int(last)


@njit(cache=True, nogil=True)
def mark(text, seen, start_s, backlog_s, totals):  # type: ignore[no-untyped-def]
    """Count each window of `text` in `seen`; the seconds of those that are live, (w,) int64.

    totals : windows, other lines, the windows' samples, windows that nobody can have sent
    """
    live = np.empty(text.size // 64 + 1, np.int64)
    found, at = 0, 0
    while at < text.size:
        end = at
        while end < text.size and text[end] != 10:
            end += 1
        if not _starts(text, at, end, WINDOW):
            totals[1] += 1
            at = end + 1
            continue
        machine = signal = -1
        space = at
        while space < end and text[space] != 32:
            if _starts(text, space, end, MACHINE):
                machine = _number(text, space + MACHINE.size, end)
            elif _starts(text, space, end, SIGNAL):
                signal = _number(text, space + SIGNAL.size, end)
            space += 1
        back = end - 1
        while text[back] != 32:
            back -= 1
        second = _number(text, back + 1, end) // 1_000_000_000 - start_s
        row = machine * SIGNALS_A_MACHINE + signal
        if machine < 0 or not (0 <= row < seen.shape[0] and 0 <= second < seen.shape[1]):
            totals[3] += 1
        else:
            totals[0] += 1
            if seen[row, second] == 0:
                totals[2] += _number(text, space + 3, end)  # " n=20i,"
            if seen[row, second] < 255:
                seen[row, second] += 1
            if second >= backlog_s:
                live[found] = second
                found += 1
        at = end + 1
    return live[:found]


@njit(cache=True, nogil=True)
def _starts(text, at, end, what):  # type: ignore[no-untyped-def]
    if at + what.size > end:
        return False
    for i in range(what.size):  # noqa: SIM110 - numba knows no generators
        if text[at + i] != what[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _number(text, at, end):  # type: ignore[no-untyped-def]
    """The digits that stand there."""
    number = 0
    while at < end and 48 <= text[at] <= 57:
        number = 10 * number + text[at] - 48
        at += 1
    return number


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    register: Register


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        lines, void = (self.headers.get(f"X-Andon-{name}", "") for name in ("Lines", "Void"))
        self.server.register.take(zlib.decompress(raw, wbits=31), lines, void)
        self._answer(204, b"")

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._answer(200, json.dumps(self.server.register.stats()).encode())
        else:
            self._answer(204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("X-Influxdb-Version", "v2.7.0")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def far_side(signals: int, start_s: int, seconds: int, backlog_s: int) -> Iterator[str]:
    """Run it; answers its URL."""
    numbers = map(str, (signals, start_s, seconds, backlog_s))
    command = [sys.executable, "-m", "tests.journey.day.far_side", *numbers]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def stats(url: str) -> dict[str, float]:
    """What the far side says came to it."""
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as answer:  # noqa: S310
        figures: dict[str, float] = json.load(answer)
    return figures


def main(signals: int, start_s: int, seconds: int, backlog_s: int) -> None:
    """Serve until standard input ends."""
    register = Register(signals, start_s, seconds, backlog_s)
    mark(np.frombuffer(b"warm up\n", np.uint8), register.seen, 0, 0, np.zeros(4, np.int64))
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.register = register
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
