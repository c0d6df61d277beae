"""One event: what is asked for of it, and what it says (OPC 10000-5, 6.4.2; OPC 10000-9, 5.5 to 5.8).

Enters: the fields of a notification, in the order in which they were asked for. Leaves: an `Event`
and its one line of text. A field that is absent or of another type is as good as not said; nothing
here fails.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

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
    kind, event_id, source, time, message, severity, *condition = values
    node, name, retain, branch, active, acked = condition
    event = Event(
        kind=_number(kind),
        id=event_id if isinstance(event_id, bytes) else b"",
        source=_line(source),
        time_ns=time_ns(time) if isinstance(time, datetime) else None,
        message=_line(message),
        severity=severity if isinstance(severity, int) else 0,
    )
    if not isinstance(retain, bool):
        return event
    told = Event(
        event.kind, event.id, event.source, event.time_ns, event.message, event.severity,
        condition=node.to_string() if _is_node(node) else (event.source, _line(name)),
        name=_line(name),
        retain=retain,
        is_branch=_is_node(branch),
        active=active if isinstance(active, bool) else None,
        acked=acked if isinstance(acked, bool) else None,
    )  # fmt: skip
    return told
