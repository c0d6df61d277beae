"""What a good configuration becomes: values, defaults, references, several files, signals."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.config import Config, examine, load_gateway, schema
from agent.errors import ConfigError
from tests.agent.config.support import GATEWAY, OPCUA, config_of

MQTT = """\
[[mqtt]]
name = "floor"
url = "mqtt://[::1]:1883"
[[mqtt.topics]]
topic = "floor/{machine}/+/{signal}"
payload = { json = { value = "data.v" } }
unit = "m/s"
hold_s = 2.5
[[mqtt.signals]]
machine = "conveyor-01"
name = "speed"
limits = { low = 0.2, high = 0.6 }
every_s = 1
[[mqtt.signals]]
machine = "conveyor-01"
name = "unit"
kind = "text"
unit = ""
"""
INFLUXDB = """\
[[influxdb]]
name = "cloud"
url = "http://127.0.0.1:8086"
token = "${credential:cloud_token}"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "cloud_token").write_text("tok-1\n")
    return {"OPCUA_PASSWORD": "pass-1", "CREDENTIALS_DIRECTORY": str(tmp_path)}


@pytest.fixture
def config(tmp_path: Path, environ: dict[str, str]) -> Config:
    return config_of(tmp_path, GATEWAY + OPCUA + MQTT + INFLUXDB, environ)


def test_what_is_left_out_has_its_documented_default(config: Config) -> None:
    gateway, opcua, mqtt, sink = config.gateway, config.opcua[0], config.mqtt[0], config.influxdb[0]
    outbox = config.outbox
    assert gateway.data == Path("/var/lib/andon")
    assert (gateway.signals_max, gateway.batches_max) == (20_000, 1000)
    assert (outbox.bytes_max_mb, outbox.age_max_days) == (1024, 90)
    assert (outbox.commit_interval_ms, outbox.write_gb_per_day, outbox.journal) == (
        None,
        1.6,
        "auto",
    )
    assert (opcua.publishing_interval_ms, opcua.sampling_ms, opcua.queue_size) == (250, 250, 100)
    assert (opcua.trigger, opcua.connect_timeout_s) == ("status_value", 10)
    assert (opcua.mode, opcua.history, opcua.items_max) == ("sign_and_encrypt", "auto", 10_000)
    assert (opcua.user_certificate, opcua.user_key, opcua.writable) == (None, None, ())
    assert config.pki == Path("/var/lib/andon/pki")
    assert (mqtt.qos, mqtt.keepalive_s, mqtt.clean_start) == (1, 30, False)
    assert config.client_id(mqtt) == "andon-gw-1-floor"
    assert (mqtt.host, mqtt.port) == ("::1", 1883)
    assert (mqtt.version, mqtt.share, mqtt.session_expiry_s) == ("auto", None, None)
    assert (mqtt.tls, mqtt.websockets, mqtt.path, mqtt.verify_name) == (False, False, "", True)
    layout = mqtt.topics[0].payload.json_
    assert layout is not None
    assert (layout.time, layout.time_unit, layout.fields, layout.rate_hz) == (
        None, "ms", None, None
    )  # fmt: skip
    assert (sink.org, sink.bucket, sink.timeout_s, sink.lines_max) == ("andon", "andon", 10, 5000)
    assert (sink.flavour, sink.backlog_lines_per_s) == ("auto", 20_000)
    assert (config.detect.enabled, config.detect.warmup_s) == (True, 15)


def test_references_are_filled_in_from_environment_default_and_credential(config: Config) -> None:
    assert config.opcua[0].user == "andon"
    assert config.opcua[0].password is not None
    assert config.opcua[0].password.get_secret_value() == "pass-1"
    assert config.influxdb[0].token.get_secret_value() == "tok-1"


def test_a_secret_is_not_seen_when_the_configuration_is_printed(config: Config) -> None:
    assert "tok-1" not in repr(config)
    assert "tok-1" not in config.model_dump_json()


def test_two_dollars_stand_for_the_characters_themselves(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    text = MQTT.replace('topic = "floor/', 'topic = "$SYS/').replace('"m/s"', '"$${x}"')
    topic = config_of(tmp_path, GATEWAY + text, environ).mqtt[0].topics[0]
    assert (topic.topic.split("/")[0], topic.unit) == ("$SYS", "${x}")


def test_an_empty_variable_gives_way_to_the_default(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    config = config_of(tmp_path, GATEWAY + OPCUA, {**environ, "OPCUA_USER": ""})
    assert config.opcua[0].user == "andon"


@pytest.mark.parametrize("content", [None, b"\xff", b"x" * 1_000_001, b"", b"two\nlines"])
def test_a_credential_that_cannot_be_one_is_refused(
    tmp_path: Path, environ: dict[str, str], content: bytes | None
) -> None:
    if content is None:
        (tmp_path / "cloud_token").unlink()
    else:
        (tmp_path / "cloud_token").write_bytes(content)
    with pytest.raises(ConfigError, match=r"influxdb\[0\].token is .*credential"):
        config_of(tmp_path, GATEWAY + MQTT + INFLUXDB, environ)


def test_files_in_conf_d_add_to_lists_and_tables(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "20-oven.toml").write_text(OPCUA.replace("press", "oven").replace("feeder", "b"))
    (folder / "10-press.toml").write_text(OPCUA + "[gateway]\nsignals_max = 9\n")
    (folder / "note.txt").write_text("not TOML, not read")
    config = config_of(tmp_path, GATEWAY + MQTT, environ)
    assert [opcua.name for opcua in config.opcua] == ["press", "oven"]
    assert (config.gateway.signals_max, config.gateway.name) == (9, "gw-1")


def test_a_file_saved_by_notepad_is_read(tmp_path: Path, environ: dict[str, str]) -> None:
    text = (GATEWAY + MQTT).replace("\n", "\r\n")
    (tmp_path / "agent.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert isinstance(examine(tmp_path / "agent.toml", environ), Config)


def test_a_configuration_cannot_be_changed(config: Config) -> None:
    with pytest.raises(ValidationError):
        config.gateway.name = "gw-2"  # type: ignore[misc]


URLS = [
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "opc.tcp://host.plant:1", True),
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "opc.tcp://10.0.0.5", False),
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "opc.tcp://:4840", False),
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "opc.tcp://10.0.0.5:70000", False),
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "opc.tcp://10.0.0.5:4840 ", False),
    (OPCUA, "opc.tcp://10.0.0.5:4840/press", "10.0.0.5:4840", False),
    (MQTT, "mqtt://[::1]:1883", "mqtt://broker:1883/", True),
    (MQTT, "mqtt://[::1]:1883", "mqtt://broker:1883/floor", False),
    (MQTT, "mqtt://[::1]:1883", "mqtt://broker", True),
    (MQTT, "mqtt://[::1]:1883", "mqtts://broker", True),
    (MQTT, "mqtt://[::1]:1883", "wss://broker:8443/a/b", True),
    (MQTT, "mqtt://[::1]:1883", "ws://broker?a=b", False),
    (MQTT, "mqtt://[::1]:1883", "mqtts://u:p@broker", False),
    (MQTT, "mqtt://[::1]:1883", "mqtt://broker:0", False),
    (MQTT, "mqtt://[::1]:1883", "mqtt://[::1", False),
    (MQTT, "mqtt://[::1]:1883", "tcp://broker:1883", False),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "https://andon.example", True),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "https://andon.example/base", True),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "http://localhost", True),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "http://[::1]:80", True),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "http://10.0.0.1", False),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", 'http://10.0.0.1"\ninsecure = true #', True),
    (MQTT + INFLUXDB, "http://127.0.0.1:8086", "https://andon.example?org=a", False),
]


@pytest.mark.parametrize(("text", "old", "new", "good"), URLS, ids=[url[2] for url in URLS])
def test_addresses_are_checked_offline(
    tmp_path: Path, environ: dict[str, str], text: str, old: str, new: str, good: bool
) -> None:
    (tmp_path / "agent.toml").write_text(GATEWAY + text.replace(old, new))
    found = examine(tmp_path / "agent.toml", environ)
    assert isinstance(found, Config) is good, found


def test_the_schema_has_a_description_for_every_option() -> None:
    tables = [schema(), *schema()["$defs"].values()]
    options = [(t["title"], key, o) for t in tables for key, o in t["properties"].items()]
    assert len(options) > 60
    assert [o[:2] for o in options if not o[2].get("description") and "$ref" not in o[2]] == []


def test_commands_beside_a_service_need_not_know_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        '[gateway]\nname = "gw"\ndata = "/var/lib/gw"\n'
        'path = { enterprise = "e", site = "s", area = "a", line = "l" }\n'
        '[[influxdb]]\nname = "cloud"\nurl = "https://x"\ntoken = "${NOT_SET_HERE}"\n'
    )
    assert str(load_gateway(path, {}).data) == "/var/lib/gw"


def test_a_gateway_table_that_is_wrong_is_told_as_always(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[gateway]\nname = "gw"\ndate = "/var/lib/gw"\n')
    with pytest.raises(ConfigError, match="did you mean data"):
        load_gateway(path, {})
