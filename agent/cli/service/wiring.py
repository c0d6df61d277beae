"""Wiring: from the configuration to sources over one signal table, at the start and at a reload.

Enters: configurations, and the table with what earlier runs learned. Leaves: sources, none of them
connected, and a table that says what the configuration says. Fails: SignalsFull where a
configuration has more signals than the table may hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agent.cli.check.difference import source_tables
from agent.config import (
    Config,
    MqttConfig,
    TopicConfig,
    relearned,
    signals,
    sparkplug_node,
    sparkplug_signal,
    topic_signal,
)
from agent.errors import ConfigError, SignalsFull
from agent.signals import MACHINE_SIGNAL, Kind, Signal, SignalTable
from agent.sources import Source
from agent.sources.mqtt import MqttSource, warming
from agent.sources.opcua import OpcuaSource
from agent.sources.opcua.wire import Decoder
from agent.sources.quarantine import Rejected, documents
from agent.trust import Trust


class Wiring:
    """The sources of one gateway, by name.

    now_ns : its clock, UTC
    tell_rejected : told of payloads that could not be read
    """

    def __init__(
        self,
        table: SignalTable,
        now_ns: Callable[[], int] = time.time_ns,
        tell_rejected: Callable[[Rejected], None] = lambda rejected: None,
    ) -> None:
        self.table = table
        self.sources: dict[str, Source] = {}
        self._now_ns = now_ns
        self._tell_rejected = tell_rejected
        self._warm: set[str] = set()
        self._trust: Trust | None = None

    def warm_up(self, config: Config) -> None:
        """Compile the kernels of its sources, or load them: they must not wait for that later.

        Takes up to a minute, once after each installation; may be called in a thread.
        """
        if config.opcua and "opcua" not in self._warm:
            Decoder()
            self._warm.add("opcua")
        if config.mqtt and "mqtt" not in self._warm:
            warming.warm_up()
            self._warm.add("mqtt")

    def build(self, config: Config, name: str) -> Source:
        """The source of this name; its signals have their numbers from here on."""
        source = self.sources[name] = self._new(config, name)
        if isinstance(source, MqttSource):
            source.quarantine.listen(self._tell_rejected)
        return source

    async def apply(self, config: Config, name: str) -> bool:
        """Bring a source to what the configuration says, on its living connection if that can be.

        False where it must be replaced. What the table says of known signals changes at `renew`.
        """
        source, table = self.sources[name], source_tables(config)[name]
        if isinstance(source, MqttSource) and isinstance(table, MqttConfig):
            resolvers = Resolvers(config, table, self.table)
            return await source.apply(table, resolvers.topic, resolvers.metric)
        if isinstance(source, OpcuaSource) and not isinstance(table, MqttConfig):
            return await source.apply(table, self._signals(config, name))
        return False

    def forget(self, name: str) -> None:
        """The source of this name is gone."""
        self.sources.pop(name, None)

    def rejected(self) -> dict[str, Any]:
        """The newest payloads that could not be read, for `andon tail --rejected`."""
        sources = self.sources.items()
        return documents({name: s.quarantine for name, s in sources if isinstance(s, MqttSource)})

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
        for signal in list(self.table):
            of_machine = signal.name == MACHINE_SIGNAL and signal.source in self.sources
            if not of_machine and signal.key not in configured:
                self.table.add(_learned(config, signal) or replace(signal, source=""))

    def _new(self, config: Config, name: str) -> Source:
        table = source_tables(config)[name]
        if isinstance(table, MqttConfig):
            resolvers = Resolvers(config, table, self.table)
            broker = MqttSource(
                table, config.client_id(table), resolvers.topic, resolvers.metric, self._now_ns
            )
            of_broker = (signal for signal in self.table if signal.source == name)
            broker.expect({node for signal in of_broker if (node := sparkplug_node(signal))})
            return broker
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


def _learned(config: Config, signal: Signal) -> Signal | None:
    """What is said now of a signal that a broker brought; its own, or any where that is gone."""
    own = [broker for broker in config.brokers if broker.name == signal.source]
    found = (relearned(config, broker, signal) for broker in own or config.brokers)
    return next((signal for signal in found if signal is not None), None)


class Resolvers:
    """Gives one broker the ids and kinds of the signals that it brings.

    Both raise ValueError where a signal cannot be one, or is brought by something else; SignalsFull
    for one too many.
    """

    def __init__(self, config: Config, broker: MqttConfig, table: SignalTable) -> None:
        self._config = config
        self._broker = broker
        self._table = table
        self._servers = {signal.key: signal.source for signal in signals(config)}
        self._metrics: dict[object, str] = {}

    def topic(
        self, topic: TopicConfig, names: Mapping[str, str], name: str, unit: str = ""
    ) -> tuple[int, Kind]:
        """Of the signal of this name under a topic that names these."""
        return self._add(topic_signal(self._config, self._broker, topic, names, name, unit))

    def metric(
        self, group: str, node: str, device: str, metric: str, kind: Kind, unit: str = ""
    ) -> tuple[int, Kind]:
        """Of a metric of a Sparkplug device, or of a node itself where `device` is empty."""
        signal = sparkplug_signal(
            self._config, self._broker, group, node, device, metric, kind, unit
        )
        other = self._metrics.setdefault(signal.key, signal.node)
        if other != signal.node:
            raise ValueError(
                f"{signal.label} is brought by {other} already; to keep them apart say "
                'machine = "{node}-{device}" in [mqtt.sparkplug]'
            )
        return self._add(signal)

    def _add(self, signal: Signal) -> tuple[int, Kind]:
        if signal.key in self._servers:
            raise ValueError(f"{signal.label} is read from {self._servers[signal.key]} already")
        return self._table.add(signal), signal.kind
