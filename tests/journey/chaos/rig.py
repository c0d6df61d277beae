"""The rig: a line, a gateway and a cloud, with a link that can fail between each two of them.

    publisher -> mosquitto -> broker link -> agent -> cloud link -> front -> cloud

It lives across the runs. `suffer` does to it what a plan says, `mend` undoes all of it.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hardware.line.broker import start_broker
from tests.cloud.server import RunningCloud, running_cloud, until
from tests.journey.chaos.gateway import Disk, Gateway
from tests.journey.chaos.network import Front, Link, Network, State
from tests.journey.chaos.plan import KINDS, Fault
from tests.journey.chaos.publisher import Publisher

BROKER_STOP_S: Final = 30.0
CONNECT_S: Final = 60.0
EARLY_S: Final = 1.0
"""Kills in a row come within this time of the agent's start."""

Event = tuple[float, Callable[[], None]]


class Rig:
    """Everything that runs. Made and used by one thread, the main one."""

    def __init__(self, folder: Path, cloud: RunningCloud) -> None:
        self.folder = folder
        self.cloud = cloud
        self.notes: list[str] = []
        self.kept = folder / "broker"
        self.kept.mkdir()
        self.broker = start_broker("mosquitto", kept=self.kept)
        self._network = Network()
        self.front = Front(self._network, int(cloud.url.rpartition(":")[2]))
        self.links = {
            "broker": Link(self._network, self.broker.port),
            "cloud": Link(self._network, self.front.port),
        }
        self.disk = Disk(folder / "gateway")
        environ = {
            "ANDON_CHAOS_MQTT": f"mqtt://127.0.0.1:{self.links['broker'].port}",
            "ANDON_CHAOS_CLOUD": f"http://127.0.0.1:{self.links['cloud'].port}",
            "ANDON_TOKEN": cloud.write_token,
        }
        self.gateway = Gateway(folder, folder / "gateway", environ)
        self.publisher = Publisher(self.broker.port)
        self._cloud_start: threading.Thread | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """What can suffer here."""
        return tuple(name for name in KINDS if name != "disk" or self.disk.small)

    def connected(self) -> bool:
        """Whether the agent has its broker."""
        sources = self.gateway.status().get("sources", {})
        return bool(sources) and all(one["state"] == "connected" for one in sources.values())

    def suffer(self, faults: tuple[Fault, ...]) -> None:
        """Let all of it happen, each at its time."""
        begin_s = time.monotonic()
        for at_s, action in sorted(
            (event for fault in faults for event in self._events(fault)), key=lambda event: event[0]
        ):
            time.sleep(max(0.0, begin_s + at_s - time.monotonic()))
            action()

    def mend(self) -> None:
        """Everything runs again, and the agent is connected."""
        for link in self.links.values():
            link.become("whole")
        self.front.calm()
        self.gateway.step(0)
        self.disk.clear()
        if self.broker.process.poll() is not None:
            self.start_broker()
        self._start_cloud()
        if self._cloud_start is not None:
            self._cloud_start.join()
            self._cloud_start = None
        self._look_after_agent()
        until(self.connected, CONNECT_S)

    def start_broker(self) -> None:
        """Start it with what it kept, where it was."""
        self.broker = start_broker("mosquitto", port=self.broker.port, kept=self.kept)

    def close(self) -> None:
        """End everything but the cloud."""
        if self.publisher.is_alive():
            self.publisher.close()
        self.gateway.end(signal.SIGKILL)
        self.broker.stop()
        self._network.close()
        self.disk.close()

    def _events(self, fault: Fault) -> Iterator[Event]:
        """What to do when."""
        begin_s, end_s = fault.at_s, fault.at_s + fault.for_s
        match fault.kind.split("_", 1):
            case ["agent", "kills"]:
                yield from self._kills(fault)
            case ["agent", how]:
                number = signal.SIGKILL if how == "kill" else signal.SIGTERM
                yield begin_s, lambda: self._end_agent(number)
                yield end_s, self.gateway.start
            case ["cloud", "kill" | "stop" as how]:
                yield begin_s, self.cloud.kill if how == "kill" else self._stop_cloud
                yield end_s, self._start_cloud
            case ["broker", "stop"]:
                yield begin_s, self._stop_broker
                yield end_s, self.start_broker
            case ["broker" | "cloud" as where, "cut" | "hole" | "slow" as how]:
                yield begin_s, self._becomes(where, how)
                yield end_s, self._becomes(where, "whole")
            case ["answer", trouble]:
                yield begin_s, lambda: self.front.trouble(trouble, fault.size)
            case ["clock", _]:
                yield begin_s, lambda: self.gateway.step(fault.size)
                yield end_s, lambda: self.gateway.step(0)
            case ["disk", _]:
                yield begin_s, self.disk.fill
                yield end_s, self.disk.clear

    def _kills(self, fault: Fault) -> Iterator[Event]:
        """Killed and started again, each time within its first second."""
        dice = random.Random(str(fault))  # noqa: S311 - a plan, no secret
        at_s = fault.at_s
        for _ in range(fault.size):
            yield at_s, lambda: self._end_agent(signal.SIGKILL)
            yield at_s, self.gateway.start
            at_s += dice.uniform(0.0, EARLY_S)

    def _becomes(self, where: str, state: State) -> Callable[[], None]:
        return lambda: self.links[where].become(state)

    def _end_agent(self, number: signal.Signals) -> None:
        self._look_after_agent()
        self.gateway.end(number)

    def _look_after_agent(self) -> None:
        """Start it where it does not run, as systemd would; note what it did by itself."""
        code = self.gateway.ended_by_itself()
        if code is not None:
            self.notes.append(f"the agent ended by itself with exit code {code}")
        self.gateway.start()

    def _stop_cloud(self) -> None:
        self.cloud.stop()

    def _start_cloud(self) -> None:
        """Start it beside what else happens."""
        if self._cloud_start is None and not self.cloud.running:
            self._cloud_start = threading.Thread(target=self.cloud.start, name="cloud start")
            self._cloud_start.start()

    def _stop_broker(self) -> None:
        """SIGTERM, and time to write what it keeps; nothing is on its way to it then."""
        with self.publisher.held():
            self.broker.process.terminate()
            self.broker.process.wait(BROKER_STOP_S)


@contextmanager
def running_rig(folder: Path) -> Iterator[Rig]:
    """A rig with everything connected and the machines at rest."""
    with running_cloud(folder) as cloud:
        rig = Rig(folder, cloud)
        try:
            rig.mend()
            rig.publisher.start()
            yield rig
        finally:
            rig.close()


def counts_of(status: dict[str, Any]) -> tuple[int, int, int]:
    """Samples received and pending, lines waiting; -1 where the status does not say."""
    ledger = status.get("ledger", {})
    samples, lines = ledger.get("samples", {}), ledger.get("lines", {})
    return samples.get("received", -1), samples.get("pending", -1), lines.get("waiting", -1)
