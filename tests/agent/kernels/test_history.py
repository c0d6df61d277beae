"""Late samples: windows made anew are those of the same samples in order, bit by bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels import history, windows
from tests import naive
from tests.agent.kernels.rows import bits, said
from tests.agent.kernels.test_windows import (
    BAD,
    COUNTS,
    EVERY,
    SEEDED,
    START,
    STATUS,
    VALUES,
    Kernel,
    Step,
    advance,
    at,
    check,
    interrupt,
    run,
)

REVISE = ("revise",)
REACH = history.HISTORY_SAMPLES // 2
"""So many samples can come before a late one at least."""


@st.composite
def long_courses(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> list[Step]:
    """Some hundred samples of one signal, of which some come late, others twice."""
    seed = draw(st.integers(0, 2**32 - 1))
    pool = draw(st.lists(st.tuples(values, STATUS), min_size=20, max_size=20))
    share = draw(st.sampled_from([0.05, 0.3, 0.9]))
    rng = np.random.default_rng(seed)
    now, steps = START, list[Step]()
    for _ in range(draw(st.integers(60, 250))):
        now += int(rng.choice([0, 1, 130, 130, 400, 999, EVERY, 2 * EVERY + 1]))
        what = rng.choice(["sample"] * 20 + ["advance"] * 3 + ["interrupt", "revise"])
        time_ns = now
        if rng.random() < share:
            time_ns -= int(rng.integers(0, 40 * EVERY if share < 0.5 else 4 * EVERY))
        if what == "sample":
            steps.append(("sample", time_ns, *pool[rng.integers(len(pool))]))
        else:
            steps.append((str(what), time_ns))
    return steps


@SEEDED
@given(long_courses(), st.sampled_from([0, 350, 1700]))
def test_revised_windows_equal_their_definition(steps: list[Step], hold_ns: int) -> None:
    twin = naive.Windows("analog", EVERY, hold_ns)
    for step in steps:
        twin.take(step)
    check(run(*steps, hold_ns=hold_ns), twin)


@SEEDED
@given(long_courses(values=COUNTS))
def test_revised_counters_equal_their_definition(steps: list[Step]) -> None:
    twin = naive.Windows("counter", EVERY, 0)
    for step in steps:
        twin.take(step)
    check(run(*steps, kind=windows.COUNTER), twin)


@st.composite
def delayed(draw: st.DrawFn) -> tuple[list[Step], list[Step]]:
    """A course in order of time, and the same as it arrives: samples up to REACH places later."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = draw(st.lists(draw(st.sampled_from([VALUES, COUNTS])), min_size=9, max_size=9))
    pauses = draw(st.sampled_from([(1, 30, 90), (130, 400, 999), (EVERY, 700, 3 * EVERY)]))
    now, steps = START, list[Step]()
    for _ in range(draw(st.integers(1, 300))):
        now += int(rng.choice(pauses))
        steps.append(("sample", now, pool[rng.integers(9)], int(rng.choice([0, 0, 0, BAD]))))
        if rng.random() < 0.1:
            now = (now // EVERY + 1) * EVERY
            steps.append(("advance", now))
        if rng.random() < 0.05:
            now += 1  # a late sample of the same instant would come after the gap, not before it
            steps += [("advance", now), ("interrupt", now)]
    due = [
        number
        + (int(rng.integers(0, REACH // 2)) if step[0] == "sample" and rng.random() < 0.2 else 0)
        for number, step in enumerate(steps)
    ]
    due[0] = -1  # before the first sample, a gap is not known as one
    arriving = [steps[number] for number in np.argsort(due, kind="stable")]
    for place in sorted(rng.integers(0, len(steps), 5).tolist(), reverse=True):
        arriving.insert(place, REVISE)
    return steps, arriving


@settings(SEEDED, max_examples=200)
@given(delayed(), st.sampled_from([windows.ANALOG, windows.COUNTER]), st.sampled_from([0, 1700]))
def test_newest_revisions_equal_the_windows_of_the_same_samples_in_order(
    courses: tuple[list[Step], list[Step]], kind: int, hold_ns: int
) -> None:
    in_order = courses[0]
    wanted, late = (run(*steps, kind=kind, hold_ns=hold_ns) for steps in courses)
    end_ns = max(step[1] for step in in_order) + 2 * EVERY
    for kernel in (wanted, late):
        kernel.advance(end_ns)
        kernel.revise_all()
        assert kernel.accounted == sum(step[0] == "sample" for step in in_order)
    assert late.filtered.sum() == 0
    assert {**late.newest, **_without_rev(wanted)}.keys() == late.newest.keys()
    for key, row in _without_rev(wanted).items():
        assert repr({**late.newest[key], "rev": 0}) == repr(row)


def _without_rev(kernel: Kernel) -> dict[Any, dict[str, Any]]:
    return {key: {**row, "rev": 0} for key, row in kernel.newest.items()}


@settings(SEEDED, max_examples=50)
@given(long_courses(), st.data())
def test_splitting_gives_the_same_bits_with_late_samples_too(
    steps: list[Step], data: st.DataObject
) -> None:
    samples = [(0, *step[1:]) for step in steps if step[0] == "sample"]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=4)))
    whole, split = Kernel(), Kernel(out_rows=windows.EMPTY_RUN_MAX + 2)
    whole.feed(samples)
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        split.feed(samples[begin:end])
    for kernel in (whole, split):
        kernel.revise()
    assert said(split.blocks) == said(whole.blocks)
    for name in ("base", "book"):
        assert bits(getattr(split.history, name)) == bits(getattr(whole.history, name))
    assert bits(split.state) == bits(whole.state)
    assert split.filtered.tolist() == whole.filtered.tolist()


def revised(kernel: Kernel) -> list[int]:
    """Windows said anew, by their number."""
    return [(row["start_ns"] - START) // EVERY for row in kernel.rows if row["rev"]]


def test_a_sample_out_of_order_in_the_open_window_is_simply_counted_in() -> None:
    kernel = run(at(0, 1.0), at(500, 2.0), at(400, 99.0), advance(EVERY), REVISE)
    (row,) = kernel.rows
    assert (row["n"], row["max"], row["rev"]) == (3, 99.0, 0)
    assert row["mean"] == pytest.approx(0.4 * 1 + 0.1 * 99 + 0.5 * 2)


def test_a_late_sample_revises_its_window_and_those_its_value_holds_through() -> None:
    steps = [at(100, 1.0), at(4500, 2.0), advance(7 * EVERY), at(1500, 9.0), REVISE]
    kernel = run(*steps)
    assert revised(kernel) == [1, 2, 3, 4]
    newest = kernel.newest
    assert [newest[0, START + i * EVERY]["mean"] for i in range(7)] == [1, 5, 9, 9, 5.5, 2, 2]
    assert newest[0, START + EVERY]["n"] == 1


def test_a_late_sample_that_expires_revises_no_further_than_it_holds() -> None:
    steps = [at(100, 1.0), advance(7 * EVERY), at(1500, 9.0), REVISE]
    kernel = run(*steps, hold_ns=1300)
    assert revised(kernel) == [1, 2]
    assert kernel.newest[0, START + 2 * EVERY]["good"] == 0.8


def test_a_late_value_that_reaches_the_open_window_puts_it_right() -> None:
    steps = [at(100, 1.0), advance(2 * EVERY), at(1500, 9.0), REVISE, advance(3 * EVERY), REVISE]
    kernel = run(*steps)
    assert [row["mean"] for row in kernel.rows if row["rev"] == 0] == [1.0, 1.0, 9.0]
    assert revised(kernel) == [1]


def test_a_window_is_revised_once_however_many_late_samples_it_has() -> None:
    steps = [at(0, 1.0), advance(EVERY), *(at(100 * i, 2.0) for i in range(5, 0, -1)), REVISE]
    assert revised(run(*steps)) == [0]
    assert revised(run(*steps, REVISE)) == [0]


def test_a_late_counter_revises_the_window_of_the_next_count_too() -> None:
    steps = [at(0, 10.0), at(3500, 40.0), advance(5 * EVERY), at(1500, 25.0), REVISE]
    kernel = run(*steps, kind=windows.COUNTER)
    increase = [kernel.newest[0, START + i * EVERY]["increase"] for i in range(5)]
    assert increase == [0.0, 15.0, 0.0, 15.0, 0.0]


def test_a_late_sample_of_a_known_time_replaces_it() -> None:
    kernel = run(at(100, 1.0), at(1200, 2.0), advance(3 * EVERY), at(100, 7.0), REVISE)
    assert kernel.newest[0, START]["mean"] == 7.0
    assert (kernel.newest[0, START]["n"], kernel.filtered.tolist()) == (1, [0, 1])


def test_a_sample_before_an_interruption_holds_until_it_and_no_longer() -> None:
    steps = [at(0, 1.0), interrupt(600), advance(3 * EVERY), at(500, 9.0), REVISE]
    kernel = run(*steps)
    assert [kernel.newest[0, START + i * EVERY]["good"] for i in range(3)] == [0.6, 0.0, 0.0]
    assert kernel.newest[0, START]["max"] == 9.0


def test_an_outage_that_is_filled_afterwards_leaves_no_gap() -> None:
    outage = 500
    steps = [at(0, 0.0), interrupt(1), advance(outage * EVERY), at(outage * EVERY, 1.0)]
    filled = [at(i * EVERY // 5, float(i)) for i in range(1, 5 * outage)]
    kernel = run(*steps, *filled, advance((outage + 1) * EVERY), REVISE)
    newest = kernel.newest
    assert [newest[0, START + i * EVERY]["n"] for i in range(outage)] == [5] * outage
    assert {newest[0, START + i * EVERY]["good"] for i in range(1, outage)} == {1.0}
    assert kernel.filtered.tolist() == [0, 0]
    assert len(revised(kernel)) < 2 * outage  # each once, or twice where its last sample followed


def test_windows_that_were_skipped_are_made_when_their_samples_come() -> None:
    kernel = run(at(0, 1.0), interrupt(1), at(900 * EVERY, 2.0), at(300 * EVERY, 5.0))
    kernel.revise_all()
    assert sorted(set(revised(kernel))) == list(range(300, 900))
    assert kernel.newest[0, START + 300 * EVERY]["n"] == 1


def test_one_late_value_makes_only_so_many_windows_anew() -> None:
    far = 2 * history.HELD_RUN_MAX
    kernel = run(at(0, 1.0), at(far * EVERY, 2.0), at(10 * EVERY, 5.0))
    kernel.revise_all()
    assert len(set(revised(kernel))) == history.HELD_RUN_MAX


def test_a_value_that_reaches_far_is_told_in_full_once_nothing_late_comes_any_more() -> None:
    kernel = run(at(0, 1.0), advance(100 * EVERY), at(EVERY, 2.0), REVISE)
    assert revised(kernel) == list(range(1, 1 + history.HELD_SOON_MAX))
    kernel.step(at(2 * EVERY, 3.0))
    kernel.revise()
    assert max(revised(kernel)) == 1 + history.HELD_SOON_MAX
    kernel.revise()
    assert max(revised(kernel)) == 99
    assert history.unrevised(kernel.history).size == 0
    assert kernel.newest[0, START + 99 * EVERY]["mean"] == 3.0


def test_what_is_older_than_the_history_is_late() -> None:
    samples = [at(i * 1000, float(i)) for i in range(1, 200)]
    within, beyond = run(*samples), run(*samples)
    within.step(at((200 - REACH) * 1000 - 500, 9.0))
    beyond.step(at((200 - history.HISTORY_SAMPLES) * 1000 - 500, 9.0))
    assert within.filtered.tolist() == [0, 0]
    assert beyond.filtered.tolist() == [1, 0]


def test_revising_goes_on_where_it_was_bounded() -> None:
    kernel = Kernel(signals=3)
    for signal in range(3):
        kernel.feed([(signal, START, 1.0, 0), (signal, START + 9 * EVERY, 2.0, 0)])
        kernel.feed([(signal, START + 1, 5.0, 0)])
    kernel.revise(rows_max=1)
    assert {row["signal"] for row in kernel.rows if row["rev"]} == {0}
    assert history.late_samples(kernel.history) == 2
    kernel.revise(rows_max=10)
    assert len(revised(kernel)) == 27
    assert history.late_samples(kernel.history) == 0


def test_a_bad_late_sample_ends_the_value_before_it() -> None:
    kernel = run(at(0, 1.0), advance(2 * EVERY), at(400, math.nan, BAD), REVISE)
    assert [kernel.newest[0, START + i * EVERY]["good"] for i in range(2)] == [0.4, 0.0]
