"""What was heard becomes offers; memory is bounded; Sparkplug tells nodes, devices, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from agent.config import MqttConfig
from agent.config.mqtt import PayloadConfig
from agent.sources.mqtt.browse import Heard, Offer, Proposal, heard, propose
from agent.sparkplug import DataType, Metric, Payload, Property, encode

AT_NS: Final = 1_763_859_600_123_000_000
MS: Final = AT_NS // 1_000_000
SECOND_NS: Final = 1_000_000_000
BROKER: Final = MqttConfig.model_validate(
    {
        "name": "floor",
        "url": "mqtt://broker",
        "topics": (
            {
                "topic": "old/{signal}",
                "machine": "m",
                "payload": PayloadConfig.model_validate({"number": {}}),
            },
        ),
    }
)


def listened(
    messages: Iterable[tuple[str, bytes | str, float]], *, retained: bool = False, seconds: int = 60
) -> Heard:
    """Messages, each so many seconds after the first."""
    found = Heard(10_000)
    for topic, payload, at_s in messages:
        raw = payload.encode() if isinstance(payload, str) else payload
        found.hear(topic.encode(), raw, AT_NS + int(at_s * SECOND_NS), retained)
    found.now_ns, found.seconds = AT_NS + seconds * SECOND_NS, seconds
    return found


def proposed(*args: Any, **options: Any) -> Proposal:
    return propose(listened(*args, **options), BROKER)


def one(*args: Any, **options: Any) -> Offer:
    (offer,) = proposed(*args, **options).offers
    return offer


def test_one_pattern_is_offered_with_names_rates_kind_and_hold() -> None:
    offer = one(
        (f"floor/{m}/{s}", json.dumps({"v": 20 + at % 3, "ts": MS + 1000 * at}), at)
        for at in range(61)
        for m in ("press", "saw")
        for s in ("load", "speed")
    )
    assert (offer.topic, offer.kind, offer.hold_s) == ("floor/{machine}/{signal}", "analog", 10)
    assert offer.payload == {"json": {"value": "v", "time": "ts"}}
    assert offer.names == {"machine": ("press", "saw"), "signal": ("load", "speed")}
    assert offer.intervals_s == (1.0, 1.0)
    assert (offer.clock_s, offer.is_kept, offer.why_not) == (0.0, False, "")


def test_signals_of_another_kind_get_a_table_of_their_own_before_the_pattern() -> None:
    found = proposed(
        (f"floor/{m}/{s}", str(at if s == "parts_total" else at % 2 + 0.5), at)
        for at in range(61)
        for m in ("press", "saw")
        for s in ("load", "parts_total", "speed")
    ).offers
    assert [(offer.topic, offer.signal, offer.kind) for offer in found] == [
        ("floor/{machine}/parts_total", "parts_total", "counter"),
        ("floor/{machine}/{signal}", None, "analog"),
    ]
    assert found[0].reason == "guessed from its name"


def test_a_hold_is_three_times_the_longest_pause_and_few_slow_signals_stand_apart() -> None:
    slow, fast = proposed(
        (f"floor/m1/{s}", "1.5", at)
        for at in range(61)
        for s in ("load", "speed", "slow")
        if s != "slow" or at % 30 == 0
    ).offers
    assert (slow.signal, slow.hold_s) == ("slow", 120)
    assert (fast.topic, fast.hold_s) == ("floor/m1/{signal}", 10)


def test_what_was_not_heard_twice_has_no_hold() -> None:
    offer = one([("floor/m1/serial", "SN-1", 0)], retained=True)
    assert (offer.hold_s, offer.intervals_s, offer.is_kept) == (0, None, True)


def test_a_silence_at_the_end_is_a_pause() -> None:
    assert one([("a/b/c", "1", at) for at in (0, 1, 2)], seconds=20).hold_s == 60


def test_fields_of_another_kind_are_told_of_each_machine() -> None:
    offer = one(
        (f"meters/m{m}", json.dumps({"u": 230.5, "i": at % 2 + 0.5, "energy_total": at}), at)
        for at in range(10)
        for m in (1, 2)
    )
    assert offer.payload["json"]["fields"] == ["u", "i", "energy_total"]
    assert [(known.machine, known.name, known.kind) for known in offer.known] == [
        ("m1", "energy_total", "counter"),
        ("m2", "energy_total", "counter"),
    ]


def test_payloads_that_the_table_would_not_read_are_told() -> None:
    offer = one(
        ("hall/oven/heat", "--.--" if at == 9 else str(20.5 + at % 3), at) for at in range(10)
    )
    assert offer.payload == {"number": {}}
    assert offer.remark == "1 of 10 payloads looked at cannot be read so, such as --.--"


def test_what_this_gateway_tells_the_same_broker_is_no_source_of_it() -> None:
    window = b'{"time":"2025-11-23T01:00:00.000000000Z","every":"10s","n":10,"mean":21.5,"rev":0}'
    told = [
        ("acme/plant/hall/line/press/force/window", window, 0),
        ("spBv1.0/acme/NBIRTH/gw-1", birth("gateway/made"), 0),
        ("spBv1.0/acme/DBIRTH/gw-1/press", birth("force/mean"), 0),
    ]
    found = propose(listened(told), BROKER, ["acme/gw-1"])
    assert (found.offers, found.sparkplug) == ((), None)
    assert found.left_out == {"told by Andon itself": 3}
    assert propose(listened(told), BROKER, ["acme/gw"]).sparkplug is not None


def test_a_clock_that_is_wrong_is_told() -> None:
    behind = json.dumps({"v": 1, "ts": MS - 3_600_000})
    assert one([("a/b/c", behind, 0), ("a/b/c", behind, 0)]).clock_s == -3600


def test_signals_that_would_be_others_again_are_only_a_comment() -> None:
    found = proposed(
        [("a/press/load", "1", 0), ("b/c/press/load", "2.5", 0), ("temp", b"\xff\x00", 0)]
    ).offers
    assert {offer.topic: offer.why_not for offer in found} == {
        "temp": "somebody must say more",
        "a/press/load": "",
        "b/c/press/load": "its signals would be those of a/press/load",
    }


def test_what_is_in_no_offer_is_counted_by_its_cause() -> None:
    found = proposed(
        [
            ("old/speed", "1", 0), ("cleared", "", 0), ("a/{b}", "1", 0),
            ("spBv1.0/g/NDATA/n", "x", 0), ("x/ m/speed", "1", 0),
        ]
    )  # fmt: skip
    assert found.left_out == {
        "read already": 1,
        "no payload": 1,
        "topics that no pattern can have": 1,
        "a level cannot be a name": 1,
    }
    assert found.offers == ()


def test_topics_and_payloads_are_kept_within_bounds(monkeypatch: Any) -> None:
    monkeypatch.setattr(heard, "BYTES_MAX", 1000)
    found = Heard(topics_max=3, spread_ns=SECOND_NS)
    for at in range(100):
        for number in range(5):
            found.hear(b"t%d" % number, b"x" * 20, AT_NS + at * SECOND_NS // 10, False)
    found.hear(b"\xff", b"", AT_NS, False)
    assert (len(found.topics), found.messages, found.beyond) == (3, 501, 201)
    kept = [len(topic.samples) for topic in found.topics.values()]
    assert sum(kept) <= 1000 // 20
    assert all(5 <= number <= heard.SAMPLES_MAX for number in kept)
    long = Heard(1)
    long.hear(b"t", b"x" * (heard.TOPIC_BYTES_MAX + 1), AT_NS, False)
    assert long.topics[b"t"].samples == []
    assert propose(long, BROKER).left_out == {"payloads too long to keep": 1}


def test_samples_after_the_first_are_a_while_apart() -> None:
    found = Heard(10, spread_ns=SECOND_NS)
    for at in range(100):
        found.hear(b"t", b"%d" % at, AT_NS + at * SECOND_NS // 10, False)
    apart = [sample.at_ns for sample in found.topics[b"t"].samples[heard.FIRST - 1 :]]
    assert all(b - a >= SECOND_NS for a, b in pairwise(apart))


def birth(*names: str) -> bytes:
    unit = {"engUnit": Property(DataType.STRING, "kN")}
    metrics = [Metric(name, DataType.DOUBLE, 1.5, MS, properties=unit) for name in names]
    return encode(Payload(MS, [Metric("bdSeq", DataType.INT64, 0, MS), *metrics], 0))


def test_sparkplug_nodes_and_devices_are_told_with_the_metrics_of_their_births() -> None:
    found = proposed(
        [
            ("spBv1.0/plant/NBIRTH/edge", birth("Uptime"), 0),
            ("spBv1.0/plant/DBIRTH/edge/press", birth("Force"), 0),
            ("spBv1.0/plant/DDATA/edge/press", b"", 1),
            ("spBv1.0/plant/DDATA/edge/saw", b"\xff", 1),
            ("spBv1.0/plant/NCMD/edge", b"", 1),
            ("spBv1.0/STATE/scada", '{"online": true, "timestamp": 1}', 1),
            ("spBv1.0/nonsense", "1", 1),
        ]
    )
    assert found.offers == ()
    assert found.sparkplug is not None
    assert found.sparkplug.hosts == {"scada": True}
    assert (found.sparkplug.groups, found.sparkplug.machine) == (("plant",), "{device}")
    node, press, saw = found.sparkplug.members
    assert (node.device, press.device, saw.device) == ("", "press", "saw")
    assert press.metrics is not None
    assert [(one.name, one.unit) for one in press.metrics][-1] == ("Force", "kN")
    assert (press.live, saw.metrics) == (2, None)


def test_machines_of_several_nodes_that_are_called_the_same_get_longer_names() -> None:
    topics = ["spBv1.0/g/DDATA/a/press", "spBv1.0/g/DDATA/b/press"]
    found = proposed([(topic, b"x", 0) for topic in topics]).sparkplug
    assert found is not None
    assert found.machine == "{node}-{device}"
