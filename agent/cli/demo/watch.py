"""Watches the board as a person would: over HTTP, at the address that is printed.

Finds out when each window and each anomaly was first to be seen there. The board is read every
`LOOK_S`, which is part of what is measured.
"""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

LOOK_S: Final = 0.02
TIMEOUT_S: Final = 5.0
LATENCIES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An anomaly and when it was first on the board."""

    id: str
    machine: str
    signal: str
    detector: str
    start_ns: int
    seen_ns: int
    message: str


class Watch:
    """Reads `/v1/board` in a thread of its own until stopped."""

    def __init__(self, url: str, token: str) -> None:
        self.anomalies: dict[str, Seen] = {}
        self.latencies_ms: list[float] = []
        self.error = ""
        self._place = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._windows: dict[tuple[str, str], int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was seen stays."""
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    def latency_ms_p99(self) -> float | None:
        """From the end of a window to its being seen: the 99th percentile, None without windows."""
        ordered = sorted(self.latencies_ms)
        if not ordered:
            return None
        return ordered[math.ceil(0.99 * len(ordered)) - 1]

    def _run(self) -> None:
        connection = http.client.HTTPConnection(
            self._place.hostname or "", self._place.port, timeout=TIMEOUT_S
        )
        etag = ""
        while not self._stop.wait(LOOK_S):
            try:
                connection.request("GET", "/v1/board", headers=self._headers | _known(etag))
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.error = str(error)
                connection.close()
                continue
            if answer.status == http.HTTPStatus.OK:
                etag = answer.headers.get("ETag", "")
                self._look(json.loads(body), time.time_ns())
            elif answer.status != http.HTTPStatus.NOT_MODIFIED:
                self.error = f"the board answers {answer.status}"

    def _look(self, board: dict[str, Any], now_ns: int) -> None:
        for line in board["lines"]:
            for machine in line["machines"]:
                for signal in machine["signals"]:
                    self._look_at(machine["machine"], signal, now_ns)
            for anomaly in line["anomalies"]:
                if anomaly["id"] not in self.anomalies:
                    self.anomalies[anomaly["id"]] = Seen(
                        anomaly["id"], anomaly["machine"], anomaly["signal"],
                        anomaly["detector"], anomaly["start_ns"], now_ns, anomaly["message"],
                    )  # fmt: skip

    def _look_at(self, machine: str, signal: dict[str, Any], now_ns: int) -> None:
        window, key = signal["window"], (machine, signal["signal"])
        if window is None or window["time_ns"] <= self._windows.get(key, 0):
            return
        first = key not in self._windows
        self._windows[key] = window["time_ns"]
        if not first and len(self.latencies_ms) < LATENCIES_MAX:
            width_ns = int(float(signal["every"].removesuffix("s")) * 1e9)
            self.latencies_ms.append((now_ns - window["time_ns"] - width_ns) / 1e6)


def _known(etag: str) -> dict[str, str]:
    return {"If-None-Match": etag} if etag else {}
