"""The simulated line: five machines that make units, tick by tick.

In: a seed, the takt, a schedule of faults. Out: the readings of each tick, by `machine/signal`,
and the faults that begin in it. Cannot fail. The n-th `step()` depends on seed and takt alone,
never on a clock.

OPC UA machines have a reading for every signal in every tick (a server holds a value for each);
MQTT machines only what they send in it.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hardware.line.faults import Fault, Planter, Value
from hardware.line.signals import (
    ANALOG,
    MEASURING,
    OPCUA_MACHINES,
    TICKS_PER_S,
    WANDER_SIGMA,
    within,
)

FLOW = ("press-01", "oven-01", "conveyor-01", "vision-01")  # the way of a unit through the line
STATE_STARTING, STATE_EXECUTE, STATE_STOPPED = 3, 6, 2  # PackML state numbers (ISA-TR88.00.02)
STARTING_TICKS = 5
STROKE_ENDS_AT = 0.5  # phase
DEVIATION_MAX_MM = 0.12
SCRAP_SHARE, REWORK_SHARE = 0.01, 0.02  # what the surface inspection finds, whatever the deviation
WANDER_PERIODS_S = (30.0, 90.0)
UNITS_IN_LINE = len(FLOW)


class Line:
    """The line's state. `step()` makes one tick of `TICK_MS`.

    seed : any integer >= 0.
    takt_ticks : ticks from one unit to the next.
    schedule : faults in order of their start.
    """

    def __init__(self, seed: int, takt_ticks: int, schedule: Iterator[Fault]) -> None:
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._takt_ticks = takt_ticks
        self._planter = Planter(schedule, takt_ticks)
        self._noise = _Noise(self._rng)
        self._course = np.stack([signal.course(takt_ticks) for signal in ANALOG], axis=1)
        self._strokes = int(self._rng.integers(100_000, 900_000))
        self._energy_kwh = float(self._rng.uniform(10_000, 90_000))
        self._deviation_mm: list[float] = []
        self.tick = 0
        self.units_done = 0

    def step(self) -> tuple[dict[str, Value], list[Fault]]:
        """Readings of the next tick and the faults that begin in it."""
        tick = self.tick
        values = self._course[tick % self._takt_ticks] + self._noise.step(tick)
        readings: dict[str, Value] = {
            signal.key: round(value, signal.decimals)
            for signal, value in zip(ANALOG, values.tolist(), strict=True)
            if signal.sent_at(tick, self._takt_ticks)
        }
        begun = self._planter.apply(tick, readings)
        self._press(tick, readings)
        self._units(tick, readings)
        self._vision(tick, readings)
        self._meter(tick, float(values[_POWER]), readings)
        self.tick += 1
        return readings, begun

    def _press(self, tick: int, readings: dict[str, Value]) -> None:
        if tick and tick % self._takt_ticks == math.ceil(STROKE_ENDS_AT * self._takt_ticks):
            self._strokes += 1
        readings["press-01/strokes"] = self._strokes
        readings["press-01/state"] = STATE_STARTING if tick < STARTING_TICKS else STATE_EXECUTE

    def _units(self, tick: int, readings: dict[str, Value]) -> None:
        """Each machine holds the unit the machine before it held one takt ago."""
        takt, into = divmod(tick, self._takt_ticks)
        for place, machine in enumerate(FLOW):
            if machine in OPCUA_MACHINES or into == 0:
                number = takt + UNITS_IN_LINE - place
                readings[f"{machine}/unit"] = f"U{self._seed:04d}-{number:06d}"

    def _vision(self, tick: int, readings: dict[str, Value]) -> None:
        """One verdict a unit, when its measuring ends."""
        deviation = readings.get("vision-01/deviation")
        if isinstance(deviation, float):
            self._deviation_mm.append(abs(deviation))
        ended = tick and not within(MEASURING, tick, self._takt_ticks)
        if ended and within(MEASURING, tick - 1, self._takt_ticks):
            readings["vision-01/verdict"] = self._verdict()
            self._deviation_mm.clear()
            self.units_done += 1

    def _verdict(self) -> str:
        surface = self._rng.random()
        if surface < SCRAP_SHARE or max(self._deviation_mm, default=0.0) > DEVIATION_MAX_MM:
            return "scrap"
        return "rework" if surface < SCRAP_SHARE + REWORK_SHARE else "good"

    def _meter(self, tick: int, power_kw: float, readings: dict[str, Value]) -> None:
        self._energy_kwh += power_kw / TICKS_PER_S / 3600
        if tick % TICKS_PER_S == 0:
            readings["meter-01/energy"] = round(self._energy_kwh, 4)


class _Noise:
    """AR(1) noise and a slow bounded wander of all analog signals: (len(ANALOG),) float64."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        count = len(ANALOG)
        self._sigma = np.array([signal.noise for signal in ANALOG])
        self._keep = np.exp(-1 / (np.array([signal.tau_s for signal in ANALOG]) * TICKS_PER_S))
        self._fresh = np.sqrt(1 - self._keep**2)
        self._state = rng.standard_normal(count)
        self._turn = 2 * np.pi / (rng.uniform(*WANDER_PERIODS_S, (2, count)) * TICKS_PER_S)
        self._phase = rng.uniform(0, 2 * np.pi, (2, count))

    def step(self, tick: int) -> NDArray[np.float64]:
        self._state = self._keep * self._state + self._fresh * self._rng.standard_normal(
            len(self._state)
        )
        wander = WANDER_SIGMA * np.sin(self._turn * tick + self._phase).sum(axis=0)
        return np.asarray(self._sigma * (self._state + wander))


_POWER = next(place for place, signal in enumerate(ANALOG) if signal.key == "meter-01/power")
