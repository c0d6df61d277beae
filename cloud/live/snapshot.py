"""The board: every line of every plant, in memory, and its bytes ready to send.

Enters: committed lines (`apply`, from the store's thread) and, at a start, what the store holds
(`rebuild`). Leaves: the board as JSON bytes (`board`, from any thread) and messages for the
stream. Nothing here fails; beyond `board_entries_max` new lines, machines, signals and gateways are
kept in the store but not shown, and so are lines more than `AHEAD_NS_MAX` in the future: the newest
of them would hide everything that follows once the gateway's clock is right again.

Bytes are kept per line until the line or one of its states changes, and for the whole board until
the second changes, so reading an unchanged board costs nothing. `SLICE_ROWS` bounds how many lines
are taken under one lock and told in one message of windows.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloud.live.line import Line, Machine, Signal
from cloud.live.shape import (
    AHEAD_NS_MAX,
    PATH_TAGS,
    Object,
    Path,
    encode,
    gateway,
    gateway_identity,
    path_object,
    path_of,
)
from cloud.settings import Settings
from cloud.store.store import Store
from cloud.store.tables import LiveRow

log = logging.getLogger("cloud.live")

SLICE_ROWS = 500
RECENT_MAX = 600

_TAGS = frozenset(
    ("enterprise", "site", "area", "line", "machine", "signal", "every", "detector", "gateway")
)
_REBUILT = (
    ("machine", "live_machines"),
    ("signal", "live_signals"),
    ("window", "live_windows"),
    ("anomaly", "live_anomalies"),
    ("sample", "live_texts"),
    ("gateway", "live_gateways"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as the stream tells it: windows are collected into one message."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class _Bytes:
    version: int
    second: int
    body: bytes
    etag: str


class Snapshot:
    """What is known now; see the module for who may call what."""

    def __init__(self, settings: Settings, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._lines: dict[Path, Line] = {}
        self._gateways: dict[str, Object] = {}
        self._lacking: dict[str, int] = {}
        self._entries = 0
        self._full_told = False
        self._ahead_told = False
        self._version = 0
        self._boards: dict[int, _Bytes] = {}
        self._fragments: dict[tuple[Path, int], tuple[int, tuple[str, ...], bytes]] = {}

    def rebuild(self, store: Store) -> None:
        """Fill an empty board from the store."""
        limits = self._settings
        parameters: dict[str, dict[str, int]] = {
            "window": {
                "recent": limits.recent_windows_max,
                "span_ns": limits.rebuild_recent_s * 10**9,
            },
            "anomaly": {"ended": limits.anomalies_ended_max},
        }
        for measurement, name in _REBUILT:
            rows = store.read(name, **parameters.get(measurement, {}))
            self.apply([_live_row(measurement, row) for row in rows])

    def apply(self, rows: list[LiveRow]) -> list[Event]:
        """Take committed lines; returns what changed."""
        events: list[Event] = []
        for start in range(0, len(rows), SLICE_ROWS):
            slice_events: list[Event] = []
            with self._lock:
                for row in rows[start : start + SLICE_ROWS]:
                    event = self._take(row)
                    if event is not None:
                        self._version += 1
                        slice_events.append(event)
            events += _collected(slice_events)
        return events

    def board(self, recent: int = 0) -> bytes:
        """The board as JSON, with `recent` windows per signal (0: none)."""
        return self.tagged(recent)[0]

    def tagged(self, recent: int = 0) -> tuple[bytes, str]:
        """The board as JSON and its entity tag, weak because `now_ns` alone does not count."""
        with self._lock:
            now_ns = self._now_ns()
            second = now_ns // 10**9
            known = self._boards.get(recent)
            if known is None or (known.version, known.second) != (self._version, second):
                known = self._encode(recent, now_ns, second)
                if len(self._boards) >= 4:  # few widths are asked for; one odd client keeps none
                    self._boards.clear()
                    self._fragments.clear()
                self._boards[recent] = known
            return known.body, known.etag

    def gateways(self) -> dict[str, Object]:
        """Newest line of each gateway by its identity."""
        with self._lock:
            return self._gateways.copy()

    def _encode(self, recent: int, now_ns: int, second: int) -> _Bytes:
        lines = [self._fragment(line, recent, now_ns) for _, line in sorted(self._lines.items())]
        rest = b'"lines":[%s],"gateways":%s}' % (
            b",".join(lines),
            encode([one for _, one in sorted(self._gateways.items())]),
        )
        tag = hashlib.blake2b(rest, digest_size=12).hexdigest()
        return _Bytes(self._version, second, b'{"now_ns":%d,%s' % (now_ns, rest), f'W/"{tag}"')

    def _fragment(self, line: Line, recent: int, now_ns: int) -> bytes:
        states = line.states(now_ns)
        known = self._fragments.get((line.path, recent))
        if known is not None and known[:2] == (line.version, states):
            return known[2]
        body = encode(line.show(states, recent))
        self._fragments[(line.path, recent)] = (line.version, states, body)
        return body

    def _take(self, row: LiveRow) -> Event | None:
        if row.time_ns > self._now_ns() + AHEAD_NS_MAX:
            self._tell_ahead(row)
            return None
        if row.measurement == "gateway":
            return self._take_gateway(row)
        line = self._line(path_of(row.tags))
        name = row.tags["machine"]
        if line is None or (name not in line.machines and not self._room(name)):
            return None
        machine = line.machines.setdefault(name, Machine())
        if row.measurement == "machine":
            news = line.take_machine(machine, row.time_ns, row.fields)
            return Event("board", {}) if news else None
        if row.measurement == "anomaly":
            anomaly = line.take_anomaly(row.tags, row.time_ns, row.fields)
            told = {"path": path_object(line.path), "anomaly": anomaly}
            return Event("anomaly", told) if anomaly else None
        return self._take_of_signal(line, machine, row)

    def _take_of_signal(self, line: Line, machine: Machine, row: LiveRow) -> Event | None:
        name = row.tags["signal"]
        is_new = name not in machine.signals
        if is_new and not self._room(name):
            return None
        signal = machine.signals.setdefault(name, Signal())
        line.version += is_new
        event = self._news(line, signal, row)
        return Event("board", {}) if is_new else event

    def _news(self, line: Line, signal: Signal, row: LiveRow) -> Event | None:
        where = {
            "path": path_object(line.path),
            "machine": row.tags["machine"],
            "signal": row.tags["signal"],
        }
        if row.measurement == "window":
            every = row.tags["every"]
            window = line.take_window(signal, every, row.time_ns, row.fields)
            return Event("window", {**where, "every": every, "window": window}) if window else None
        if row.measurement == "signal":
            news = line.take_signal(signal, row.time_ns, row.fields)
            return Event("board", {}) if news else None
        if "text" in row.fields:
            text = line.take_text(signal, row.time_ns, str(row.fields["text"]))
            return Event("text", {**where, "text": text}) if text else None
        return None

    def _line(self, path: Path) -> Line | None:
        line = self._lines.get(path)
        if line is None and self._room(path[-1]):
            line = self._lines[path] = Line(path, self._settings)
        return line

    def _room(self, name: str) -> bool:
        """Whether one more line, machine, signal or gateway may be shown; counts it."""
        if self._entries >= self._settings.board_entries_max:
            if not self._full_told:
                log.warning("board_entries_max is reached: %r and others are not shown", name)
                self._full_told = True
            return False
        self._entries += 1
        return True

    def _tell_ahead(self, row: LiveRow) -> None:
        if not self._ahead_told:
            names = (*PATH_TAGS, "machine", "gateway")
            place = "/".join(row.tags[name] for name in names if name in row.tags)
            log.warning("%r sends times ahead of ours, kept but not shown; set its clock", place)
            self._ahead_told = True

    def _take_gateway(self, row: LiveRow) -> Event | None:
        tags, key = row.tags, gateway_identity(row.tags)
        known = self._gateways.get(key)
        if known is not None and known["seen_ns"] > row.time_ns:
            return None
        if known is None and not self._room(tags["gateway"]):
            return None
        new = gateway(tags, row.time_ns, row.fields)
        new["missing"] = self._missing(key, new)
        if known == new:
            return None
        self._gateways[key] = new
        return Event("gateway", new)

    def _missing(self, key: str, new: dict[str, int]) -> int:
        """How many lines are neither here nor waiting at the gateway.

        Its lines overtake each other, so only what two of its reports in a row lack is missing.
        """
        before = self._lacking.get(key, 0)
        self._lacking[key] = now = max(0, new.pop("missing", 0) - new.get("waiting", 0))
        return min(before, now)


def _live_row(measurement: str, row: dict[str, Any]) -> LiveRow:
    names = _TAGS - ({"signal"} if measurement == "machine" else set())
    tags = {name: value for name, value in row.items() if name in names}
    fields = {
        name: value
        for name, value in row.items()
        if name not in names and name != "time_ns" and value is not None
    }
    return LiveRow(measurement, tags, row["time_ns"], fields)


def _collected(events: list[Event]) -> list[Event]:
    """The same with all windows in one event at its first place, and `board` told once."""
    collected: dict[int | str, Event] = {}
    windows: list[Object] = []
    for number, event in enumerate(events):
        if event.name == "window":
            windows.append(event.data)
            collected.setdefault("windows", Event("windows", windows))
        elif event.name == "board":
            collected.setdefault("board", event)
        else:
            collected[number] = event
    return list(collected.values())
