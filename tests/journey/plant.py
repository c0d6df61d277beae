"""A whole plant for tests: a line, a gateway and a cloud, each a real process.

    with plant(tmp_path, seed=5) as it:
        it.line.say("start")
        until(lambda: it.ledger()["samples"]["received"] > 1000)

The gateway's configuration is the demo's own, or one written by the test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cli.demo import CONFIG
from agent.cli.demo.processes import Process
from agent.status import ask_status
from tests.cloud.server import RunningCloud, running_cloud, until
from tests.hardware.line.process import LineProcess, andon_line

CONNECT_S = 120.0
ARRIVE_S = 20.0


@dataclass
class Plant:
    """What runs."""

    line: LineProcess
    cloud: RunningCloud
    gateway: Process
    folder: Path

    def status(self) -> dict[str, Any]:
        """The gateway's status; empty while it does not answer."""
        try:
            return ask_status(self.folder)
        except (OSError, ValueError):
            return {}

    def connected(self) -> bool:
        """Whether every source is connected."""
        sources = self.status().get("sources", {})
        return bool(sources) and all(one["state"] == "connected" for one in sources.values())

    def received(self) -> int:
        """How many samples the gateway has received and committed."""
        return int(self.status().get("ledger", {}).get("samples", {}).get("received", 0))

    def finish(self) -> tuple[int, dict[str, Any]]:
        """End production, wait until all has arrived, stop the gateway: (sent, final event)."""
        self.line.say("stop")
        sent = self.line.event("stopped")["sent"]
        total = sent["opcua"] + sent["mqtt"]
        until(lambda: self.received() == total, ARRIVE_S)
        self.gateway.stop()
        return total, self.gateway.wait_for("stopped")


@contextmanager
def plant(tmp_path: Path, *, line: tuple[str, ...], config: Path = CONFIG) -> Iterator[Plant]:
    """Start all three, connected and waiting for the line's `start`."""
    with andon_line(*line) as running, running_cloud(tmp_path) as cloud:
        ready = running.event("ready")
        folder = tmp_path / "gateway"
        environ = {
            "ANDON_DEMO_DATA": str(folder),
            "ANDON_DEMO_OPCUA": ready["opcua"],
            "ANDON_DEMO_MQTT": ready.get("mqtt") or "",
            "ANDON_DEMO_CLOUD": cloud.url,
            "ANDON_TOKEN": cloud.write_token,
        }
        gateway = Process(
            "agent", "agent.cli", ["run", "--json", str(config)], environ, tmp_path / "agent.log"
        )
        it = Plant(running, cloud, gateway, folder)
        try:
            until(lambda: it.connected() or not gateway.running, CONNECT_S)
            assert gateway.running, gateway.words()
            yield it
        finally:
            gateway.stop()


def columns(cloud: RunningCloud, name: str, **filters: str | int) -> dict[str, list[Any]]:
    """All of `/v1/<name>` that the filters leave, page after page, as columns."""
    found: dict[str, list[Any]] = {}
    cursor: dict[str, str] = {}
    while True:
        page = cloud.get(f"/v1/{name}", **filters, **cursor)
        for column, values in page[name].items():
            found.setdefault(column, []).extend(values)
        if not page["next"]:
            return found
        cursor = {"cursor": page["next"]}


@contextmanager
def port_in_use() -> Iterator[int]:
    """A port of this machine that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]
