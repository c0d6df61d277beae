"""`andon browse mqtt://...`: TOML that `andon check` accepts, JSON, names, Ctrl-C, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from agent.cli import app
from agent.config import load
from agent.errors import ExitCode
from agent.sparkplug import DataType, Metric, Payload, encode
from tests.peers import mosquitto

DEADLINE_S: Final = 30.0
GATEWAY: Final = """\
[gateway]
name = "gw-1"
path = { enterprise = "acme", site = "guiyang", area = "filling", line = "line-1" }

"""
PAUSE_S: Final = 0.02


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mosquitto.Broker]:
    with mosquitto.running(tmp_path_factory.mktemp("broker"), tls=True) as running:
        yield running


def messages(number: int) -> Iterator[tuple[str, str | bytes]]:
    """What a floor sends at a time."""
    now_ms = time.time_ns() // 1_000_000
    for machine in ("press", "saw"):
        for name in ("load", "speed"):
            document = {"v": 20.5 + number % 3, "ts": now_ms}
            yield f"floor/{machine}/{name}", json.dumps(document)
        yield f"floor/{machine}/parts_total", json.dumps({"v": number, "ts": now_ms})
        yield f"floor/{machine}/state", "Execute"
    yield "meters/m1", json.dumps({"u": {"l1": 230.5, "l2": 231}, "time": now_ms / 1000})
    yield "logger/lines", f"{now_ms},20.5,OK\n{now_ms},20.6,OK"
    yield "vibration/pump/raw", bytes(range(256))
    yield (
        "spBv1.0/plant/NBIRTH/edge",
        encode(Payload(now_ms, [Metric("Uptime", DataType.INT64, 5, now_ms)], 0)),
    )
    yield "spBv1.0/plant/DDATA/edge/oven", b"\x18\x01"


@contextmanager
def floor(port: int) -> Iterator[list[str]]:
    """A floor that sends while this lasts; the topics that others published."""
    heard: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: heard.append(message.topic)
    client.connect("127.0.0.1", port)
    client.subscribe("spBv1.0/+/NCMD/#")
    client.publish("floor/press/serial", "SN-4711", retain=True)
    over = threading.Event()

    def send() -> None:
        number = 0
        while not over.wait(PAUSE_S):
            for topic, payload in messages(number):
                client.publish(topic, payload)
            number += 1

    client.loop_start()
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield heard
    finally:
        over.set()
        sender.join()
        client.disconnect()
        client.loop_stop()


def run(*arguments: object, exit_code: int = ExitCode.OK) -> Any:
    result = CliRunner().invoke(app, ["browse", *map(str, arguments)])
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


def test_what_it_prints_is_a_configuration_that_check_accepts_and_nothing_is_published(
    broker: mosquitto.Broker, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    with floor(broker.ports["mqtt"]) as commands:
        result = run(broker.url("mqtt"), "--seconds", 2)
    file.write_text(GATEWAY + result.stdout, encoding="utf-8")
    config = load(file, {})
    (table,) = config.mqtt
    assert table.url == broker.url("mqtt")
    topics = {topic.topic: topic for topic in table.topics}
    assert list(topics) == [
        "logger/lines", "meters/m1", "floor/{machine}/parts_total", "floor/{machine}/serial",
        "floor/{machine}/state", "floor/{machine}/{signal}",
    ]  # fmt: skip
    assert topics["floor/{machine}/parts_total"].kind == "counter"
    assert topics["floor/{machine}/state"].state
    assert topics["floor/{machine}/serial"].hold_s == 3600
    meter = topics["meters/m1"].payload.json_
    assert meter is not None
    assert (meter.fields, meter.time, meter.time_unit) == (("u.l1", "u.l2"), "time", "s")
    assert table.sparkplug is not None
    assert table.sparkplug.groups == ("plant",)
    check = CliRunner().invoke(app, ["check", str(file)])
    assert check.exit_code == ExitCode.OK, check.output
    for comment in (
        '# topic = "vibration/pump/raw"', "# plant/edge/oven: no birth was heard",
        "# plant/edge: 1 metric: Uptime", "kept by the broker, not sent meanwhile",
    ):  # fmt: skip
        assert comment in result.stdout
    assert "1 pattern only as comments" in result.stderr
    assert "keep this as /etc/andon/conf.d/127.0.0.1.toml, then: andon check" in result.stderr
    assert commands == []


def test_json_holds_the_same_and_topics_can_be_chosen(broker: mosquitto.Broker) -> None:
    with floor(broker.ports["mqtt"]):
        result = run(broker.url("mqtt"), "--seconds", 1, "--json", "--topics", "meters/#")
    found = json.loads(result.stdout)
    assert [offer["topic"] for offer in found["offers"]] == ["meters/m1"]
    assert found["topics"] == 1
    assert found["messages"] > 1
    assert found["sparkplug"] is None


def test_a_broker_of_the_configuration_is_listened_to_by_its_name_for_what_is_new(
    broker: mosquitto.Broker, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        f'{GATEWAY}[[mqtt]]\nname = "hall"\nurl = "{broker.url("mqtt")}"\n[[mqtt.topics]]\n'
        'topic = "floor/{machine}/{signal}"\npayload = { json = { value = "v", time = "ts" } }\n'
    )
    with floor(broker.ports["mqtt"]):
        result = run("hall", "--seconds", 1, "--config", file)
    assert "belong below the [[mqtt]] table named hall" in result.stdout
    assert "[[mqtt]]\n" not in result.stdout
    assert "left out: read already 9" in result.stderr
    file.write_text(file.read_text() + result.stdout)
    assert len(load(file, {}).mqtt[0].topics) == 3
    unknown = run("press", "--config", file, exit_code=ExitCode.CONFIG)
    assert "it has hall; as an address it would be opc.tcp://press:4840 or mqtt://press" in (
        unknown.stderr
    )


def test_over_tls_with_a_certificate_the_printed_table_names_the_files(
    broker: mosquitto.Broker, tmp_path: Path
) -> None:
    ours = broker.authority.issue("browser")
    options = (
        "--ca", broker.authority.ca, "--certificate", ours.certificate, "--key", ours.key,
    )  # fmt: skip
    with floor(broker.ports["mqtt"]):
        result = run(broker.url("mqtts"), "--seconds", 1, *options)
    (table,) = tomllib.loads(result.stdout)["mqtt"]
    assert table["ca"] == str(broker.authority.ca)
    assert table["key"] == str(ours.key)


def test_what_a_broker_refuses_is_told_with_the_options_that_may_help(
    broker: mosquitto.Broker,
) -> None:
    refused = run(broker.url("mqtts"), "--seconds", 0.5, exit_code=ExitCode.REFUSED)
    assert "the certificate of mqtts://" in refused.stderr
    assert "(here: --user, --ca, --certificate, --key)" in refused.stderr


def test_where_nothing_comes_all_is_comment_and_the_way_out_is_told(
    broker: mosquitto.Broker,
) -> None:
    result = run(broker.url("mqtt"), "--seconds", 0.5, "--topics", "nobody/#")
    assert tomllib.loads(result.stdout) == {}
    assert "nothing came: may this user read?" in result.stderr
    assert "andon check" not in result.stderr


def test_ctrl_c_prints_what_there_is(broker: mosquitto.Broker) -> None:
    """With stderr on a terminal, so that the bar is drawn too."""
    command = [sys.executable, "-m", "agent", "browse", broker.url("mqtt"), "--seconds", "600"]
    master, slave = pty.openpty()
    with (
        floor(broker.ports["mqtt"]),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as listening,
    ):
        os.close(slave)
        said = b""
        deadline_s = time.monotonic() + DEADLINE_S
        while b" topics" not in said or b" 0 topics" in said[-200:]:
            assert time.monotonic() < deadline_s
            said += os.read(master, 1 << 16)
        listening.send_signal(signal.SIGINT)
        assert listening.stdout is not None
        printed = listening.stdout.read()
        assert listening.wait(DEADLINE_S) == ExitCode.OK
    os.close(master)
    assert b"floor/{machine}" in printed


def test_a_broker_that_is_not_there_ends_with_exit_code_3() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"mqtt://127.0.0.1:{free.getsockname()[1]}"
        result = run(url, exit_code=ExitCode.UNREACHABLE)
    assert f"error: {url} does not answer" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mqtt://127.0.0.1", "--ca", "ca.pem"], "it must come with mqtts://"),
        (["mqtt://127.0.0.1", "--from", "i=85"], "it is of OPC UA servers"),
        (["mqtt://127.0.0.1", "--topics", "a/#/b"], "+ is a whole level, # the last one"),
        (["mqtt://127.0.0.1", "--topics", "a+/b"], "+ is a whole level, # the last one"),
        (["opc.tcp://127.0.0.1:4840", "--topics", "a"], "it is of MQTT brokers"),
        (["mqtts://127.0.0.1", "--key", "k.pem"], "certificate and key must be given together"),
    ],
)
def test_what_cannot_be_meant_ends_with_exit_code_2(arguments: list[str], said: str) -> None:
    output = run(*arguments, exit_code=ExitCode.CONFIG).output
    assert said in " ".join(output.replace("│", " ").split())
