"""One line on the board: its machines, their signals, its anomalies.

Enters: lines of line protocol, in order of commit. Leaves: whether they changed anything, and the
line's part of the board. Nothing here fails. Memory per signal: `recent_windows_max` windows of
about 230 B.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from cloud.live.shape import SIGNAL_FIELDS, Object, Path, anomaly, every_ns, path_object, window
from cloud.settings import Settings

NO_DATA_AFTER_NS = 15 * 10**9
_RANK = {"no_data": 0, "running": 1, "warning": 2, "alarm": 3}

Recent = tuple[int, float | None, float | None, float | None, float]


@dataclass(slots=True)
class Signal:
    """One signal: what it is, its newest windows (times ascending) and its newest text."""

    about: dict[str, Any] = field(default_factory=dict)
    about_ns: int = -(2**63)
    every: str | None = None
    times: list[int] = field(default_factory=list)
    revs: list[int] = field(default_factory=list)
    recent: list[Recent] = field(default_factory=list)
    newest: Object | None = None
    text: Object | None = None

    def take_window(self, every: str, time_ns: int, new: Object, windows_max: int) -> bool:
        """Take one window; whether it is news.

        Not news: what is known already, a revision lower than the known one, and windows coarser
        than those shown. Of equal revisions the newest arrival counts, as in the store.
        The signal shows its finest windows, until none of those arrived during a whole coarser
        one; finer ones that are older than what is shown do not take over.
        """
        if every != self.every and not self._switch(every, time_ns):
            return False
        place = bisect_left(self.times, time_ns)
        rev = new["rev"]
        entry: Recent = (time_ns, new["mean"], new["min"], new["max"], new["good"])
        if place < len(self.times) and self.times[place] == time_ns:
            shown = self.newest if place == len(self.times) - 1 else None
            same = new == shown if shown else (self.revs[place], self.recent[place]) == (rev, entry)
            if rev < self.revs[place] or same:
                return False
            self.revs[place], self.recent[place] = rev, entry
        else:
            self.times.insert(place, time_ns)
            self.revs.insert(place, rev)
            self.recent.insert(place, entry)
            if len(self.times) > windows_max:
                del self.times[0], self.revs[0], self.recent[0]
        if self.times[-1] == time_ns:
            self.newest = new
        return True

    @property
    def end_ns(self) -> int | None:
        """End of the newest window."""
        return self.times[-1] + every_ns(self.every or "") if self.times else None

    def _switch(self, every: str, time_ns: int) -> bool:
        end_ns = self.end_ns
        coarser = every_ns(every) >= every_ns(self.every or "")
        if end_ns is not None and time_ns < (end_ns if coarser else self.times[-1]):
            return False
        self.every = every
        self.times, self.revs, self.recent, self.newest = [], [], [], None
        return True


@dataclass(slots=True)
class Machine:
    """One machine and its signals, in order of first sight."""

    about: dict[str, Any] = field(default_factory=dict)
    about_ns: int = -(2**63)
    signals: dict[str, Signal] = field(default_factory=dict)

    @property
    def end_ns(self) -> int | None:
        """End of its newest window."""
        return max((s.end_ns for s in self.signals.values() if s.end_ns is not None), default=None)


class Line:
    """One line; `version` rises with every change."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.version = 0
        self.machines: dict[str, Machine] = {}
        self._settings = settings
        self._fields: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        self._anomalies: dict[tuple[str, str, str, int], Object] = {}

    def take_machine(self, machine: Machine, time_ns: int, fields: dict[str, Any]) -> bool:
        """Take a `machine` line; whether it is news."""
        return self._take_about(machine, time_ns, fields)

    def take_signal(self, signal: Signal, time_ns: int, fields: dict[str, Any]) -> bool:
        """Take a `signal` line; whether it is news."""
        return self._take_about(signal, time_ns, fields)

    def take_window(self, signal: Signal, every: str, time_ns: int, fields: Any) -> Object | None:
        """Take a `window` line; the window when it is news."""
        new = window(time_ns, fields)
        if not signal.take_window(every, time_ns, new, self._settings.recent_windows_max):
            return None
        self.version += 1
        return new

    def take_text(self, signal: Signal, time_ns: int, text: str) -> Object | None:
        """Take a text sample; the text when it is newer than the known one."""
        new = {"time_ns": time_ns, "text": text}
        if signal.text is not None and (signal.text["time_ns"] > time_ns or signal.text == new):
            return None
        signal.text = new
        self.version += 1
        return new

    def take_anomaly(self, tags: dict[str, str], time_ns: int, fields: Any) -> Object | None:
        """Take an `anomaly` line, whose fields add to those known; the anomaly when it is news."""
        key = (tags["machine"], tags["signal"], tags["detector"], time_ns)
        known = self._fields.get(key, {})
        told = {name: value for name, value in fields.items() if value is not None}
        over = "ended_ns" in known and "ended_ns" not in told  # sent before its end, came after
        merged = told | known if over else known | told
        if merged == known:
            return None
        self._fields[key] = merged
        self._anomalies[key] = new = anomaly(tags, time_ns, merged)
        self._forget_anomalies()
        self.version += 1
        return new

    def states(self, now_ns: int) -> tuple[str, ...]:
        """The state of the line, then of each of its machines in the order of the board."""
        worst: dict[str, str] = {}
        for one in self._anomalies.values():
            if one["ended_ns"] is None:
                worst[one["machine"]] = max(
                    worst.get(one["machine"], "running"), one["severity"], key=_RANK.__getitem__
                )
        machines = self.in_order()
        of_machines = [
            worst.get(name, "running") if _fresh(machine, now_ns) else "no_data"
            for name, machine in machines
        ]
        if not any(_fresh(machine, now_ns) for _, machine in machines):
            return "no_data", *of_machines
        return max(["running", *worst.values()], key=_RANK.__getitem__), *of_machines

    def in_order(self) -> list[tuple[str, Machine]]:
        """Machines by their order in the line, those without one last, then by name."""
        return sorted(self.machines.items(), key=_by_order)

    def show(self, states: tuple[str, ...], recent: int) -> Object:
        """The line as the board shows it; `recent` windows per signal, none and no key for 0."""
        return {
            "path": path_object(self.path),
            "state": states[0],
            "machines": [
                {
                    "machine": name,
                    "model": machine.about.get("model"),
                    "order_in_line": machine.about.get("order_in_line"),
                    "state": state,
                    "signals": [
                        _show_signal(signal_name, signal, recent)
                        for signal_name, signal in machine.signals.items()
                    ],
                }
                for (name, machine), state in zip(self.in_order(), states[1:], strict=True)
            ],
            "anomalies": self._show_anomalies(),
        }

    def _take_about(self, one: Machine | Signal, time_ns: int, fields: dict[str, Any]) -> bool:
        about = one.about | fields if time_ns == one.about_ns else fields
        if time_ns < one.about_ns:
            return False
        changed = about != one.about
        one.about, one.about_ns = about, time_ns
        self.version += changed
        return changed

    def _show_anomalies(self) -> list[Object]:
        ended, opened = _split(self._anomalies.values())
        return opened + ended

    def _forget_anomalies(self) -> None:
        ended, opened = _split(self._anomalies.values())
        limits = self._settings
        for one in opened[limits.anomalies_open_max :] + ended[limits.anomalies_ended_max :]:
            key = (one["machine"], one["signal"], one["detector"], one["start_ns"])
            del self._anomalies[key], self._fields[key]


def _split(anomalies: Any) -> tuple[list[Object], list[Object]]:
    """(ended, last ended first), (open, newest first)."""
    ended = [one for one in anomalies if one["ended_ns"] is not None]
    opened = [one for one in anomalies if one["ended_ns"] is None]
    ended.sort(key=lambda one: -one["ended_ns"])
    opened.sort(key=lambda one: -one["start_ns"])
    return ended, opened


def _fresh(machine: Machine, now_ns: int) -> bool:
    end_ns = machine.end_ns
    return end_ns is not None and now_ns - end_ns <= NO_DATA_AFTER_NS


def _by_order(item: tuple[str, Machine]) -> tuple[bool, int, str]:
    order = item[1].about.get("order_in_line")
    return order is None, order or 0, item[0]


def _show_signal(name: str, signal: Signal, recent: int) -> Object:
    shown: Object = {
        "signal": name,
        **{key: signal.about.get(key) for key in SIGNAL_FIELDS},
        "every": signal.every,
        "window": signal.newest,
    }
    if recent:
        shown["recent"] = signal.recent[-recent:]
    shown["text"] = signal.text
    return shown
