"""`andon run` as a process, between real servers: what it says, keeps and leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hardware.line.broker import start_broker
from hardware.line.opcua import Variable
from tests.agent.sources.mqtt.test_source import Publisher
from tests.agent.sources.opcua.machine import Machine
from tests.write_server import Answer, WriteServer

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from agent.cli import app; app()"]
DEADLINE_S = 40.0


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine([Variable("press-01", "ram_force")])
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def mqtt_port() -> Iterator[int]:
    broker = start_broker("mosquitto")
    yield broker.port
    broker.stop()


@dataclass
class Agent:
    """A running `andon run --json`."""

    config: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def warnings(self) -> list[str]:
        """What it warned of, but for what the tests' own configuration asks for."""
        said = [line for line in self.said if "WARNING" in line or "ERROR" in line]
        return [line for line in said if "the session is not secured, as configured" not in line]

    @contextmanager
    def connected(self, *sources: str) -> Iterator[None]:
        """Go on when these sources are."""
        for source in sources:
            wait_for(partial(self._said, f"{source}: connected"), source)
        yield

    def _said(self, words: str) -> bool:
        return any(words in line for line in self.said)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return andon(words[0], str(self.config), *words[1:])

    def ledger(self) -> Any:
        return json.loads(self.command("ledger", "--json").stdout)

    def stop(self) -> tuple[int, Any]:
        """SIGTERM it: exit code, and its last word."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        events = [json.loads(line) for line in self.process.stdout]
        assert [event["event"] for event in events] == ["started", "stopped"]
        return code, events[-1]


def andon(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "ANDON_TOKEN": "tok-1", "PYTHONWARNINGS": "default"}


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.02)


def configuration(folder: Path, opcua: str, mqtt_port: int, sink: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(f"""\
[gateway]
name = "gw-1"
path = {{ enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }}
data = "{folder}/data"

[outbox]
commit_interval_ms = 100

[[opcua]]
name = "press"
endpoint = "{opcua}"
machine = "press-01"
security = "none"
connect_timeout_s = 1
publishing_interval_ms = 50
[[opcua.signals]]
name = "ram_force"
node = "nsu=urn:andon:line;s=press-01.ram_force"

[[mqtt]]
name = "floor"
url = "mqtt://127.0.0.1:{mqtt_port}"
[[mqtt.topics]]
topic = "{folder.name}/{{machine}}/{{signal}}"
every_s = 1
payload = {{ json = {{ value = "v", time = "ts" }} }}

[[influxdb]]
name = "cloud"
url = "{sink}"
token = "${{ANDON_TOKEN}}"
""")
    return path


@contextmanager
def running(config: Path) -> Iterator[Agent]:
    process = subprocess.Popen(
        [*COMMAND, "run", str(config), "--json"], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    agent = Agent(config, process)
    listening = threading.Thread(target=agent.listen, daemon=True)
    listening.start()
    try:
        yield agent
    finally:
        process.kill()
        process.wait()
        listening.join(5)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert "Traceback" not in "\n".join(agent.said)


class Sensor:
    """Speaks over MQTT, five times a second, and counts."""

    def __init__(self, port: int, root: str) -> None:
        import asyncio

        self.sent = 0
        self._publisher = Publisher(port)
        self._over = threading.Event()

        def speak() -> None:
            while not self._over.wait(0.2):
                asyncio.run(self._publisher.say(float(self.sent), f"{root}/conveyor-01/speed"))
                self.sent += 1

        self._thread = threading.Thread(target=speak)

    def __enter__(self) -> Sensor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hush()
        self._publisher.close()

    def hush(self) -> None:
        self._over.set()
        self._thread.join(5)


def holds(server: WriteServer, *parts: bytes) -> bool:
    return any(all(part in line for part in parts) for line in server.taken)


def test_the_service_reads_both_sides_answers_questions_and_drains_when_told_to_stop(
    tmp_path: Path, machine: Machine, mqtt_port: int
) -> None:
    with (
        WriteServer() as sink,
        running(configuration(tmp_path, machine.url, mqtt_port, sink.url)) as agent,
        agent.connected("press", "floor"),
        Sensor(mqtt_port, tmp_path.name) as sensor,
    ):
        for name in (b"signal=ram_force", b"signal=speed"):
            wait_for(partial(holds, sink, b"window,", name), f"a window of {name!r}")
        told = agent.command("tail", "-n", "5", "--json")
        assert (told.returncode, told.stderr) == (0, "")
        events = [json.loads(line) for line in told.stdout.splitlines()]
        assert len(events) == 5
        assert {event["type"] for event in events} == {"window"}
        assert agent.ledger()["balanced"]
        assert not agent.warnings()

        second = andon("run", str(agent.config))
        assert second.returncode == 5
        assert second.stderr.startswith("error: ")
        assert "Traceback" not in second.stderr

        sensor.hush()
        wait_for(lambda: agent.ledger()["samples"]["received"] >= sensor.sent, "all samples")
        code, last = agent.stop()
        assert code == 0
        assert not agent.warnings()
        left = agent.ledger()
        assert left == last["ledger"]
        assert left["balanced"]
        assert left["samples"]["dropped"] == {}
        assert left["lines"]["waiting"] == 0
        assert left["lines"]["made"] == left["lines"]["acknowledged"] == len(sink.taken)
        assert "balanced" in agent.command("ledger").stdout
        received = left["samples"]["received"]
        assert sensor.sent <= received <= sensor.sent + 1  # and the press's one value


def test_an_unreachable_server_is_said_once_and_a_wrong_token_keeps_what_the_rest_reads(
    tmp_path: Path, mqtt_port: int
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"opc.tcp://127.0.0.1:{probe.getsockname()[1]}"
        refusing = Answer(401, b'{"code": "unauthorized", "message": "unauthorized access"}')
        with (
            WriteServer(lambda request: refusing) as sink,
            Sensor(mqtt_port, tmp_path.name),
            running(configuration(tmp_path, nowhere, mqtt_port, sink.url)) as agent,
        ):
            wait_for(lambda: len(sink.requests) >= 2, "a second try")
            wait_for(lambda: agent.ledger()["samples"]["derived"] >= 5, "windows of the MQTT side")
            code, last = agent.stop()
            assert code == 0
            ledger = last["ledger"]
            assert ledger["balanced"]
            assert ledger["lines"]["acknowledged"] == 0
            assert ledger["lines"]["waiting"] == ledger["lines"]["made"] > 0
            assert ledger["lines"]["dead_letter"] == {}
    warnings = agent.warnings()
    (unreachable,) = [line for line in warnings if "press:" in line]
    assert re.search(r"WARNING .*press: opc.tcp://\S+ does not answer: .*next try", unreachable)
    (refused,) = [line for line in warnings if "cloud" in line]
    assert "ERROR" in refused
    assert "refuses" in refused
    assert len(warnings) == 2
    assert len(agent.said) == len([line for line in agent.said if "andon." in line])
