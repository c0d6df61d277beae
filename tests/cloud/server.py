"""A real cloud in a process of its own, for tests.

    with running_cloud(tmp_path) as cloud:
        cloud.write("machine,... model=\"x\"")
        cloud.get("/v1/board")

It takes a free port and keeps it over `restart`, so that writers find it again. `kill` is kill -9.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

START_S_MAX = 30.0
STOP_S_MAX = 10.0
WAIT_S_MAX = 10.0

T = TypeVar("T")


class RunningCloud:
    """A started server; tokens are those of the first start, `board_url` that of the newest."""

    def __init__(self, data: Path, port: int, environment: dict[str, str]) -> None:
        self.data = data
        self.ready: dict[str, Any] = {}
        self.url = ""
        self.board_url = ""
        self.write_token = ""
        self.read_token = ""
        self._port = port
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._talk: list[str] = []
        self.client = httpx.Client(timeout=WAIT_S_MAX)

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "cloud.cli", "serve", "--json"]
        command += ["--port", str(self._port), "--data", str(self.data)]
        self._process = process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=self._listen, args=(process.stderr,), daemon=True).start()
        watchdog = threading.Timer(START_S_MAX, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise AssertionError(f"the cloud did not start: {self.talk}")
        self._take(json.loads(line))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as systemd would; its exit code."""
        return self._end(number)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, then start it on the same port and folder."""
        if self.running:
            self.stop()
        self.start()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def talk(self) -> str:
        """Everything it said on stderr so far."""
        return "".join(self._talk)

    def write(
        self, lines: str | bytes, *, precision: str = "ns", token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Post line protocol, gzipped as the agent does; header names take `_` for `-`."""
        body = lines if isinstance(lines, bytes) else lines.encode()
        return self.client.post(
            f"{self.url}/api/v2/write",
            params={"org": "andon", "bucket": "andon", "precision": precision},
            content=gzip.compress(body, 1),
            headers={
                "Authorization": f"Token {token or self.write_token}",
                "Content-Encoding": "gzip",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    def read(self, path: str, **parameters: str | int) -> httpx.Response:
        """A request with the read token; a trailing `_` of a parameter's name is dropped."""
        return self.client.get(
            f"{self.url}{path}",
            params={name.rstrip("_"): value for name, value in parameters.items()},
            headers={"Authorization": f"Bearer {self.read_token}"},
        )

    def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON answer of a read that must succeed."""
        answer = self.read(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        """Let go of connections to it."""
        self.client.close()

    def _take(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.url, self.board_url = ready["url"], ready["board_url"]
        self.write_token = ready["write_token"] or self.write_token
        self.read_token = ready["read_token"] or self.read_token
        self._port = int(self.url.rpartition(":")[2])

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the cloud did not stop: {self.talk}") from None
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def _listen(self, stream: Any) -> None:
        with stream:
            self._talk.extend(stream)


@contextmanager
def running_cloud(tmp_path: Path, port: int = 0, **environment: str) -> Iterator[RunningCloud]:
    """A started cloud on `tmp_path`/cloud; keywords become `ANDON_CLOUD_<NAME>`."""
    named = {f"ANDON_CLOUD_{name.upper()}": value for name, value in environment.items()}
    cloud = RunningCloud(tmp_path / "cloud", port, named)
    cloud.start()
    try:
        yield cloud
    finally:
        if cloud.running:
            cloud.stop()
        cloud.close()


def until(condition: Callable[[], T], wait_s: float = WAIT_S_MAX) -> T:
    """The first true value of `condition`, asked again until a deadline."""
    deadline = time.monotonic() + wait_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {wait_s} s")
        time.sleep(0.01)
