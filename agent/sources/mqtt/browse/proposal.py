"""What was heard, as a configuration would have it.

Enters: topics with samples of their payloads. Leaves: offers, each a table `[[mqtt.topics]]`; what
Sparkplug says; what was left out, by cause. Nothing fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.config import MqttConfig
from agent.config.fields import check_name, check_signal_name
from agent.signals import Kind
from agent.sources.mqtt.browse.families import Family, families
from agent.sources.mqtt.browse.heard import Heard, Topic
from agent.sources.mqtt.browse.nodes import Sparkplug, nodes
from agent.sources.mqtt.browse.places import Place, place
from agent.sources.mqtt.browse.shapes import Shape, shape_of
from agent.sources.mqtt.browse.signals import (
    Key,
    Named,
    config_of,
    keys,
    kinds_by_signal,
    named,
    runs,
)
from agent.sparkplug import NAMESPACE

KNOWN_MAX: Final = 200
"""Tables `[[mqtt.signals]]` of one offer."""

Identity = tuple[tuple[str, ...], str, str | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A table `[[mqtt.signals]]`: a signal of another kind than its topic says, and why."""

    machine: str
    name: str
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One table `[[mqtt.topics]]`.

    payload : the table of that name; empty where nothing can read it
    reason : how the kind is known, where it is a guess
    hold_s : 0 where none of it was heard twice
    topics : that were heard
    intervals_s : the shortest and the longest mean time between messages; None where none is known
    remark : what a person should know
    why_not : why it is only a comment; empty where it can be used as it is
    example : a payload
    """

    topic: str
    payload: dict[str, Any]
    machine: str | None
    signal: str | None
    kind: Kind
    reason: str
    state: bool
    hold_s: int
    topics: tuple[str, ...]
    machines: tuple[str, ...]
    signals: tuple[str, ...]
    intervals_s: tuple[float, float] | None
    remark: str
    why_not: str
    example: bytes
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything found. left_out : topics that are in no offer, by cause."""

    offers: tuple[Offer, ...]
    sparkplug: Sparkplug | None = None
    left_out: Counter[str] = field(default_factory=Counter)


def propose(heard: Heard, broker: MqttConfig) -> Proposal:
    """Make tables of what was heard; what `broker` reads already is left out."""
    left_out: Counter[str] = Counter()
    shapes: dict[str, Shape] = {}
    sparkplug: list[Topic] = []
    topics: dict[str, Topic] = {}
    for topic in heard.topics.values():
        cause = _cause(topic, broker)
        if cause:
            left_out[cause] += 1
        elif topic.name.startswith(f"{NAMESPACE}/"):
            sparkplug.append(topic)
        else:
            topics[topic.name] = topic
            shapes[topic.name] = shape_of(topic.samples)
    found: dict[str, Key] = {}
    for family in families(shapes):
        members = _named(family, shapes[family.topics[0]], "analog", topics, broker)
        fit = [one for one in members if _has_names(one)]
        left_out["a level cannot be a name"] += len(members) - len(fit)
        found |= keys(shapes[family.topics[0]], fit, heard.now_ns)
    taken: dict[Identity, str] = {}
    offers = [_offer(family, found, topics, broker, taken) for family in families(found)]
    return Proposal(tuple(offers), nodes(sparkplug), +left_out)


def _cause(topic: Topic, broker: MqttConfig) -> str:
    """Why a topic is in no offer; empty where it is in one."""
    if topic.name.startswith(f"{NAMESPACE}/"):
        levels = topic.name.split("/")
        host = broker.sparkplug
        return "read already" if host and host.reads(levels[1], "") else ""
    if any(rule.names(topic.name) is not None for rule in broker.topics):
        return "read already"
    if not topic.samples:
        return "no payload" if topic.bytes_max == 0 else "payloads too long to keep"
    return ""


def _place(family: Family, shape: Shape, broker: MqttConfig) -> Place:
    return place(family, broker.name, names_signals=shape.names_signals)


def _named(
    family: Family, shape: Shape, kind: Kind, topics: Mapping[str, Topic], broker: MqttConfig
) -> list[Named]:
    """The topics of a family, with what their levels name."""
    config = config_of(_place(family, shape, broker), shape, shape.kind or kind)
    return [named(config, topics[topic]) for topic in family.topics]


def _has_names(one: Named) -> bool:
    """Whether what it names can be names."""
    try:
        check_name(one.machine)
        if one.signal is not None:
            check_signal_name(one.signal)
        for part in filter(None, one.path):
            check_name(part)
    except ValueError:
        return False
    return True


def _offer(
    family: Family,
    found: Mapping[str, Key],
    topics: Mapping[str, Topic],
    broker: MqttConfig,
    taken: dict[Identity, str],
) -> Offer:
    key = found[family.topics[0]]
    placed = _place(family, key.shape, broker)
    members = _named(family, key.shape, key.kind, topics, broker)
    heard = [one.heard for one in members]
    identities = _identities(key.shape, members)
    other = next((taken[identity] for identity in identities if identity in taken), "")
    why_not = "" if key.shape.is_sure else "somebody must say more"
    if other:
        why_not = f"its signals would be those of {other}"
    if not why_not:
        taken |= dict.fromkeys(identities, family.topics[0])
    intervals_s = [topic.interval_s for topic in heard if topic.live > 1]
    return Offer(
        placed.topic, key.shape.table if key.shape.text else {}, placed.machine, placed.signal,
        key.kind, key.reason, key.state, key.hold_s, family.topics,
        tuple(dict.fromkeys(one.machine for one in members)),
        tuple(dict.fromkeys(signal for _, _, signal in identities if signal is not None)),
        (min(intervals_s), max(intervals_s)) if intervals_s else None,
        key.shape.remark, why_not, heard[0].samples[-1].payload,
        _known(key, members),
    )  # fmt: skip


def _identities(shape: Shape, members: Sequence[Named]) -> list[Identity]:
    """The signals that these topics bring."""
    return [
        (one.path, one.machine, name)
        for one in members
        for name in (runs(shape, one.heard) if shape.names_signals else (one.signal,))
    ]


def _known(key: Key, members: Sequence[Named]) -> tuple[Known, ...]:
    """Signals that payloads name and that are of another kind than most."""
    if not key.shape.names_signals:
        return ()
    guesses = kinds_by_signal(key.shape, [one.heard for one in members])
    other = {name: guess for name, guess in guesses.items() if guess.kind != key.kind and name}
    known = [
        Known(machine, name, guess.kind, guess.reason)
        for machine in dict.fromkeys(one.machine for one in members)
        for name, guess in other.items()
    ]
    return tuple(known[:KNOWN_MAX])
