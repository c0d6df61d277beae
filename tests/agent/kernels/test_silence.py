"""The silence kernel against its naive twin, and case by case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels import events, silence
from tests import naive
from tests.agent.kernels.rows import Sample, bits, columns, rows, said

SEEDED = settings(max_examples=60, deadline=None, derandomize=True)
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
TENTH = SECOND // 10
WARMUP = 15 * SECOND
GOOD, UNCERTAIN, BAD = 0, 0x4000_0000, 0x808C_0000
WHAT = ("opened", "raised", "closed")

Array = npt.NDArray[Any]
Step = tuple[Any, ...]


class Kernel:
    """Judged signals of one source; `vouched` where it sends only changes."""

    def __init__(
        self, vouched: bool = False, analog: bool = True, signals: int = 1,
        out_rows: int = events.OUT_ROWS,
    ) -> None:  # fmt: skip
        self.state = rows(silence.new_state(signals))
        for name, value in (("active", True), ("moves", analog), ("vouched", vouched)):
            self.state[name][:] = value
        self.members = np.arange(signals, dtype=np.int32)
        self.out = rows(np.empty(out_rows, events.EVENT))
        self.blocks: list[Array] = []

    def feed(self, samples: Sequence[Sample]) -> None:
        self.blocks += silence.update(self.state, *columns(samples), WARMUP, self.out)

    def advance(self, time_ns: int) -> None:
        self.blocks += silence.advance(self.state, self.members, time_ns, WARMUP, self.out)

    def interrupt(self) -> None:
        silence.interrupt(self.state, self.members)

    def step(self, step: Step) -> None:
        if step[0] == "sample":
            self.feed([(0, *step[1:])])
        elif step[0] == "advance":
            self.advance(step[1])
        else:
            self.interrupt()

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


def moving(count: int, every_ns: int = TENTH, begin_ns: int = START) -> list[Sample]:
    """A value that moves with each sample."""
    return [(0, begin_ns + i * every_ns, 20.0 + math.sin(i), GOOD) for i in range(count)]


def warm(**how: Any) -> tuple[Kernel, int]:
    """A kernel that has learned a signal at 10 Hz, and the time of its newest sample."""
    kernel = Kernel(**how)
    kernel.feed(moving(200))
    assert kernel.events == []
    return kernel, START + 199 * TENTH


def tick(kernel: Kernel, begin_ns: int, end_ns: int, every_ns: int) -> None:
    for now in range(begin_ns, end_ns, every_ns):
        kernel.advance(now)


@st.composite
def courses(draw: st.DrawFn) -> list[Step]:
    """A signal through its warm-up and then pauses, repeats, bad values and interruptions."""
    steps: list[Step] = [("sample", *sample[1:]) for sample in moving(draw(st.integers(20, 170)))]
    now, value = steps[-1][1], 0.0
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([0, TENTH, TENTH, TENTH, SECOND, 3 * SECOND, -TENTH]))
        what = draw(st.sampled_from(["sample"] * 6 + ["advance", "advance", "interrupt"]))
        value += draw(st.sampled_from([0.0, 1.0, 1.0]))
        if what == "sample":
            shown = draw(st.sampled_from([value] * 8 + [math.nan, math.inf]))
            status = draw(st.sampled_from([GOOD] * 6 + [UNCERTAIN, BAD, BAD]))
            steps.append((what, now, shown, status))
        else:
            steps.append((what, now))
    return steps


@SEEDED
@given(courses(), st.booleans(), st.booleans())
def test_the_kernel_notices_what_its_twin_notices(
    steps: list[Step], vouched: bool, analog: bool
) -> None:
    kernel, twin = Kernel(vouched, analog), naive.Silence(analog, vouched, WARMUP)
    for step in [*steps, ("advance", steps[-1][1] + 60 * SECOND)]:
        kernel.step(step)
        twin.take(step)
    assert kernel.events == twin.events


@SEEDED
@given(courses(), courses(), st.data())
def test_splitting_a_batch_anywhere_gives_the_same_bits(
    first: list[Step], second: list[Step], data: st.DataObject
) -> None:
    samples = sorted(
        [(number, *step[1:]) for number, steps in enumerate((first, second)) for step in steps
         if step[0] == "sample"],
        key=lambda sample: sample[1],
    )  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=5)))
    whole, split = Kernel(signals=2), Kernel(signals=2, out_rows=2)
    whole.feed(samples)
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        split.feed(samples[begin:end])
        split.advance(START)  # vouches for nothing new
    for kernel in (whole, split):
        kernel.advance(START + 1000 * SECOND)
    assert said(split.blocks) == said(whole.blocks)
    assert bits(split.state) == bits(whole.state)


CADENCES = [7_000_000, 100_000_000, 1_300_000_000, 60 * SECOND]


def test_messages_that_stop_are_a_dropout_though_the_last_two_said_the_same() -> None:
    kernel, newest_ns = warm(vouched=False)
    value = moving(200)[-1][2]
    kernel.feed([(0, newest_ns + TENTH, value, GOOD)])
    kernel.advance(newest_ns + 60 * SECOND)
    stopped_ns = newest_ns + TENTH
    assert kernel.events == [("opened", "dropout", stopped_ns, stopped_ns + 2 * SECOND)]


@pytest.mark.parametrize("cadence_ns", CADENCES)
def test_a_dropout_is_noticed_at_its_limit_however_seldom_the_loop_looks(cadence_ns: int) -> None:
    kernel, newest = warm()
    tick(kernel, newest, newest + 61 * SECOND, cadence_ns)
    assert kernel.events == [("opened", "dropout", newest, newest + 2 * SECOND)]
    assert kernel.newest["high"] == 2e9


@pytest.mark.parametrize("cadence_ns", CADENCES)
def test_a_stuck_value_is_noticed_at_its_limit(cadence_ns: int) -> None:
    kernel, newest = warm(vouched=True)
    tick(kernel, newest, newest + 61 * SECOND, cadence_ns)
    assert kernel.events == [("opened", "stuck", newest, newest + 2 * SECOND)]


def test_a_value_said_again_and_again_is_stuck_at_the_same_instant() -> None:
    kernel, newest = warm()
    last = moving(200)[-1][2]
    kernel.feed([(0, newest + i * TENTH, last, GOOD) for i in range(1, 60)])
    assert kernel.events == [("opened", "stuck", newest, newest + 2 * SECOND)]


@pytest.mark.parametrize("cadence_ns", CADENCES)
def test_a_bad_status_is_noticed_after_one_second(cadence_ns: int) -> None:
    kernel, newest = warm(vouched=True)
    bad_ns = newest + TENTH
    kernel.feed([(0, bad_ns, math.nan, BAD)])
    tick(kernel, bad_ns, bad_ns + 61 * SECOND, cadence_ns)
    assert kernel.events == [("opened", "bad_status", bad_ns, bad_ns + SECOND)]
    assert int(kernel.newest["value"]) == BAD


def test_a_limit_reached_and_left_within_one_batch_is_told_with_its_exact_times() -> None:
    kernel, newest = warm()
    kernel.feed([(0, newest + 10 * SECOND, 33.0, GOOD)])
    assert kernel.events == [
        ("opened", "dropout", newest, newest + 2 * SECOND),
        ("closed", "dropout", newest, newest + 10 * SECOND),
    ]


def test_just_before_its_limit_nothing_is_said() -> None:
    for how in ({}, {"vouched": True}):
        kernel, newest = warm(**how)
        kernel.advance(newest + 2 * SECOND - 1)
        assert kernel.events == []
        kernel.advance(newest + 2 * SECOND)
        assert len(kernel.events) == 1


def test_the_limit_is_three_times_the_longest_pause_known() -> None:
    kernel = Kernel()
    kernel.feed(moving(100, every_ns=5 * SECOND))
    newest = START + 99 * 5 * SECOND
    kernel.advance(newest + 15 * SECOND - 1)
    assert kernel.events == []
    kernel.advance(newest + 15 * SECOND)
    assert kernel.events == [("opened", "dropout", newest, newest + 15 * SECOND)]


def test_a_stuck_episode_ends_with_the_next_value_that_moves() -> None:
    kernel, newest = warm()
    last = moving(200)[-1][2]
    kernel.feed([(0, newest + i * TENTH, last, GOOD) for i in range(1, 40)])
    kernel.feed([(0, newest + 40 * TENTH, last + 1, GOOD)])
    assert kernel.events[-1] == ("closed", "stuck", newest, newest + 40 * TENTH)
    assert kernel.newest["high"] == 40 * TENTH


def test_a_bad_status_ends_with_the_next_good_value_even_if_it_did_not_move() -> None:
    kernel, newest = warm()
    last = moving(200)[-1][2]
    kernel.feed([(0, newest + i * TENTH, math.nan, BAD) for i in range(1, 20)])
    kernel.feed([(0, newest + 20 * TENTH, last, GOOD)])
    start = newest + TENTH
    assert kernel.events == [
        ("opened", "bad_status", start, start + SECOND),
        ("closed", "bad_status", start, newest + 20 * TENTH),
    ]


def test_a_constant_that_turns_bad_is_told() -> None:
    kernel = Kernel(vouched=True)
    kernel.feed([(0, START, 5.0, GOOD), (0, START + 60 * SECOND, 5.0, BAD)])
    kernel.advance(START + 70 * SECOND)
    assert [detector for _, detector, *_ in kernel.events] == ["bad_status"]


def test_a_short_bad_spell_is_nothing() -> None:
    kernel, newest = warm()
    kernel.feed([(0, newest + i * TENTH, math.nan, BAD) for i in range(1, 10)])
    kernel.feed(moving(50, begin_ns=newest + SECOND))
    assert kernel.events == []


def test_a_pause_after_a_dropout_is_not_learned_as_normal() -> None:
    kernel, newest = warm()
    again = newest + 60 * SECOND
    kernel.feed(moving(50, begin_ns=again))
    end = again + 49 * TENTH
    kernel.advance(end + 2 * SECOND)
    assert kernel.events[2:] == [("opened", "dropout", end, end + 2 * SECOND)]


def test_an_interruption_silences_until_the_next_sample() -> None:
    for how in ({}, {"vouched": True}):
        kernel, newest = warm(**how)
        kernel.interrupt()
        tick(kernel, newest, newest + 60 * SECOND, SECOND)
        kernel.feed(moving(30, begin_ns=newest + 60 * SECOND))
        assert kernel.events == []
        kernel.advance(newest + 70 * SECOND)
        assert len(kernel.events) == 1


def quiet(samples: Iterable[Sample], vouched: bool, analog: bool = True) -> list[Any]:
    """What is noticed of these samples in an hour in which the source is alive."""
    kernel = Kernel(vouched, analog)
    newest = START
    for sample in samples:
        tick(kernel, newest, sample[1], 5 * SECOND)
        kernel.feed([sample])
        newest = sample[1]
    tick(kernel, newest, newest + 600 * SECOND, 5 * SECOND)
    return kernel.events


def test_set_points_moved_in_bursts_by_people_are_never_stuck() -> None:
    rng = np.random.default_rng(7)
    pauses = np.where(np.arange(90) % 30 == 0, 100.0, rng.uniform(0.5, 1.5, 90))
    times = START + np.cumsum(pauses * 1e9).astype(np.int64)
    samples = [(0, int(time), float(i), GOOD) for i, time in enumerate(times)]
    assert quiet(samples, vouched=True) == []


def test_constants_are_never_stuck_nor_missed_where_only_changes_are_sent() -> None:
    assert quiet([(0, START, 5.0, GOOD)], vouched=True) == []
    assert quiet([(0, START + i * TENTH, 5.0, GOOD) for i in range(1000)], vouched=True) == []


def test_a_counter_at_rest_is_not_stuck() -> None:
    samples = [(0, START + i * TENTH, float(i), GOOD) for i in range(200)]
    assert quiet(samples, vouched=True, analog=False) == []


def test_signals_that_are_not_active_as_text_are_never_judged() -> None:
    kernel = Kernel()
    kernel.state["active"][0] = False
    kernel.feed(moving(200))
    kernel.feed([(0, START + 21 * SECOND, math.nan, BAD)])
    kernel.advance(START + 3600 * SECOND)
    assert kernel.events == []


def test_a_scratch_too_small_for_one_sample_is_a_mistake_not_an_endless_loop() -> None:
    with pytest.raises(ValueError, match="too small"):
        Kernel(out_rows=1).feed(moving(1))
