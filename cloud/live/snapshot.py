"""The board: every line of every plant, in memory, and its bytes ready to send.

Enters: committed lines (`apply`, from the store's thread) and, at a start, what the store holds
(`rebuild`). Leaves: the board as JSON bytes (`board`, from any thread) and messages for the
stream. Nothing here fails; beyond `signals_max` signals new ones are kept in the store but not
shown.

Bytes are kept per line until the line or one of its states changes, and for the whole board until
the second changes, so reading an unchanged board costs nothing. The lock is held for `SLICE_ROWS`
lines at a time.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloud.live.line import Line, Machine, Signal
from cloud.live.shape import Object, Path, encode, gateway, path_object, path_of
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
        self._gateways: dict[tuple[str, str, str, str], Object] = {}
        self._signals = 0
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
            with self._lock:
                for row in rows[start : start + SLICE_ROWS]:
                    event = self._take(row)
                    if event is not None:
                        self._version += 1
                        events.append(event)
        return _collected(events)

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
        """Newest line of each gateway by its name."""
        with self._lock:
            return {one["gateway"]: one for one in self._gateways.values()}

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
        if row.measurement == "gateway":
            return self._take_gateway(row)
        path = path_of(row.tags)
        line = self._lines.get(path)
        if line is None:
            line = self._lines[path] = Line(path, self._settings)
        name = row.tags["machine"]
        if row.measurement == "machine":
            news = line.take_machine(name, row.time_ns, row.fields)
            return Event("board", {}) if news else None
        if row.measurement == "anomaly":
            anomaly = line.take_anomaly(row.tags, row.time_ns, row.fields)
            return (
                Event("anomaly", {"path": path_object(path), "anomaly": anomaly})
                if anomaly
                else None
            )
        return self._take_of_signal(line, name, row)

    def _take_of_signal(self, line: Line, machine_name: str, row: LiveRow) -> Event | None:
        name = row.tags["signal"]
        signal, is_new = self._signal(line, machine_name, name)
        if signal is None:
            return None
        where: Object = {"path": path_object(line.path), "machine": machine_name, "signal": name}
        if row.measurement == "window":
            every = row.tags["every"]
            window = line.take_window(signal, every, row.time_ns, row.fields)
            if window is not None:
                return (
                    Event("board", {})
                    if is_new
                    else Event("window", {**where, "every": every, "window": window})
                )
        elif row.measurement == "sample" and "text" in row.fields:
            text = line.take_text(signal, row.time_ns, str(row.fields["text"]))
            if text is not None:
                return Event("board", {}) if is_new else Event("text", {**where, "text": text})
        elif row.measurement == "signal" and line.take_signal(signal, row.time_ns, row.fields):
            return Event("board", {})
        return Event("board", {}) if is_new else None

    def _signal(self, line: Line, machine_name: str, name: str) -> tuple[Signal | None, bool]:
        machine = line.machines.setdefault(machine_name, Machine())
        signal = machine.signals.get(name)
        if signal is not None:
            return signal, False
        if self._signals >= self._settings.signals_max:
            log.warning("signals_max is reached: %s/%s is stored but not shown", machine_name, name)
            return None, False
        self._signals += 1
        line.version += 1
        machine.signals[name] = signal = Signal()
        return signal, True

    def _take_gateway(self, row: LiveRow) -> Event | None:
        tags = row.tags
        key = (tags["enterprise"], tags["site"], tags["area"], tags["gateway"])
        known = self._gateways.get(key)
        if known is not None and known["seen_ns"] > row.time_ns:
            return None
        new = gateway(tags, row.time_ns, row.fields)
        if known == new:
            return None
        self._gateways[key] = new
        return Event("gateway", new)


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
