"""The unified namespace at a real broker: what every sink promises, and what is retained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.sinks import UnsSinkConfig
from agent.errors import SinkRefused, SinkRejected
from agent.sinks.uns import UnsSink
from tests.agent.sinks.lines import NOW_NS, S_NS, about, live, sample, state, window
from tests.agent.sinks.listener import FarBroker, listening
from tests.conformance.sink import SinkConformance, wait_for
from tests.peers.mosquitto import Broker, running


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def make(url: str, now_ns: int = NOW_NS, **options: Any) -> UnsSink:
    config = UnsSinkConfig(name="floor", url=url, **options)
    return UnsSink(config, "andon-gw-1-to-floor", now_ns=lambda: now_ns)


class FarNamespace(FarBroker):
    """A broker with somebody behind it who hears everything."""

    def sink(self) -> UnsSink:
        return make(self.url)

    def values(self) -> set[float]:
        return {json.loads(one.payload)["value"] for one in self.heard}


class TestUnsSink(SinkConformance):
    @pytest.fixture
    def far_side(self, tmp_path: Path) -> Iterator[FarNamespace]:
        far_side = FarNamespace(tmp_path)
        with far_side.running():
            yield far_side


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_are_qos_1_and_who_comes_later_finds_the_newest(
    tmp_path: Path, version: str
) -> None:
    with running(tmp_path) as broker:
        sink = make(broker.url(), version=version, prefix="uns")
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


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_waited_does_not_take_the_place_of_what_an_earlier_life_has_told(
    tmp_path: Path, version: str
) -> None:
    with running(tmp_path) as broker:
        before = make(broker.url(), version=version)
        before.send(live(state(NOW_NS, "Execute")))
        before.close()
        sink = make(broker.url(), NOW_NS + 100 * S_NS, version=version)
        with listening(broker.port, "none") as other:
            ahead = json.dumps({"time": "2199-01-01T00:00:00.000000000Z"}).encode()
            other.say("acme/guiyang/assembly/line 1/press-01/ram_force/meta", ahead, retain=True)
        for age_s in (300, 200):
            sink.send(live(state(NOW_NS - age_s * S_NS, "Held"), about(), made_ns=NOW_NS))
        with listening(broker.port, "#") as later:
            assert later.wait_until(lambda: len(later.heard) == 2)
            kept = {one.topic.rsplit("/", 1)[1]: json.loads(one.payload) for one in later.heard}
        assert kept["state"]["state"] == "Execute"
        assert kept["meta"]["unit"] == "kN"
        sink.send(live(state(NOW_NS + S_NS, "Idle"), made_ns=NOW_NS))
        sink.close()
        with listening(broker.port, "#") as later:
            assert later.wait_until(lambda: len(later.heard) == 2)
            said = [json.loads(one.payload) for one in later.heard if one.topic.endswith("/state")]
        assert [one["state"] for one in said] == ["Idle"]


def test_a_message_that_the_broker_does_not_take_is_named_and_the_others_arrive(
    tmp_path: Path,
) -> None:
    with running(tmp_path, max_packet_size=2000) as broker, listening(broker.port) as listener:
        sink = make(broker.url(), version="5")
        with pytest.raises(SinkRejected) as caught:
            sink.send(live(sample(NOW_NS, 1.5), sample(NOW_NS, "x" * 3000), sample(NOW_NS, 2.5)))
        assert set(caught.value.lines) == {1}
        assert "2,000" in caught.value.lines[1]
        assert listener.wait_until(lambda: len(listener.heard) == 2)
        sink.close()


def test_nothing_is_retained_where_that_is_not_wanted(tmp_path: Path) -> None:
    with running(tmp_path) as broker:
        sink = make(broker.url(), retain=False)
        sink.send(live(sample(NOW_NS, 1.5)))
        sink.close()
        with listening(broker.port, "#") as later:
            later.say("after", b"")
            assert later.wait_until(lambda: len(later.heard) == 1)


def test_a_broker_that_keeps_nothing_refuses_where_that_is_wanted(tmp_path: Path) -> None:
    with running(tmp_path, retain_available=False) as broker:
        with pytest.raises(SinkRefused, match="no retained") as caught:
            make(broker.url()).send(live(sample(NOW_NS, 1.5)))
        assert "retain = false" in caught.value.hint
        sink = make(broker.url(), retain=False)
        assert sink.send(live(sample(NOW_NS, 1.5))) == 0
        sink.close()


def test_lines_that_cannot_be_read_are_named_and_the_others_arrive(broker: Broker) -> None:
    with listening(broker.port, "wrong/#") as listener:
        sink = make(broker.url(), prefix="wrong")
        with pytest.raises(SinkRejected) as caught:
            sink.send(live(b"nonsense", sample(NOW_NS, 1.5), b"sample,machine=m value=1 1"))
        assert set(caught.value.lines) == {0, 2}
        wait_for(lambda: len(listener.heard) == 1)
        sink.close()


def test_a_broker_that_does_not_allow_a_topic_refuses_and_everything_is_kept(
    tmp_path: Path,
) -> None:
    with running(tmp_path, acl="topic write acme/#\n") as broker:
        sink = make(broker.url(), prefix="uns", version="5")
        with pytest.raises(SinkRefused, match="Not authorized"):
            sink.send(live(window(NOW_NS, 1.5)))
        sink.close()
        allowed = make(broker.url())
        assert allowed.send(live(window(NOW_NS, 1.5))) == 0
        allowed.close()


def test_thousands_of_lines_go_in_one_packet_although_the_broker_allows_few_on_their_way(
    broker: Broker,
) -> None:
    with listening(broker.port, "many/#") as listener:
        for version in ("5", "3.1.1"):
            sink = make(broker.url(), version=version, prefix="many")
            sink.send(live(*(sample(NOW_NS + i, i) for i in range(3000))))
            sink.close()
        assert listener.wait_until(lambda: len(listener.heard) == 6000)
    values = [json.loads(one.payload)["value"] for one in listener.heard]
    assert values == [*range(3000)] * 2
