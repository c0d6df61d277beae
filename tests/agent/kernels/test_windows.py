"""The windows kernel against its naive twin, and case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels import history, windows
from agent.lines import WINDOW
from tests import naive
from tests.agent.kernels.rows import Sample, all_rows, bits, columns, rows, said

SEEDED = settings(max_examples=100, deadline=None, derandomize=True)
EVERY = 1000
START = 1_700_000_000_000_000_000
GOOD, UNCERTAIN, BAD = 0, 0x4000_0000, 0x8000_0000
KINDS = {"analog": windows.ANALOG, "counter": windows.COUNTER}
FAR = (windows.EMPTY_RUN_MAX + 40) * EVERY

Step = tuple[Any, ...]


class Kernel:
    """Signals of one kind in one source, fed step by step."""

    def __init__(
        self, kind: int = windows.ANALOG, hold_ns: int = 0, signals: int = 1,
        out_rows: int = windows.OUT_ROWS,
    ) -> None:  # fmt: skip
        self.state = rows(windows.new_state(signals))
        self.history = all_rows(history.new_history(signals))
        self.walk = all_rows(history.new_walk())
        for name, value in (("every_ns", EVERY), ("hold_ns", hold_ns), ("kind", kind)):
            self.set(name, slice(None), value)
        self.members = np.arange(signals, dtype=np.int32)
        self.out = rows(np.empty(out_rows, WINDOW))
        self.filtered = np.zeros(len(windows.FILTERED), np.int64)
        self.blocks: list[Any] = []

    def set(self, name: str, signal: Any, value: int) -> None:
        self.state[name][signal] = value
        self.history.base[name][signal] = value

    def feed(self, samples: Sequence[Sample]) -> None:
        self.blocks += windows.update(
            self.state, self.history, *columns(samples), self.out, self.filtered
        )

    def advance(self, time_ns: int) -> None:
        self.blocks += windows.advance(self.state, self.members, time_ns, self.out)

    def step(self, step: Step) -> None:
        if step[0] == "sample":
            self.feed([(0, *step[1:])])
        elif step[0] == "advance":
            self.advance(step[1])
        elif step[0] == "interrupt":
            self.blocks += windows.interrupt(
                self.state, self.history, self.members, step[1], self.out
            )
        else:
            self.revise()

    def revise_all(self) -> None:
        while len(history.unrevised(self.history)):
            self.revise()

    def revise(self, rows_max: int = 10**9) -> None:
        numbers = history.unrevised(self.history)
        blocks, _ = history.revise(self.state, self.history, numbers, self.walk, self.out, rows_max)
        self.blocks += blocks

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All that was said, in the order it was."""
        return [
            dict(zip(WINDOW.names or (), row, strict=True))
            for block in self.blocks
            for row in block.tolist()
        ]

    @property
    def newest(self) -> dict[tuple[int, int], dict[str, Any]]:
        """What was said last of each window, by signal and start."""
        return {(row["signal"], row["start_ns"]): row for row in self.rows}

    @property
    def accounted(self) -> int:
        closed = sum(int(row["n"]) for row in self.newest.values())
        pending = windows.open_samples(self.state) + history.late_samples(self.history)
        return closed + pending + int(self.filtered.sum())


def at(offset_ns: int, value: float, status: int = GOOD) -> Step:
    return ("sample", START + offset_ns, value, status)


def advance(offset_ns: int) -> Step:
    return ("advance", START + offset_ns)


def interrupt(offset_ns: int) -> Step:
    return ("interrupt", START + offset_ns)


def run(*steps: Step, **how: Any) -> Kernel:
    kernel = Kernel(**how)
    for step in steps:
        kernel.step(step)
    return kernel


VALUES = st.one_of(
    st.floats(-1e6, 1e6),
    st.sampled_from([0.0, 3.25, 3.25, 65_530.0, 4_294_967_290.0, 10.0, math.nan, math.inf]),
)
COUNTS = st.sampled_from([0.0, 3.0, 10.0, 60_000.0, 65_530.0, 4_294_967_290.0, 1e9, math.nan])
STATUS = st.sampled_from([GOOD, GOOD, GOOD, GOOD, UNCERTAIN, BAD])
PAUSE = st.sampled_from([0, 1, 130, 130, 400, 999, EVERY, 2 * EVERY + 1] * 12 + [FAR])
JITTER = st.sampled_from([0, 0, 0, 0, -1, -300, -EVERY, -3 * EVERY - 7, 250])


@st.composite
def courses(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> list[Step]:
    """Samples, advances, interruptions and revisions of one signal, mostly in order."""
    now, steps = START + draw(st.integers(0, EVERY)), list[Step]()
    for _ in range(draw(st.integers(1, 25))):
        now += draw(PAUSE)
        what = draw(st.sampled_from(["sample"] * 6 + ["advance"] * 2 + ["interrupt", "revise"]))
        time_ns = now + draw(JITTER)
        if what == "sample":
            steps.append((what, time_ns, draw(values), draw(STATUS)))
        else:
            steps.append((what, time_ns))
    return steps


def check(kernel: Kernel, twin: naive.Windows) -> None:
    """The newest revisions are what the twin makes of the whole course."""
    kernel.revise_all()
    newest = kernel.newest
    at_once = [row["start_ns"] for row in kernel.rows if row["rev"] == 0]
    assert at_once == twin.closed
    open_ns = int(kernel.state["start_ns"][0])
    held = {start for start, n in twin.said.items() if n and start < open_ns}
    assert {start for _, start in newest} >= held | set(twin.closed)
    for row in newest.values():
        wanted = twin.row(row["start_ns"])
        for name in ("n", "good", "min", "max", "first", "last", "increase"):
            if name in wanted:
                assert row[name] == wanted[name], (name, row, wanted)
            else:
                assert math.isnan(row[name]), (name, row, wanted)
        scale = max(abs(wanted.get("min", 0.0)), abs(wanted.get("max", 0.0)), 1e-300)
        for name, error in (("mean", 1e-12), ("std", 1e-7)):
            if name in wanted:
                assert abs(row[name] - wanted[name]) <= error * scale, (name, row, wanted)
            else:
                assert math.isnan(row[name])
    assert windows.open_samples(kernel.state) == twin.open_samples()
    named = dict(zip(windows.FILTERED, kernel.filtered.tolist(), strict=True))
    assert named == twin.filtered


@SEEDED
@given(courses(), st.sampled_from([0, 0, 350, 1700]))
def test_windows_equal_their_definition(steps: list[Step], hold_ns: int) -> None:
    twin = naive.Windows("analog", EVERY, hold_ns)
    for step in steps:
        twin.take(step)
    check(run(*steps, hold_ns=hold_ns), twin)


@SEEDED
@given(courses(values=COUNTS))
def test_counters_equal_their_definition(steps: list[Step]) -> None:
    twin = naive.Windows("counter", EVERY, 0)
    for step in steps:
        twin.take(step)
    check(run(*steps, kind=windows.COUNTER), twin)


@SEEDED
@given(courses())
def test_every_sample_is_in_a_window_or_filtered(steps: list[Step]) -> None:
    samples = sum(step[0] == "sample" for step in steps)
    assert run(*steps).accounted == samples


@st.composite
def batches(draw: st.DrawFn) -> list[Sample]:
    """Samples of four signals, the last one of text."""
    now, samples = START, list[Sample]()
    for _ in range(draw(st.integers(0, 40))):
        now += draw(PAUSE)
        signal = draw(st.integers(0, 3))
        samples.append((signal, now + draw(JITTER), draw(VALUES), draw(STATUS)))
    return samples


def several(out_rows: int = windows.OUT_ROWS) -> Kernel:
    kernel = Kernel(signals=4, hold_ns=1700, out_rows=out_rows)
    kernel.set("kind", 1, windows.COUNTER)
    kernel.set("hold_ns", 2, 0)
    kernel.set("kind", 3, windows.TEXT)
    return kernel


@SEEDED
@given(batches(), st.data())
def test_splitting_a_batch_anywhere_gives_the_same_bits(
    samples: list[Sample], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=4)))
    whole, split = several(), several()
    alive_ns = max([START, *(time_ns for _, time_ns, _, _ in samples)]) + data.draw(PAUSE)
    whole.feed(samples)
    whole.advance(alive_ns)
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        split.feed(samples[begin:end])
        split.advance(START - FAR)  # vouches for nothing new
    split.advance(alive_ns)
    whole.revise()
    split.revise()
    assert said(split.blocks) == said(whole.blocks)
    assert bits(split.state) == bits(whole.state)
    assert split.filtered.tolist() == whole.filtered.tolist()


@settings(SEEDED, max_examples=20)
@given(batches())
def test_a_small_scratch_gives_the_same_windows(samples: list[Sample]) -> None:
    small, large = several(out_rows=windows.EMPTY_RUN_MAX + 2), several()
    for kernel in (small, large):
        kernel.feed(samples)
        kernel.advance(START + 3 * FAR)
        kernel.revise()
    assert said(small.blocks) == said(large.blocks)


def test_a_scratch_too_small_for_one_sample_is_a_mistake_not_an_endless_loop() -> None:
    with pytest.raises(ValueError, match="too small"):
        run(at(0, 1.0), out_rows=windows.EMPTY_RUN_MAX + 1)


def test_a_value_counts_by_how_long_it_held() -> None:
    kernel = run(at(0, 1.0), at(100, 2.0), at(500, 4.0), advance(EVERY))
    (row,) = kernel.rows
    assert row["mean"] == pytest.approx(0.1 * 1 + 0.4 * 2 + 0.5 * 4)
    assert row["std"] == pytest.approx(math.sqrt(0.1 * 3.61 + 0.4 * 0.81 + 0.5 * 1.21), rel=1e-2)
    assert (row["n"], row["good"], row["first"], row["last"]) == (3, 1.0, 1.0, 4.0)


def test_a_held_value_covers_windows_without_samples() -> None:
    kernel = run(at(0, 7.5), advance(3 * EVERY))
    assert [(row["n"], row["good"], row["mean"], row["std"]) for row in kernel.rows] == [
        (1, 1.0, 7.5, 0.0), (0, 1.0, 7.5, 0.0), (0, 1.0, 7.5, 0.0),
    ]  # fmt: skip


def test_a_value_expires_after_its_hold_and_the_rest_is_a_gap() -> None:
    kernel = run(at(0, 7.5), advance(3 * EVERY), hold_ns=1250)
    assert [row["good"] for row in kernel.rows] == [1.0, 0.25, 0.0]
    assert math.isnan(kernel.rows[2]["mean"])


def test_the_first_window_is_covered_from_the_first_sample_only() -> None:
    kernel = run(at(250, 3.0), advance(EVERY))
    assert [(row["start_ns"], row["good"]) for row in kernel.rows] == [(START, 0.75)]


def test_time_that_passes_before_the_first_sample_closes_nothing() -> None:
    kernel = run(advance(0), advance(50 * EVERY))
    assert kernel.rows == []
    assert run(advance(50 * EVERY), at(51 * EVERY, 1.0), advance(52 * EVERY)).rows[0]["n"] == 1


@pytest.mark.parametrize(
    ("value", "status"),
    [(math.nan, GOOD), (math.inf, GOOD), (-math.inf, GOOD), (5.0, UNCERTAIN), (5.0, BAD)],
)
def test_a_sample_that_is_not_good_ends_the_value_before_it_and_covers_nothing(
    value: float, status: int
) -> None:
    (row,) = run(at(0, 1.0), at(400, value, status), advance(EVERY)).rows
    assert (row["n"], row["good"], row["mean"], row["max"], row["last"]) == (2, 0.4, 1.0, 1.0, 1.0)


def test_of_samples_at_one_time_the_last_is_kept() -> None:
    kernel = run(at(0, 1.0), at(0, 5.0), at(0, 3.0), advance(EVERY))
    (row,) = kernel.rows
    assert (row["n"], row["mean"], row["first"], row["max"]) == (1, 3.0, 3.0, 3.0)
    assert dict(zip(windows.FILTERED, kernel.filtered, strict=True))["same_time"] == 2


def test_an_interruption_is_a_gap_until_the_next_sample() -> None:
    kernel = run(
        at(0, 1.0), advance(600), interrupt(600), advance(2 * EVERY), at(2500, 3.0), advance(3000)
    )
    assert [row["good"] for row in kernel.rows] == [0.6, 0.0, 0.5]
    assert [row["n"] for row in kernel.rows] == [1, 0, 1]


def test_a_run_of_windows_is_bounded_and_what_lies_before_it_is_left_out() -> None:
    kernel = run(at(0, 2.0), at(10_000 * EVERY, 3.0))
    starts = [(row["start_ns"] - START) // EVERY for row in kernel.rows]
    assert len(starts) == windows.EMPTY_RUN_MAX
    assert starts[0] == 0
    assert starts[1:] == list(range(10_000 - windows.EMPTY_RUN_MAX + 1, 10_000))


def test_the_longest_allowed_run_is_complete() -> None:
    kernel = run(at(0, 2.0), advance(windows.EMPTY_RUN_MAX * EVERY))
    starts = [(row["start_ns"] - START) // EVERY for row in kernel.rows]
    assert starts == list(range(windows.EMPTY_RUN_MAX))


@pytest.mark.parametrize(
    ("counts", "increase"),
    [
        ((5, 9, 9, 12), 7),
        ((100, 130, 4, 10), 30 + 4 + 6),  # a reset
        ((65_000, 65_530, 20), 530 + 26),  # a roll-over of 16 bits
        ((4_294_967_000, 100), 396),  # of 32 bits
        ((40_000, 100), 100),  # too far from the end for a roll-over
        ((7,), 0),
    ],
)
def test_a_counter_survives_resets_and_roll_over(counts: tuple[int, ...], increase: int) -> None:
    steps = [at(100 * i, float(count)) for i, count in enumerate(counts)]
    (row,) = run(*steps, advance(EVERY), kind=windows.COUNTER).rows
    assert row["increase"] == increase
    assert math.isnan(row["mean"])
    assert (row["first"], row["last"]) == (counts[0], counts[-1])


def test_a_counter_said_again_at_the_same_time_counts_once() -> None:
    steps = [at(0, 10.0), at(100, 15.0), at(100, 12.0), at(100, 13.0), at(200, 14.0)]
    (row,) = run(*steps, advance(EVERY), kind=windows.COUNTER).rows
    assert row["increase"] == 4.0


def test_a_counter_goes_on_after_a_gap_with_what_it_counted_meanwhile() -> None:
    steps = [at(0, 10.0), interrupt(10), at(5 * EVERY, 25.0), advance(6 * EVERY)]
    assert [row["increase"] for row in run(*steps, kind=windows.COUNTER).rows][-1] == 15.0


def test_a_bad_counter_value_neither_counts_nor_is_forgotten() -> None:
    steps = [at(0, 10.0), at(100, 0.0, BAD), at(200, 11.0), advance(EVERY)]
    (row,) = run(*steps, kind=windows.COUNTER).rows
    assert (row["increase"], row["good"]) == (1.0, pytest.approx(0.9))


def test_text_is_passed_over() -> None:
    kernel = run(at(0, 1.0), advance(9 * EVERY), kind=windows.TEXT)
    assert kernel.rows == []
    assert windows.open_samples(kernel.state) == 0
