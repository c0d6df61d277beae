"""Slow, obvious twins of the kernels: one signal at a time, plain Python, from the definitions.

A step is `("sample", time_ns, value, status)`, `("advance", time_ns)` or `("interrupt", time_ns)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

EMPTY_RUN_MAX = 60
HISTORY_SAMPLES = 64

Step = tuple[Any, ...]
Noticed = tuple[str, str, int, int]
"""What, detector, start and time of an episode's event."""


def is_good(value: float, status: int) -> bool:
    return status < 0x4000_0000 and math.isfinite(value)


@dataclass
class Event:
    """A sample, or from here on nobody vouches."""

    time: int
    value: float = math.nan
    good: bool = False
    gap: bool = False


@dataclass
class Windows:
    """Windows of one signal: a step function of time, cut into windows and integrated exactly.

    Rows are as they stand in the end: a late sample is in them, wherever it came.
    """

    kind: str
    every_ns: int
    hold_ns: int
    course: list[Event] = field(default_factory=list)
    """All there is, in order of time."""
    said: dict[int, int] = field(default_factory=dict)
    """How many samples were counted, by window."""
    closed: list[int] = field(default_factory=list)
    start: int | None = None
    known: int = 0
    """How much of the course can still be set right, counted from its end."""
    filtered: dict[str, int] = field(default_factory=lambda: {"late": 0, "same_time": 0})

    def take(self, step: Step) -> None:
        if step[0] == "sample":
            self._sample(*step[1:])
        elif step[0] == "advance" and self.start is not None:
            self._close(step[1])
        elif step[0] == "interrupt" and self.start is not None:
            self._cut(step[1])

    def rows(self) -> list[dict[str, Any]]:
        return [self.row(start) for start in self.closed]

    def open_samples(self) -> int:
        return sum(n for start, n in self.said.items() if self.start in (None, start))

    def _sample(self, time_ns: int, value: float, status: int) -> None:
        self._forget()
        event = Event(time_ns, value, is_good(value, status))
        if self.start is None:
            self.start = self._floor(time_ns)
        beyond = self.course[: len(self.course) - self.known]
        if beyond and time_ns <= beyond[-1].time:
            self.filtered["late"] += 1
            return
        for known in self.course:
            if known.time == time_ns and not known.gap:
                known.value, known.good = event.value, event.good
                self.filtered["same_time"] += 1
                return
        if time_ns >= self._mark():
            self._close(time_ns)
        self._place(event)
        window = self._floor(time_ns)
        self.said[window] = self.said.get(window, 0) + 1

    def _mark(self) -> int:
        """What happens from here on is new."""
        assert self.start is not None
        return max(self.start, self.course[-1].time) if self.course else self.start

    def _cut(self, time_ns: int) -> None:
        assert self.start is not None
        self._forget()
        stop = min(max(time_ns, self._mark()), self.start + self.every_ns)
        if not (self.course[-1].gap and self.course[-1].time == stop):
            self._place(Event(stop, gap=True))

    def _place(self, event: Event) -> None:
        self.course.append(event)
        self.course.sort(key=lambda other: other.time)
        self.known += 1

    def _forget(self) -> None:
        if self.known == HISTORY_SAMPLES:
            self.known //= 2

    def _close(self, time_ns: int) -> None:
        assert self.start is not None
        until = self._floor(time_ns)
        run = list(range(self.start, until, self.every_ns))
        if len(run) > EMPTY_RUN_MAX:
            run = [run[0], *run[-EMPTY_RUN_MAX + 1 :]]
        self.closed += run
        self.start = max(self.start, until)

    def _floor(self, time_ns: int) -> int:
        return time_ns // self.every_ns * self.every_ns

    def _pieces(self, start: int) -> list[tuple[int, float]]:
        """(duration, value) of each Good piece of this window, in order."""
        pieces = []
        for number, event in enumerate(self.course):
            end = start + self.every_ns
            if number + 1 < len(self.course):
                end = min(end, self.course[number + 1].time)
            if self.hold_ns:
                end = min(end, event.time + self.hold_ns)
            duration = end - max(start, event.time)
            if event.good and duration > 0:
                pieces.append((duration, event.value))
        return pieces

    def row(self, start: int) -> dict[str, Any]:
        """One window as it stands."""
        pieces = self._pieces(start)
        covered = sum(duration for duration, _ in pieces)
        increase = self._increase(start)
        row: dict[str, Any] = {
            "start_ns": start,
            "n": self.said.get(start, 0),
            "good": covered / self.every_ns,
        }
        if pieces:
            values = [value for _, value in pieces]
            row |= {"min": min(values), "max": max(values)}
            row |= {"first": values[0], "last": values[-1]}
        if pieces and self.kind == "analog":
            mean = Fraction(sum(d * Fraction(v) for d, v in pieces)) / covered
            square = sum(d * (Fraction(v) - mean) ** 2 for d, v in pieces) / covered
            row |= {"mean": float(mean), "std": math.sqrt(square)}
        if self.kind == "counter" and (pieces or increase > 0):
            row["increase"] = increase
        return row

    def _increase(self, start: int) -> float:
        good = [event for event in self.course if event.good]
        return sum(
            counted(before.value, now.value)
            for before, now in pairwise(good)
            if start <= now.time < start + self.every_ns
        )


def counted(before: float, now: float) -> float:
    """What a counter counted from `before` to `now`, over resets and roll-overs."""
    if now >= before:
        return now - before
    for modulus in (2**16, 2**32):
        if before < modulus and before >= 0.9 * modulus and now <= 0.1 * modulus:
            return now - before + modulus
    return now


@dataclass
class Level:
    """The robust EWMA level of one signal, by the formulas of its header."""

    warmup_ns: int
    off_ns: int
    judged: bool = False
    open: bool = False
    first_ns: int = 0
    moves: int = 0
    events: list[Noticed] = field(default_factory=list)

    def take(self, step: Step) -> None:
        if step[0] == "advance":
            self._end_if_calm(step[1])
        elif step[0] == "sample" and is_good(step[2], step[3]):
            self._sample(step[1], step[2])

    def _sample(self, t: int, x: float) -> None:
        if not self.first_ns:
            self.first_ns = self.t = t
            self.x = self.c = self.m = x
            self.variance = 0.0
            self.seen: list[float] = []
            self.seen_means: list[float] = []
            return
        if t <= self.t:
            return
        dt, moved = t - self.t, x != self.x
        self.t, self.x = t, x
        self.moves += moved
        s = math.sqrt(self.variance)
        near = self.c + clip(x - self.c, 6 * s) if self.judged else x
        self.m += (near - self.m) * (dt / (2e9 + dt))
        if not self.judged:
            self._warm_up(moved)
            return
        self._end_if_calm(t)
        ratio = self._ratio()
        self._episode(ratio)
        if moved and ratio < 0.9 and not self.open:
            memory = min(float(t - self.first_ns), 600e9)
            self._learn(min(dt / (memory + dt), 1 / 60))

    def _warm_up(self, moved: bool) -> None:
        if moved:
            self._learn(1 / (self.moves + 1))
        if self.moves > 20 and self.t - self.first_ns > self.warmup_ns // 3:
            self.seen.append(self.x)
            self.seen_means.append(self.m)
        warm = self.moves >= 60 and self.t - self.first_ns >= self.warmup_ns
        self.judged = warm and self.variance > 0

    def _learn(self, gain: float) -> None:
        s, off = math.sqrt(self.variance), self.x - self.c
        if self.moves > 20 and s > 0:
            r = clip(off / s, 2.5)
            self.c += gain * s * r
            self.variance += gain * self.variance * (r * r / 0.97756 - 1)
        else:
            self.c += gain * off
            self.variance += gain * (off * (self.x - self.c) - self.variance)

    def _ratio(self) -> float:
        """The larger of both charts' evidence over limit."""
        c, s = self.c, math.sqrt(self.variance)
        lowest, highest = min(self.seen, default=math.inf), max(self.seen, default=-math.inf)
        m_lowest = min(self.seen_means, default=math.inf)
        m_highest = max(self.seen_means, default=-math.inf)
        if self.x >= c:
            point = (self.x - c) / (max(c + 6 * s, highest + s) - c)
        else:
            point = (c - self.x) / (c - min(c - 6 * s, lowest - s))
        side = m_highest - c if self.m >= c else c - m_lowest
        return max(point, abs(self.m - c) / max(3 * s, 2 * side))

    def _episode(self, ratio: float) -> None:
        if ratio >= 1 and not self.open:
            self.open, self.since, self.calm, self.alarm = True, self.t, 0, ratio >= 2
            self.events.append(("opened", "level", self.since, self.t))
        elif self.open and ratio >= 2 and not self.alarm:
            self.alarm = True
            self.events.append(("raised", "level", self.since, self.t))
        if self.open and ratio >= 0.8:
            self.calm = 0
        elif self.open and not self.calm:
            self.calm = self.t

    def _end_if_calm(self, t: int) -> None:
        if self.open and self.calm and t >= self.calm + self.off_ns:
            self.open = False
            self.events.append(("closed", "level", self.since, self.calm))


def clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


@dataclass
class Silence:
    """Stuck, dropout and bad status of one signal."""

    analog: bool
    vouched: bool
    warmup_ns: int
    open: str = ""
    lost: bool = False
    first_ns: int = 0
    newest_ns: int = 0
    bad_since: int = 0
    changes: int = 0
    sample_pause: float = 0.0
    change_pause: float = 0.0
    change_mean: float = 0.0
    events: list[Noticed] = field(default_factory=list)

    def take(self, step: Step) -> None:
        if step[0] == "interrupt":
            self.lost = True
        elif step[0] == "advance":
            self._look(step[1])
        elif step[1] >= self.newest_ns:
            self._sample(*step[1:])

    def _sample(self, t: int, x: float, status: int) -> None:
        good = is_good(x, status)
        if not self.first_ns:
            if good:
                self.first_ns = self.newest_ns = self.change_ns = t
                self.x = x
            return
        self._look(t)
        if good:
            self._good(t, x)
        else:
            self.bad_since = self.bad_since or t
        self.newest_ns = t
        self.lost = False

    def _good(self, t: int, x: float) -> None:
        smooth = not (self.open or self.lost or self.bad_since)
        moved = x != self.x
        still_stuck = self.open == "stuck" and not moved
        if self.open and not still_stuck:
            self.events.append(("closed", self.open, self.since, t))
            self.open = ""
        if smooth:
            self.sample_pause = max(self.sample_pause * 0.999, t - self.newest_ns)
        if smooth and moved and self.changes:
            pause = t - self.change_ns
            self.change_pause = max(self.change_pause * 0.999, pause)
            self.change_mean += 0.05 * (pause - self.change_mean)
        if (moved or not smooth) and not still_stuck:
            self.change_ns = t
        self.changes += moved
        self.x, self.bad_since = x, 0

    def _look(self, now: int) -> None:
        if self.open or self.lost or not self.first_ns:
            return
        if self.bad_since:
            self._open_if("bad_status", self.bad_since, 1_000_000_000, now)
            return
        if self.changes < 30 or self.newest_ns - self.first_ns < self.warmup_ns:
            return
        if not self.vouched:
            limit = max(2_000_000_000, int(3 * self.sample_pause))
            self._open_if("dropout", self.newest_ns, limit, now)
        if self.analog and self.change_pause <= 10 * self.change_mean and not self.open:
            limit = max(2_000_000_000, int(3 * self.change_pause))
            seen_until = now if self.vouched else self.newest_ns
            self._open_if("stuck", self.change_ns, limit, seen_until)

    def _open_if(self, detector: str, since: int, limit: int, now: int) -> None:
        if now >= since + limit:
            self.open, self.since = detector, since
            self.events.append(("opened", detector, since, since + limit))
