"""The edge node at a real broker: every sink's promises, sessions, commands, primary hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.sinks import SparkplugSinkConfig
from agent.errors import SinkRejected, SinkUnreachable
from agent.sinks import sparkplug
from agent.sinks.sparkplug import SparkplugSink
from agent.sparkplug import REBIRTH, DataType, Metric, Payload, encode
from tests.agent.sinks.lines import NOW_NS, PATH, S_NS, gateway, live, sample, window
from tests.agent.sinks.listener import FarBroker, Listener, listening
from tests.agent.sinks.sparkplug.reader import Host, Read
from tests.conformance.sink import SinkConformance, wait_for
from tests.peers.mosquitto import Broker, running

COMMANDS = "spBv1.0/acme/NCMD/gw-1"
REBIRTH_WANTED = encode(Payload(1, [Metric(REBIRTH, DataType.BOOLEAN, True, 1)]))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with listening(broker.port, "spBv1.0/#") as listener:
        yield listener


@pytest.fixture(params=["5", "3.1.1"])
def sink(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SparkplugSink]:
    made = make(broker.url(), tmp_path, version=request.param)
    yield made
    made.close()


def make(url: str, state: Path, now_ns: int = NOW_NS, **options: Any) -> SparkplugSink:
    config = SparkplugSinkConfig(name="scada", url=url, **options)
    return SparkplugSink(
        config, "andon-gw-1-to-scada", state=state, path=PATH, gateway="gw-1",
        now_ns=lambda: now_ns,
    )  # fmt: skip


def kinds(listener: Listener) -> list[str]:
    return [message.topic.split("/")[2] for message in listener.heard]


def read(listener: Listener) -> list[Read]:
    return Host().hear(listener.heard).messages


class FarHost(FarBroker):
    """A broker with a host behind it that hears everything from the beginning."""

    def sink(self) -> SparkplugSink:
        return make(self.url, self.folder / "state")

    def values(self) -> set[float]:
        told = Host().hear(self.heard).values
        return {
            one.value for (_, name), ones in told.items() for one in ones if name == "speed/value"
        }


class TestSparkplugSink(SinkConformance):
    @pytest.fixture
    def far_side(self, tmp_path: Path) -> Iterator[FarHost]:
        far_side = FarHost(tmp_path)
        with far_side.running():
            yield far_side


def test_a_session_begins_with_births_and_ends_with_a_death(
    sink: SparkplugSink, listener: Listener
) -> None:
    sink.send(live(window(NOW_NS, 21.5), gateway(NOW_NS, 5)))
    sink.close()
    assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
    messages = read(listener)
    assert [one.kind for one in messages] == ["NBIRTH", "DBIRTH", *["NDEATH"] * (len(messages) - 2)]
    death = next(one for one in messages if one.kind == "NDEATH")
    assert (death.qos, death.retain, death.seq) == (1, False, None)
    assert [one.name for one in death.metrics] == ["bdSeq"]
    assert death["bdSeq"].value == messages[0]["bdSeq"].value
    assert (death["bdSeq"].datatype, messages[0]["bdSeq"].datatype) == (4, 4)


def test_each_session_has_the_next_number_also_after_a_restart(
    broker: Broker, tmp_path: Path, listener: Listener
) -> None:
    for number in range(3):
        sink = make(broker.url(), tmp_path)
        sink.send(live(window(NOW_NS + number * S_NS, 1.5)))
        sink.close()
    assert listener.wait_until(lambda: kinds(listener).count("NDEATH") >= 3)
    births = [one for one in read(listener) if one.kind == "NBIRTH"]
    assert [birth["bdSeq"].value for birth in births] == [0, 1, 2]


def test_a_broken_connection_leaves_the_will_and_the_next_session_tells_everything(
    broker: Broker, tmp_path: Path, listener: Listener
) -> None:
    sink = make(broker.url(), tmp_path)
    sink.send(live(window(NOW_NS, 1.5)))
    broken = sink._connection
    assert broken is not None
    broken._client.abandon()
    wait_for(lambda: not broken.living)
    assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
    sink.send(live(window(NOW_NS + 10 * S_NS, 2.5)))
    sink.close()
    assert listener.wait_until(lambda: kinds(listener).count("NDEATH") >= 2)
    host = Host().hear(listener.heard)
    births = [one for one in host.messages if one.kind == "NBIRTH"]
    assert [birth["bdSeq"].value for birth in births] == [0, 1]
    told = [one.value for one in host.values["press-01", "ram_force/mean"]]
    assert told == [1.5, 1.5, 2.5]


def test_births_come_again_when_a_host_asks_for_them(
    sink: SparkplugSink, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "REBIRTH_QUIET_S", 0.0)
    sink.send(live(window(NOW_NS, 1.5), window(NOW_NS, 1.5, machine="press-02")))
    listener.say(COMMANDS, REBIRTH_WANTED, qos=0)
    assert listener.wait_until(lambda: kinds(listener).count("NBIRTH") == 2)
    sink.send(live(window(NOW_NS + 10 * S_NS, 2.5)))
    assert listener.wait_until(lambda: "DDATA" in kinds(listener))
    messages = [one for one in read(listener) if one.kind != "NDEATH"]
    assert [one.kind for one in messages] == (
        ["NBIRTH", "DBIRTH", "DBIRTH", "NBIRTH", "DBIRTH", "DBIRTH", "DDATA"]
    )
    assert messages[3]["bdSeq"].value == messages[0]["bdSeq"].value


def test_births_asked_for_all_the_time_come_once_in_a_while(
    broker: Broker, tmp_path: Path, listener: Listener
) -> None:
    sink = make(broker.url(), tmp_path)
    sink.send(live(window(NOW_NS, 1.5)))
    for _ in range(50):
        listener.say(COMMANDS, REBIRTH_WANTED)
    assert listener.wait_until(lambda: kinds(listener).count("NBIRTH") >= 2)
    assert kinds(listener).count("NBIRTH") == 2
    sink.close()


def test_other_commands_change_nothing(sink: SparkplugSink, listener: Listener) -> None:
    sink.send(live(window(NOW_NS, 1.5)))
    reboot = Metric("Node Control/Reboot", DataType.BOOLEAN, True, 1)
    for payload in (b"", b"\xff\xff", encode(Payload(1, [reboot]))):
        listener.say(COMMANDS, payload)
    sink.send(live(window(NOW_NS + 10 * S_NS, 2.5)))
    assert listener.wait_until(lambda: "DDATA" in kinds(listener))
    assert kinds(listener).count("NBIRTH") == 1


def test_births_asked_for_while_packets_are_sent_leave_no_hole_in_seq_and_no_unknown_alias(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "REBIRTH_QUIET_S", 0.05)
    sink = make(broker.url(), tmp_path)
    with listening(broker.port, "spBv1.0/#") as listener:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                listener.say(COMMANDS, REBIRTH_WANTED)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for number in range(60):
                names = [f"s{i}" for i in range(number + 1)]
                time_ns = NOW_NS + number * S_NS
                sink.send(live(*(window(time_ns, number, name) for name in names)))
        finally:
            over.set()
            asking.join()
        sink.close()
        assert listener.wait_until(lambda: kinds(listener)[-1] == "NDEATH")
        host = Host().hear(listener.heard)  # asserts it
    assert [one.kind for one in host.messages].count("NBIRTH") > 2
    for number in range(60):
        told = {one.value for one in host.values["press-01", f"s{number}/mean"]}
        assert told == set(range(number, 60))


def test_lines_that_cannot_be_read_are_named_and_the_others_arrive(
    sink: SparkplugSink, listener: Listener
) -> None:
    with pytest.raises(SinkRejected) as caught:
        sink.send(live(b"nonsense", sample(NOW_NS, 1.5), b"sample,machine=m value=1 1"))
    assert set(caught.value.lines) == {0, 2}
    assert "without a signal" in caught.value.lines[2]
    assert listener.wait_until(lambda: "DBIRTH" in kinds(listener))


def test_what_has_waited_longer_than_live_lines_do_is_historical(
    broker: Broker, tmp_path: Path, listener: Listener
) -> None:
    sink = make(broker.url(), tmp_path)
    sink.send(live(sample(NOW_NS, 1.5), made_ns=NOW_NS - 5 * S_NS))
    sink.send(live(sample(NOW_NS - S_NS, 0.5), made_ns=NOW_NS - 6 * S_NS))
    sink.send(live(sample(NOW_NS + S_NS, 2.5), made_ns=NOW_NS))
    sink.close()
    assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
    told = Host().hear(listener.heard).values["press-01", "speed/value"]
    assert [(one.value, one.historical) for one in told] == [
        (1.5, False), (0.5, True), (2.5, False)
    ]  # fmt: skip


class Scada:
    """A primary host, as far as a node sees it."""

    def __init__(self, listener: Listener, topic: str = "spBv1.0/STATE/main") -> None:
        self._listener, self._topic = listener, topic

    def say(self, online: bool, timestamp: int) -> None:
        payload = json.dumps({"online": online, "timestamp": timestamp}).encode()
        self._listener.say(self._topic, payload, retain=True)

    def word(self, word: bytes) -> None:
        self._listener.say(self._topic, word, retain=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that keeps no STATE is not waited for."""
    monkeypatch.setattr(sparkplug, "HOST_S", 0.2)


@pytest.mark.usefixtures("quick")
def test_nothing_is_told_before_the_primary_host_is_online_and_births_at_once_when_it_is(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "broker") as broker, listening(broker.port, "spBv1.0/#") as listener:
        sink = make(broker.url(), tmp_path, primary_host="main")
        packet = live(window(NOW_NS, 1.5))
        with pytest.raises(SinkUnreachable, match="primary host main is not online") as caught:
            sink.send(packet)
        assert "spBv1.0/STATE/main" in caught.value.hint
        scada = Scada(listener)
        scada.say(False, 1000)
        with pytest.raises(SinkUnreachable):
            sink.send(packet)
        assert {"NBIRTH", "DBIRTH"}.isdisjoint(kinds(listener))
        scada.say(True, 2000)
        assert listener.wait_until(lambda: "NBIRTH" in kinds(listener))
        assert sink.send(packet) == 0
        sink.close()
        assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
        told = [kind for kind in kinds(listener) if kind in ("NBIRTH", "DBIRTH", "DDATA")]
        assert told == ["NBIRTH", "DBIRTH"]


@pytest.mark.usefixtures("quick")
def test_a_primary_host_that_goes_ends_the_session_and_the_next_one_waits_for_it(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "broker") as broker, listening(broker.port, "spBv1.0/#") as listener:
        scada = Scada(listener)
        scada.say(True, 1000)
        sink = make(broker.url(), tmp_path, primary_host="main", version="3.1.1")
        sink.send(live(window(NOW_NS, 1.5)))
        scada.say(False, 999)  # of before: it says nothing
        sink.send(live(window(NOW_NS + 10 * S_NS, 2.5)))
        assert "NDEATH" not in kinds(listener)
        scada.say(False, 1000)
        assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
        with pytest.raises(SinkUnreachable, match="primary host main"):
            sink.send(live(window(NOW_NS + 20 * S_NS, 3.5)))
        scada.say(True, 2000)
        assert listener.wait_until(lambda: kinds(listener).count("NBIRTH") == 2)
        sink.send(live(window(NOW_NS + 20 * S_NS, 3.5)))
        sink.close()
        assert listener.wait_until(lambda: kinds(listener).count("NDEATH") == 2)
        births = [one for one in read(listener) if one.kind == "NBIRTH"]
        assert [birth["bdSeq"].value for birth in births] == [0, 1]


@pytest.mark.usefixtures("quick")
def test_a_primary_host_of_before_3_0_says_a_word(tmp_path: Path) -> None:
    with running(tmp_path / "broker") as broker, listening(broker.port, "#") as listener:
        scada = Scada(listener, "STATE/main")
        scada.word(b"ONLINE")
        sink = make(broker.url(), tmp_path, primary_host="main")
        sink.send(live(window(NOW_NS, 1.5)))
        scada.word(b"OFFLINE")
        assert listener.wait_until(lambda: any("NDEATH" in one.topic for one in listener.heard))
        sink.close()


def test_group_and_node_are_the_configurations_or_the_gateways(
    broker: Broker, tmp_path: Path, listener: Listener
) -> None:
    sink = make(broker.url(), tmp_path, group="plant 1", node="edge 1")
    sink.send(live(window(NOW_NS, 1.5)))
    sink.close()
    assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
    assert {message.topic.split("/")[1] for message in listener.heard} == {"plant 1"}
    assert {message.topic.split("/")[3] for message in listener.heard} == {"edge 1"}
