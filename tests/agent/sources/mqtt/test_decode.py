"""From JSON payloads to samples: forms, paths, times, topics, and what is no sample."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from agent.batch import BAD, GOOD, Batch
from agent.config import MqttConfig, TopicConfig
from agent.errors import SignalsFull
from agent.signals import Kind
from agent.sources.mqtt import packets
from agent.sources.mqtt.decode import FEW, Decoder
from agent.sources.quarantine import SAY_TOPICS_MAX, Quarantine
from tests.agent.sources.mqtt.wire import frame, messages

ANY: dict[str, Any] = {"topic": "{machine}/{signal}"}
NOW_NS = 1_800_000_000_123_456_789


class Names:
    """Gives ids in order; a signal called `unit` is text, one called `bad name` none at all."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(
        self, rule: TopicConfig, names: Mapping[str, str], signal: str, unit: str
    ) -> tuple[int, Kind]:
        machine = rule.machine or names["machine"]
        if signal == "bad name":
            raise ValueError("it must not hold spaces")
        if signal == "one_too_many":
            raise SignalsFull("it is one too many")
        if (machine, signal) not in self.seen:
            self.seen.append((machine, signal))
        kind: Kind = "text" if signal == "unit" else rule.kind
        return self.seen.index((machine, signal)), kind


class Reading(Decoder):
    """A decoder with its quarantine."""

    def __init__(self, config: MqttConfig, names: Names) -> None:
        self.quarantine = Quarantine(config.name)
        super().__init__(config, names, self.quarantine)

    @property
    def rejected(self) -> dict[str, int]:
        return dict(self.quarantine.rejected)


def decoder_of(*topics: dict[str, Any], names: Names | None = None, **layout: Any) -> Reading:
    payload = {"json": {"value": "v", **layout}}
    config = MqttConfig.model_validate(
        {
            "name": "floor",
            "url": "mqtt://127.0.0.1:1883",
            "topics": tuple({"payload": payload, **topic} for topic in topics or (ANY,)),
        }
    )
    return Reading(config, names or Names())


def decode(decoder: Decoder, *payloads: bytes, topic: str = "press-01/force") -> Batch:
    return read(decoder, *((topic.encode(), payload) for payload in payloads))


def read(decoder: Decoder, *said: tuple[bytes, bytes]) -> Batch:
    packets = messages(*(frame(topic, payload) for topic, payload in said))
    return decoder.batch(packets, np.ones(len(packets), np.bool_), NOW_NS)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"v": 1}', 1.0), (b'{"v": -2.5e3}', -2500.0), (b'{"v": true}', 1.0),
        (b'{"v": false}', 0.0), (b' {"x": [1], "v": 0} ', 0.0),
        (b'{"v": 18446744073709551615}', float(2**64 - 1)),
    ],
)  # fmt: skip
def test_numbers_and_booleans_are_values(payload: bytes, value: float) -> None:
    batch = decode(decoder_of(), payload)
    assert batch.value.tolist() == [value]
    assert batch.status.tolist() == [GOOD]
    assert batch.time_ns.tolist() == [NOW_NS]


def test_null_is_a_missing_value_with_a_bad_status_as_a_number_and_as_text() -> None:
    for topic in ("press-01/force", "press-01/unit"):
        batch = decode(decoder_of(), b'{"v": null}', topic=topic)
        assert math.isnan(batch.value[0])
        assert batch.status.tolist() == [BAD]
        assert batch.texts == ()


def test_text_is_what_the_payload_says_and_numbers_are_read_as_text() -> None:
    decoder = decoder_of()
    batch = decode(decoder, b'{"v": "\\u5355 7"}', b'{"v": 7}', b'{"v": true}',
                   topic="press-01/unit")  # fmt: skip
    assert batch.texts == ("\u5355 7", "7", "true")
    assert batch.value.tolist() == [0.0, 1.0, 2.0]
    long = b'{"v": "' + b"x" * 10_001 + b'"}'
    assert len(decode(decoder, b'{"v": {"a": 1}}', b'{"v": ["a"]}', long, topic="p/unit")) == 0
    assert decoder.rejected == {"unreadable": 3}


def test_values_and_times_may_lie_deep_inside() -> None:
    decoder = decoder_of(value="data.now.v", time="meta.ts")
    good = b'{"data": {"now": {"v": 3}}, "meta": {"ts": 1700000000000}}'
    batch = decode(decoder, good, b'{"data": {"now": 3}}', b'{"data": {}, "meta": {}}')
    assert (batch.value.tolist(), batch.time_ns.tolist()) == ([3.0], [1_700_000_000 * 10**9])
    assert decoder.rejected == {"unreadable": 2}


@pytest.mark.parametrize(
    ("unit", "moment", "time_ns"),
    [
        ("s", "1700000000", 1_700_000_000 * 10**9),
        ("s", "1700000000.5", 1_700_000_000_500_000_000),
        ("ms", "1700000000123", 1_700_000_000_123_000_000),
        ("us", "1700000000123456", 1_700_000_000_123_456_000),
        ("ns", "1700000000123456789", 1_700_000_000_123_456_789),
        ("iso", '"2023-11-14T22:13:20Z"', 1_700_000_000 * 10**9),
        ("iso", '"2023-11-15T06:13:20.123456+08:00"', 1_700_000_000_123_456_000),
        ("iso", '"2023-11-14T22:13:20"', 1_700_000_000 * 10**9),
    ],
)
def test_time_is_read_in_its_unit_to_the_last_digit(unit: str, moment: str, time_ns: int) -> None:
    decoder = decoder_of(time="ts", time_unit=unit)
    batch = decode(decoder, b'{"v": 1, "ts": %s}' % moment.encode())
    assert batch.time_ns.tolist() == [time_ns]


@pytest.mark.parametrize(
    ("unit", "moment"),
    [
        ("ms", "null"), ("ms", "true"), ("ms", '"1700000000123"'), ("ms", "0"), ("ms", "-5"),
        ("ms", "1e300"), ("s", "9223372037"), ("ns", "9" * 400), ("iso", "1700000000"),
        ("iso", '"9999-12-31T23:59:59Z"'), ("iso", '"0001-01-01T00:00:00+14:00"'), ("iso", '"now"'),
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_unreadable_and_stops_nothing(unit: str, moment: str) -> None:
    decoder = decoder_of(time="ts", time_unit=unit)
    assert len(decode(decoder, b'{"v": 1, "ts": %s}' % moment.encode())) == 0
    assert decoder.rejected == {"unreadable": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"\xff", b"1", b"[]", b'"v"', b"{}", b'{"V": 1}', b'{"v": "1"}', b'{"v": [1]}',
        b'{"v": NaN}', b'{"v": Infinity}', b'{"v": -Infinity}', b'{"v": 1e999}',
        b'{"v": 1%s}' % (b"0" * 400), b'{"v": 1%s}' % (b"0" * 5_000),
        b"[" * 100_000, b'{"v":' * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_number_is_unreadable_and_the_rest_of_the_batch_is_read(payload: bytes) -> None:
    decoder = decoder_of()
    assert decode(decoder, b'{"v": 1}', payload, b'{"v": 2}').value.tolist() == [1.0, 2.0]
    assert decoder.rejected == {"unreadable": 1}


def test_a_topic_that_is_not_utf8_brings_nothing_and_stops_nothing() -> None:
    decoder = decoder_of()
    batch = read(decoder, (b"\xff", b'{"v": 1}'), (b"a/b", b'{"v": 2}'))
    assert batch.value.tolist() == [2.0]
    assert decoder.rejected == {"no_signal": 1}


def test_topics_give_machine_and_signal_by_level_or_by_configuration() -> None:
    names = Names()
    decoder = decoder_of(
        {"topic": "plant/+/{machine}/{signal}"},
        {"topic": "{signal}/of/press", "machine": "press-01"},
        {"topic": "meter", "machine": "meter-01", "signal": "power"},
        names=names,
    )
    for topic in ("plant/x/oven-01/heat", "speed/of/press", "meter", "plant/oven-01/heat", "other"):
        decode(decoder, b'{"v": 1}', topic=topic)
    assert names.seen == [("oven-01", "heat"), ("press-01", "speed"), ("meter-01", "power")]
    assert decoder.rejected == {"no_signal": 2}


def test_names_that_cannot_be_and_signals_too_many_are_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    decoder = decoder_of()
    for _ in range(3):
        for topic in ("press-01/bad name", "press-01/one_too_many"):
            decode(decoder, b'{"v": 1}', topic=topic)
    assert decoder.rejected == {"no_signal": 6}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "press-01/bad name" in said[0]
    assert "it must not hold spaces" in said[0]


def test_a_flood_of_broken_topics_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    decoder = decoder_of()
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            decode(decoder, b"{", topic=f"press-01/s{number}")
    assert decoder.rejected == {"unreadable": 1_000}
    assert len(caplog.records) == SAY_TOPICS_MAX


@pytest.mark.parametrize("payload", [b"\x18\xad", b"[[[", b'{"w": 1}', b'{"v"}'])
def test_a_topic_becomes_a_signal_with_its_first_readable_value_not_before(payload: bytes) -> None:
    names = Names()
    decoder = decoder_of(names=names)
    decode(decoder, payload)
    assert names.seen == []
    assert decoder.rejected == {"unreadable": 1}
    decode(decoder, b'{"v": 1.5}')
    assert names.seen == [("press-01", "force")]


def test_depth_is_refused_before_it_runs_the_interpreter_out_of_stack() -> None:
    decoder = decoder_of()
    flat = b'{"v": 2, "w": [' + b",".join([b"[1]"] * 1000) + b"]}"
    deep = b'{"v": 2, "w": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert decode(decoder, flat, deep).value.tolist() == [2.0]
    assert decoder.rejected == {"unreadable": 1}


def test_a_layout_is_learned_from_its_first_message_and_read_by_kernels_from_then_on() -> None:
    decoder = decoder_of(time="ts")
    payloads = [b'{"v": %d.25, "ts": 1800000000%03d}' % (n, n) for n in range(100)]
    first, rest = decode(decoder, *payloads[:1]), decode(decoder, *payloads[1:])
    assert decoder.general == 1
    assert [*first.value, *rest.value] == [n + 0.25 for n in range(100)]
    assert [*first.time_ns, *rest.time_ns] == [1_800_000_000_000_000_000 + n * 10**6
                                               for n in range(100)]  # fmt: skip


def test_what_kernels_read_and_what_they_leave_stays_in_the_order_it_came() -> None:
    decoder = decoder_of()
    decode(decoder, b'{"v":0}')
    odd = b'{"w":{"x":%d},"v":%d.0}'
    batch = decode(
        decoder,
        *((odd % (n, n)) if n % 3 == 0 else b'{"v":%d}' % n for n in range(1, 50)),
    )
    assert batch.value.tolist() == [float(n) for n in range(1, 50)]
    assert decoder.general == 1 + 16  # a few are read before it is seen what was learned


def test_of_a_new_layout_only_a_few_are_read_one_by_one() -> None:
    decoder = decoder_of()
    payloads = [b'{"v":%d}' % number for number in range(1_000)]
    assert decode(decoder, *payloads).value.tolist() == list(range(1_000))
    assert decoder.general == FEW


def test_texts_of_kernels_and_of_the_general_decoder_are_told_apart() -> None:
    decoder = decoder_of()
    topic = "press-01/unit"
    decode(decoder, b'{"v":"first"}', topic=topic)
    payloads = (b'{"v":"A"}', b'{"v":"\\u0042"}', b'{"v":"A"}', b'{"v":7}', b'{"v":"\xc3\xa9"}')
    batch = decode(decoder, *payloads, topic=topic)
    assert [batch.texts[int(value)] for value in batch.value] == ["A", "B", "A", "7", "\u00e9"]


def test_each_field_of_a_payload_is_a_signal() -> None:
    names = Names()
    payload = {"json": {"fields": "*", "time": "t"}}
    decoder = decoder_of({"topic": "cell-{machine}/#", "payload": payload}, names=names)
    said = b'{"t":1800000000000,"motor":{"current":%d,"on":true},"temp":21.5}'
    for number in (3, 4):
        batch = decode(decoder, said % number, topic="cell-oven/a/b")
        assert batch.value.tolist() == [float(number), 1.0, 21.5]
    assert names.seen == [("oven", "motor.current"), ("oven", "motor.on"), ("oven", "temp")]
    assert decoder.general == 1


def test_a_waveform_stands_at_the_row_of_its_message() -> None:
    blocks = {"topic": "{machine}/{signal}/wave", "kind": "waveform",
              "payload": {"binary": {"dtype": "int16", "rate_hz": 1000.0}}}  # fmt: skip
    decoder = decoder_of(ANY, blocks)
    decode(decoder, b'{"v":1}')
    flat = b"press-01/force", b'{"v":2}'
    block = np.array([3, 4], np.int16).tobytes()
    batch = read(decoder, flat, flat, (b"press-01/noise/wave", block), flat)
    (wave,) = batch.waveforms
    assert wave.row == 2
    assert wave.values.tolist() == [3.0, 4.0]
    assert batch.value.tolist() == [2.0, 2.0, math.sqrt(12.5), 2.0]
    assert batch.time_ns[2] == NOW_NS - 1_000_000


def test_more_topics_than_there_is_room_for_are_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packets, "TOPICS_MAX", 3)
    decoder = decoder_of()
    for _ in range(3):
        said = ((b"press-01/s%d" % number, b'{"v":%d}' % number) for number in range(10))
        batch = read(decoder, *said)
        assert batch.value.tolist() == batch.signal.tolist() == list(range(10))


def test_a_message_that_was_taken_before_is_not_read() -> None:
    decoder = decoder_of()
    said = messages(*(frame(b"press-01/force", b'{"v":%d}' % n) for n in range(4)))
    batch = decoder.batch(said, np.array([True, False, True, False]), NOW_NS)
    assert batch.value.tolist() == [0.0, 2.0]


def test_integers_that_lose_digits_are_counted() -> None:
    decoder = decoder_of()
    decode(decoder, *[b'{"v":%d}' % (2**53 + 1)] * 3, b'{"v":%d}' % 2**53)
    assert decoder.inexact == 3


def test_every_element_that_can_be_read_is_taken_and_the_others_are_counted() -> None:
    decoder = decoder_of(samples="s")
    batch = decode(decoder, b'{"s":[{"v":1},{"v":"x"},{"w":2},{"v":3}]}')
    assert batch.value.tolist() == [1.0, 3.0]
    assert decoder.rejected == {"unreadable": 2}
