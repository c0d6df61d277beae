"""Faults planted on the line: when, where, how large, and what they do to the readings.

In: a seed, a duration, clean readings. Out: `Fault`s in order of their start, spoilt readings.
Cannot fail. The schedule is a pure function of the seed and the takt:

- The first period lasts 60 s and is quiet for `FIRST_AT_S` seconds, while detectors learn what is
  normal; each later period lasts 45 s. Every period plants each kind once, each on its own signal,
  at most one at a time on any machine (`MACHINE_REST_S` between two), and ends quietly.
- A fault starts on a sample its signal would have sent. It is visible from its first sample
  (spike, bad_status), from the sample that passes 4 sigma (drift), or from the 10th (stuck) or 3rd
  (dropout) sample that did not come.
- A run that ends gets no fault that could not be seen and caught before: `CAUGHT_WITHIN_S`.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardware.line.signals import ANALOG, MQTT_MACHINES, OPCUA_MACHINES, TICKS_PER_S, Signal

FIRST_AT_S = 22.0
FIRST_PERIOD_S = 60.0
PERIOD_S = 45.0
PERIOD_FIRST_AT_S = 5.0
SLOTS_S = (23.0, 29.5, 36.0, 42.5)  # earliest starts of the four short faults in the first period
MACHINE_REST_S = 3.0
DRIFT_VISIBLE_SIGMA = 4.0
DRIFT_RETURN_S = 2.0
STUCK_VISIBLE_AFTER = 10
DROPOUT_VISIBLE_AFTER = 3
CAUGHT_WITHIN_S = {"drift": 20.0, "spike": 5.0, "stuck": 5.0, "dropout": 5.0, "bad_status": 5.0}

BAD_SENSOR_FAILURE = 0x808C0000  # OPC UA Part 6, annex A.2 (StatusCodes.csv)
BAD_NO_COMMUNICATION = 0x80310000

Kind = Literal["drift", "spike", "stuck", "dropout", "bad_status"]


@dataclass(frozen=True)
class Bad:
    """A reading without a value: the machine says why by an OPC UA status code."""

    status: int


Value = float | int | str | Bad


@dataclass(frozen=True)
class Fault:
    """One planted fault. Ticks count from the start; `end_tick` is the first healthy one.

    size : in sigmas of the signal's normal spread, negative downwards; None where there is none.
    ramp_ticks, hold_ticks : the course of a drift; 0 for the other kinds.
    status : the code a bad_status sends; 0 for the other kinds.
    """

    kind: Kind
    signal: Signal
    start_tick: int
    visible_tick: int
    end_tick: int
    size: float | None = None
    ramp_ticks: int = 0
    hold_ticks: int = 0
    status: int = 0

    def offset_sigma(self, tick: int) -> float:
        """What a drift or a spike adds at `tick`, in sigmas of the normal spread."""
        if self.size is None:
            return 0.0
        if self.kind == "spike":
            return self.size
        rising = (tick - self.start_tick) / self.ramp_ticks
        falling = (self.end_tick - tick) / (DRIFT_RETURN_S * TICKS_PER_S)
        return self.size * min(rising, 1.0, falling)


def plan(seed: int, seconds: float, takt_ticks: int) -> Iterator[Fault]:
    """Faults of a run in order of their start.

    seconds : how long production will last; 0 for until stopped (the iterator then never ends).
    """
    for fault in itertools.chain.from_iterable(
        _period(seed, number, takt_ticks) for number in itertools.count()
    ):
        if seconds and fault.start_tick >= seconds * TICKS_PER_S:
            return
        caught_tick = fault.visible_tick + CAUGHT_WITHIN_S[fault.kind] * TICKS_PER_S
        if not seconds or caught_tick <= seconds * TICKS_PER_S:
            yield fault


def _period(seed: int, number: int, takt_ticks: int) -> list[Fault]:
    """The five faults of one period, in order of their start."""
    rng = np.random.default_rng([seed, number])
    shift_s = 0.0
    if number:
        shift_s = FIRST_PERIOD_S + (number - 1) * PERIOD_S + PERIOD_FIRST_AT_S - FIRST_AT_S
    draw = _Draw(rng, takt_ticks)
    # The pickiest kinds choose first: after them a free signal is always left.
    draw.plant("drift", shift_s + FIRST_AT_S + rng.uniform(0, 2))
    slots = rng.permutation(SLOTS_S)
    for kind, slot_s in zip(_SHORT, slots, strict=True):
        draw.plant(kind, shift_s + float(slot_s) + rng.uniform(0, 2.5))
    return sorted(draw.planted, key=lambda fault: fault.start_tick)


_SHORT: tuple[Kind, ...] = ("bad_status", "dropout", "stuck", "spike")
_FITS: dict[Kind, Callable[[Signal], bool]] = {
    "drift": lambda signal: signal.drifts,
    "spike": lambda signal: True,
    # What is silent in every takt cannot show that it fell silent within a few samples.
    "stuck": lambda signal: signal.between is None,
    "dropout": lambda signal: signal.between is None and signal.machine in MQTT_MACHINES,
    "bad_status": lambda signal: signal.machine in OPCUA_MACHINES,
}


class _Draw:
    """Draws the faults of one period, each on a signal and machine that is free then."""

    def __init__(self, rng: np.random.Generator, takt_ticks: int) -> None:
        self._rng = rng
        self._takt_ticks = takt_ticks
        self.planted: list[Fault] = []

    def plant(self, kind: Kind, at_s: float) -> None:
        longest_s = 22.0 if kind == "drift" else 10.0
        free = [
            signal
            for signal in ANALOG
            if _FITS[kind](signal) and self._is_free(signal, at_s, at_s + longest_s)
        ]
        signal = free[int(self._rng.integers(len(free)))]
        make = {"drift": self._drift, "spike": self._spike}.get(kind, self._silence)
        self.planted.append(make(kind, signal, int(at_s * TICKS_PER_S)))

    def _is_free(self, signal: Signal, from_s: float, to_s: float) -> bool:
        return not any(
            fault.signal is signal
            or (
                fault.signal.machine == signal.machine
                and fault.start_tick < (to_s + MACHINE_REST_S) * TICKS_PER_S
                and fault.end_tick > (from_s - MACHINE_REST_S) * TICKS_PER_S
            )
            for fault in self.planted
        )

    def _drift(self, kind: Kind, signal: Signal, at_tick: int) -> Fault:
        start = self._sample(signal, at_tick)
        size = self._size(signal, 12, 18)
        ramp = round(self._rng.uniform(10, 15) * TICKS_PER_S)
        hold = round(self._rng.uniform(2, 4) * TICKS_PER_S)
        # The first sample after the ramp has passed 4 sigma.
        passed = start + int(DRIFT_VISIBLE_SIGMA / abs(size) * ramp) + 1
        end = start + ramp + hold + round(DRIFT_RETURN_S * TICKS_PER_S)
        return Fault(kind, signal, start, self._sample(signal, passed), end, size, ramp, hold)

    def _spike(self, kind: Kind, signal: Signal, at_tick: int) -> Fault:
        start = self._sample(signal, at_tick)
        last = self._sample(signal, start, int(self._rng.integers(1, 4)))
        return Fault(kind, signal, start, start, last + 1, self._size(signal, 12, 25))

    def _silence(self, kind: Kind, signal: Signal, at_tick: int) -> Fault:
        start = self._sample(signal, at_tick)
        missed = {"stuck": STUCK_VISIBLE_AFTER, "dropout": DROPOUT_VISIBLE_AFTER}.get(kind, 1)
        end = start + round(self._rng.uniform(5, 8) * TICKS_PER_S)
        status = (BAD_SENSOR_FAILURE, BAD_NO_COMMUNICATION)[int(self._rng.integers(2))]
        return Fault(
            kind,
            signal,
            start,
            self._sample(signal, start, missed),
            end,
            status=status if kind == "bad_status" else 0,
        )

    def _sample(self, signal: Signal, from_tick: int, nth: int = 1) -> int:
        """The tick of the nth sample the healthy signal sends from `from_tick` on."""
        sent = (
            tick for tick in itertools.count(from_tick) if signal.sent_at(tick, self._takt_ticks)
        )
        return next(itertools.islice(sent, nth - 1, None))

    def _size(self, signal: Signal, low: float, high: float) -> float:
        """A size in sigmas; upwards where the sensor could not read that far down."""
        size = float(self._rng.uniform(low, high))
        lowest = signal.course(self._takt_ticks).min() - size * signal.spread(self._takt_ticks)
        return -size if self._rng.random() < 0.5 and lowest > signal.floor else size


class Planter:
    """Applies the faults of a schedule to the readings of one tick after the other."""

    def __init__(self, schedule: Iterator[Fault], takt_ticks: int) -> None:
        self._schedule = schedule
        self._next = next(schedule, None)
        self._active: list[Fault] = []
        self._last: dict[str, Value] = {}
        self._spread = {signal.key: signal.spread(takt_ticks) for signal in ANALOG}

    def apply(self, tick: int, readings: dict[str, Value]) -> list[Fault]:
        """Spoil `readings` (by `machine/signal`) in place; returns the faults that begin now."""
        begun = []
        while self._next is not None and self._next.start_tick <= tick:
            begun.append(self._next)
            self._next = next(self._schedule, None)
        self._active = [fault for fault in self._active + begun if tick < fault.end_tick]
        for fault in self._active:
            if fault.signal.key in readings:
                self._spoil(fault, tick, readings)
        self._last.update(readings)
        return begun

    def _spoil(self, fault: Fault, tick: int, readings: dict[str, Value]) -> None:
        key = fault.signal.key
        match fault.kind:
            case "stuck":
                readings[key] = self._last[key]
            case "dropout":
                del readings[key]
            case "bad_status":
                readings[key] = Bad(fault.status)
            case "drift" | "spike":
                clean = readings[key]
                assert isinstance(clean, float), f"{key} is not an analog reading"
                moved = clean + fault.offset_sigma(tick) * self._spread[key]
                readings[key] = round(moved, fault.signal.decimals)
