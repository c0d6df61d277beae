"""The unified namespace at a real broker: what every sink promises, and what is retained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from agent.config.sinks import UnsSinkConfig
from agent.errors import SinkRefused, SinkRejected
from agent.sinks.uns import UnsSink
from tests.agent.sinks.lines import NOW_NS, S_NS, live, sample, window
from tests.agent.sinks.listener import Listener, listening
from tests.conformance.sink import SinkConformance, wait_for
from tests.peers.mosquitto import Broker, running


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def make(broker: Broker, now_ns: int = NOW_NS, **options: Any) -> UnsSink:
    config = UnsSinkConfig(name="floor", url=broker.url(), **options)
    return UnsSink(config, "andon-gw-1-to-floor", now_ns=lambda: now_ns)


class FarBroker:
    """A broker with somebody behind it who hears everything."""

    holds_anything = False

    def __init__(self, folder: Path) -> None:
        self.broker = Broker(folder)
        self._earlier: list[paho.MQTTMessage] = []
        self.come_back()

    def sink(self) -> UnsSink:
        return make(self.broker)

    def values(self) -> set[float]:
        heard = self._earlier + self._listener.heard
        return {json.loads(one.payload)["value"] for one in heard}

    def leave(self) -> None:
        self._earlier += self._listener.heard
        self._listener.close()
        self.broker.kill()

    def come_back(self) -> None:
        self.broker.start()
        self._listener = Listener(self.broker.port)

    def close(self) -> None:
        self._listener.close()
        self.broker.stop()


class TestUnsSink(SinkConformance):
    @pytest.fixture
    def far_side(self, tmp_path: Path) -> Iterator[FarBroker]:
        far_side = FarBroker(tmp_path)
        yield far_side
        far_side.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_are_qos_1_and_who_comes_later_finds_the_newest(
    tmp_path: Path, version: str
) -> None:
    with running(tmp_path) as broker:
        sink = make(broker, version=version, prefix="uns")
        with listening(broker.port) as first:
            sink.send(live(*(sample(NOW_NS + i * S_NS, i) for i in range(5))))
            sink.send(live(sample(NOW_NS - S_NS, 9.5), made_ns=NOW_NS - 6 * S_NS))
            assert first.wait_until(lambda: len(first.heard) == 6)
        assert {message.qos for message in first.heard} == {1}
        with listening(broker.port) as later:
            assert later.wait_until(lambda: len(later.heard) == 1)
        (kept,) = later.heard
        assert kept.topic == "uns/acme/guiyang/assembly/line 1/press-01/speed"
        assert json.loads(kept.payload)["value"] == 4
        sink.close()


def test_nothing_is_retained_where_that_is_not_wanted(tmp_path: Path) -> None:
    with running(tmp_path) as broker:
        sink = make(broker, retain=False)
        sink.send(live(sample(NOW_NS, 1.5)))
        sink.close()
        with listening(broker.port, "#") as later:
            later.say("after", b"")
            assert later.wait_until(lambda: len(later.heard) == 1)


def test_a_broker_that_keeps_nothing_refuses_where_that_is_wanted(tmp_path: Path) -> None:
    with running(tmp_path, retain_available=False) as broker:
        with pytest.raises(SinkRefused, match="no retained") as caught:
            make(broker).send(live(sample(NOW_NS, 1.5)))
        assert "retain = false" in caught.value.hint
        sink = make(broker, retain=False)
        assert sink.send(live(sample(NOW_NS, 1.5))) == 0
        sink.close()


def test_lines_that_cannot_be_read_are_named_and_the_others_arrive(broker: Broker) -> None:
    with listening(broker.port) as listener:
        sink = make(broker)
        with pytest.raises(SinkRejected) as caught:
            sink.send(live(b"nonsense", sample(NOW_NS, 1.5), b"sample,machine=m value=1 1"))
        assert set(caught.value.lines) == {0, 2}
        wait_for(lambda: len(listener.heard) == 1)
        sink.close()


def test_a_broker_that_does_not_allow_a_topic_refuses_and_everything_is_kept(
    tmp_path: Path,
) -> None:
    with running(tmp_path, acl="topic write acme/#\n") as broker:
        sink = make(broker, prefix="uns", version="5")
        with pytest.raises(SinkRefused, match="Not authorized"):
            sink.send(live(window(NOW_NS, 1.5)))
        sink.close()
        allowed = make(broker)
        assert allowed.send(live(window(NOW_NS, 1.5))) == 0
        allowed.close()


def test_thousands_of_lines_go_in_one_packet_although_the_broker_allows_few_on_their_way(
    broker: Broker,
) -> None:
    with listening(broker.port) as listener:
        for version in ("5", "3.1.1"):
            sink = make(broker, version=version)
            sink.send(live(*(sample(NOW_NS + i, i) for i in range(3000))))
            sink.close()
        assert listener.wait_until(lambda: len(listener.heard) == 6000)
    values = [json.loads(one.payload)["value"] for one in listener.heard]
    assert values == [*range(3000)] * 2
