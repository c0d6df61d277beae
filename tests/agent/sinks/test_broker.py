"""A sink's connection: its frames are MQTT's, every wait ends, each end has its error."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.sinks import UnsSinkConfig
from agent.errors import ConfigError, SinkRefused, SinkUnreachable
from agent.mqtt import Version
from agent.sinks import broker as broker_module
from agent.sinks.broker import Connection, UnknownVersion, Versions
from agent.sinks.wire import Message, level, packet
from tests.agent.sinks.listener import listening
from tests.peers.mosquitto import Broker, running

CONNACK_3 = b"\x20\x02\x00\x00"
UNKNOWN_VERSION = b"\x20\x02\x00\x01"
UNKNOWN_VERSION_5 = b"\x20\x03\x00\x84\x00"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def table(url: str, **options: Any) -> UnsSinkConfig:
    return UnsSinkConfig(name="floor", url=url, **options)


def connection(url: str, version: Version = "5", **options: Any) -> Connection:
    return Connection(table(url, **options), "andon-test", version)


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Somebody who answers one connection after another, each with these bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                client, _ = server.accept()
                with client:
                    client.settimeout(5)
                    client.recv(1000)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 20_000, 3_000_000])
def test_what_is_published_is_heard_whatever_its_size(
    broker: Broker, version: Version, size: int
) -> None:
    topic = f"size/{version}/{size}"
    with listening(broker.port, "size/#") as listener:
        for qos in (0, 1):
            opened = connection(broker.url(), version)
            opened.open()
            message = Message(topic.encode(), b"x" * size)
            if qos:
                assert opened.deliver([message]) == {}
            else:
                opened.write([opened.frame(message)])
                opened.confirm()
            opened.close()
        assert listener.wait_until(lambda: len(listener.heard) == 2)
    assert [(one.topic, len(one.payload), one.qos) for one in listener.heard] == [
        (topic, size, 0), (topic, size, 1)
    ]  # fmt: skip


def test_once_it_has_confirmed_the_broker_has_passed_on_all_that_was_sent_before(
    broker: Broker,
) -> None:
    with listening(broker.port, "before/#") as listener:
        opened = connection(broker.url())
        opened.open()
        for number in range(20):
            messages = [Message(b"before/%d" % number, b"%d" % i) for i in range(100)]
            opened.write(opened.frame(message) for message in messages)
            opened.confirm()
            # What comes to the broker now, comes after it.
            end = f"before/{number}/end"
            listener.say(end, b"", qos=0)
            assert listener.wait_until(lambda: listener.heard[-1].topic == end)  # noqa: B023
            assert len(listener.heard) == (number + 1) * 101
        opened.close()


@pytest.mark.parametrize("unknown", [UNKNOWN_VERSION, UNKNOWN_VERSION_5])
def test_a_broker_that_does_not_know_mqtt_5_is_asked_for_3_1_1_and_remembered(
    unknown: bytes,
) -> None:
    with answering(unknown, CONNACK_3, CONNACK_3) as url:
        versions = Versions(table(url))
        asked: list[Version] = []

        def connect(version: Version) -> Connection:
            asked.append(version)
            opened = connection(url, version)
            opened.open()
            return opened

        for _ in range(2):
            versions.connected(connect).close()
        assert asked == ["5", "3.1.1", "3.1.1"]


def test_a_broker_that_knows_neither_is_asked_for_5_again() -> None:
    versions = Versions(table("mqtt://127.0.0.1:1"))

    def connect(version: Version) -> Connection:
        raise UnknownVersion("no") if version == "5" else SinkUnreachable("nor that")

    with pytest.raises(SinkUnreachable):
        versions.connected(connect)
    assert versions.version == "5"


def test_a_version_that_was_asked_for_is_not_changed() -> None:
    with answering(UNKNOWN_VERSION) as url:
        opened = Connection(table(url, version="5"), "andon-test", "5")
        with pytest.raises(SinkRefused, match="version") as caught:
            opened.open()
    assert not isinstance(caught.value, UnknownVersion)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_wrong_password_is_refused_with_a_way_out(tmp_path: Path, version: Version) -> None:
    with running(tmp_path, users={"andon": "right"}) as broker:
        with pytest.raises(SinkRefused, match=r"floor: mqtt://.* refuses") as caught:
            connection(broker.url(), version, user="andon", password="wrong").open()
        assert "password" in caught.value.hint
        opened = connection(broker.url(), version, user="andon", password="right")
        opened.open()
        opened.close()


def test_a_subscription_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, acl="topic write #\n") as broker:
        opened = connection(broker.url())
        try:
            opened.open(["commands"])
        except SinkRefused:
            return
        opened.close()  # mosquitto allows it and delivers nothing


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SinkUnreachable, match="refused"):
            connection(f"mqtt://127.0.0.1:{unused.getsockname()[1]}").open()
    with pytest.raises(SinkUnreachable, match="name"):
        connection("mqtt://nowhere.invalid:1883").open()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x01", b"\xff"])
def test_somebody_who_is_no_broker_is_unreachable(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises((SinkUnreachable, SinkRefused)):
        connection(url, connect_timeout_s=2).open()


def test_somebody_who_accepts_and_says_nothing_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start_s = time.monotonic()
        with pytest.raises(SinkUnreachable, match="no answer"):
            connection(f"mqtt://127.0.0.1:{server.getsockname()[1]}", connect_timeout_s=0.5).open()
        assert time.monotonic() - start_s < 5


WAYS: dict[str, Callable[[Connection], object]] = {
    "confirm": lambda opened: opened.confirm(),
    "deliver": lambda opened: opened.deliver([Message(b"a", b"b")] * 1000),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_broker_that_freezes_is_given_up_and_one_that_dies_is_told_at_once(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.5)
    monkeypatch.setattr(broker_module, "CLOSE_S", 0.5)
    with running(tmp_path) as broker:
        opened = connection(broker.url())
        opened.open()
        broker.pause()
        with pytest.raises(SinkUnreachable, match="no answer"):
            WAYS[way](opened)
        assert not opened.living
        opened.close()
        broker.go_on()
        opened = connection(broker.url())
        opened.open()
        monkeypatch.setattr(broker_module, "ANSWER_S", 60.0)
        broker.pause()
        threading.Timer(0.2, broker.kill).start()
        with pytest.raises(SinkUnreachable, match="lost"):
            WAYS[way](opened)
        opened.close()


def test_a_certificate_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="floor: ca"):
        connection("mqtts://127.0.0.1:8883", ca=tmp_path / "none.pem")


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_packets_are_found_however_they_were_cut(body: bytes, cuts: list[int]) -> None:
    length = bytearray()
    left = len(body)
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    one = bytes([0x30, *length, left]) + body
    whole = bytearray(one * 3)
    at, found = 0, []
    while (bounds := packet(whole, at)) is not None:
        found.append(bytes(whole[bounds[0] : bounds[1]]))
        at = bounds[1]
    assert found == [body] * 3
    for end in range(len(one)):
        assert packet(whole[:end], 0) is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_are_levels_and_stay_different(one: str, other: str) -> None:
    try:
        made = level(one)
    except UnicodeEncodeError:
        return  # half a surrogate pair: no line holds one
    assert not set(made) & set("+#/\0")
    if one != other:
        assert made != level(other)
