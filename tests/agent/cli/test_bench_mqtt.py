"""`andon bench mqtt`: it sends what it says, nothing is dropped, and it says what it measured."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cli.bench import client, mqtt
from agent.cli.bench.counts import Counts
from agent.cli.bench.mqtt import broker, messages, publisher
from agent.errors import AndonError
from agent.sources.mqtt.packets import publishes
from agent.sparkplug import varint

DEADLINE_S: Final = 20.0
NOW_MS: Final = 1_763_859_600_123


def until(is_so: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", "mqtt", *map(str, words)], env={"NO_COLOR": "1"})


def test_a_block_is_one_json_message_of_every_signal_with_the_time_that_is_asked_for() -> None:
    block = next(messages.values(1, 0, 1))
    for time_ms in (NOW_MS, NOW_MS + 999):
        found = publishes([bytes(block.at(time_ms))], False)
        assert len(found) == block.number == messages.SIGNALS
        topics = [found.topic(row).decode() for row in range(len(found))]
        assert topics == [messages.topic(number) for number in range(messages.SIGNALS)]
        documents = [json.loads(found.payload(row)) for row in range(len(found))]
        assert {document["ts"] for document in documents} == {time_ms}
        assert all(10 <= document["v"] < 100 for document in documents)
        assert set(found.qos.tolist()) == {1}
        assert set(found.payload_len.tolist()) == {len('{"v":21.5,"ts":1763859600123}')}


def test_publishers_share_the_signals_and_all_rounds_are_alike() -> None:
    found = [
        publishes([bytes(block.at(NOW_MS))], False)
        for part in range(3)
        for block in islice(messages.values(0, part, 3), 1)
    ]
    topics = [one.topic(row).decode() for one in found for row in range(len(one))]
    assert sorted(topics) == [messages.topic(number) for number in range(messages.SIGNALS)]
    first, second = (bytes(block.at(NOW_MS)) for block in islice(messages.values(0, 0, 1), 2))
    assert len(first) == len(second)
    assert first != second


def test_a_sparkplug_node_is_born_and_then_counts_on_without_end() -> None:
    whole = 1 + messages.SEQ // messages.TOGETHER
    blocks = [bytes(block.at(NOW_MS)) for block in islice(messages.metrics(), whole + 1)]
    born = publishes(blocks[:1], False)
    assert [born.topic(0), len(born)] == [b"spBv1.0/bench/NBIRTH/node", 1]
    assert born.payload(0) == messages.node_birth(NOW_MS)
    data = publishes(blocks[1:whole], False)
    payloads = [data.payload(row) for row in range(len(data))]
    assert payloads == [
        messages.node_data(seq % messages.SEQ, NOW_MS) for seq in range(1, messages.SEQ + 1)
    ]
    assert blocks[whole] == blocks[1]


def test_the_publisher_waits_for_its_client_and_keeps_close_to_it(tmp_path: Path) -> None:
    file = tmp_path / "counts"
    file.touch()
    counts = Counts(file)
    most = publisher.AHEAD_MAX["values"]
    with (
        broker.running() as (port, _),
        mqtt._publishing(mqtt.Trial("bare"), port, str(file)),
        socket.create_connection(("127.0.0.1", port), DEADLINE_S) as wire,
    ):
        wire.sendall(messages.connect("test"))
        assert wire.recv(4) == b"\x20\x02\x00\x00"
        wire.sendall(messages.subscribe("floor/#"))
        assert wire.recv(5)[0] == 0x90
        assert counts.sent == 0
        counts.begun = 1
        received, size = 0, len(_one())
        while received < (most + messages.SIGNALS) * size:
            received += len(wire.recv(1 << 20))
        wire.setblocking(False)
        with pytest.raises(BlockingIOError):  # it waits: nothing was said to be taken
            wire.recv(1)
        assert counts.sent == received // size == most + messages.SIGNALS
        counts.taken = counts.sent
        until(lambda: counts.sent > most + messages.SIGNALS)


def _one() -> bytes:
    return messages.publish(messages.topic(0), messages.payload(21.5, NOW_MS), 0)


def test_the_publisher_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    file = tmp_path / "counts"
    file.touch()
    words = ["values", 0, 1, file]
    with broker.running() as (port, _):
        command = [sys.executable, "-m", publisher.__name__, str(port), *map(str, words)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(DEADLINE_S) == 0


def test_mosquitto_ends_with_the_benchmark() -> None:
    with broker.running() as (_, process):
        assert Path(f"/proc/{process}").exists()
    assert not Path(f"/proc/{process}").exists()


def test_without_mosquitto_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    result = bench("--profile")
    assert result.exit_code == 1
    assert "error: mosquitto is not installed" in result.stderr
    assert "hint: apt-get install mosquitto" in result.stderr


def test_what_a_process_uses_of_the_processor_is_read_as_the_kernel_counts_it() -> None:
    began_s, before_s = client._cpu_s(os.getpid()), time.process_time()
    while time.process_time() - before_s < 0.2:
        pass
    spent_s = client._cpu_s(os.getpid()) - began_s
    assert spent_s == pytest.approx(0.2, abs=3 * client.TICK_S)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUNS": 1, "WARM_S": 0.05}.items():
        monkeypatch.setattr(mqtt, name, value)


@pytest.mark.usefixtures("_small")
def test_every_way_is_measured_beside_the_broker() -> None:
    result = bench("--seconds", 0.5, "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert list(figures) == list(mqtt.FIGURES)
    assert all(value > 0 for value in figures.values())
    for name in ("agent", "broker", "paho"):
        assert 0.01 < figures[f"{name}_us_per_message"] < 1000
    assert figures["ratio_broker"] == pytest.approx(
        figures["agent_us_per_message"] / figures["broker_us_per_message"]
    )
    assert figures["ratio_paho"] > 2
    assert "is the bottleneck" in result.stderr


@pytest.mark.usefixtures("_small")
def test_a_profile_shows_how_often_a_function_is_called() -> None:
    result = bench("--profile", "--seconds", 0.3)
    assert result.exit_code == 0, result.stderr
    _, titles, *rows = result.stdout.splitlines()
    assert titles.split() == ["us", "calls", "function"]
    assert len(rows) == client.PROFILED


def test_who_has_no_more_to_give_is_named() -> None:
    shares = {"agent_cpu_share": 0.2, "broker_cpu_share": 0.97, "publisher_cpu_share": 0.1}
    assert mqtt.bottleneck(shares).startswith("the broker is the bottleneck: agent 20%, broker 97%")
    assert mqtt.bottleneck(shares | {"broker_cpu_share": 0.5}).startswith("no process alone is")


@pytest.mark.usefixtures("_small")
def test_a_client_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mqtt.TRIALS, "andon", mqtt.Trial("nothing"))
    with pytest.raises(AndonError, match=r"the measured client \(nothing\) failed"):
        mqtt.profile(0.1)


def test_two_times_differ_in_every_byte_or_the_places_would_not_be_found() -> None:
    for stamp in (varint, lambda time_ms: str(time_ms).encode()):
        first, second = (np.frombuffer(stamp(ms), np.uint8) for ms in messages._TIMES_MS)
        assert len(first) == len(second) == len(stamp(NOW_MS))
        assert (first != second).all()
