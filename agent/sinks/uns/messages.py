"""What our lines are in a unified namespace: a topic and a JSON object.

Under `[prefix/]enterprise/site/area/line/machine/`:

| line | topic | retained |
|---|---|---|
| `sample` | `<signal>` | the newest live one |
| `window` | `<signal>/window` | the newest live one |
| `signal` | `<signal>/meta` | the newest |
| `anomaly` | `<signal>/anomaly/<detector>` | the newest |
| `machine`, `state` | `_machine/meta`, `_machine/state` | the newest |
| `cycle`, `cycle_value` | `_machine/cycle/<station>`, `<signal>/cycle/<station>` | the newest |
| `gateway` | `enterprise/site/area/_gateway/<gateway>` | the newest live one |

A slash in a signal's name makes a level of its own; what no level can hold is percent-encoded. A
level that is not known is left out. The object is UTF-8 without blanks: `time` (RFC 3339, UTC, all
nine digits), then `every` of a window, the line's fields in the line's order, then what is said
below of samples, and `unit` where a `signal` line has told it. The same line gives the same bytes.
"""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agent.lines.parse import Line, Value, parse_series
from agent.signals import MACHINE_SIGNAL
from agent.sinks.wire import TOPIC_BYTES_MAX, Message, level

ROUTES_MAX: Final = 200_000
"""Series whose topic is kept; with more all are made again."""

UNKNOWN_NS: Final = -(1 << 63)
"""No line is as old."""

GOOD, UNCERTAIN, BAD = "good", "uncertain", "bad"

_SECOND_NS: Final = 1_000_000_000
_SECOND_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"
_PATH: Final = ("enterprise", "site", "area", "line", "machine")
_TAILS: Final = {
    "sample": "{signal}",
    "window": "{signal}/window",
    "signal": "{signal}/meta",
    "anomaly": "{signal}/anomaly/{detector}",
    "machine": f"{MACHINE_SIGNAL}/meta",
    "state": f"{MACHINE_SIGNAL}/state",
    "cycle": f"{MACHINE_SIGNAL}/cycle/{{station}}",
    "cycle_value": "{signal}/cycle/{station}",
    "gateway": "_gateway/{gateway}",
}
_PASSING: Final = frozenset({"sample", "window", "gateway"})
"""Lines that are followed by a newer one soon."""
_IN_UNIT: Final = frozenset({"sample", "window", "anomaly", "cycle_value"})

_string: Final[Callable[[str], str]] = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(slots=True, eq=False)
class _Route:
    """Where the lines of one series go.

    about : the topic of its signal's own line, by which the unit is known
    newest_ns : of the line that was sent last, as far as time goes; `UNKNOWN_NS` before that
    """

    measurement: str
    topic: bytes
    about: bytes
    head: str
    newest_ns: int = UNKNOWN_NS


class Messages:
    """Turns lines into messages; knows units, and how new the newest of each topic is."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix.strip('/')}/" if prefix else ""
        self._routes: dict[str, _Route | None] = {}
        self._units: dict[bytes, str] = {}
        self._asked: dict[str, _Route] = {}

    def unknown(self, lines: Iterable[Line]) -> list[str]:
        """Topics in which these lines may be retained, and of which nothing is known yet.

        `hear` is to be told what they hold before the lines are made messages.
        """
        routes = [self.find(line.series) for line in lines]
        self._asked = {
            route.topic.decode(): route for route in routes
            if route and route.newest_ns == UNKNOWN_NS and route.measurement not in _PASSING
        }  # fmt: skip
        return list(self._asked)

    def hear(self, topic: str, payload: bytes, now_ns: int) -> None:
        """What the broker keeps in a topic; what is ahead of now a wrong clock has made."""
        route, time_ns = self._asked.get(topic), _time_ns(payload)
        if route is not None and time_ns <= now_ns:
            route.newest_ns = max(route.newest_ns, time_ns)

    def find(self, series: str) -> _Route | None:
        """Where a series goes; None where it goes nowhere. Raises ValueError where it is wrong."""
        if series not in self._routes:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
                self._units.clear()
            self._routes[series] = self._route(series)
        return self._routes[series]

    def of(self, line: Line, *, is_live: bool) -> Message | None:
        """The message of a line, None where it has none. Raises ValueError where it is wrong.

        is_live : it has not waited
        """
        route = self.find(line.series)
        if route is None:
            return None
        if route.measurement == "signal":
            self._units[route.about] = str(line.fields.get("unit", ""))
        is_newest = line.time_ns >= route.newest_ns
        if is_newest:
            route.newest_ns = line.time_ns
        retain = is_newest and (is_live or route.measurement not in _PASSING)
        return Message(route.topic, self._payload(route, line), retain)

    def _route(self, series: str) -> _Route | None:
        """The topic of a series; None where it has none."""
        said = parse_series(series)
        tail, tags = _TAILS.get(said.measurement), said.tags
        if tail is None:
            return None
        place = "/".join(level(tags[name]) for name in _PATH if name in tags)
        try:
            levels = {name: "/".join(map(level, tag.split("/"))) for name, tag in tags.items()}
            topic = f"{self._prefix}{place}/{tail.format_map(levels)}".encode()
            if topic.startswith(b"$"):  # the broker's own (MQTT 5.0, 4.7.2)
                topic = b"%24" + topic[1:]
        except KeyError as error:
            raise ValueError(f"a {said.measurement} without a {error.args[0]}") from None
        if len(topic) > TOPIC_BYTES_MAX:
            raise ValueError(f"its topic would have {len(topic):,} bytes; MQTT has room for 65,535")
        about = f"{place}/{tags.get('signal', '')}".encode()
        head = f',"every":{_string(tags["every"])}' if "every" in tags else ""
        return _Route(said.measurement, topic, about, head)

    def _payload(self, route: _Route, line: Line) -> bytes:
        parts = [f'{{"time":"{rfc3339(line.time_ns)}"{route.head}']
        for name, value in line.fields.items():
            parts.append(_key(name) + _json(value))
        if route.measurement == "sample":
            parts.append(f'"quality":"{quality(line.fields)}"')
        if route.measurement in _IN_UNIT and (unit := self._units.get(route.about)):
            parts.append(f'"unit":{_string(unit)}')
        return (",".join(parts) + "}").encode()


def rfc3339(time_ns: int) -> str:
    """A time of ours as text, UTC."""
    seconds, below = divmod(time_ns, _SECOND_NS)
    return f"{_second(seconds)}.{below:09}Z"


def _time_ns(payload: bytes) -> int:
    """The time of a message of ours; `UNKNOWN_NS` for another's."""
    try:
        said = json.loads(payload)["time"]
        seconds = calendar.timegm(time.strptime(said[:19], _SECOND_FORMAT))
        return seconds * _SECOND_NS + int(said[20:29])
    except (ValueError, TypeError, KeyError, RecursionError):
        return UNKNOWN_NS


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime(_SECOND_FORMAT, time.gmtime(seconds))


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    return f"{_string(name)}:"


def quality(fields: Mapping[str, Value]) -> str:
    """A sample's quality: the severity of its OPC UA status."""
    status = fields.get("status", 0)
    if not isinstance(status, int) or status & 0xC000_0000 == 0:
        return GOOD
    return UNCERTAIN if status & 0x8000_0000 == 0 else BAD


def _json(value: Value) -> str:
    if type(value) is str:
        return _string(value)
    if type(value) is bool:
        return "true" if value else "false"
    return repr(value)
