"""Sparkplug B as it was heard: groups, nodes, devices and what their births say.

Enters: topics of `spBv1.0/`. Leaves: members with their metrics, and the table `[mqtt.sparkplug]`
that would read them. Nothing fails; a birth that cannot be read is one that was not heard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.config import SparkplugHostConfig
from agent.kernels.sparkplug import metrics as kernel
from agent.sources.mqtt.browse.heard import Topic
from agent.sources.mqtt.sparkplug.born import Defined, PayloadError, read_birth
from agent.sparkplug import Topic as Address

METRICS_MAX: Final = 100_000
"""Of a birth."""
MACHINES: Final = ("{device}", "{node}-{device}", "{group}-{node}-{device}")
"""How machines are called: the first by which all can be told apart."""
_BIRTHS: Final = ("NBIRTH", "DBIRTH")


@dataclass(frozen=True, slots=True)
class Member:
    """A node, or one of its devices.

    device : "" for the node itself
    metrics : of its newest birth; None where none was heard
    live : messages it sent meanwhile
    """

    group: str
    node: str
    device: str
    metrics: tuple[Defined, ...] | None
    live: int


@dataclass(frozen=True, slots=True)
class Sparkplug:
    """All members, and what reads them.

    hosts : host applications, and whether they say that they are online
    """

    members: tuple[Member, ...]
    hosts: dict[str, bool]
    machine: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Their groups."""
        return tuple(sorted({member.group for member in self.members}))


def nodes(topics: Iterable[Topic]) -> Sparkplug | None:
    """What these topics tell; None where there is no member among them."""
    found: dict[tuple[str, str, str], Member] = {}
    hosts: dict[str, bool] = {}
    for topic in topics:
        levels = topic.name.split("/")
        if levels[1] == "STATE" and len(levels) == 3:
            hosts[levels[2]] = _is_online(topic)
            continue
        try:
            address = Address.parse(topic.name)
        except ValueError:
            continue
        if address.message.endswith("CMD"):
            continue
        key = address.group, address.node, address.device
        before = found.get(key, Member(*key, None, 0))
        metrics = _metrics(topic) if address.message in _BIRTHS else None
        found[key] = Member(*key, metrics or before.metrics, before.live + topic.live)
    members = tuple(found[key] for key in sorted(found))
    return Sparkplug(members, hosts, _machine(members)) if members else None


def _metrics(topic: Topic) -> tuple[Defined, ...] | None:
    """What the newest birth says that can be read."""
    for sample in reversed(topic.samples):
        raw = np.frombuffer(sample.payload, np.uint8)
        head = np.empty((1, kernel.HEAD), np.int64)
        kernel.heads(raw, np.zeros(1, np.int64), np.array([raw.size]), head)
        count = int(head[0, kernel.METRICS])
        if head[0, kernel.FAULT] < 0 or count > METRICS_MAX:
            continue
        try:
            return read_birth(raw, 0, raw.size, count).metrics
        except PayloadError:
            continue
    return None


def _is_online(topic: Topic) -> bool:
    """A host's own word (Sparkplug 3.0, 6.4.19); before 3.0 it was a text."""
    payload = topic.samples[-1].payload if topic.samples else b""
    try:
        said: Any = json.loads(payload)
    except ValueError:
        return payload == b"ONLINE"
    return isinstance(said, dict) and said.get("online") is True


def _machine(members: Iterable[Member]) -> str:
    for template in MACHINES:
        named = SparkplugHostConfig(machine=template).machine_of
        names = [named(member.group, member.node, member.device) for member in members]
        if len(set(names)) == len(names):
            return template
    return MACHINES[-1]
