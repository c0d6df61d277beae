"""Sets of intervals do what sets of numbers do."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.outbox.intervals import END, Interval, Intervals, count

RUNS = st.tuples(st.integers(1, 40), st.integers(0, 8)).map(lambda run: (run[0], run[0] + run[1]))


def numbers(intervals: Iterable[Interval]) -> set[int]:
    return {i for first, last in intervals for i in range(first, last + 1)}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), RUNS), max_size=30), RUNS)
def test_they_do_what_sets_do(
    steps: list[tuple[bool, tuple[int, int]]], looked: tuple[int, int]
) -> None:
    some, twin = Intervals(), set[int]()
    for adds, (first, last) in steps:
        run = set(range(first, last + 1))
        twin = twin | run if adds else twin - run
        some.add(first, last) if adds else some.remove(first, last)
    assert numbers(some) == twin
    assert some.total == count(some) == len(twin)
    ends = [last for _, last in some]
    assert all(end + 1 < first for end, (first, _) in zip(ends, list(some)[1:], strict=False))
    first, last = looked
    run = set(range(first, last + 1))
    assert numbers(some.within(first, last)) == run & twin
    assert numbers(some.missing(first, last)) == run - twin
    assert some.holds(first, last) == (run <= twin)
    assert some.next_in(first) == min((i for i in twin if i >= first), default=END)
    assert some.next_out(first) == min(set(range(first, 99)) - twin)
    assert some.head(2) == tuple(some)[:2]


@given(st.lists(RUNS, max_size=10))
def test_they_come_back_from_json(runs: list[tuple[int, int]]) -> None:
    some = Intervals(runs)
    assert Intervals.from_document(json.loads(json.dumps(some.document()))) == some


def test_a_copy_is_a_set_of_its_own() -> None:
    some = Intervals([(1, 5)])
    copy = some.copy()
    copy.remove(2, 3)
    assert list(some) == [(1, 5)]
    assert list(copy) == [(1, 1), (4, 5)]
