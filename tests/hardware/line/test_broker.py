import os
import signal
import subprocess
import sys

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from hardware.line import broker as broker_module
from hardware.line.broker import Kind, running_broker, start_broker
from hardware.line.control import LineError
from hardware.line.mqtt import Publisher
from tests.hardware.line.process import ROOT, mqtt_messages, wait_for


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_a_broker_delivers_what_is_published_and_acknowledges_it(kind: Kind) -> None:
    with running_broker(kind) as broker, mqtt_messages(broker.url) as messages:
        assert broker.kind == kind
        publisher = Publisher(broker.url)
        publisher.open()
        for number in range(50):
            publisher.publish("meter-01/power", number, 1_700_000_000_123_456_789)
        assert publisher.settle(10) == 0
        publisher.close()
        assert publisher.sent == {"meter-01/power": 50}
        wait_for(lambda: len(messages) == 50, "all messages delivered")
        assert messages[7] == ("meter-01/power", {"v": 7, "ts": 1_700_000_000_123})
    assert broker.process.poll() is not None
    broker.stop()


def test_a_broker_ends_when_its_parent_is_killed() -> None:
    code = (
        "import time; from hardware.line.broker import start_broker\n"
        "print(start_broker('mosquitto').process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not running(pid), "the broker's end")


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_without_any_broker_installed_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "_mosquitto", lambda: None)
    monkeypatch.setattr(broker_module, "find_spec", lambda name: None)
    with pytest.raises(LineError, match="neither mosquitto nor"):
        start_broker()


def test_messages_published_while_the_broker_is_away_are_kept_and_counted_once_sent() -> None:
    publisher = Publisher("mqtt://127.0.0.1:9")
    publisher.publish("meter-01/power", 1.5, 0)
    assert publisher.settle(0) == 1
    assert publisher.sent.total() == 0


@pytest.mark.parametrize("url", ["127.0.0.1:1883", "http://x:1", "mqtt://", "mqtt://x:99999"])
def test_a_broker_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(LineError, match="must look like mqtt://") as refused:
        Publisher(url)
    assert refused.value.code == 2


def test_a_plain_client_is_let_in_without_a_password() -> None:
    with running_broker("mosquitto") as broker:
        client = Client(CallbackAPIVersion.VERSION2)
        answers: list[bool] = []
        client.on_connect = lambda c, u, f, reason, p: answers.append(reason.is_failure)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        wait_for(lambda: bool(answers), "an answer to connect")
        client.disconnect()
        client.loop_stop()
        assert answers == [False]
