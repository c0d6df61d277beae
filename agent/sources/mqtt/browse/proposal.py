"""What was heard, as a configuration would have it.

Enters: topics with samples of their payloads. Leaves: offers, each a table `[[mqtt.topics]]`; what
Sparkplug says; what was left out, by cause. Nothing fails.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.config import MqttConfig
from agent.config.fields import check_signal_name
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

EXAMPLE_BYTES_MAX: Final = 40

_NAMELESS: Final = "a level cannot be a name"
_OWN: Final = "told by Andon itself"
_TOLD: Final = re.compile(rb'\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",')
"""How the unified namespace of a gateway begins; who else writes nine digits?"""

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
    names : what its levels, or payloads, name, by placeholder
    clock_s : how far its times are ahead of this computer's; 0 where they are not told
    is_kept : all of it was kept by the broker; nothing was sent while we listened
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
    names: dict[str, tuple[str, ...]]
    intervals_s: tuple[float, float] | None
    clock_s: float
    is_kept: bool
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

    @property
    def usable(self) -> bool:
        """Whether there is anything that can be read as it stands."""
        return self.sparkplug is not None or any(not offer.why_not for offer in self.offers)


def propose(heard: Heard, broker: MqttConfig, own_nodes: Collection[str] = ()) -> Proposal:
    """Make tables of what was heard; what `broker` reads already is left out.

    own_nodes : of Sparkplug, as group/node, that this gateway itself is
    """
    left_out: Counter[str] = Counter()
    shapes: dict[str, Shape] = {}
    sparkplug: list[Topic] = []
    topics: dict[str, Topic] = {}
    for topic in heard.topics.values():
        cause = _cause(topic, broker, own_nodes)
        if cause:
            left_out[cause] += 1
        elif topic.name.startswith(f"{NAMESPACE}/"):
            sparkplug.append(topic)
        else:
            topics[topic.name] = topic
            shapes[topic.name] = shape_of(topic.samples)
    found: dict[str, Key] = {}
    for family in families(shapes):
        _, members = _named(family, shapes, topics, broker)
        fit = [one for one in members if all(one.names.values())]
        left_out[_NAMELESS] += len(members) - len(fit)
        found |= keys(fit, heard.now_ns)
    taken: dict[Identity, str] = {}
    offers = [_offer(family, found, topics, broker, taken) for family in families(found)]
    return Proposal(tuple(offers), nodes(sparkplug), +left_out)


def _cause(topic: Topic, broker: MqttConfig, own_nodes: Collection[str]) -> str:
    """Why a topic is in no offer; empty where it is in one."""
    if topic.name.startswith(f"{NAMESPACE}/"):
        levels = topic.name.split("/")
        if "/".join((levels[1], *levels[3:4])) in own_nodes:
            return _OWN
        host = broker.sparkplug
        return "read already" if host and host.reads(levels[1], "") else ""
    if any(rule.names(topic.name) is not None for rule in broker.topics):
        return "read already"
    if topic.samples and all(_TOLD.match(sample.payload) for sample in topic.samples):
        return _OWN
    if not topic.name.isprintable() or set(topic.name) & set("{}"):
        return "topics that no pattern can have"
    if not _can_be_names(topic.name):
        return _NAMELESS
    if not topic.samples:
        return "no payload" if topic.bytes_max == 0 else "payloads too long to keep"
    return ""


def _named(
    family: Family, shapes: Mapping[str, Shape], topics: Mapping[str, Topic], broker: MqttConfig
) -> tuple[Place, list[Named]]:
    """Where a family's names are, and what each of its topics names."""
    shape = shapes[family.topics[0]]
    placed = place(family, broker.name, names_signals=shape.names_signals)
    config = config_of(placed, shape)
    return placed, [named(config, topics[name], shapes[name]) for name in family.topics]


def _can_be_names(topic: str) -> bool:
    """Whether its levels can be names of machines and signals, or are empty."""
    try:
        for level in filter(None, topic.split("/")):
            check_signal_name(level)
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
    shapes = {name: found[name].shape for name in family.topics}
    placed, members = _named(family, shapes, topics, broker)
    heard = [one.heard for one in members]
    identities = _identities(members)
    other = next((taken[identity] for identity in identities if identity in taken), "")
    why_not = "" if key.shape.is_sure else "somebody must say more"
    if other:
        why_not = f"its signals would be those of {other}"
    if not why_not:
        taken |= dict.fromkeys(identities, family.topics[0])
    intervals_s = [topic.interval_s for topic in heard if topic.live > 1]
    return Offer(
        placed.topic, key.shape.table if key.shape.text else {}, placed.machine, placed.signal,
        key.kind, key.reason, key.state, key.hold_s, family.topics, _names(members),
        (min(intervals_s), max(intervals_s)) if intervals_s else None,
        _clock_s(members[0]), not any(topic.live for topic in heard),
        _remark(members),
        why_not, heard[0].samples[-1].payload, _known(key, members),
    )  # fmt: skip


def _remark(members: Sequence[Named]) -> str:
    """What a person should know of how they are written."""
    said = [*(one.shape.remark for one in members), _unread(members)]
    return "; ".join(dict.fromkeys(filter(None, said)))


def _unread(members: Sequence[Named]) -> str:
    """How many payloads the table would not read; empty where it reads all."""
    sure = [(one.shape, one.heard.samples) for one in members if one.shape.is_sure]
    unread = [
        sample.payload
        for shape, samples in sure
        if len(shape.read(samples)) < len(samples)
        for sample in samples
        if not shape.read([sample])
    ]
    if not unread:
        return ""
    example = unread[0][:EXAMPLE_BYTES_MAX].decode(errors="backslashreplace")
    of = f"{len(unread):,} of {sum(len(samples) for _, samples in sure):,} payloads looked at"
    return f"{of} cannot be read so, such as {example}"


def _identities(members: Sequence[Named]) -> list[Identity]:
    """The signals that these topics bring."""
    return [
        (one.path, one.machine, name)
        for one in members
        for name in (runs(one) if one.signal is None else (one.signal,))
    ]


def _names(members: Sequence[Named]) -> dict[str, tuple[str, ...]]:
    """What levels and payloads name, by placeholder."""
    found: dict[str, dict[str, None]] = {}
    for one in members:
        for placeholder, name in one.names.items():
            found.setdefault(placeholder, {})[name] = None
        if one.signal is None:
            found.setdefault("signal", {}).update(dict.fromkeys(filter(None, runs(one))))
    return {placeholder: tuple(names) for placeholder, names in found.items()}


def _clock_s(one: Named) -> float:
    """How far the times of a topic are ahead of when they came; 0 where they are not told."""
    live = [sample for sample in one.heard.samples if not sample.retained]
    if not one.shape.is_sure or not live:
        return 0.0
    ahead_ns = [
        readings[-1].time_ns - sample.at_ns
        for sample in live
        for readings in one.shape.read([sample])
        if readings[-1].time_ns is not None
    ]
    return statistics.median(ahead_ns) / 1e9 if ahead_ns else 0.0


def _known(key: Key, members: Sequence[Named]) -> tuple[Known, ...]:
    """Signals that payloads name and that are of another kind than most."""
    if not key.shape.names_signals:
        return ()
    guesses = kinds_by_signal(members)
    other = {name: guess for name, guess in guesses.items() if guess.kind != key.kind and name}
    known = [
        Known(machine, name, guess.kind, guess.reason)
        for machine in dict.fromkeys(one.machine for one in members)
        for name, guess in other.items()
    ]
    return tuple(known[:KNOWN_MAX])
