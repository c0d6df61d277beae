"""Who listens at a broker: a client that keeps what it hears, in the order it came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

DEADLINE_S = 10.0


class Listener:
    """Hears these topics, and can say something itself."""

    def __init__(self, port: int, *filters: str) -> None:
        self.heard: list[paho.MQTTMessage] = []
        self._filters = [(name, 2) for name in filters or ("#",)]
        self._ready = False
        self._news = threading.Condition()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert self.wait_until(lambda: self._ready)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> bool:
        """Wait for something that is heard; whether it is so."""
        with self._news:
            return self._news.wait_for(condition, timeout_s)

    def say(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(DEADLINE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._filters)

    def _on_subscribe(self, *_: Any) -> None:
        with self._news:
            self._ready = True
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.heard.append(message)
            self._news.notify_all()


@contextmanager
def listening(port: int, *filters: str) -> Iterator[Listener]:
    """A listener for as long as it is needed."""
    listener = Listener(port, *filters)
    try:
        yield listener
    finally:
        listener.close()
