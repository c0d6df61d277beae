"""Brokers, read and told: what their tables may say, and what must not be there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config
from agent.errors import ConfigError
from tests.agent.config.support import GATEWAY, config_of
from tests.agent.config.test_mqtt import HOST, MQTT, TOPIC, TOPICS

SINK = '[[uns]]\nname = "plant"\nurl = "mqtt://10.0.0.9:1883/"\n'
EDGE = '[[sparkplug]]\nname = "scada"\nurl = "mqtts://b"\n'
ERRORS = [
    (
        MQTT,
        "mqtt[0].topics is missing; it must have at least one, or there must be a table "
        "[mqtt.sparkplug]",
    ),
    (
        MQTT + 'share = "g"\n' + HOST,
        "mqtt[0].sparkplug is a table; it must come without share: a host must hear every message "
        "of a node",
    ),
    (MQTT + 'share = "a/b"\n' + TOPIC, 'mqtt[0].share is "a/b"; it must be a word'),
    (
        MQTT + 'version = "3.1.1"\nsession_expiry_s = 5\n' + TOPIC,
        "mqtt[0].session_expiry_s is 5; it must come with MQTT 5",
    ),
    (
        MQTT + 'ca = "/ca.pem"\n' + TOPIC,
        'mqtt[0].ca is "/ca.pem"; it must come with mqtts:// or wss://: there are no certificates',
    ),
    (
        MQTT + "verify_name = false\n" + TOPIC,
        "mqtt[0].verify_name is false; it must come with mqtts:// or wss://",
    ),
    (
        MQTT.replace("mqtt://", "wss://") + 'certificate = "/c.pem"\n' + TOPIC,
        "mqtt[0].key is missing; certificate and key must be given together",
    ),
    (
        MQTT + '[mqtt.sparkplug]\ngroups = ["+", "a"]\n',
        "mqtt[0].sparkplug.groups is a list; + is every group, so it must stand alone",
    ),
    (
        MQTT + '[mqtt.sparkplug]\nmachine = "{devise}"\n',
        'mqtt[0].sparkplug.machine is "{devise}"; it must be text with {group}, {node} and',
    ),
    (
        MQTT + TOPIC + '[[mqtt.signals]]\nmachine = "m"\nname = "s"\nkind = "waveform"\n',
        'mqtt[0].signals[0].kind is "waveform"; it must be "analog", "counter", "discrete" or',
    ),
    (
        MQTT + TOPIC.replace("json", "jsn"),
        "mqtt[0].topics[0].payload.jsn is not a known option",
    ),
    (
        MQTT + TOPIC + 'state = true\nkind = "discrete"\n',
        'mqtt[0].topics[0].state is true; it must come with kind = "text"',
    ),
    (
        MQTT + TOPIC + TOPIC.replace("{machine}", "{line}").replace("hold", 'machine = "m"\nhold'),
        'mqtt[0].topics[1].topic is "floor/{line}/+/{signal}"; mqtt[0].topics[0] asks for the same',
    ),
    (
        MQTT + 'client_id = "a"\n' + TOPIC + SINK + 'client_id = "a"\n',
        'uns[0].client_id is "a"; mqtt[0] is called the same at the same broker',
    ),
    (
        MQTT + 'client_id = "andon-gw-1-to-plant"\n' + TOPIC + SINK,
        "uns[0].client_id is missing; mqtt[0] is called the same at the same broker",
    ),
    (
        MQTT + TOPIC + SINK + SINK.replace("uns", "influxdb").replace("mqtt", "https"),
        'uns[0].name is "plant"; influxdb[0] has the same name',
    ),
    (
        MQTT + TOPIC + EDGE + EDGE.replace("scada", "mes"),
        "sparkplug[1].node is missing; sparkplug[0] is the same node of the same group",
    ),
    (MQTT + TOPIC + EDGE + 'group = "STATE"\n', 'sparkplug[0].group is "STATE"; it must be'),
    (MQTT + TOPIC + EDGE + 'node = "a/b"\n', 'sparkplug[0].node is "a/b"; it must have no +'),
    (
        MQTT + TOPIC.replace("floor/{machine}", "acme/+/a{area}/+/{machine}") + SINK,
        'mqtt[0].topics[0].topic is "acme/+/a{area}/+/{machine}/+/{signal}"; uns[0] sends such '
        "topics to the same broker",
    ),
    (
        MQTT + TOPIC.replace("+/{signal}", "#").replace("hold", 'signal = "s"\nhold')
        + SINK + 'prefix = "floor"\n',
        'mqtt[0].topics[0].topic is "floor/{machine}/#"; uns[0] sends such',
    ),
    (MQTT + TOPIC + SINK + 'prefix = "a//b"\n', 'uns[0].prefix is "a//b"; it must be levels'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=lambda value: value[-50:])
def test_what_cannot_be_meant_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, GATEWAY + text, {})
    assert any(told.startswith(message) for told in str(caught.value).split("error: ")), (
        caught.value
    )


def test_patterns_that_take_different_names_from_one_filter_stand_side_by_side(
    tmp_path: Path,
) -> None:
    both = TOPIC.replace("{machine}", "cell-{machine}") + TOPIC.replace("{machine}", "a-{machine}")
    config = config_of(tmp_path, GATEWAY + MQTT + both, {})
    assert {topic.filter for topic in config.mqtt[0].topics} == {"floor/+/+/+"}


def test_a_namespace_of_its_own_beside_what_is_read_is_fine(tmp_path: Path) -> None:
    topics = TOPIC.replace("floor/{machine}", "{enterprise}/{machine}")
    for sink in (SINK, SINK.replace("10.0.0.9", "10.0.0.8"), SINK + 'prefix = "uns"\n'):
        config_of(tmp_path, GATEWAY + MQTT + topics + sink, {})


def test_where_a_broker_is_follows_from_its_url(tmp_path: Path) -> None:
    for url, parts in {
        "mqtt://b": ("b", 1883, "", False, False),
        "mqtts://b": ("b", 8883, "", True, False),
        "ws://b": ("b", 80, "/mqtt", False, True),
        "ws://b/": ("b", 80, "/mqtt", False, True),
        "wss://[::1]:9001/a/b": ("::1", 9001, "/a/b", True, True),
    }.items():
        text = MQTT.replace("mqtt://10.0.0.9", url) + TOPIC
        broker = config_of(tmp_path, GATEWAY + text, {}).mqtt[0]
        assert (broker.host, broker.port, broker.path, broker.tls, broker.websockets) == parts


def test_every_sink_is_a_sink_whatever_it_speaks(tmp_path: Path) -> None:
    config = config_of(tmp_path, GATEWAY + MQTT + TOPIC + SINK + EDGE, {})
    assert [sink.name for sink in config.sinks] == ["scada", "plant"]
    assert [config.client_id(sink) for sink in (*config.mqtt, *config.uns)] == [
        "andon-gw-1-floor", "andon-gw-1-to-plant",
    ]  # fmt: skip


def test_what_the_service_says_of_its_configuration_is_read_back(tmp_path: Path) -> None:
    text = MQTT + TOPICS + SINK + EDGE
    config = config_of(tmp_path, GATEWAY + text, {})
    assert Config.model_validate_json(config.model_dump_json(by_alias=True)) == config
