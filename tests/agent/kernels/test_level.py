"""The level kernel against its naive twin, on noise where it must keep still, and on faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels import events, level
from tests import naive
from tests.agent.kernels.rows import Sample, bits, columns, rows, said

SEEDED = settings(max_examples=40, deadline=None, derandomize=True)
COMPILED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
TENTH = SECOND // 10
WARMUP, OFF = 15 * SECOND, 2 * SECOND
WARMUP_SAMPLES = 200
FALSE_ALARMS_MAX = 1
"""In ten hours of stationary noise; none was found at correlation times of 0.05 to 2 s."""
WHAT = ("opened", "raised", "closed")

Array = npt.NDArray[Any]


class Kernel:
    """Judged signals of one source."""

    def __init__(self, signals: int = 1, out_rows: int = events.OUT_ROWS) -> None:
        self.state = rows(level.new_state(signals))
        self.state["active"][:] = True
        self.members = np.arange(signals, dtype=np.int32)
        self.out = rows(np.empty(out_rows, events.EVENT))
        self.blocks: list[Array] = []

    def feed(self, samples: Sequence[Sample]) -> None:
        self.feed_columns(*columns(samples))

    def feed_columns(self, signal: Array, time_ns: Array, value: Array, status: Array) -> None:
        self.blocks += level.update(
            self.state, signal, time_ns, value, status, WARMUP, OFF, self.out
        )

    def advance(self, time_ns: int) -> None:
        self.blocks += level.advance(self.state, self.members, time_ns, OFF, self.out)

    @property
    def events(self) -> list[tuple[Any, ...]]:
        return [
            (WHAT[row["what"]], events.DETECTORS[row["detector"]], row["start_ns"], row["time_ns"])
            for block in self.blocks
            for row in block
        ]

    @property
    def newest(self) -> Any:
        return self.blocks[-1][-1]


def ar1(rng: np.random.Generator, size: int, tau_s: float, sigma: float = 1.0) -> Array:
    """Stationary noise at 10 Hz with this correlation time."""
    phi = math.exp(-0.1 / tau_s)
    course = np.empty(size)
    value = rng.normal()
    for i, shock in enumerate(rng.normal(0, math.sqrt(1 - phi * phi), size)):
        value = phi * value + shock
        course[i] = value
    return sigma * course


def feed(kernel: Kernel, values: Array, begin: int = 0) -> int:
    """Values at 10 Hz from sample `begin` on; the number of the sample after them."""
    n = len(values)
    times = START + (begin + np.arange(n)) * TENTH
    kernel.feed_columns(np.zeros(n, np.int32), times, values, np.zeros(n, np.uint32))
    return begin + n


def learned(seed: int = 1, centre: float = 50.0) -> tuple[Kernel, np.random.Generator, int]:
    kernel, rng = Kernel(), np.random.default_rng(seed)
    begin = feed(kernel, centre + ar1(rng, 3 * WARMUP_SAMPLES, 0.4))
    assert kernel.events == []
    return kernel, rng, begin


@st.composite
def courses(draw: st.DrawFn) -> list[Sample]:
    """One signal through its warm-up and then some trouble, in samples of uneven pauses."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = 300
    values = rng.normal(draw(st.sampled_from([0.0, 50.0, -1e6])), draw(st.floats(0.1, 5)), size)
    if draw(st.booleans()):
        values = np.round(values)  # a coarse sensor often repeats itself
    pauses = rng.choice([0, TENTH, TENTH, TENTH, 4 * TENTH, -TENTH], size)
    status = rng.choice([0, 0, 0, 0, 0x4000_0000, 0x8000_0000], size)
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(150, size - 1))
        values[begin : begin + draw(st.sampled_from([1, 5, 60]))] += draw(
            st.sampled_from([-200.0, -20.0, 4.0, 15.0, 1e9, math.nan, math.inf])
        )
    times = (START + np.cumsum(pauses)).tolist()
    return list(zip([0] * size, times, values.tolist(), status.tolist(), strict=True))


@SEEDED
@given(courses())
def test_the_kernel_notices_what_the_formulas_notice(samples: list[Sample]) -> None:
    kernel, twin = Kernel(), naive.Level(WARMUP, OFF)
    for sample in samples:
        kernel.feed([sample])
        twin.take(("sample", *sample[1:]))
    end_ns = samples[-1][1] + 10 * SECOND
    kernel.advance(end_ns)
    twin.take(("advance", end_ns))
    assert kernel.events == twin.events
    assert kernel.state["variance"][0] == pytest.approx(twin.variance, rel=1e-9)
    assert kernel.state["level"][0] == pytest.approx(twin.c, rel=1e-12)


@SEEDED
@given(courses(), courses(), st.data())
def test_splitting_a_batch_anywhere_gives_the_same_bits(
    first: list[Sample], second: list[Sample], data: st.DataObject
) -> None:
    other = [(1, time_ns, value, status) for _, time_ns, value, status in second]
    samples = [sample for pair in zip(first, other, strict=True) for sample in pair]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=5)))
    whole, split = Kernel(2), Kernel(2, out_rows=2)
    whole.feed(samples)
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        split.feed(samples[begin:end])
        split.advance(START)  # vouches for nothing new
    for kernel in (whole, split):
        kernel.advance(START + 1000 * SECOND)
    assert said(split.blocks) == said(whole.blocks)
    assert bits(split.state) == bits(whole.state)


def test_a_scratch_too_small_for_one_sample_is_a_mistake_not_an_endless_loop() -> None:
    with pytest.raises(ValueError, match="too small"):
        Kernel(out_rows=1).feed([(0, START, 1.0, 0)])


@pytest.mark.parametrize("tau_s", [0.05, 0.2, 0.8, 2.0])
def test_ten_hours_of_stationary_noise_give_at_most_one_false_alarm(tau_s: float) -> None:
    size = 36_000 if COMPILED else 600
    opened = 0
    for seed in range(10 if COMPILED else 2):
        kernel = Kernel()
        feed(kernel, 100.0 + ar1(np.random.default_rng(seed), size, tau_s, sigma=0.25))
        assert kernel.state["ready"][0]
        opened += sum(what == "opened" for what, *_ in kernel.events)
    assert opened <= FALSE_ALARMS_MAX


def stroke(ticks: Array) -> Array:
    """A press: pulses of 1,850 kN for a quarter of a 1.7 s takt over 24 kN."""
    phase = ticks % 17 / 17
    pressing = (phase >= 0.25) & (phase < 0.5)
    return np.where(pressing, 1850 * np.sin((phase - 0.25) * 4 * np.pi), 0.0) + 24.0


def test_a_stroke_is_normal_and_a_spike_above_it_is_not() -> None:
    kernel, rng = Kernel(), np.random.default_rng(3)
    size = 18_000 if COMPILED else 600
    pulses = stroke(np.arange(size)) + rng.normal(0, 9, size)
    begin = feed(kernel, pulses)
    assert kernel.events == []
    spike_ns = START + begin * TENTH
    scale = float(np.std(pulses))
    feed(kernel, np.array([24.0 + 1850.0 + 8 * scale]), begin)
    assert kernel.events == [("opened", "level", spike_ns, spike_ns)]


@pytest.mark.parametrize("sigmas", [9.0, -9.0])
def test_a_spike_is_noticed_at_once_and_over_when_the_value_is_back(sigmas: float) -> None:
    kernel, rng, begin = learned()
    feed(kernel, np.array([50.0 + sigmas]), begin)
    spike_ns = START + begin * TENTH
    assert kernel.events == [("opened", "level", spike_ns, spike_ns)]
    event = kernel.newest
    assert event["value"] == 50.0 + sigmas
    assert not event["low"] <= event["value"] <= event["high"]
    assert event["expected"] == pytest.approx(50.0, abs=0.5)
    feed(kernel, 50.0 + 0.1 * ar1(rng, 50, 0.4), begin + 1)
    back_ns = spike_ns + TENTH
    assert kernel.events[-1] == ("closed", "level", spike_ns, back_ns)


def test_a_step_is_an_alarm_until_the_value_comes_back() -> None:
    kernel, rng, begin = learned()
    step_ns = START + begin * TENTH
    end = feed(kernel, 80.0 + ar1(rng, 300, 0.4), begin)
    assert kernel.events == [("opened", "level", step_ns, step_ns)]
    assert kernel.newest["ratio"] >= events.ALARM_RATIO
    feed(kernel, 50.0 + 0.1 * ar1(rng, 200, 0.4), end)
    (_, (what, _, since_ns, ended_ns)) = kernel.events
    assert (what, since_ns) == ("closed", step_ns)
    # the mean of the last seconds takes its time: clipped at 6 s, it comes back within 5 s
    assert 0 <= ended_ns - (START + end * TENTH) <= 5 * SECOND


def test_a_slow_ramp_is_noticed_by_its_mean_and_told_with_the_mean() -> None:
    kernel, rng, begin = learned()
    for x in 50.0 + np.linspace(0.0, 6.0, 150) + ar1(rng, 150, 0.4):
        begin = feed(kernel, np.array([x]), begin)
        if kernel.events:
            break
    event = kernel.newest
    assert event["value"] == kernel.state["mean"][0]
    assert event["value"] >= event["high"] > 50.0


def test_a_warning_becomes_an_alarm_once_and_its_end_tells_the_worst() -> None:
    kernel, rng, begin = learned()
    scale = math.sqrt(kernel.state["variance"][0])
    begin = feed(kernel, 50.0 + scale * np.array([8.0, 14.0, 20.0, 13.0]), begin)
    kernel.advance(START + begin * TENTH + 5 * SECOND)
    assert [what for what, *_ in kernel.events] == ["opened", "raised"]
    feed(kernel, 50.0 + 0.1 * ar1(rng, 60, 0.4), begin)
    assert [what for what, *_ in kernel.events] == ["opened", "raised", "closed"]
    assert kernel.newest["value"] == pytest.approx(50.0 + 20.0 * scale)
    assert kernel.newest["ratio"] > 3.0


def test_an_episode_is_over_by_the_passing_of_time_alone() -> None:
    kernel, _, begin = learned()
    begin = feed(kernel, np.array([60.0, 50.0]), begin)
    calm_ns = START + (begin - 1) * TENTH
    kernel.advance(calm_ns + OFF - 1)
    assert len(kernel.events) == 1
    kernel.advance(calm_ns + OFF)
    assert kernel.events[-1] == ("closed", "level", calm_ns - TENTH, calm_ns)


def test_a_value_that_is_still_wrong_keeps_its_episode_open() -> None:
    kernel, _, begin = learned()
    feed(kernel, np.array([90.0]), begin)
    kernel.advance(START + 3600 * SECOND)
    assert [what for what, *_ in kernel.events] == ["opened"]


@pytest.mark.parametrize(
    ("value", "status"), [(math.nan, 0), (math.inf, 0), (-math.inf, 0), (1e9, 0x8000_0000)]
)
def test_what_is_not_good_is_not_judged(value: float, status: int) -> None:
    kernel, _, begin = learned()
    kernel.feed([(0, START + begin * TENTH, value, status)])
    assert kernel.events == []


def test_constants_and_signals_that_are_not_active_are_never_judged() -> None:
    kernel = Kernel()
    begin = feed(kernel, np.full(1000, 5.0))
    feed(kernel, np.array([500.0]), begin)
    other, rng = Kernel(), np.random.default_rng(1)
    other.state["active"][0] = False
    feed(other, np.append(ar1(rng, 1000, 0.4), 1e6))
    assert kernel.events == other.events == []


def test_a_rest_does_not_narrow_the_limits() -> None:
    kernel, rng, begin = learned()
    scale = math.sqrt(kernel.state["variance"][0])
    rest = 72_000 if COMPILED else 2_000  # two hours at one value, said ten times a second
    begin = feed(kernel, np.full(rest, 50.0), begin)
    assert math.sqrt(kernel.state["variance"][0]) == pytest.approx(scale, rel=0.05)
    feed(kernel, 50.0 + ar1(rng, 2000, 0.4), begin)
    assert kernel.events == []


def test_a_long_pause_gives_the_sample_after_it_no_great_weight() -> None:
    kernel, rng, begin = learned()
    scale = math.sqrt(kernel.state["variance"][0])
    for _ in range(3):  # an hour's pause each
        begin = feed(kernel, 50.0 + ar1(rng, 1, 0.4), begin + 36_000)
    assert math.sqrt(kernel.state["variance"][0]) == pytest.approx(scale, rel=0.1)


def test_the_largest_double_is_an_alarm_and_stops_nothing() -> None:
    kernel, rng, begin = learned()
    begin = feed(kernel, np.array([1.797e308, -1.797e308]), begin)
    feed(kernel, 50.0 + 0.1 * ar1(rng, 60, 0.4), begin)
    assert [what for what, *_ in kernel.events] == ["opened", "closed"]


def test_a_scale_below_the_resolution_of_the_level_divides_nothing_by_zero() -> None:
    kernel, _, begin = learned()
    kernel.state["variance"][0] = 1e-40
    kernel.state["level"][0] = kernel.state["highest"][0] = kernel.state["lowest"][0] = 50.0
    feed(kernel, np.array([50.0, 51.0]), begin)
    assert kernel.state["ready"][0]
