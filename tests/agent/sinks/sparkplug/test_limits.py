"""Slow ways, and brokers that take small packets only: births are large and cannot be split."""

from __future__ import annotations

from pathlib import Path

import pytest

import agent.mqtt.client
from agent.errors import SinkRefused
from agent.sinks import broker as broker_module
from agent.sinks import sparkplug
from agent.sinks.wire import SEND_BUFFER_BYTES
from tests.agent.sinks.lines import NOW_NS, S_NS, live, sample, window
from tests.agent.sinks.listener import listening
from tests.agent.sinks.sparkplug.reader import read
from tests.agent.sinks.sparkplug.recorder import PUBLISH, recording
from tests.agent.sinks.sparkplug.test_sink import COMMANDS, REBIRTH_WANTED, kinds, make
from tests.peers.mosquitto import running


def test_births_that_take_longer_than_an_answer_may_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_s = 4.0  # well beyond what a busy machine may pause for
    monkeypatch.setattr(broker_module, "ANSWER_S", answer_s)
    monkeypatch.setattr(agent.mqtt.client, "PROBE_S", answer_s / 2)
    monkeypatch.setattr(agent.mqtt.client, "ANSWER_S", answer_s / 2)
    bytes_per_s = SEND_BUFFER_BYTES
    with recording(bytes_per_s=bytes_per_s) as recorder:
        sink = make(recorder.url, tmp_path)
        sink.send(live(*(window(NOW_NS, 1.5, f"signal-{i}") for i in range(2000))))
        sink.close()
        recorder.until_the_end()
    birth = max(len(body) for _, body in recorder.of(PUBLISH))
    assert birth > 1.5 * answer_s * bytes_per_s


def test_births_asked_for_are_not_made_while_the_last_ones_are_on_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "REBIRTH_QUIET_S", 0.0)
    with recording(bytes_per_s=4 * SEND_BUFFER_BYTES) as recorder:
        sink = make(recorder.url, tmp_path)
        sink.send(live(*(window(NOW_NS, 1.5, f"signal-{i}") for i in range(500))))
        connection = sink._connection
        assert connection is not None
        for _ in range(50):
            sink._hear(connection, COMMANDS, REBIRTH_WANTED)
        sink.send(live(window(NOW_NS + 10 * S_NS, 2.5)))
        sink.close()
        recorder.until_the_end()
    births = [body for _, body in recorder.of(PUBLISH) if b"NBIRTH" in body[:40]]
    assert len(births) <= 4


def test_a_birth_that_the_broker_does_not_take_is_refused_before_anything_is_said(
    tmp_path: Path,
) -> None:
    with (
        running(tmp_path / "broker", max_packet_size=20_000) as broker,
        listening(broker.port, "spBv1.0/#") as listener,
    ):
        sink = make(broker.url(), tmp_path, version="5")
        large = live(*(window(NOW_NS, 1.5, f"signal-{i}") for i in range(100)))
        for _ in range(2):
            with pytest.raises(SinkRefused, match=r"press-01 .* 20,000 bytes") as caught:
                sink.send(large)
        assert "windows = false" in caught.value.hint
        assert listener.heard == []
        sink.close()
        small = make(broker.url(), tmp_path, version="5", windows=False)
        texts = [sample(NOW_NS + i * 10**6, "x" * 3000) for i in range(40)]
        small.send(live(*texts))
        small.close()
        assert listener.wait_until(lambda: "NDEATH" in kinds(listener))
        told = [message for message in listener.heard if "DDATA" in message.topic]
        assert sum(len(read(one.topic, bytes(one.payload)).metrics) for one in told) == 39


def test_a_metric_of_data_says_its_type_where_readers_need_it(tmp_path: Path) -> None:
    with recording() as recorder:
        sink = make(recorder.url, tmp_path, datatypes=True)
        sink.send(live(sample(NOW_NS, 1.5), sample(NOW_NS + S_NS, 2.5)))
        sink.send(live(sample(NOW_NS + 2 * S_NS, "text"), sample(NOW_NS + 3 * S_NS, "more")))
        sink.close()
        recorder.until_the_end()
    told = []
    for _, body in recorder.of(PUBLISH):
        size = int.from_bytes(body[:2])
        topic, payload = body[2 : 2 + size].decode(), body[3 + size :]
        if "DDATA" in topic:
            told += [(one.value, one.datatype) for one in read(topic, payload).metrics]
    assert told == [(2.5, 10), ("more", 12)]
