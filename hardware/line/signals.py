"""What the machines of the demo line report: one table, no state.

In: nothing. Out: `ANALOG`, the analog signals with their normal behaviour, and the machines by
wire. Cannot fail. Time is counted in ticks of `TICK_MS`; a phase is the place inside one takt, 0
<= phase < 1. The line is synchronous: every takt each machine takes the unit of the one before it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TICK_MS = 100
TICK_NS = TICK_MS * 1_000_000
TICKS_PER_S = 1000 // TICK_MS
# Two sines of this amplitude each, in noise sigmas: half a sigma from peak to peak together.
WANDER_SIGMA = 0.125

OPCUA_MACHINES = ("press-01", "oven-01")
MQTT_MACHINES = ("conveyor-01", "vision-01", "meter-01")
MEASURING = (0.2, 0.75)  # the phases between which the vision station sees a unit at rest

Shape = Literal["flat", "stroke", "index", "swing"]


@dataclass(frozen=True)
class Signal:
    """An analog signal: its mean course over one takt, and the noise on it.

    base, cycle, noise, floor : in `unit`; the course is `base + cycle * shape(phase)`, `noise` is
        the standard deviation of an AR(1) process with time constant `tau_s`, `floor` what a
        sensor of this kind can read at least.
    every, offset : the signal is sent at ticks `offset, offset + every, ...`
    between : phases between which it is sent, or None for always.
    drifts : whether this quantity drifts when its machine wears (a motor's speed does not).
    """

    machine: str
    name: str
    unit: str
    base: float
    noise: float
    tau_s: float
    decimals: int
    shape: Shape = "flat"
    cycle: float = 0.0
    every: int = 1
    offset: int = 0
    between: tuple[float, float] | None = None
    floor: float = -math.inf
    drifts: bool = False

    @property
    def key(self) -> str:
        """`machine/signal`, the name used in counts and between the modules."""
        return f"{self.machine}/{self.name}"

    def sent_at(self, tick: int, takt_ticks: int) -> bool:
        """Whether a healthy machine sends this signal at `tick`."""
        if (tick - self.offset) % self.every:
            return False
        return self.between is None or within(self.between, tick, takt_ticks)

    def course(self, takt_ticks: int) -> NDArray[np.float64]:
        """Mean value at each tick of one takt, without noise. Returns (takt_ticks,) float64."""
        phase = np.arange(takt_ticks) / takt_ticks
        return self.base + self.cycle * _shape(self.shape, phase)

    def spread(self, takt_ticks: int) -> float:
        """The signal's normal spread: standard deviation of course, noise and wander together."""
        wander_variance = (
            WANDER_SIGMA * self.noise
        ) ** 2  # two sines, each half its amplitude squared
        return math.sqrt(self.noise**2 + wander_variance + float(np.var(self.course(takt_ticks))))


def within(between: tuple[float, float], tick: int, takt_ticks: int) -> bool:
    """Whether `tick` falls between the two phases of its takt: `[from, to)`."""
    return between[0] <= (tick % takt_ticks) / takt_ticks < between[1]


def _shape(shape: Shape, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    match shape:
        case "stroke":  # the ram presses through a quarter of the takt
            return np.where(
                (phase >= 0.25) & (phase < 0.5), np.sin((phase - 0.25) * 4 * np.pi), 0.0
            )
        case "index":  # parts move at the takt's beginning
            return np.where(phase < 0.2, np.sin(phase * 5 * np.pi), 0.0)
        case "swing":
            return np.sin(phase * 2 * np.pi)
        case "flat":
            return np.zeros_like(phase)


ANALOG: tuple[Signal, ...] = (
    Signal("press-01", "ram_force", "kN", 24.0, 9.0, 0.2, 1, "stroke", 1850.0),
    Signal("press-01", "oil_temperature", "degC", 48.0, 0.06, 0.8, 3, "swing", 0.03, drifts=True),
    Signal("press-01", "motor_power", "kW", 18.0, 0.25, 0.3, 2, "stroke", 14.0, floor=0.0),
    Signal("oven-01", "zone_1_temperature", "degC", 182.0, 0.25, 0.8, 2, drifts=True),
    Signal("oven-01", "zone_2_temperature", "degC", 214.0, 0.25, 0.8, 2, drifts=True),
    Signal("oven-01", "zone_3_temperature", "degC", 228.0, 0.3, 0.8, 2, drifts=True),
    Signal("oven-01", "belt_speed", "m/min", 0.95, 0.004, 0.4, 4, floor=0.0),
    Signal("conveyor-01", "speed", "m/s", 0.32, 0.002, 0.3, 4, every=2, floor=0.0),
    Signal(
        "conveyor-01", "motor_current", "A", 2.3, 0.03, 0.3, 3, "index", 0.35, every=2, floor=0.0
    ),
    Signal(
        "conveyor-01",
        "vibration",
        "mm/s",
        1.8,
        0.09,
        0.2,
        3,
        "swing",
        0.1,
        every=2,
        floor=0.0,
        drifts=True,
    ),
    Signal(
        "vision-01",
        "deviation",
        "mm",
        0.02,
        0.012,
        0.2,
        4,
        every=2,
        offset=1,
        between=MEASURING,
        drifts=True,
    ),
    Signal("vision-01", "brightness", "", 128.0, 0.8, 0.4, 1, every=2, offset=1, floor=0.0),
    Signal("meter-01", "power", "kW", 41.0, 0.5, 0.4, 2, "stroke", 14.0, every=2, floor=0.0),
    Signal("meter-01", "voltage", "V", 399.0, 0.3, 0.4, 2, "stroke", -0.8, every=2, floor=0.0),
)
