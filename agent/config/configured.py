"""Signals as the configuration describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agent.config.fields import UNIT_CHARS_MAX, check_name, check_signal_name
from agent.config.model import Config
from agent.config.mqtt import MqttConfig, SparkplugHostConfig, TopicConfig, TopicSignalConfig
from agent.config.mqtt.sparkplug import NAMESPACE
from agent.config.opcua import OpcuaConfig, OpcuaEventsConfig, OpcuaSignalConfig
from agent.signals import HOLD_FOREVER, SECOND_NS, Kind, Path, Signal

_UNKNOWN: Final = TopicSignalConfig(machine="any", name="any")
"""Says nothing of a signal; made once, since a birth may bring 100,000."""
_PATH_PARTS: Final = ("enterprise", "site", "area", "line")


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
    config: Config,
    mqtt: MqttConfig,
    topic: TopicConfig,
    names: Mapping[str, str],
    signal: str,
    unit: str = "",
) -> Signal:
    """The signal of this name that `topic` brings.

    names : what the topic names, by placeholder (`machine`, `site`...)
    unit : as the payload says it; used where the configuration gives none
    Raises ValueError where a name that came with a message cannot be one; `str(error)` says why.
    """
    machine = topic.machine or names["machine"]
    check_name(machine)
    check_signal_name(signal)
    path = config.path
    if parts := {part: names[part] for part in _PATH_PARTS if part in names}:
        for part in parts.values():
            check_name(part)
        path = replace(path, **parts)
    known = mqtt.known.get((machine, signal), _UNKNOWN)
    kind = known.kind or topic.kind
    if topic.kind == "waveform" and kind != "waveform":
        raise ValueError("its topic brings waveforms; leave kind out of its [[mqtt.signals]]")
    address = topic.address(names)
    hold_s = topic.hold_s if known.hold_s is None else known.hold_s
    state = topic.state if known.state is None else known.state
    learned = Signal(
        path=path,
        machine=machine,
        name=signal,
        source=mqtt.name,
        kind=kind,
        unit=topic.unit or _unit(unit),
        node=f"{address}:{signal}" if topic.payload.names_signals else address,
        every_ns=topic.every_s * SECOND_NS,
        hold_ns=round(hold_s * SECOND_NS),
        raw=topic.raw,
        state=state and kind == "text",
    )
    return _described(learned, known)


def sparkplug_signal(
    config: Config,
    mqtt: MqttConfig,
    group: str,
    node: str,
    device: str,
    metric: str,
    kind: Kind,
    unit: str = "",
) -> Signal:
    """The signal of a metric of a device, or of a node itself where `device` is empty.

    kind : by its data type; unit : as its birth says it; both where the configuration says nothing
    Raises ValueError where a name that came with a birth cannot be one; `str(error)` says why.
    """
    host = mqtt.sparkplug or SparkplugHostConfig()
    machine = host.machine_of(group, node, device)
    check_name(machine)
    check_signal_name(metric)
    known = mqtt.known.get((machine, metric), _UNKNOWN)
    kind = known.kind or kind
    learned = Signal(
        path=config.path,
        machine=machine,
        name=metric,
        source=mqtt.name,
        kind=kind,
        unit=_unit(unit),
        node="/".join(part for part in (NAMESPACE, group, node, device) if part) + f":{metric}",
        every_ns=host.every_s * SECOND_NS,
        hold_ns=HOLD_FOREVER,
        raw=host.raw,
        state=bool(known.state) and kind == "text",
    )
    return _described(learned, known)


def sparkplug_node(signal: Signal) -> tuple[str, str] | None:
    """The Sparkplug node, as (group, node), that a signal comes from; None of any other."""
    levels = signal.node.removesuffix(f":{signal.name}").split("/")
    is_metric = levels[0] == NAMESPACE and len(levels) in (3, 4)
    return (levels[1], levels[2]) if is_metric else None


def relearned(config: Config, mqtt: MqttConfig, signal: Signal) -> Signal | None:
    """What the configuration says now of a signal that a broker brought before.

    None where this broker would not bring it any more.
    """
    try:
        found = _as_metric(config, mqtt, signal) or _as_topic(config, mqtt, signal)
    except ValueError:  # the names that would be taken for it now cannot be names
        return None
    return found if found is not None and found.key == signal.key else None


def _as_metric(config: Config, mqtt: MqttConfig, signal: Signal) -> Signal | None:
    levels = signal.node.removesuffix(f":{signal.name}").split("/")
    if mqtt.sparkplug is None or levels[0] != NAMESPACE or len(levels) not in (3, 4):
        return None
    group, node, device = (*levels[1:], "")[:3]
    if not (mqtt.sparkplug.reads(group, node) and mqtt.sparkplug.takes(signal.name)):
        return None
    return sparkplug_signal(
        config, mqtt, group, node, device, signal.name, signal.kind, signal.unit
    )


def _as_topic(config: Config, mqtt: MqttConfig, signal: Signal) -> Signal | None:
    for topic in mqtt.topics:
        payload = topic.payload
        address = signal.node
        if payload.names_signals:
            address = address.removesuffix(f":{signal.name}")
            if address == signal.node or not payload.may_name(signal.name):
                continue
        names = topic.names(address)
        if names is not None:
            name = signal.name if payload.names_signals else topic.signal or names["signal"]
            unit = signal.unit if payload.json_ and payload.json_.unit else ""
            return topic_signal(config, mqtt, topic, names, name, unit)
    return None


def _described(learned: Signal, known: TopicSignalConfig) -> Signal:
    """A signal that came with a message, with what is known of it."""
    return replace(
        learned,
        unit=learned.unit if known.unit is None else known.unit,
        low=known.limits.low,
        high=known.limits.high,
        grade=known.grade,
        description=known.description,
        every_ns=known.every_s * SECOND_NS if known.every_s else learned.every_ns,
        raw=learned.raw if known.raw is None else known.raw,
    )


def _unit(text: str) -> str:
    """A unit that came with a message, where it can be one."""
    return text if len(text) <= UNIT_CHARS_MAX and text.isprintable() else ""


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
