"""One event: what is asked for of it, and what it says (OPC 10000-5, 6.4.2; OPC 10000-9, 5.5).

Enters: the fields of a notification, in the order in which they were asked for. Leaves: an `Event`
and its one line of text. A field that is absent or of another type is as good as not said; nothing
here fails.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncua import ua

from agent.sources import TEXT_MAX
from agent.sources.opcua.fallback import time_ns

_BASE: Final = ua.ObjectIds.BaseEventType
_CONDITION: Final = ua.ObjectIds.ConditionType
_ACKNOWLEDGEABLE: Final = ua.ObjectIds.AcknowledgeableConditionType
_ALARM: Final = ua.ObjectIds.AlarmConditionType

_FIELDS: Final = (
    (_BASE, "EventType"),
    (_BASE, "EventId"),
    (_BASE, "SourceName"),
    (_BASE, "Time"),
    (_BASE, "Message"),
    (_BASE, "Severity"),
)
SEVERITY: Final = 5
"""Its place in what is asked for."""
_CONDITION_FIELDS: Final = (
    (_CONDITION, ""),  # the ConditionId: the NodeId of the condition itself
    (_CONDITION, "ConditionName"),
    (_CONDITION, "Retain"),
    (_CONDITION, "BranchId"),
    (_ALARM, "ActiveState/Id"),
    (_ACKNOWLEDGEABLE, "AckedState/Id"),
)


def select(*, conditions: bool) -> list[ua.SimpleAttributeOperand]:
    """What to ask for, of conditions too or of plain events alone; `read` takes both."""
    fields = (*_FIELDS, *_CONDITION_FIELDS) if conditions else _FIELDS
    return [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(ua.Int32(type_id)),
            BrowsePath=[ua.QualifiedName(name, 0) for name in path.split("/") if path],
            AttributeId=ua.AttributeIds.Value if path else ua.AttributeIds.NodeId,
        )
        for type_id, path in fields
    ]


@dataclass(frozen=True, slots=True)
class Event:
    """An event, or a condition as it stands.

    severity : 1 to 1000, 1 where none is said
    kind : number of its type in namespace 0, 0 for others
    id : the same for the same news, however often it is told; b"" where there is none
    time_ns : UTC; None where none is said that can be
    condition : what tells it from other conditions; None for a plain event
    retain, active, acked : of the condition; None where it does not say
    is_branch : it tells of an earlier state of the condition that somebody still has to acknowledge
    """

    kind: int
    id: bytes
    source: str
    time_ns: int | None
    message: str
    severity: int
    condition: Hashable | None = None
    name: str = ""
    retain: bool | None = None
    is_branch: bool = False
    active: bool | None = None
    acked: bool | None = None

    @property
    def text(self) -> str:
        """`severity 700, Press: Oil is low (OilLevel active, not acknowledged)`."""
        source = f", {self.source}" if self.source else ""
        said = f"severity {self.severity}{source}: {self.message}"
        if self.condition is not None:
            active = {None: "", True: "active", False: "inactive"}[self.active]
            acked = {None: "", True: "acknowledged", False: "not acknowledged"}[self.acked]
            states = ", ".join(filter(None, (active, acked)))
            said += f" ({' '.join(filter(None, (self.name, states))) or 'condition'})"
        return said[:TEXT_MAX]


def read(fields: Sequence[ua.Variant]) -> Event:
    """The event that these fields say; fewer than were asked for say less."""
    values = [field.Value for field in fields]
    values += [None] * (len(_FIELDS) + len(_CONDITION_FIELDS) - len(values))
    kind, event_id, source, time, message, severity, node, name, retain, *states = values
    branch, active, acked = states
    is_condition = isinstance(retain, bool)
    source, name = _line(source), _line(name)
    return Event(
        kind=_number(kind),
        id=event_id if isinstance(event_id, bytes) else b"",
        source=source,
        time_ns=time_ns(time) if isinstance(time, datetime) else None,
        message=_line(message),
        severity=max(severity, 1) if isinstance(severity, int) else 1,
        condition=(_text_of(node) or (source, name)) if is_condition else None,
        name=name,
        retain=retain if is_condition else None,
        is_branch=bool(_text_of(branch)),
        active=active if isinstance(active, bool) else None,
        acked=acked if isinstance(acked, bool) else None,
    )


def _line(value: object) -> str:
    """A text in one line."""
    if isinstance(value, ua.LocalizedText):
        value = value.Text
    return " ".join(value.split()) if isinstance(value, str) else ""


def _text_of(node: object) -> str:
    """A NodeId as text, "" where it is null."""
    return node.to_string() if isinstance(node, ua.NodeId) and not node.is_null() else ""


def _number(kind: object) -> int:
    """The number of a type in namespace 0."""
    if not isinstance(kind, ua.NodeId) or kind.NamespaceIndex != 0:
        return 0
    return kind.Identifier if isinstance(kind.Identifier, int) else 0
