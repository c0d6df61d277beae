"""Signals that topics bring, over restarts: the configuration of today is what counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.service import _resolver, _sources
from agent.config import Config, load
from agent.signals import SECOND_NS, SignalTable
from tests.agent.config.support import ENVIRON, GOOD


def config_of(folder: Path, text: str = GOOD) -> Config:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, ENVIRON)


def learned(config: Config, *names: str) -> SignalTable:
    """The table of a run in which these signals of conveyor-01 came."""
    table = SignalTable(100)
    _sources(config, table)
    resolve = _resolver(config, config.mqtt[0], table)
    for name in names:
        resolve(config.mqtt[0].topics[0], "conveyor-01", name)
    return table


def restarted(config: Config, table: SignalTable) -> SignalTable:
    stored = SignalTable(100, dict(enumerate(table)))
    _sources(config, stored)
    return stored


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
    resolve = _resolver(config, config.mqtt[0], table)
    with pytest.raises(ValueError, match="press-01/ram_force is read from press already"):
        resolve(config.mqtt[0].topics[0], "press-01", "ram_force")
    assert table[0].source == "press"
