"""Wiring: from the configuration to sources over one signal table, at the start and at a reload.

Enters: configurations, and the table with what earlier runs learned. Leaves: sources, none of them
connected, and a table that says what the configuration says. Fails: SignalsFull where a
configuration has more signals than the table may hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from agent.cli.check.difference import source_tables
from agent.config import Config, MqttConfig, TopicConfig, signals, topic_signal
from agent.errors import ConfigError, SignalsFull
from agent.signals import HOLD_FOREVER, MACHINE_SIGNAL, Signal, SignalTable
from agent.sources import Source
from agent.sources.mqtt import MqttSource
from agent.sources.mqtt.decode import Resolve
from agent.sources.opcua import OpcuaSource
from agent.trust import Trust


class Wiring:
    """The sources of one gateway, by name; `now_ns` is its clock, UTC."""

    def __init__(self, table: SignalTable, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.table = table
        self.sources: dict[str, Source] = {}
        self._now_ns = now_ns
        self._trust: Trust | None = None

    def build(self, config: Config, name: str) -> Source:
        """The source of this name; its signals have their numbers from here on."""
        source = self.sources[name] = self._new(config, name)
        return source

    async def apply(self, config: Config, name: str) -> bool:
        """Bring a source to what the configuration says, on its living connection if that can be.

        False where it must be replaced. What the table says of known signals changes at `renew`.
        """
        source, table = self.sources[name], source_tables(config)[name]
        if isinstance(source, MqttSource) and isinstance(table, MqttConfig):
            return await source.apply(table, resolver(config, table, self.table))
        if isinstance(source, OpcuaSource) and not isinstance(table, MqttConfig):
            return await source.apply(table, self._signals(config, name))
        return False

    def forget(self, name: str) -> None:
        """The source of this name is gone."""
        self.sources.pop(name, None)

    def certificate_days(self) -> int | None:
        """Until this gateway's own certificate expires; None where nothing needs one."""
        try:
            return None if self._trust is None else self._trust.days_left()
        except ConfigError:  # said where it is needed: at a source's next connection
            return None

    def room_for(self, config: Config) -> None:
        """Raises SignalsFull where the table cannot take this configuration's signals."""
        wanted = signals(config)
        new = sum(self.table.find(s.path, s.machine, s.name) is None for s in wanted)
        if len(self.table) + new > self.table.signals_max:
            raise SignalsFull(
                f"{new:,} signals are new; {len(self.table):,} are known, those that were removed "
                f"among them, and gateway.signals_max is {self.table.signals_max:,}",
                "raise gateway.signals_max and restart the service",
            )

    def renew(self, config: Config) -> None:
        """Bring the table up to this configuration, and what was learned of topics before it.

        A signal that it no longer has belongs to no source, so that nobody vouches for it.
        """
        configured = set()
        for signal in signals(config):
            self.table.add(signal)
            configured.add(signal.key)
        brokers = {name: s for name, s in self.sources.items() if isinstance(s, MqttSource)}
        for number, signal in enumerate(list(self.table)):
            of_machine = signal.name == MACHINE_SIGNAL and signal.source in self.sources
            if of_machine or signal.key in configured:
                continue
            known, by_topic = brokers.get(signal.source), signal.hold_ns != HOLD_FOREVER
            candidates = [known] if known else list(brokers.values()) if by_topic else []
            if not any(broker.signal_of(signal.node) == number for broker in candidates):
                self.table.add(replace(signal, source=""))

    def _new(self, config: Config, name: str) -> Source:
        table = source_tables(config)[name]
        if isinstance(table, MqttConfig):
            resolve = resolver(config, table, self.table)
            return MqttSource(table, config.client_id(table), resolve, self._now_ns)
        return OpcuaSource(table, self._signals(config, name), self._trust_of(config), self._now_ns)

    def _trust_of(self, config: Config) -> Trust:
        """One for all sources, so that what is said of it is said once."""
        if self._trust is None:
            self._trust = Trust(config.pki, config.gateway.name, self._now_ns)
        return self._trust

    def _signals(self, config: Config, name: str) -> list[tuple[int, Signal]]:
        return [(self._number(signal), signal) for signal in signals(config, name)]

    def _number(self, signal: Signal) -> int:
        known = self.table.find(signal.path, signal.machine, signal.name)
        return self.table.add(signal) if known is None else known


def resolver(config: Config, broker: MqttConfig, table: SignalTable) -> Resolve:
    """Gives a broker the ids of the signals that its topics bring."""
    servers = {signal.key: signal.source for signal in signals(config)}

    def resolve(topic: TopicConfig, machine: str, name: str) -> tuple[int, bool]:
        signal = topic_signal(config, broker, topic, machine, name)
        if signal.key in servers:
            raise ValueError(f"{signal.label} is read from {servers[signal.key]} already")
        return table.add(signal), signal.kind == "text"

    return resolve
