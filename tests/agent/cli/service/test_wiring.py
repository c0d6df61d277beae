"""Wiring: the configuration of today is what counts, whatever topics brought before."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.check.difference import source_tables
from agent.cli.service.wiring import Resolvers, Wiring
from agent.config import Config, load
from agent.errors import SignalsFull
from agent.signals import SECOND_NS, SignalTable
from agent.sources.mqtt import MqttSource
from agent.trust import Trust
from tests.agent.config.support import ENVIRON, GOOD


def config_of(folder: Path, text: str = GOOD) -> Config:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, ENVIRON)


def learned(config: Config, *names: str) -> SignalTable:
    """The table of a run in which these signals of conveyor-01 came."""
    table = wired(config, SignalTable(100))
    resolve = Resolvers(config, config.mqtt[0], table).topic
    for name in names:
        resolve(config.mqtt[0].topics[0], {"machine": "conveyor-01", "signal": name}, name)
    return table


def restarted(config: Config, table: SignalTable) -> SignalTable:
    return wired(config, SignalTable(100, dict(enumerate(table))))


def wired(config: Config, table: SignalTable) -> SignalTable:
    wiring = Wiring(table)
    for name in source_tables(config):
        wiring.build(config, name)
    wiring.renew(config)
    return table


def test_a_changed_description_of_a_topics_signal_holds_from_the_restart_on(tmp_path: Path) -> None:
    table = learned(config_of(tmp_path), "speed")
    assert (table[1].kind, table[1].every_ns) == ("analog", 10 * SECOND_NS)
    changed = GOOD.replace(
        "[[influxdb]]",
        '[[mqtt.signals]]\nmachine = "conveyor-01"\nname = "speed"\nkind = "counter"\nevery_s = 1\n'
        "[[influxdb]]",
    )
    table = restarted(config_of(tmp_path, changed), table)
    assert (table[1].kind, table[1].every_ns) == ("counter", SECOND_NS)
    assert set(table.take_changed()) == {1}


def test_a_signal_that_left_the_configuration_belongs_to_no_source(tmp_path: Path) -> None:
    table = learned(config_of(tmp_path), "speed")
    assert [signal.source for signal in table] == ["press", "floor"]
    without = GOOD.replace("ram_force", "oil").replace("floor/{machine}", "hall/{machine}")
    table = restarted(config_of(tmp_path, without), table)
    assert [(signal.name, signal.source) for signal in table] == [
        ("ram_force", ""), ("speed", ""), ("oil", "press"),
    ]  # fmt: skip
    table = restarted(config_of(tmp_path), table)
    assert [signal.source for signal in table] == ["press", "floor", ""]


def test_signals_follow_a_broker_that_got_another_name(tmp_path: Path) -> None:
    table = learned(config_of(tmp_path), "speed")
    table = restarted(config_of(tmp_path, GOOD.replace('name = "floor"', 'name = "hall"')), table)
    assert [signal.source for signal in table] == ["press", "hall"]


def test_a_topic_cannot_take_over_a_signal_that_a_server_brings(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    table = learned(config)
    resolve = Resolvers(config, config.mqtt[0], table).topic
    with pytest.raises(ValueError, match="press-01/ram_force is read from press already"):
        resolve(config.mqtt[0].topics[0], {"machine": "press-01"}, "ram_force")
    assert table[0].source == "press"


SPARKPLUG = GOOD.replace("[[mqtt.topics]]", "[mqtt.sparkplug]\n[[mqtt.topics]]")


def test_metrics_of_sparkplug_are_known_again_after_a_restart(tmp_path: Path) -> None:
    config = config_of(tmp_path, SPARKPLUG)
    table = learned(config)
    resolve = Resolvers(config, config.mqtt[0], table).metric
    assert resolve("g", "n", "oven", "Heater/On", "discrete", "") == (1, "discrete")
    assert resolve("g", "n", "oven", "Temp", "analog", "K") == (2, "analog")
    described = SPARKPLUG.replace(
        "[[influxdb]]",
        '[[mqtt.signals]]\nmachine = "oven"\nname = "Temp"\nunit = "C"\n[[influxdb]]',
    )
    table = restarted(config_of(tmp_path, described), table)
    assert [(s.kind, s.unit, s.source) for s in table][1:] == [
        ("discrete", "", "floor"), ("analog", "C", "floor"),
    ]  # fmt: skip
    table = restarted(config_of(tmp_path), table)
    assert [signal.source for signal in table] == ["press", "", ""]


def test_two_devices_of_one_name_are_not_taken_for_one_machine(tmp_path: Path) -> None:
    config = config_of(tmp_path, SPARKPLUG)
    resolve = Resolvers(config, config.mqtt[0], learned(config)).metric
    resolve("g", "n1", "oven", "Temp", "analog", "")
    resolve("g", "n1", "oven", "Temp", "analog", "")
    with pytest.raises(ValueError, match=r"brought by spBv1.0/g/n1/oven:Temp already; .*node"):
        resolve("g", "n2", "oven", "Temp", "analog", "")


def test_what_this_gateway_sends_as_a_node_is_not_read_back(tmp_path: Path) -> None:
    edge = '[[sparkplug]]\nname = "scada"\nurl = "mqtt://10.0.0.9"\n'
    config = config_of(tmp_path, SPARKPLUG + edge + edge.replace("scada", "far").replace("9", "8"))
    wiring = Wiring(SignalTable(100))
    source = wiring.build(config, "floor")
    assert isinstance(source, MqttSource)
    host = source._config.sparkplug
    assert host is not None
    assert host.ignore == ("acme/gw-1",)
    assert not host.reads("acme", "gw-1")


def test_signals_of_several_lines_under_one_broker_are_known_again(tmp_path: Path) -> None:
    lines = GOOD.replace("floor/{machine}/{signal}", "{line}/{machine}/{signal}")
    config = config_of(tmp_path, lines)
    table = learned(config)
    resolve = Resolvers(config, config.mqtt[0], table).topic
    topic = config.mqtt[0].topics[0]
    for line in ("line-1", "line-2"):
        names = {"line": line, "machine": "m", "signal": "s"}
        resolve(topic, names, "s")
    table = restarted(config, table)
    assert [(s.path.line, s.node, s.source) for s in table][1:] == [
        ("line-1", "line-1/m/s", "floor"), ("line-2", "line-2/m/s", "floor"),
    ]  # fmt: skip


def test_what_a_broker_sends_and_cannot_be_read_is_told_by_its_source(tmp_path: Path) -> None:
    told: list[str] = []
    wiring = Wiring(SignalTable(100), lambda: 7, lambda rejected: told.append(rejected.topic))
    config = config_of(tmp_path)
    for name in source_tables(config):
        wiring.build(config, name)
    source = wiring.sources["floor"]
    assert isinstance(source, MqttSource)
    source.quarantine.put("unreadable", "floor/a/b", b"{", "not JSON")
    assert told == ["floor/a/b"]
    said = wiring.rejected()
    assert [(one["source"], one["cause"]) for one in said["rejected"]] == [("floor", "unreadable")]
    assert said["counts"] == {"floor": {"unreadable": 1}}


def test_a_configuration_with_more_signals_than_the_table_has_room_for_is_refused(
    tmp_path: Path,
) -> None:
    """Ids are never given again, so signals that were removed count as well."""
    table = learned(config_of(tmp_path), "speed")
    wiring = Wiring(table)
    other = config_of(tmp_path, GOOD.replace("ram_force", "oil"))
    table.signals_max = 3
    wiring.room_for(other)
    table.signals_max = 2
    wiring.room_for(config_of(tmp_path))
    with pytest.raises(SignalsFull, match="1 signals are new; 2 are known"):
        wiring.room_for(other)


def test_the_days_that_the_gateways_certificate_has_left_are_known_once_there_is_one(
    tmp_path: Path,
) -> None:
    data = f'name = "gw-1"\ndata = "{tmp_path}/data"'
    config = config_of(tmp_path, GOOD.replace('name = "gw-1"', data, 1))
    wiring = Wiring(SignalTable(100))
    assert wiring.certificate_days() is None  # no server is read
    wiring.build(config, "press")
    assert wiring.certificate_days() is None  # none was needed yet
    trust = Trust(config.pki, "gw-1")
    trust.own()
    assert wiring.certificate_days() == trust.days_left()
    (config.pki / "own" / "key.pem").write_bytes(b"no key")
    assert wiring.certificate_days() is None
