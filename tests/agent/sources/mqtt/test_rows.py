"""What several readers found in one batch stays theirs: texts, order and times."""

from __future__ import annotations

import numpy as np

from agent.batch import Batch
from agent.config import MqttConfig
from agent.sources.mqtt.decode import Decoder
from agent.sparkplug import DataType, Metric
from tests.agent.sources.mqtt.sparkplug.plant import Plant, Speaker
from tests.agent.sources.mqtt.wire import frame, messages

CONFIG = {
    "name": "floor", "url": "mqtt://127.0.0.1", "sparkplug": {},
    "topics": ({"topic": "{machine}/{signal}", "payload": {"text": {}}, "kind": "text"},),
}  # fmt: skip


def said(text: str, plant: Plant) -> Metric:
    return Metric("recipe", DataType.STRING, text, plant.now_ms)


def test_texts_that_time_brings_are_not_those_that_messages_bring() -> None:
    plant = Plant()
    decoder = Decoder(
        MqttConfig.model_validate(CONFIG), lambda *_: (99, "text"), plant.quarantine, plant.host
    )

    def read(*sent: tuple[str, bytes]) -> Batch:
        packets = messages(*(frame(topic.encode(), payload) for topic, payload in sent))
        return decoder.batch(packets, np.ones(len(packets), np.bool_), plant.now_ns())

    def texts(batch: Batch) -> list[str]:
        return [batch.texts[int(value)] for value in batch.value]

    held, other = Speaker(plant), Speaker(plant, name="other")
    read(held.nbirth(said("born", plant)), other.nbirth(said("born too", plant)))
    held.ndata(said("lost", plant))
    assert texts(read(held.ndata(said("held", plant)))) == []
    plant.now_ms += 2_000
    batch = read(other.ndata(said("at once", plant)), ("press/recipe", b"plain"))
    assert texts(batch) == ["at once", "plain", "held"]
