"""Signals as the configuration describes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent.config.fields import check_name, check_signal_name
from agent.config.model import Config
from agent.config.mqtt import MqttConfig, TopicConfig, TopicSignalConfig
from agent.config.opcua import OpcuaConfig, OpcuaEventsConfig, OpcuaSignalConfig
from agent.signals import HOLD_FOREVER, SECOND_NS, Path, Signal


def signals(config: Config, source: str | None = None) -> list[Signal]:
    """The signals of all OPC UA servers, or of one, in the order of the configuration.

    Of each server its variables, then its events, each with the state that its alarms tell.
    """
    path = config.path
    return [
        signal
        for opcua in config.opcua
        if source in (None, opcua.name)
        for signal in _of_server(path, opcua)
    ]


def topic_signal(
    config: Config, mqtt: MqttConfig, topic: TopicConfig, machine: str, signal: str
) -> Signal:
    """The signal that `topic` brings as `signal` of `machine`.

    Raises ValueError where a name that came with a topic cannot be one; `str(error)` says why.
    """
    check_name(machine)
    check_signal_name(signal)
    known = mqtt.known.get((machine, signal)) or TopicSignalConfig(machine=machine, name=signal)
    hold_s = topic.hold_s if known.hold_s is None else known.hold_s
    return Signal(
        path=config.path,
        machine=machine,
        name=signal,
        source=mqtt.name,
        kind=known.kind or topic.kind,
        unit=topic.unit if known.unit is None else known.unit,
        low=known.limits.low,
        high=known.limits.high,
        grade=known.grade,
        node=topic.address(machine, signal),
        description=known.description,
        every_ns=(known.every_s or topic.every_s) * SECOND_NS,
        hold_ns=round(hold_s * SECOND_NS),
        raw=topic.raw if known.raw is None else known.raw,
    )


def _of_server(path: Path, opcua: OpcuaConfig) -> Iterator[Signal]:
    for variable in opcua.signals:
        yield _opcua_signal(path, opcua, variable)
    for events in opcua.events:
        told = _text_signal(path, opcua, events)
        yield told
        if events.state is not None:
            yield replace(told, name=events.state_signal, state=True)


def _text_signal(path: Path, opcua: OpcuaConfig, events: OpcuaEventsConfig) -> Signal:
    return Signal(
        path=path,
        machine=events.machine or opcua.machine,
        name=events.name,
        source=opcua.name,
        kind="text",
        node=events.node,
    )


def _opcua_signal(path: Path, opcua: OpcuaConfig, signal: OpcuaSignalConfig) -> Signal:
    return Signal(
        path=path,
        machine=signal.machine or opcua.machine,
        name=signal.name,
        source=opcua.name,
        kind=signal.kind,
        unit=signal.unit,
        low=signal.limits.low,
        high=signal.limits.high,
        grade=signal.grade,
        node=signal.node,
        description=signal.description,
        every_ns=opcua.every_s(signal) * SECOND_NS,
        hold_ns=HOLD_FOREVER,
        raw=signal.raw,
        state=signal.state,
    )
