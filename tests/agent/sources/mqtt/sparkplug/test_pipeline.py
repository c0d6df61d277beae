"""A node's life through a whole pipeline: what its windows and states say when it is gone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from agent.sparkplug import BDSEQ, DataType, Metric, Payload, Topic, encode
from tests.agent.sinks.listener import Listener, listening
from tests.peers.gateway import MqttGateway
from tests.peers.mosquitto import running

D = DataType


class Press:
    """A node with one device, of which a value and a state are reported when they change."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._seq = 0

    def born(self, bdseq: int, force: float) -> None:
        self._seq = 0
        self._say("NBIRTH", "", Metric(BDSEQ, D.INT64, bdseq, _now_ms()))
        self._say(
            "DBIRTH", "press",
            Metric("force", D.DOUBLE, force, _now_ms(), 1),
            Metric("state", D.STRING, "Execute", _now_ms(), 2),
        )  # fmt: skip

    def dies(self, bdseq: int) -> None:
        topic = str(Topic("plant", "NDEATH", "edge"))
        self._listener.say(topic, encode(Payload(1, [Metric(BDSEQ, D.INT64, bdseq, 1)])))

    def _say(self, kind: str, device: str, *metrics: Metric) -> None:
        topic = str(Topic("plant", kind, "edge", device))
        self._listener.say(topic, encode(Payload(_now_ms(), metrics, self._seq)))
        self._seq += 1


def _now_ms() -> int:
    return time.time_ns() // 10**6


def test_a_value_holds_until_the_nodes_death_and_again_from_its_next_birth(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        state = {"machine": "press", "name": "state", "kind": "text", "state": True}
        with running(tmp_path) as broker, listening(broker.port, "none") as listener:
            gateway = MqttGateway(
                broker.url(), topics=(), sparkplug={"every_s": 1}, signals=(state,)
            )  # fmt: skip
            press = Press(listener)

            def windows(holding: bytes) -> list[bytes]:
                return gateway.outbox.lines(b"window", holding)

            async with gateway.running():
                await gateway.until(lambda: "connected" in gateway.state, "a connection")
                press.born(1, 5.0)
                await gateway.until(lambda: len(windows(b"n=0i,good=1,mean=5")) >= 2, "it holds")
                press.dies(1)
                await gateway.until(lambda: len(windows(b"n=0i,good=0,rev")) >= 2, "it is gone")
                press.born(2, 7.0)
                await gateway.until(lambda: len(windows(b"n=0i,good=1,mean=7")) >= 2, "it is back")
            means = [line.partition(b"mean=")[2].partition(b",")[0] for line in windows(b"")]
            assert list(dict.fromkeys(means)) == [b"5", b"", b"7"]
            assert means == sorted(means, key=[b"5", b"", b"7"].index)
            assert len(gateway.outbox.lines(b"state", b"duration_s=")) == 2

    asyncio.run(run())
