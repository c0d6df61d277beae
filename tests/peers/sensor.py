"""A sensor that counts, and knows which of its messages the broker has.

Publishes 0, 1, 2, ... at QoS 1 as {"v": count, "ts": milliseconds}, each once the broker has
acknowledged the last one, through every restart of it. A message that a broker was stopped upon,
between taking it and saying so, is sent again: at each of its ends at most one.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.cloud.server import until

TOPIC: Final = "line-1/press-01/force"
ACKNOWLEDGED_S: Final = 60.0
MILLISECOND_NS: Final = 1_000_000


class Sensor(threading.Thread):
    """One sensor; it counts from `start` to `rest`, or up to `count_max`.

    times_ms : of the messages that the broker has acknowledged; each one's value is its index
    """

    def __init__(
        self, port: int, topic: str = TOPIC, *, every_ms: int = 0, count_max: int | None = None
    ) -> None:
        super().__init__(name=f"sensor of {topic}", daemon=True)
        self.times_ms: list[int] = []
        self._topic = topic
        self._every_s = every_ms / 1000
        self._count_max = count_max
        self._resting = threading.Event()
        self._acknowledged = threading.Semaphore(0)
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, f"sensor-{id(self)}", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = lambda *_: self._acknowledged.release()
        self._client.connect("127.0.0.1", port)

    def run(self) -> None:
        self._client.loop_start()
        time_ms = 0
        while len(self.times_ms) != self._count_max and not self._resting.wait(self._every_s):
            time_ms = max(time_ms + 1, time.time_ns() // MILLISECOND_NS)
            payload = json.dumps({"v": len(self.times_ms), "ts": time_ms})
            self._client.publish(self._topic, payload, qos=1)  # now, or once there is a broker
            assert self._acknowledged.acquire(timeout=ACKNOWLEDGED_S), "the broker stays away"
            self.times_ms.append(time_ms)
        self._client.disconnect()
        self._client.loop_stop()

    def has_sent(self, count: int) -> None:
        """Wait until the broker has acknowledged so many."""
        until(lambda: len(self.times_ms) >= count, 2 * ACKNOWLEDGED_S)

    def rest(self) -> int:
        """End counting, once the broker has all of it; how many there were."""
        self._resting.set()
        self.join(ACKNOWLEDGED_S)
        return len(self.times_ms)

    async def ends(self) -> int:
        """The same, while the event loop goes on."""
        return await asyncio.to_thread(self.rest)


@contextmanager
def counting(port: int, topic: str = TOPIC, *, every_ms: int = 20) -> Iterator[Sensor]:
    """A sensor that counts for as long as it is needed."""
    sensor = Sensor(port, topic, every_ms=every_ms)
    sensor.start()
    try:
        yield sensor
    finally:
        sensor.rest()
