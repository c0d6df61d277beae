"""Who listens at a broker, in the order it came; and the way to it, through a failing network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers.mosquitto import running
from tests.peers.proxy import Proxy, State

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


class FarBroker:
    """A broker as a far side: reached by a way that can be cut, with a listener behind it."""

    holds_anything = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the broker is, by that way."""
        return f"mqtt://127.0.0.1:{self._proxy.port}"

    @property
    def heard(self) -> list[paho.MQTTMessage]:
        """What has arrived."""
        return list(self._listener.heard)

    def leave(self) -> None:
        """Break the way off."""
        self._become("reset")

    def come_back(self) -> None:
        """Mend it."""
        self._become("whole")

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as it is needed."""
        with running(self.folder / "broker") as broker, listening(broker.port) as self._listener:
            self._proxy = Proxy(broker.port)
            self._thread.start()
            asyncio.run_coroutine_threadsafe(self._proxy.open(), self._loop).result(DEADLINE_S)
            try:
                yield
            finally:
                closing = asyncio.run_coroutine_threadsafe(self._proxy.close(), self._loop)
                closing.result(DEADLINE_S)
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join(DEADLINE_S)
                self._loop.close()

    def _become(self, state: State) -> None:
        done = threading.Event()

        def become() -> None:
            self._proxy.become(state)
            done.set()

        self._loop.call_soon_threadsafe(become)
        assert done.wait(DEADLINE_S)
