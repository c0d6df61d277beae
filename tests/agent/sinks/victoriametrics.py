"""A real VictoriaMetrics (Debian's package) on a free loopback port, and what it holds."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "/usr/bin/victoria-metrics"
START_S_MAX = 20.0

Series = tuple[tuple[str, str], ...]
"""The labels of a series, `__name__` among them, in order."""


@contextmanager
def victoriametrics(folder: Path) -> Iterator[str]:
    """Its url. It ends by its own process id, and its data with the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        PROGRAM, f"-httpListenAddr={address}", f"-storageDataPath={folder}",
        "-retentionPeriod=100y", "-loggerLevel=ERROR", "-memory.allowedBytes=64MB",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            url = f"http://{address}"
            _await(url)
            yield url
        finally:
            process.kill()


def exported(url: str) -> dict[Series, list[tuple[int, float]]]:
    """Everything it holds: of each series (time in ms, value), sorted."""
    _get(f"{url}/internal/force_flush")
    match = urllib.parse.urlencode({"match[]": '{__name__!=""}'})
    held: dict[Series, list[tuple[int, float]]] = {}
    for line in _get(f"{url}/api/v1/export?{match}").splitlines():
        row = json.loads(line)
        points = zip(row["timestamps"], map(float, row["values"]), strict=True)
        held[tuple(sorted(row["metric"].items()))] = sorted(points)
    return held


def _await(url: str) -> None:
    deadline, pause = time.monotonic() + START_S_MAX, threading.Event()
    while True:
        try:
            _get(f"{url}/health")
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            pause.wait(0.02)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own, on loopback
        return str(answer.read().decode())
