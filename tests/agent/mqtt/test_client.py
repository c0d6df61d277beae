"""A client says when it ends and why, whatever ended it: over sockets that behave badly."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import MqttConfig
from agent.errors import ConfigError
from agent.mqtt import Client, End, connect, new_client, of_end
from agent.mqtt import client as client_module

CONNACK = bytes((0x20, 2, 0, 0))
PINGREQ = bytes((0xC0, 0))
ENDS_S = 5.0


def table(url: str, **options: Any) -> MqttConfig:
    topic = {"topic": "a/{machine}/{signal}", "payload": {"number": {}}}
    return MqttConfig.model_validate(
        {"name": "floor", "url": url, "connect_timeout_s": 2.0, "topics": (topic,), **options}
    )


class Listener:
    """A socket that answers CONNECT, and what else it is told to."""

    def __init__(self, answer: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self.received = b""
        self.connection: socket.socket | None = None
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()
        if self.connection is not None:
            self.connection.close()

    def _serve(self) -> None:
        try:
            self.connection, _ = self._socket.accept()
            while data := self.connection.recv(4096):
                first, self.received = not self.received, self.received + data
                if first:
                    self.connection.sendall(self._answer)
        except OSError:
            pass
        finally:
            self.ended.set()


@contextmanager
def listening(answer: bytes = CONNACK) -> Iterator[Listener]:
    listener = Listener(answer)
    yield listener
    listener.close()


@contextmanager
def client_of(config: MqttConfig) -> Iterator[tuple[Client, queue.Queue[End]]]:
    ends: queue.Queue[End] = queue.Queue()
    client = new_client(Client, config, "andon-test", "3.1.1", clean_start=True)
    client.on_end = ends.put
    connect(client, config, "3.1.1", clean_start=True)
    yield client, ends
    client.disconnect()


def told(config: MqttConfig, end: End, *, opened: bool = False) -> str:
    answer = of_end(config, end, opened=opened)
    return f"{answer.sentence} ({answer.hint})"


def test_a_broker_that_falls_silent_is_asked_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "PROBE_S", 0.1)
    monkeypatch.setattr(client_module, "ANSWER_S", 0.2)
    with listening() as broker:
        config = table(f"mqtt://127.0.0.1:{broker.port}")
        with client_of(config) as (_, ends):
            end = ends.get(timeout=ENDS_S)
        assert PINGREQ in broker.received
        assert end.silent
        assert "says nothing any more" in told(config, end, opened=True)


def test_a_client_that_reads_nothing_on_purpose_does_not_blame_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "PROBE_S", 0.1)
    monkeypatch.setattr(client_module, "ANSWER_S", 0.1)
    with listening() as broker, client_of(table(f"mqtt://127.0.0.1:{broker.port}")) as (one, ends):
        one.paused = True
        with pytest.raises(queue.Empty):
            ends.get(timeout=2.5)  # two rounds of paho's loop, and much longer than both limits
        one.paused = False
        assert ends.get(timeout=ENDS_S).silent


def test_the_socket_of_a_thread_that_died_is_closed() -> None:
    def mistake(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with listening() as broker, client_of(table(f"mqtt://127.0.0.1:{broker.port}")) as (one, ends):
        one.on_connect = mistake
        ends.get(timeout=ENDS_S)
        assert broker.ended.wait(ENDS_S)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        config = table(f"mqtt://127.0.0.1:{closed.getsockname()[1]}")
    with client_of(config) as (_, ends):
        end = ends.get(timeout=ENDS_S)
    assert isinstance(end.error, ConnectionRefusedError)
    assert "is the broker running" in told(config, end)


def test_a_thread_that_dies_of_a_mistake_says_so() -> None:
    def mistake(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with listening() as broker:
        config = table(f"mqtt://127.0.0.1:{broker.port}")
        with client_of(config) as (client, ends):
            client.on_connect = mistake
            end = ends.get(timeout=ENDS_S)
    assert "a mistake" in told(config, end, opened=True)


def test_a_broker_that_hangs_up_is_noticed_at_once() -> None:
    with listening() as broker:
        config = table(f"mqtt://127.0.0.1:{broker.port}")
        with client_of(config) as (client, ends):
            deadline_s = time.monotonic() + ENDS_S
            while not client.is_connected() and time.monotonic() < deadline_s:
                time.sleep(0.01)
            assert broker.connection is not None
            broker.connection.shutdown(socket.SHUT_RDWR)
            assert "is lost" in told(config, ends.get(timeout=ENDS_S), opened=True)


def test_a_port_that_speaks_no_tls_is_told() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as broker:
        config = table(f"mqtts://127.0.0.1:{broker.port}")
        with client_of(config) as (_, ends):
            assert "does not speak TLS" in told(config, ends.get(timeout=ENDS_S))


def test_a_port_that_speaks_no_websockets_is_told() -> None:
    with listening(b"HTTP/1.1 404 Not Found\r\n\r\n") as broker:
        config = table(f"ws://127.0.0.1:{broker.port}/mqtt")
        with client_of(config) as (_, ends):
            assert "does not speak WebSockets" in told(config, ends.get(timeout=ENDS_S))


@pytest.mark.parametrize("option", ["ca", "certificate"])
def test_a_file_that_is_no_certificate_is_named(option: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    files = {"ca": wrong} if option == "ca" else {"certificate": wrong, "key": wrong}
    with pytest.raises(ConfigError, match=rf"{option} .*wrong\.pem cannot be used"):
        new_client(
            Client, table("mqtts://127.0.0.1:8883", **files), "andon-test", "5", clean_start=True
        )
