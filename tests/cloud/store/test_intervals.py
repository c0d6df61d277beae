"""What became of an outbox's lines: holes are provable, repeats counted, void ids no holes."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.store.intervals import Received, take

Range = tuple[int, int]

RANGES = st.tuples(st.integers(1, 60), st.integers(0, 15)).map(lambda r: (r[0], r[0] + r[1]))


def after(
    known: Received,
    came: Sequence[Range] = (),
    told: Sequence[Range] = (),
    *,
    intervals_max: int = 1_000,
    void_intervals_max: int = 1_000,
) -> Received:
    return take(
        known, came, told, intervals_max=intervals_max, void_intervals_max=void_intervals_max
    )


def received(*ranges: Range, intervals_max: int = 1_000) -> Received:
    known = Received()
    for one in ranges:
        known = after(known, [one], intervals_max=intervals_max)
    return known


def ids(intervals: Sequence[Range]) -> set[int]:
    return {i for first, last in intervals for i in range(first, last + 1)}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(RANGES, st.lists(RANGES, max_size=3)), max_size=12))
def test_every_id_is_received_void_or_in_a_hole(writes: list[tuple[Range, list[Range]]]) -> None:
    known, came, void, repeats = Received(), set[int](), set[int](), 0
    for (first, last), told in writes:
        new = set(range(first, last + 1))
        assert known.holds(first, last) == (new <= came)
        known = after(known, [(first, last)], told)
        repeats += len(came & new)
        came |= new
        void = (void | ids(told)) - came
    assert ids(known.received) == came
    assert ids(list(known.void)) == void
    assert known.void_total == len(void)
    assert known.repeats == repeats
    assert ids(known.holes) == set(range(1, max(came | void, default=0) + 1)) - came - void


def test_a_hole_is_named_until_its_lines_come_or_are_told_void() -> None:
    known = received((1, 10), (21, 30))
    assert known.holes == [(11, 20)]
    assert after(known, [(11, 20)]).holes == []
    assert after(known, told=[(11, 20)]).holes == []
    assert after(known, told=[(13, 14)]).holes == [(11, 12), (15, 20)]


def test_a_hole_before_the_first_lines_counts() -> None:
    assert received((5, 9)).holes == [(1, 4)]


def test_a_line_that_came_is_not_void_whatever_was_said_before_or_after() -> None:
    before = after(received((1, 3), (7, 9)), told=[(4, 6)])
    assert not before.holds(4, 4)
    for known in (after(before, [(5, 5)]), after(after(received((1, 3), (5, 5))), told=[(4, 6)])):
        assert known.holds(5, 5)
        assert list(known.void) == [(4, 4), (6, 6)]


def test_beyond_the_limit_the_oldest_hole_is_given_up_and_counted() -> None:
    known = received((1, 1), (3, 3), (5, 5), (7, 7), intervals_max=3)
    assert known.received == [(1, 3), (5, 5), (7, 7)]
    assert known.holes_forgotten == 1


def test_a_line_of_a_hole_that_was_given_up_is_no_repeat_when_it_comes() -> None:
    known = received((1, 1), (3, 3), (5, 5), (7, 7), intervals_max=3)
    assert not known.holds(2, 2)
    assert known.holds(3, 3)


def test_beyond_the_limit_the_oldest_void_interval_loses_its_name_and_stays_counted() -> None:
    known = after(received((1, 9)), told=[(11, 12), (14, 15), (17, 17)], void_intervals_max=2)
    assert list(known.void) == [(14, 15), (17, 17)]
    assert known.void_total == 5
    assert known.holes == [(10, 10), (13, 13), (16, 16)]
    assert not known.holds(11, 12)


def test_what_is_known_is_never_changed_by_a_later_write() -> None:
    known = received((1, 3))
    after(known, [(4, 5)], [(7, 8)])
    assert known == received((1, 3))


def test_ids_and_counts_of_64_bits_have_room() -> None:
    largest = 2**63 - 1
    known = received((1, largest), (1, largest), (largest, largest))
    assert (known.received, known.repeats) == ([(1, largest)], largest)
    assert after(Received(), told=[(1, largest)]).void_total == largest
