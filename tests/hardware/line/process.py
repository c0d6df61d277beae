"""`andon-line` as a process, and clients that collect what it sends."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from paho.mqtt.client import Client as MqttClient
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from hardware.line.cli import app

ROOT = Path(__file__).parents[3]
DEADLINE_S = 20.0
COMMAND = [sys.executable, "-c", "from hardware.line.cli import app; app()"]


class LineProcess:
    """A running `andon-line` whose events can be waited for."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._lines.put(line)

    def event(self, name: str) -> dict[str, Any]:
        """The next event, which must have this name."""
        event: dict[str, Any] = json.loads(self._lines.get(timeout=DEADLINE_S))
        assert event["event"] == name
        return event

    def say(self, command: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(command + "\n")
        self.popen.stdin.flush()

    def end(self) -> tuple[int, str, float]:
        """Wait for its end: exit code, what it said on stderr, seconds it took."""
        began_s = time.monotonic()
        assert self.popen.stderr is not None
        code = self.popen.wait(DEADLINE_S)
        return code, self.popen.stderr.read(), time.monotonic() - began_s


@contextmanager
def andon_line(*arguments: str) -> Iterator[LineProcess]:
    process = LineProcess(*arguments)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
        for stream in (process.popen.stdin, process.popen.stdout, process.popen.stderr):
            if stream is not None:
                stream.close()


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and stderr of an `andon-line` that should end by itself, run in this process."""
    done = CliRunner().invoke(app, arguments)
    assert done.stdout == ""
    return done.exit_code, done.stderr


class Notifications:
    """Handler of an asyncua subscription: all data values, by `machine/signal`."""

    def __init__(self) -> None:
        self.values: dict[str, list[ua.DataValue]] = {}

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        key = str(node.nodeid.Identifier).replace(".", "/", 1)
        self.values.setdefault(key, []).append(data.monitored_item.Value)

    def counts(self) -> Counter[str]:
        return Counter({key: len(values) for key, values in self.values.items()})


async def subscribe(client: Client, *, each_write: bool = False) -> Notifications:
    """Monitor every variable of the line; `each_write` also where only the time changed."""
    received = Notifications()
    subscription = await client.create_subscription(20, received)
    nodes = []
    space = await client.get_namespace_index("urn:andon:line")
    for machine in await client.nodes.objects.get_children():
        if machine.nodeid.NamespaceIndex == space:
            nodes += await machine.get_children()
    trigger = ua.DataChangeTrigger.StatusValueTimestamp
    filter_ = ua.DataChangeFilter(Trigger=trigger) if each_write else None
    # Its public way takes no filter.
    await subscription._subscribe(nodes, mfilter=filter_)
    return received


@contextmanager
def mqtt_messages(url: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every message below `line-1/`, as (`machine/signal`, payload)."""
    messages: list[tuple[str, dict[str, Any]]] = []
    ready = threading.Event()
    client = MqttClient(CallbackAPIVersion.VERSION2)
    client.on_message = lambda c, u, message: messages.append(
        (message.topic.removeprefix("line-1/"), json.loads(message.payload))
    )
    client.on_subscribe = lambda c, u, m, r, p: ready.set()
    host, _, port = url.removeprefix("mqtt://").partition(":")
    client.connect(host, int(port))
    client.subscribe("line-1/#", qos=1)
    client.loop_start()
    try:
        assert ready.wait(DEADLINE_S)
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        time.sleep(0.01)
