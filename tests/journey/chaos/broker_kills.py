"""`kill -9` of mosquitto itself, which forgets what came since it last wrote its file.

The agent is cut off while its queue at the broker is empty; the machines go on, and the broker
writes its file at some moment or not at all. Then it is killed. What it still holds is asked of a
second mosquitto on a copy of that file, under the agent's name. Exactly that must arrive; the rest
of what it had acknowledged is the publisher's difference, taken back from the record and reported.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from hardware.line.broker import start_broker
from tests.cloud.server import until
from tests.journey.chaos.publisher import MILLISECOND_NS
from tests.journey.chaos.rig import Rig, counts_of
from tests.journey.chaos.runs import Result, Runs

AGENT: Final = "gw-chaos"
"""The agent's client_id in gateway.toml."""
FILE: Final = "mosquitto.db"
END_TOPIC: Final = "line-1/probe/end"
DRAINED_S: Final = 30.0
WRITTEN_S: Final = 10.0
HELD_S: Final = 30.0
PAUSE_S: Final = (0.1, 0.7)
WRITES_SHARE: Final = 0.7
"""How often the broker writes its file once more while the agent is cut off."""
AGENT_DIES_SHARE: Final = 0.5

Held = dict[str, set[int]]
"""Times of samples, by `machine/signal`."""


def run(runs: Runs, rig: Rig, seed: int, number: int) -> Result:
    """One run in which the broker is killed."""
    dice = random.Random(f"broker/{seed}/{number}")  # noqa: S311 - a plan, no secret
    writes, agent_dies = dice.random() < WRITES_SHARE, dice.random() < AGENT_DIES_SHARE
    faults = ["broker_kill(1)"]
    faults += ["broker_writes(1)"] * writes + ["agent_kill(1)"] * agent_dies
    lost = 0

    def suffer() -> None:
        nonlocal lost
        time.sleep(dice.uniform(*PAUSE_S))
        with rig.publisher.held():
            sent = rig.publisher.sent + runs.adrift
            until(lambda: counts_of(rig.gateway.status())[0] == sent, DRAINED_S)
            write(rig)
            rig.links["broker"].become("cut")
            before = {key: len(track.times_ns) for key, track in rig.publisher.record.items()}
        time.sleep(dice.uniform(*PAUSE_S))
        if writes:
            write(rig)
        time.sleep(dice.uniform(*PAUSE_S))
        if agent_dies:
            rig.gateway.end(signal.SIGKILL)
        with rig.publisher.held():
            rig.broker.process.kill()
            rig.broker.process.wait()
            held = still_held(rig.kept, rig.folder / "probe")
            lost = forget(rig, before, held)
            rig.start_broker()

    result = runs.go(number, suffer, tuple(faults))
    result.broker_lost = lost
    return result


def write(rig: Rig) -> None:
    """Let the broker write its file, and wait until it has."""
    file = rig.kept / FILE
    before_ns = file.stat().st_mtime_ns if file.exists() else 0
    rig.broker.process.send_signal(signal.SIGUSR1)
    until(lambda: file.exists() and file.stat().st_mtime_ns > before_ns, WRITTEN_S)


def still_held(kept: Path, copy: Path) -> Held:
    """What a broker started on this folder holds for the agent."""
    shutil.copytree(kept, copy)
    broker = start_broker("mosquitto", kept=copy)
    held: Held = defaultdict(set)
    ended: list[bool] = []

    def take(_client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.topic == END_TOPIC:
            ended.append(True)
            return
        key = message.topic.removeprefix("line-1/")
        held[key].add(json.loads(message.payload)["ts"] * MILLISECOND_NS)

    client = Client(CallbackAPIVersion.VERSION2, client_id=AGENT, clean_session=False)
    client.on_message = take
    try:
        client.connect("127.0.0.1", broker.port)
        client.publish(END_TOPIC, b"{}", qos=1)
        client.loop_start()
        until(lambda: ended, HELD_S)
        client.disconnect()
        client.loop_stop()
    finally:
        broker.stop()
        shutil.rmtree(copy)
    return held


def forget(rig: Rig, before: dict[str, int], held: Held) -> int:
    """Take what the broker lost since `before` back from the record; how many samples."""
    lost = 0
    for key, track in rig.publisher.record.items():
        gone = set(track.times_ns[before[key] :]) - held[key]
        track.forget(gone)
        lost += len(gone)
    return lost
