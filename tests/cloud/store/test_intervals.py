"""The interval set of an outbox: holes are provable, repeats are counted."""

from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.store.intervals import Received, add

RANGES = st.tuples(st.integers(1, 60), st.integers(0, 15)).map(lambda r: (r[0], r[0] + r[1]))


def received(*ranges: tuple[int, int], intervals_max: int = 1_000) -> Received:
    return reduce(
        lambda known, new: add(known, *new, intervals_max=intervals_max), ranges, Received()
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(RANGES, max_size=12))
def test_intervals_equal_the_plain_set_of_ids(ranges: list[tuple[int, int]]) -> None:
    ids: set[int] = set()
    repeats = 0
    for first, last in ranges:
        new = set(range(first, last + 1))
        repeats += len(ids & new)
        ids |= new
    known = received(*ranges)
    assert {i for first, last in known.received for i in range(first, last + 1)} == ids
    assert known.repeats == repeats
    missing = set(range(1, max(ids, default=0) + 1)) - ids
    assert {i for first, last in known.holes for i in range(first, last + 1)} == missing
    ends = [last + 1 for _, last in known.received]
    starts = [first for first, _ in known.received]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
    for first, last in ranges:
        assert known.holds(first, last)
        assert known.holds(first, last + 1) == set(range(first, last + 2)).issubset(ids)


def test_a_hole_is_named_until_its_lines_come() -> None:
    assert received((1, 10), (21, 30)).holes == [(11, 20)]
    assert received((1, 10), (21, 30), (11, 20)).holes == []


def test_a_hole_before_the_first_lines_counts() -> None:
    assert received((5, 9)).holes == [(1, 4)]


def test_beyond_the_limit_the_oldest_hole_is_given_up_and_counted() -> None:
    known = received((1, 1), (3, 3), (5, 5), (7, 7), intervals_max=3)
    assert known.received == ((1, 3), (5, 5), (7, 7))
    assert known.holes_forgotten == 1
