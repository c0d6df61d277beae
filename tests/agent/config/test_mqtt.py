"""Topics, payloads and Sparkplug: what their tables may say, and what signals come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.config import (
    Config,
    SparkplugHostConfig,
    TopicConfig,
    relearned,
    sparkplug_signal,
    topic_signal,
)
from agent.config.fields import check_name
from agent.signals import HOLD_FOREVER, SECOND_NS, Signal
from agent.signals import Path as LinePath
from tests.agent.config.support import GATEWAY, LINE, config_of

MQTT = """\
[[mqtt]]
name = "floor"
url = "mqtt://10.0.0.9"
"""
TOPIC = """\
[[mqtt.topics]]
topic = "floor/{machine}/+/{signal}"
payload = { json = { value = "data.v", unit = "u" } }
hold_s = 2.5
"""
TOPICS = f"""\
{TOPIC}
[[mqtt.topics]]
topic = "{{site}}/{{line}}/cell-{{machine}}/#"
payload = {{ json = {{ fields = ["motor.current", "temp"] }} }}
unit = "A"
[[mqtt.signals]]
machine = "conveyor-01"
name = "speed"
unit = "m/s"
limits = {{ low = 0.2, high = 0.6 }}
every_s = 1
[[mqtt.signals]]
machine = "conveyor-01"
name = "mode"
kind = "text"
state = true
unit = ""
"""
HOST = """\
[mqtt.sparkplug]
machine = "{node}-{device}"
every_s = 2
metrics = ["Motor/*"]
[[mqtt.signals]]
machine = "n-d"
name = "Motor/Current"
kind = "counter"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, GATEWAY + MQTT + TOPICS, {})


@pytest.fixture
def host(tmp_path: Path) -> Config:
    return config_of(tmp_path, GATEWAY + MQTT + HOST, {})


def signal_of(config: Config, names: dict[str, str], name: str, unit: str = "") -> Signal:
    mqtt = config.mqtt[0]
    topic = mqtt.topics["line" in names]
    return topic_signal(config, mqtt, topic, names, name, unit)


def test_a_topic_brings_what_is_known_of_its_signal_before_what_it_says_itself(
    config: Config,
) -> None:
    assert signal_of(
        config, {"machine": "conveyor-01", "signal": "speed"}, "speed", "km"
    ) == Signal(
        path=LINE,
        machine="conveyor-01",
        name="speed",
        source="floor",
        unit="m/s",
        low=0.2,
        high=0.6,
        node="floor/conveyor-01/+/speed",
        every_ns=SECOND_NS,
        hold_ns=2_500_000_000,
    )
    text = signal_of(config, {"machine": "conveyor-01", "signal": "mode"}, "mode", "kN")
    assert (text.kind, text.state, text.unit) == ("text", True, "")
    new = signal_of(config, {"machine": "m", "signal": "speed"}, "speed")
    assert (new.low, new.unit, new.kind, new.every_ns) == (None, "", "analog", 10 * SECOND_NS)


def test_a_unit_that_came_with_a_payload_is_used_where_none_is_configured(config: Config) -> None:
    names = {"machine": "m", "signal": "force"}
    assert signal_of(config, names, "force", "kN").unit == "kN"
    assert signal_of(config, names, "force", "k\x1bN").unit == ""
    assert signal_of(config, names, "force", "k" * 33).unit == ""
    assert signal_of(config, {"machine": "m", "line": "l", "site": "s"}, "temp", "K").unit == "A"


def test_path_parts_that_a_topic_names_are_the_signals(config: Config) -> None:
    names = {"site": "kyiv", "line": "l-7", "machine": "3"}
    signal = signal_of(config, names, "motor.current")
    assert signal.path == LinePath("acme", "kyiv", "assembly", "l-7")
    assert signal.node == "kyiv/l-7/cell-3/#:motor.current"
    with pytest.raises(ValueError, match="must not be empty"):
        signal_of(config, {**names, "site": ""}, "temp")


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "a\x1b[31m", "\u202ex", "x" * 129])
def test_a_name_from_a_topic_that_cannot_be_printed_is_refused(config: Config, name: str) -> None:
    with pytest.raises(ValueError, match="it must"):
        signal_of(config, {"machine": name, "signal": "speed"}, "speed")
    with pytest.raises(ValueError, match="it must"):
        signal_of(config, {"machine": "conveyor-01", "signal": name}, name)


def test_the_word_for_the_whole_machine_cannot_name_a_signal(config: Config) -> None:
    with pytest.raises(ValueError, match="_machine stands for the whole machine"):
        signal_of(config, {"machine": "m", "signal": "_machine"}, "_machine")
    assert check_name("_machine") == "_machine"


MATCHES: list[tuple[str, str, dict[str, str] | None]] = [
    ("{machine}/+/{signal}", "m/x/s", {"machine": "m", "signal": "s"}),
    ("{machine}/+/{signal}", "m//s", {"machine": "m", "signal": "s"}),
    ("{machine}/+/{signal}", "m/x/s/t", None),
    ("{machine}/{signal}", "/s", None),
    ("cell-{machine}.{x}/{signal}", "", None),
    ("cell-{machine}-b/{signal}", "cell-7-b/s", {"machine": "7", "signal": "s"}),
    ("cell-{machine}-b/{signal}", "cell--b/s", None),
    ("c.ll/{machine}/{signal}/#", "cell/m/s", None),
    ("c.ll/{machine}/{signal}/#", "c.ll/m/s", {"machine": "m", "signal": "s"}),
    ("c.ll/{machine}/{signal}/#", "c.ll/m/s/a\n/b", {"machine": "m", "signal": "s"}),
    ("{machine}/{signal}/#", "m/sx", {"machine": "m", "signal": "sx"}),
]


@pytest.mark.parametrize(("pattern", "topic", "names"), MATCHES)
def test_a_topic_is_taken_apart_by_its_pattern(
    pattern: str, topic: str, names: dict[str, str] | None
) -> None:
    if "{x}" in pattern:
        with pytest.raises(ValidationError):
            topic_of({"topic": pattern})
        return
    rule = topic_of({"topic": pattern})
    assert rule.names(topic) == names
    if names is not None:
        assert rule.names(rule.address(names)) == names


def test_a_filter_has_a_plus_for_every_level_that_names_something() -> None:
    assert topic_of({"topic": "a/cell-{machine}/+/{signal}/#"}).filter == "a/+/+/+/#"


def topic_of(options: dict[str, Any], **payload: Any) -> TopicConfig:
    return TopicConfig.model_validate({"payload": payload or {"json": {"value": "v"}}, **options})


RULES: list[tuple[dict[str, Any], bool]] = [
    ({"topic": "{machine}/{signal}"}, True),
    ({"topic": "a/{machine}", "signal": "x"}, True),
    ({"topic": "a/+", "machine": "m", "signal": "x"}, True),
    ({"topic": "a/#", "machine": "m", "signal": "x"}, True),
    ({"topic": "#", "machine": "m", "signal": "x"}, True),
    ({"topic": "line-{machine}/{signal}"}, True),
    ({"topic": "{enterprise}/{site}/{area}/{line}/{machine}/{signal}"}, True),
    ({"topic": "a/{machine}"}, False),
    ({"topic": "a/{signal}", "machine": "m", "signal": "x"}, False),
    ({"topic": "{machine}/{machine}/{signal}"}, False),
    ({"topic": "{machine}-{signal}"}, False),
    ({"topic": "a/#/{machine}/{signal}"}, False),
    ({"topic": "a/x+", "machine": "m", "signal": "x"}, False),
    ({"topic": "a/x#", "machine": "m", "signal": "x"}, False),
    ({"topic": "$share/g/{machine}/{signal}"}, False),
    ({"topic": "{machine}/{sginal}"}, False),
    ({"topic": ""}, False),
    ({"topic": "a" * 65_536, "machine": "m", "signal": "x"}, False),
]


@pytest.mark.parametrize(("options", "good"), RULES, ids=lambda value: str(value)[:40])
def test_a_topic_says_machine_and_signal_exactly_once(options: dict[str, Any], good: bool) -> None:
    if good:
        topic_of(options)
    else:
        with pytest.raises(ValidationError):
            topic_of(options)


KINDS: list[tuple[dict[str, Any], str, bool]] = [
    ({"text": {}}, "text", True),
    ({"text": {}}, "analog", False),
    ({"binary": {"dtype": "int16", "rate_hz": 1}}, "waveform", True),
    ({"binary": {"dtype": "int16", "rate_hz": 1}}, "analog", False),
    ({"json": {"value": "v", "rate_hz": 1}}, "waveform", True),
    ({"json": {"value": "v", "rate_hz": 1}}, "analog", False),
    ({"json": {"value": "", "samples": "x", "rate_hz": 1}}, "waveform", True),
    ({"json": {"value": "", "samples": "x", "rate_hz": 1}}, "analog", True),
    ({"json": {"value": "v"}}, "waveform", False),
    ({"number": {}}, "waveform", False),
]


@pytest.mark.parametrize(("payload", "kind", "good"), KINDS, ids=str)
def test_a_signal_is_of_a_kind_that_its_payload_can_bring(
    payload: dict[str, Any], kind: str, good: bool
) -> None:
    options = {"topic": "{machine}/{signal}", "kind": kind}
    if good:
        topic_of(options, **payload)
    else:
        with pytest.raises(ValidationError, match=r"waveform|text"):
            topic_of(options, **payload)


@pytest.mark.parametrize(
    "payload", [{"json": {"fields": "*"}}, {"json": {"value": "v", "signal": "n"}},
                {"csv": {"columns": ("a",)}}]
)  # fmt: skip
def test_where_the_payload_names_its_signals_the_topic_must_not(payload: dict[str, Any]) -> None:
    assert topic_of({"topic": "{machine}/+"}, **payload).payload.names_signals
    for options in ({"topic": "{machine}/{signal}"}, {"topic": "{machine}", "signal": "x"}):
        with pytest.raises(ValidationError, match="the payload names its signals"):
            topic_of(options, **payload)


def test_a_signal_cannot_be_of_another_kind_than_the_waveforms_of_its_topic(tmp_path: Path) -> None:
    text = TOPIC.replace('value = "data.v", unit = "u"', 'value = "v", rate_hz = 10')
    text += 'kind = "waveform"\n'
    text += '[[mqtt.signals]]\nmachine = "m"\nname = "s"\nkind = "counter"\n'
    config = config_of(tmp_path, GATEWAY + MQTT + text, {})
    assert signal_of(config, {"machine": "m", "signal": "x"}, "x").kind == "waveform"
    with pytest.raises(ValueError, match="waveforms; leave kind out"):
        signal_of(config, {"machine": "m", "signal": "s"}, "s")


def test_a_metric_is_a_signal_that_holds_until_its_death(host: Config) -> None:
    signal = sparkplug_signal(host, host.mqtt[0], "g", "n", "d", "Motor/Current", "analog", "A")
    assert signal == Signal(
        path=LINE,
        machine="n-d",
        name="Motor/Current",
        source="floor",
        kind="counter",
        unit="A",
        node="spBv1.0/g/n/d:Motor/Current",
        every_ns=2 * SECOND_NS,
        hold_ns=HOLD_FOREVER,
    )
    own = sparkplug_signal(host, host.mqtt[0], "g", "n", "", "Uptime", "analog")
    assert (own.machine, own.node) == ("n-n", "spBv1.0/g/n:Uptime")


def test_metrics_are_read_by_their_names(host: Config) -> None:
    table = host.mqtt[0].sparkplug
    assert table is not None
    assert (table.takes("Motor/Current"), table.takes("Temp")) == (True, False)
    every = SparkplugHostConfig()
    assert every.takes("Temp")
    assert not any(map(every.takes, ("bdSeq", "Node Control/Rebirth", "Properties/x")))
    assert every.filters == {"spBv1.0/+/#"}


def test_nodes_are_read_unless_they_are_of_another_group_or_ignored() -> None:
    host = SparkplugHostConfig(groups=("g", "h"), ignore=("g/test-*",))
    assert host.reads("h", "test-1")
    assert not host.reads("g", "test-1")
    assert not host.reads("x", "n")


def test_what_was_learned_is_what_the_configuration_says_now(config: Config) -> None:
    mqtt = config.mqtt[0]
    signal = signal_of(config, {"machine": "conveyor-01", "signal": "oil"}, "oil", "bar")
    assert relearned(config, mqtt, signal) == signal
    field = signal_of(config, {"site": "s", "line": "l", "machine": "m"}, "motor.current")
    assert relearned(config, mqtt, field) == field
    table = mqtt.model_copy(update={"topics": mqtt.topics[:1]})
    assert relearned(config, table, field) is None
    assert relearned(config, table, signal) == signal


def test_a_signal_that_its_topic_would_call_otherwise_now_is_not_brought(config: Config) -> None:
    mqtt = config.mqtt[0]
    rules: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"topic": "floor/{machine}/+/oil", "signal": "pressure"}, {"number": {}}),
        ({"topic": "floor/{machine}/#"}, {"json": {"fields": ("oil",)}}),
        ({"topic": "floor/{machine}/+/{signal}", "machine": None}, {"number": {}}),
    ]
    for topic, payload in rules:
        table = mqtt.model_copy(update={"topics": (topic_of(topic, **payload),)})
        signal = signal_of(config, {"machine": "m", "signal": "oil"}, "oil")
        found = relearned(config, table, signal)
        assert (found is not None) is ("{signal}" in topic["topic"])


def test_a_metric_that_was_learned_keeps_what_its_birth_said(host: Config) -> None:
    mqtt = host.mqtt[0]
    signal = sparkplug_signal(host, mqtt, "g", "n", "e", "Motor/Alarm", "discrete", "")
    assert relearned(host, mqtt, signal) == signal
    other = sparkplug_signal(host, mqtt, "g", "n", "e", "Temp", "analog", "")
    assert relearned(host, mqtt, other) is None
    assert mqtt.sparkplug is not None
    elsewhere = mqtt.sparkplug.model_copy(update={"groups": ("h",)})
    assert relearned(host, mqtt.model_copy(update={"sparkplug": elsewhere}), signal) is None


def test_an_address_of_an_opcua_server_is_no_topic(config: Config, host: Config) -> None:
    signal = Signal(LINE, "press-01", "ram", "press", node="ns=2;s=spBv1.0/a/b")
    assert relearned(config, config.mqtt[0], signal) is None
    assert relearned(host, host.mqtt[0], signal) is None
