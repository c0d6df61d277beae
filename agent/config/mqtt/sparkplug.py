"""The table `[mqtt.sparkplug]`: what is read as Sparkplug B 3.0, as a host that is not primary."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator

from agent.config.fields import NAME_CHARS_MAX, Table, broken, check_name
from agent.config.opcua import EverySeconds

NAMESPACE: Final = "spBv1.0"
"""The first level of every topic (Sparkplug 3.0, 4.1)."""

CONTROL_METRICS: Final = (
    "bdSeq", "Node Control/*", "Node Info/*", "Device Control/*", "Properties/*",
)  # fmt: skip
"""Metrics that are about nodes and devices, not about machines; read only where they are named."""

_PLACEHOLDER: Final = re.compile(r"\{(group|node|device)\}")


def check_sparkplug_id(text: str) -> str:
    """Return a group, node or device id (Sparkplug 3.0, 4.1.1 to 4.1.3).

    Raises PydanticCustomError, a ValueError.
    """
    if re.search(r"[+#/]", check_name(text)):
        raise broken("it must have no +, # and /")
    return text


def as_sparkplug_id(name: str) -> str:
    """A name as a group, node or device can be called."""
    return re.sub(r"[+#/]", "-", name)


def _group(text: str) -> str:
    if text == "STATE":
        raise broken("it must be another name: STATE stands for hosts")
    return check_sparkplug_id(text)


SparkplugGroup = Annotated[
    str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(_group)
]
SparkplugId = Annotated[
    str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(check_sparkplug_id)
]


class SparkplugHostConfig(Table):
    """Nodes and devices that speak Sparkplug B, and how their metrics become signals."""

    groups: tuple[str, ...] = Field(("+",), json_schema_extra={"minItems": 1})
    """The groups to read; `+` is every group."""
    machine: str = Field("{device}", min_length=1, max_length=NAME_CHARS_MAX)
    """How machines are called: text with `{group}`, `{node}` and `{device}`. For metrics of a node
    itself `{device}` is the node."""
    metrics: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """The metrics to read, by name, with `*` for any text; empty for all but `bdSeq` and those
    below `Node Control`, `Node Info`, `Device Control` and `Properties`."""
    ignore: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """Nodes not to read, as group/node, with `*` for any text. What this gateway itself sends to
    the same broker is never read."""
    reorder_ms: int = Field(2000, ge=0, le=60_000)
    """How long to wait for a message that others have overtaken."""
    rebirth: bool = True
    """Ask nodes for a new birth where messages are missing or names are not known; this writes to
    the node's own command topic and to nothing else."""
    rebirth_every_s: int = Field(60, ge=1, le=86_400)
    """A node is asked at most this often."""
    every_s: EverySeconds = 10
    """Width of the windows."""
    raw: bool = False
    """Send every sample beside the windows."""

    @property
    def filters(self) -> frozenset[str]:
        """The topic filters to subscribe to."""
        return frozenset(f"{NAMESPACE}/{group}/#" for group in self.groups)

    def machine_of(self, group: str, node: str, device: str) -> str:
        """The machine of a device, or of a node itself where `device` is empty."""
        names = {"group": group, "node": node, "device": device or node}
        return _PLACEHOLDER.sub(lambda match: names[match[1]], self.machine)

    def reads(self, group: str, node: str) -> bool:
        """Whether a node is read."""
        is_ignored = any(fnmatchcase(f"{group}/{node}", pattern) for pattern in self.ignore)
        return ("+" in self.groups or group in self.groups) and not is_ignored

    def takes(self, metric: str) -> bool:
        """Whether a metric of this name is read."""
        if self.metrics:
            return any(fnmatchcase(metric, pattern) for pattern in self.metrics)
        return not any(fnmatchcase(metric, pattern) for pattern in CONTROL_METRICS)

    @field_validator("groups")
    @classmethod
    def _groups_are_apart(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if not groups:
            raise broken("it must have at least one", 'every group is groups = ["+"]')
        if "+" in groups and len(groups) > 1:
            raise broken("+ is every group, so it must stand alone")
        for group in groups:
            if group != "+":
                _group(group)
        if len(set(groups)) < len(groups):
            raise broken("each group must be given once")
        return groups

    @field_validator("machine")
    @classmethod
    def _machine_is_a_name(cls, text: str) -> str:
        if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
            raise broken(
                "it must be text with {group}, {node} and {device}",
                'such as machine = "{node}-{device}"',
            )
        return check_name(text)
