"""OPC UA servers that nobody here wrote, each in a process of its own.

    with running("node-opcua", folder, variables=20_000, historized=5) as peer:
        peer.do("set", node="v3", value=1.5)

The options and commands are those of `node_opcua/server.mjs`; `asyncua_server.py` knows most.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from tests.peers import npm
from tests.peers.driven import Driven

Kind = Literal["node-opcua", "asyncua"]

NAMESPACE: Final = "urn:andon:peer"


class Peer(Driven):
    """One server, at first not running. It keeps its port when it is started again.

    folder : for its certificates, and what it says on stderr
    """

    def __init__(self, kind: Kind, folder: Path, **options: Any) -> None:
        super().__init__(kind, folder)
        self.kind = kind
        self.port = 0
        pki = folder / "pki"
        pki.mkdir(exist_ok=True)
        self._options = {"pki": str(pki), **options}

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
            npm.install(npm.NODE_OPCUA)
            command = [npm.node(), str(npm.NODE_OPCUA / "server.mjs")]
        else:
            command = [sys.executable, "-m", "tests.peers.asyncua_server"]
        self.port = int(self.launch([*command, json.dumps(self._options)])["port"])


@contextmanager
def running(kind: Kind, folder: Path, **options: Any) -> Iterator[Peer]:
    """A server for as long as it is needed."""
    peer = Peer(kind, folder, **options)
    try:
        peer.start()
        yield peer
    finally:
        peer.kill()
