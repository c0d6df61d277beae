"""History: the newest samples of each signal in order of source time, so that a late one counts.

Enters: every sample and every gap, as the windows take them. Leaves: windows that late samples
changed, as they would be had all come in time. Of each signal are kept

    entries  (ROOM, time and value) in order of time; NaN: not Good, infinity: from here on nobody
             vouched, until the next sample
    base     the sums as they were before the oldest entry, in source time
    middle   the same after HALF of the entries, if none of them has changed since

When there is no more room, `base` takes the older half: mostly that is a copy of `middle`. So at
least the newest HALF samples can be set right, and the whole window that the oldest lies in.

A late sample goes to its place. Where that changes the open window, this is made anew at once.
Windows that are closed are made anew by `revise`: those that hold a late sample, and those that its
value reaches, up to the next sample, its `hold_ns`, or HELD_RUN_MAX windows; of a counter that of
the next Good value as well. Of a reach of more than HELD_SOON_MAX windows the rest follows with the
next `revise` before which nothing late has come: while an outage is filled, its newest value would
otherwise make the rest of it anew each time. Where `base` passes windows first, they are said then,
so that a back-fill in order may be as long as it likes. What is older than `base` cannot be set
right: it is `late`. A late sample of the very time of a gap begins after the gap did.

Cost: 4 to 8 ns a sample in order, 0.1 to 0.5 us a late one, 10 ns an entry in `revise`.
Memory: 1,440 B a signal.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from agent.kernels.sums import COUNTER, STATE, accept, begin, clear, hold, write

HISTORY_SAMPLES: Final = 64
_HALF: Final = HISTORY_SAMPLES // 2

HELD_RUN_MAX: Final = 10_000
"""So many windows are made anew at most because one late value reaches them: a day of 10 s."""

HELD_SOON_MAX: Final = 12
"""So many of them at once, while late samples keep coming."""

GAP: Final = np.inf
REVISED: Final = 1
"""What `rev` is of a window made anew, until it is known how often it was."""

ENTRY: Final = np.dtype([("time_ns", np.int64), ("value", np.float64)])

BOOK: Final = np.dtype(
    [
        ("count", np.int64),  # entries
        ("at", np.int64),  # entries that were taken; not 0 only while `out` is emptied
        ("late", np.int64),  # samples of closed windows that no revision has told of
        ("closed_ns", np.int64),  # windows from here on were open when the last of them came
        ("reach_ns", np.int64),  # until here a late value holds
        ("touched", np.bool_),  # whether the window of the sums must be made anew
        ("owed", np.bool_),  # whether the window of the counter's next Good value must
        ("dirty", np.bool_),  # whether there is anything to revise
        ("fresh", np.bool_),  # whether a late sample has come since the last revision
        ("middle", np.bool_),  # whether `middle` holds
    ],
    align=True,
)

Array = npt.NDArray[Any]


class History(NamedTuple):
    """Arrays of m signals; late : which entries are late and not revised yet."""

    base: Array  # (m,) STATE
    middle: Array  # (m,) STATE
    book: Array  # (m,) BOOK
    entries: Array  # (m, HISTORY_SAMPLES) ENTRY
    late: Array  # (m, HISTORY_SAMPLES) bool


class Walk(NamedTuple):
    """Where a revision is: sums and book of the signal it works on, `at` -1 before it began."""

    sums: Array  # (1,) STATE
    book: Array  # (1,) BOOK


@numba.njit(cache=True, nogil=True)
def _enter(s: Any, time_ns: int, value: float) -> None:
    """Take one entry into its window."""
    hold(s, time_ns)
    if value == GAP:
        s.good = False
    else:
        s.n += 1
        accept(s, time_ns, value, False)


@numba.njit(cache=True, nogil=True)
def _pass(s: Any, book: Any, number: int, time_ns: int, out: Array, count: int) -> tuple[int, bool]:
    """Let the windows up to `time_ns` go by, saying those that must be made anew."""
    while s.start_ns + s.every_ns <= time_ns:
        touched = book.touched or s.start_ns < book.reach_ns
        end_ns = s.start_ns + s.every_ns
        if touched:
            if count == out.size:
                return count, False
            hold(s, end_ns)
            write(s, number, REVISED, out[count])
            count += 1
        else:
            end_ns = time_ns // s.every_ns * s.every_ns  # none of those between is said
        clear(s, end_ns)
        book.touched = False
    return count, True


@numba.njit(cache=True, nogil=True)
def _take(
    s: Any, book: Any, h: History, number: int, size: int, run_max: int, out: Array, count: int
) -> tuple[int, bool]:
    """Take the entries from `book.at` up to `size`; False where `out` must be emptied first.

    Late ones are revised then, except those whose reach `run_max` has cut.
    """
    for k in range(book.at, size):
        t, value = h.entries[number, k].time_ns, h.entries[number, k].value
        if not s.begun:
            begin(s, t)
        count, done = _pass(s, book, number, t, out, count)
        if not done:
            book.at = k
            return count, False
        _enter(s, t, value)
        is_late = h.late[number, k]
        if (is_late or (book.owed and np.isfinite(value))) and s.start_ns < book.closed_ns:
            book.touched = True
        if is_late:
            reach_ns = min(book.closed_ns, s.start_ns + HELD_RUN_MAX * s.every_ns)
            if s.hold_ns > 0:
                reach_ns = min(reach_ns, t + s.hold_ns)
            if k + 1 < h.book[number].count:
                reach_ns = min(reach_ns, h.entries[number, k + 1].time_ns)
            cut_ns = min(reach_ns, s.start_ns + run_max * s.every_ns)
            h.late[number, k] = cut_ns < reach_ns
            book.dirty = book.dirty or cut_ns < reach_ns
            book.reach_ns = max(book.reach_ns, cut_ns)
            book.owed = s.kind == COUNTER
        elif np.isfinite(value):
            book.owed = False
    book.at = size
    return count, True


@numba.njit(cache=True, nogil=True)
def make_room(h: History, number: int, out: Array, count: int) -> tuple[int, bool]:
    """Let `base` take the older half of a full history; False where `out` must be emptied first."""
    book = h.book[number]
    if book.middle and not book.dirty:
        h.base[number] = h.middle[number]
    else:
        count, done = _take(h.base[number], book, h, number, _HALF, HELD_RUN_MAX, out, count)
        if not done:
            return count, False
    for k in range(_HALF, book.count):
        h.entries[number, k - _HALF].time_ns = h.entries[number, k].time_ns
        h.entries[number, k - _HALF].value = h.entries[number, k].value
    if book.dirty:
        for k in range(_HALF, book.count):
            h.late[number, k - _HALF] = h.late[number, k]
            h.late[number, k] = False
    book.count -= _HALF
    book.at = 0
    book.middle = False
    return count, True


@numba.njit(cache=True, nogil=True)
def push(book: Any, entry: Any, time_ns: int, value: float) -> bool:
    """Fill the next entry, newer than all; True where `keep` must follow."""
    entry.time_ns = time_ns
    entry.value = value
    book.count += 1
    return bool(book.count == _HALF or book.count == HISTORY_SAMPLES)


@numba.njit(cache=True, nogil=True)
def keep(state: Array, h: History, number: int, out: Array) -> None:
    """Keep the sums of `state`, which has just taken the newest entry, as those of `middle`."""
    book = h.book[number]
    if book.count == HISTORY_SAMPLES and not book.dirty:
        make_room(h, number, out, 0)  # which says nothing, since nothing is late
    if book.count == _HALF:
        h.middle[number] = state[number]
        book.middle = True


@numba.njit(cache=True, nogil=True)
def say_again(h: History, number: int, time_ns: int, value: float) -> bool:
    """Replace the newest entry, if it is a sample of this time."""
    book = h.book[number]
    if book.count == 0:
        return False
    entry = h.entries[number, book.count - 1]
    if entry.time_ns != time_ns or entry.value == GAP:
        return False
    entry.value = value
    book.middle = book.middle and book.count > _HALF
    return True


@numba.njit(cache=True, nogil=True)
def _insert(h: History, number: int, k: int, time_ns: int, value: float) -> None:
    book = h.book[number]
    for j in range(book.count, k, -1):
        h.entries[number, j].time_ns = h.entries[number, j - 1].time_ns
        h.entries[number, j].value = h.entries[number, j - 1].value
        h.late[number, j] = h.late[number, j - 1]
    h.entries[number, k].time_ns = time_ns
    h.entries[number, k].value = value
    h.late[number, k] = False
    book.count += 1


TOO_LATE: Final = 0
SAID_AGAIN: Final = 1
PLACED: Final = 2


@numba.njit(cache=True, nogil=True)
def place(state: Array, h: History, number: int, time_ns: int, value: float) -> int:
    """Put a late sample in its place, of which the history has room for one.

    Answers TOO_LATE, SAID_AGAIN where a sample of its time is replaced, or PLACED.
    """
    s, book, base = state[number], h.book[number], h.base[number]
    if base.begun and time_ns <= base.mark_ns:
        return TOO_LATE
    k = book.count
    while k > 0 and h.entries[number, k - 1].time_ns > time_ns:
        k -= 1
    known = k - 1
    while known >= 0 and h.entries[number, known].time_ns == time_ns:
        if h.entries[number, known].value != GAP:
            break
        known -= 1
    answer = PLACED
    if known >= 0 and h.entries[number, known].time_ns == time_ns:
        k, answer = known, SAID_AGAIN
        h.entries[number, k].value = value
    else:
        _insert(h, number, k, time_ns, value)
    book.middle = book.middle and k >= _HALF
    if time_ns < s.start_ns:
        h.late[number, k] = True
        book.dirty = True
        book.fresh = True
        book.closed_ns = s.start_ns
        if answer == PLACED:
            book.late += 1
    alone = k + 1 == book.count or h.entries[number, k + 1].time_ns > s.start_ns
    if alone or time_ns >= s.start_ns or s.kind == COUNTER:
        _put_right(state, h, number)
    return answer


@numba.njit(cache=True, nogil=True)
def _put_right(state: Array, h: History, number: int) -> None:
    """Make the sums of the open window anew."""
    start_ns, base = state[number].start_ns, h.base[number]
    inside = base.begun and base.start_ns == start_ns
    state[number] = base
    s = state[number]
    if not s.begun:
        begin(s, start_ns)
    for k in range(h.book[number].count):
        t, value = h.entries[number, k].time_ns, h.entries[number, k].value
        if not inside and t >= start_ns:
            clear(s, start_ns)
            inside = True
        if inside:
            _enter(s, t, value)
        elif value == GAP:
            s.good = False
        else:
            accept(s, t, value, False)
    if not inside:
        clear(s, start_ns)


@numba.njit(cache=True, nogil=True)
def _revise(
    state: Array, h: History, numbers: Array, walk: Walk, at: int, rows_left: int, out: Array
) -> tuple[int, int]:
    count = 0
    for i in range(at, numbers.size):
        number = numbers[i]
        start_ns, book = state[number].start_ns, h.book[number]
        if walk.book[0].at < 0:
            if count >= rows_left:
                return count, i
            walk.sums[0] = h.base[number]
            walk.book[0] = book
            walk.book[0].dirty = False
        s, now = walk.sums[0], walk.book[0]
        size = book.count
        while size > 0 and h.entries[number, size - 1].time_ns >= start_ns:
            size -= 1
        run_max = HELD_SOON_MAX if book.fresh else HELD_RUN_MAX
        count, done = _take(s, now, h, number, size, run_max, out, count)
        if done and s.begun:
            count, done = _pass(s, now, number, start_ns, out, count)
        if not done:
            return count, i
        now.at = -1
        book.late = 0
        book.reach_ns = 0
        book.touched = False
        book.owed = False
        book.dirty = now.dirty
        book.fresh = False
    return count, numbers.size


def new_history(size: int) -> History:
    """Nothing known of `size` signals; `base` needs every_ns, hold_ns and kind as the windows."""
    return History(
        np.zeros(size, STATE),
        np.zeros(size, STATE),
        np.zeros(size, BOOK),
        np.zeros((size, HISTORY_SAMPLES), ENTRY),
        np.zeros((size, HISTORY_SAMPLES), np.bool_),
    )


def new_walk() -> Walk:
    """A revision that has not begun."""
    walk = Walk(np.zeros(1, STATE), np.zeros(1, BOOK))
    walk.book["at"] = -1
    return walk


def unrevised(history: History) -> Array:
    """(k,) int32, the signals of which there is something to revise."""
    return np.flatnonzero(history.book["dirty"]).astype(np.int32)


def late_samples(history: History) -> int:
    """How many samples of closed windows no revision has told of."""
    return int(history.book["late"].sum())


def revise(
    state: Array, history: History, numbers: Array, walk: Walk, out: Array, rows_max: int
) -> tuple[list[Array], int]:
    """Make anew what late samples have changed of these signals, one after the other.

    state : (m,) STATE, the windows'; numbers : (k,) int32; walk : `new_walk()`, scratch
    out : rows of dtype `agent.lines.WINDOW`, scratch
    rows_max : no further signal is begun after so many rows

    Returns the windows, of which a window may be there twice, the later one being right, and how
    many of `numbers` were done.
    """
    blocks: list[Array] = []
    rows = at = 0
    while at < numbers.size and (rows < rows_max or walk.book["at"][0] >= 0):
        count, at = _revise(state, history, numbers, walk, at, rows_max - rows, out)
        rows += count
        if count:
            blocks.append(out[:count].copy())
    return blocks, at
