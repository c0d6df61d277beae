"""What our lines are to a Sparkplug host: changes of metrics.

| line | metrics of its machine's device |
|---|---|
| `window` | `<signal>/n`, `good`, `mean`, ... at the window's start; null where it is empty |
| `sample` | `<signal>/value` or `<signal>/text`, with its quality |
| `anomaly` | `<signal>/anomaly/<detector>/score`, ..., `active`: false from its `ended_ns` on |
| `state`, `machine` | `_machine/state`, `_machine/model`, ... |
| `cycle`, `cycle_value` | `_machine/cycle/<station>/...`, `<signal>/cycle/<station>/...` |
| `signal` | properties of that signal's metrics in births: `engUnit`, `engLow`, `engHigh`, ... |
| `gateway` | `gateway/...` of the node itself |

Lines of other measurements cannot be held. Windows and samples are told one by one; of the rest
only what differs. Times are in milliseconds: what a line has below them is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.lines.parse import Line, Value, parse_series
from agent.signals import MACHINE_SIGNAL, Path
from agent.sinks.sparkplug.data import NO_DATA
from agent.sinks.sparkplug.node import DATATYPES, Change, Device, Node, Tag, text_property
from agent.sinks.wire import level
from agent.sparkplug import ENGINEERING_UNIT, DataType, Property, PropertySet

ROUTES_MAX: Final = 200_000
"""Series whose place is kept; with more all are found again."""

_MS_NS: Final = 1_000_000
_PATH: Final = ("enterprise", "site", "area", "line")
_ENDED: Final = "ended_ns"
_VALUES: Final = frozenset({"mean", "std", "min", "max", "first", "last", "increase", "value"})
"""Fields that are in their signal's unit."""
_ABOUT: Final = {"unit": ENGINEERING_UNIT, "low": "engLow", "high": "engHigh"}
"""Properties by the names that hosts know."""
_FOLDERS: Final = {
    "window": "{signal}",
    "sample": "{signal}",
    "signal": "{signal}",
    "anomaly": "{signal}/anomaly/{detector}",
    "state": MACHINE_SIGNAL,
    "machine": MACHINE_SIGNAL,
    "cycle": f"{MACHINE_SIGNAL}/cycle/{{station}}",
    "cycle_value": "{signal}/cycle/{station}",
    "gateway": "gateway",
}


@dataclass(slots=True, eq=False)
class Route:
    """Where the lines of one series go."""

    take: Callable[[Route, Line], None]
    device: Device
    folder: str
    signal: str = ""
    properties: PropertySet = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)


class Points:
    """Turns lines into changes of a node's metrics.

    path : the gateway's own; machines elsewhere have that place before their name
    windows : whether windows are told
    """

    def __init__(self, node: Node, path: Path, *, windows: bool = True) -> None:
        self._node = node
        self._path = {name: getattr(path, name) for name in _PATH}
        self._routes: dict[str, Route | None] = {}
        self._takes = {
            "window": self._take_window if windows else None,
            "sample": self._take_sample,
            "signal": self._take_signal,
            "anomaly": self._take_anomaly,
        }

    def take(self, line: Line) -> bool:
        """Take up a line; whether it can be held. Raises ValueError where it is wrong."""
        try:
            route = self._routes[line.series]
        except KeyError:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            route = self._routes[line.series] = self._route(line.series)
        if route is None:
            return False
        if line.time_ns < 0:
            raise ValueError("it is of before 1970, where Sparkplug has no time")
        route.take(route, line)
        return True

    def _route(self, series: str) -> Route | None:
        """The place of a series; None where it has none."""
        said = parse_series(series)
        folder, tags = _FOLDERS.get(said.measurement), said.tags
        take = self._takes.get(said.measurement, self._take_rest)
        if folder is None or take is None:
            return None
        try:
            name = "" if said.measurement == "gateway" else self._device_name(tags)
            folder = folder.format_map(tags)
        except KeyError as error:
            raise ValueError(f"a {said.measurement} without a {error.args[0]}") from None
        device = self._node.device(name, {one: tags[one] for one in _PATH if one in tags})
        properties = {"every": text_property(tags["every"])} if "every" in tags else {}
        return Route(take, device, folder, tags.get("signal", ""), properties)

    def _device_name(self, tags: Mapping[str, str]) -> str:
        """The machine; before it, where it is not in the gateway's own line, where else it is."""
        names = [tags["machine"]]
        if any(tags.get(name, "") != own for name, own in self._path.items()):
            differs = next(
                i for i, name in enumerate(_PATH) if tags.get(name, "") != self._path[name]
            )
            names = [tags.get(name, "") for name in _PATH[differs:]] + names
        return ":".join(level(name).replace(":", "%3A") for name in names)

    def _tag(self, route: Route, name: str, value: Value | None) -> Tag:
        tag = route.tags.get(name)
        if tag is None or value is not None:
            full = f"{route.folder}/{name}"
            signal = route.signal if name in _VALUES else ""
            tag = self._node.tag(route.device, full, value, signal, route.properties)
            route.tags[name] = tag
        return tag

    def _take_window(self, route: Route, line: Line) -> None:
        self._add(route, line.time_ns // _MS_NS, line.fields, False, NO_DATA)

    def _take_rest(self, route: Route, line: Line) -> None:
        self._add(route, line.time_ns // _MS_NS, line.fields, True, 0)

    def _take_anomaly(self, route: Route, line: Line) -> None:
        fields = dict(line.fields)
        ended_ns = fields.pop(_ENDED, None)
        fields["active"] = ended_ns is None
        time_ns = max(ended_ns, line.time_ns) if isinstance(ended_ns, int) else line.time_ns
        self._add(route, time_ns // _MS_NS, fields, True, 0)

    def _take_sample(self, route: Route, line: Line) -> None:
        fields = line.fields
        status = fields.get("status", 0)
        name = (
            "text"
            if "text" in fields or ("value" not in fields and "text" in route.tags)
            else ("value")
        )
        value = fields.get(name)
        change = (
            line.time_ns // _MS_NS, self._tag(route, name, value), value,
            status & 0xFFFF_FFFF if isinstance(status, int) else 0, False,
        )  # fmt: skip
        route.device.changes.append(change)

    def _take_signal(self, route: Route, line: Line) -> None:
        about = {
            _ABOUT.get(name, name): Property(DataType.DOUBLE, value)
            if isinstance(value, float)
            else text_property(str(value))
            for name, value in line.fields.items()
        }
        route.device.learn(route.signal, about)

    def _add(
        self, route: Route, time_ms: int, fields: Mapping[str, Value], on_change: bool, absent: int
    ) -> None:
        """A change for each field, and null for those that the line lacks.

        absent : the status of what it lacks
        """
        tags, known = route.tags, route.tags.get
        changes: list[Change] = []
        for name, value in fields.items():
            if name == "rev":
                continue
            tag = known(name)
            if tag is None or DATATYPES[type(value)] is not tag.datatype:
                tag = self._tag(route, name, value)
            changes.append((time_ms, tag, value, 0, on_change))
        if len(changes) < len(tags):
            for name, tag in tags.items():
                if name not in fields:
                    changes.append((time_ms, tag, None, absent, True))
        route.device.changes += changes
