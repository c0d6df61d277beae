"""From publications to batches: first values, outages, history, vouching, and what stays known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from agent.batch import BAD_NO_COMMUNICATION, Batch
from agent.sources.opcua.reading import Known, Reading
from agent.sources.opcua.wire import Items, Publication, publication
from tests.agent.sources.opcua.messages import Item, response

S = 1_000_000_000
T0 = 1_750_000_000 * S
UNKNOWN_NODE = 0x8034_0000


def reading_of(known: Known, count: int = 2, kinds: Sequence[str] = ()) -> Reading:
    """Signals 10, 11, ... on one subscription that samples and publishes every second."""
    reading = Reading(known)
    kinds = kinds or ["analog"] * count
    reading.add(range(10, 10 + count), kinds, {})  # type: ignore[arg-type]
    reading.expect(7)
    reading.set_intervals(1000, 1000)
    return reading


def said(
    items: Sequence[Item], at_s: float, *, more: bool = False, subscription: int = 7
) -> Publication:
    at_ns = T0 + int(at_s * S)
    return publication(response(1, items, published_ns=at_ns, more=more, subscription=subscription))


def at(time_s: float) -> int:
    return T0 + int(time_s * S)


def read(reading: Reading, items: Sequence[Item], at_s: float, **options: bool) -> Batch:
    return reading.batch([said(items, at_s, **options)], at(at_s))


def times(batch: Batch) -> list[float]:
    return [(int(time_ns) - T0) / S for time_ns in batch.time_ns]


def history_of(reading: Reading, handle: int, samples: Sequence[tuple[float, float]]) -> Batch:
    n = len(samples)
    return reading.history(
        Items(
            np.full(n, handle, np.int64),
            np.array([at(time_s) for time_s, _ in samples], np.int64),
            np.array([value for _, value in samples]),
            np.zeros(n, np.uint32), (), (), 0, 0, 0,
        ),
        at(100),
    )  # fmt: skip


def after_outage(lost_at_s: float = 10.0) -> Known:
    """Both signals had a value at 5 s; the source vouched until `lost_at_s`."""
    known = Known()
    reading = reading_of(known)
    read(reading, [(0, 1.0, at(5), 0), (1, 2.0, at(5), 0)], lost_at_s + 1)
    assert known.vouched_ns == at(lost_at_s)  # less one sampling interval
    return known


def begun(known: Known, at_s: float = 60.0) -> Reading:
    reading = reading_of(known)
    reading.begin_outage(at(at_s), at(at_s))
    return reading


def test_a_first_value_of_long_ago_is_taken_as_of_the_subscription() -> None:
    reading = reading_of(Known())
    batch = read(reading, [(0, 1.0, at(-500), 0), (1, 2.0, at(9.5), 0)], 10)
    assert times(batch) == [8.0, 9.5]
    assert times(read(reading, [(0, 1.5, at(7), 0)], 11)) == [7.0]  # a late one is left as it is


def test_only_the_first_of_several_values_of_an_item_is_moved() -> None:
    batch = read(reading_of(Known()), [(0, 1.0, at(-500), 0), (0, 2.0, at(5), 0)], 10)
    assert times(batch) == [8.0, 5.0]


def test_it_vouches_up_to_the_oldest_of_the_last_publications() -> None:
    reading = reading_of(Known())
    reading.expect(8)
    assert read(reading, [], 10).alive_until_ns == 0  # the other has not spoken yet
    batch = reading.batch([said([], 12, subscription=8)], at(12))
    assert batch.alive_until_ns == at(9)  # one sampling interval before 10
    assert reading.batch([said([], 11)], at(12)).alive_until_ns == at(10)


def test_while_the_server_has_more_to_say_it_vouches_for_nothing() -> None:
    reading = reading_of(Known())
    assert read(reading, [(0, 1.0, at(9), 0)], 10, more=True).alive_until_ns == 0
    assert read(reading, [(0, 2.0, at(9.5), 0)], 10).alive_until_ns == at(9)


@pytest.mark.parametrize("wrong_s", [-1e9, 3600])
def test_a_server_with_a_wrong_clock_is_vouched_for_by_the_time_of_arrival(wrong_s: float) -> None:
    batch = reading_of(Known()).batch([said([], wrong_s)], at(10))
    assert batch.alive_until_ns == at(9)


def test_the_overflow_bit_is_counted_and_the_status_left_as_it_is() -> None:
    known = Known()
    batch = read(reading_of(known), [(0, 1.0, at(9), 0x480), (1, 2.0, at(9), 0x400)], 10)
    assert known.missed == {"server_queue": 1}
    assert batch.status.tolist() == [0x480, 0x400]


def test_after_an_outage_the_same_sample_has_held_all_the_while() -> None:
    known = after_outage()
    batch = read(begun(known), [(0, 1.0, at(5), 0), (1, 2.0, at(5), 0)], 60)
    assert times(batch) == [10.0, 10.0]
    assert not known.missed["outage"]


def test_after_an_outage_a_changed_one_is_missed_and_holds_only_now() -> None:
    known = after_outage()
    batch = read(begun(known), [(0, 3.0, at(30), 0), (1, 2.0, at(5), 0x4000_0000)], 60)
    assert times(batch) == [58.0, 58.0]
    assert known.missed == {"outage": 2}


def test_the_same_sample_is_not_missed_though_it_was_too_new_to_be_vouched_for() -> None:
    known = Known()
    read(reading_of(known), [(0, 1.0, at(10.5), 0), (1, 2.0, at(10.5), 0)], 11)
    batch = read(begun(known), [(0, 1.0, at(10.5), 0), (1, 3.0, at(10.5), 0)], 60)
    assert batch.time_ns.tolist() == [at(10.5) + 1, at(58)]  # the other has another value
    assert known.missed == {"outage": 1}


def test_what_is_asked_for_anew_after_the_outage_is_neither_missed_nor_said_twice() -> None:
    known = after_outage()
    reading = begun(known)
    reading.end_outage()
    read(reading, [(0, 3.0, at(60), 0), (1, 2.0, at(5), 0)], 60)
    handles = reading.add([10, 11], ["analog", "analog"], {})
    was = known.missed.copy()
    batch = read(reading, [(handles[0], 3.0, at(60), 0), (handles[1], 4.0, at(70), 0)], 70)
    assert batch.time_ns.tolist() == [at(68), at(70)]
    assert known.missed == was


def test_a_signal_that_was_never_read_is_not_missed() -> None:
    known = after_outage()
    reading = begun(known)
    (handle,) = reading.add([20], ["analog"], {})
    assert times(read(reading, [(handle, 3.0, at(30), 0)], 60)) == [58.0]
    assert not known.missed


def test_history_comes_first_and_what_it_brought_is_not_taken_twice() -> None:
    known = after_outage()
    reading = begun(known)
    batch = history_of(reading, 0, [(20, 4.0), (30, 5.0)])
    assert times(batch) == [20.0, 30.0]
    assert batch.alive_until_ns == 0
    reading.filled({0})
    live = read(reading, [(0, 5.0, at(30), 0), (0, 6.0, at(59), 0)], 60)
    assert times(live) == [59.0]
    assert known.rejected == {"repeated": 1}
    assert known.recovered["history"] == 2
    assert not known.missed


def test_history_that_tells_nothing_means_that_nothing_changed() -> None:
    known = after_outage()
    reading = begun(known)
    reading.filled({0})
    # Restarted, it gives its values new times: only the history tells that they are the old ones.
    batch = read(reading, [(0, 1.0, at(55), 0), (1, 2.0, at(55), 0)], 60)
    assert times(batch) == [55.0, 58.0]
    assert known.missed == {"outage": 1}
    reading = begun(after_outage())
    reading.filled({0})
    assert times(read(reading, [(0, 1.0, at(4), 0)], 60)) == [10.0]


def test_a_later_sample_of_the_outage_is_only_missed_once() -> None:
    known = after_outage()
    reading = begun(known)
    read(reading, [(0, 3.0, at(30), 0)], 60)
    read(reading, [(0, 3.5, at(60), 0), (1, 2.0, at(5), 0)], 61)
    assert known.missed == {"outage": 1}


def test_of_a_subscription_that_went_on_all_values_held() -> None:
    known = Known()
    reading = reading_of(known, 3, ["analog", "analog", "text"])
    items: list[Item] = [
        (0, 1.0, at(5), 0),
        (1, 2.0, at(5), UNKNOWN_NODE),
        (2, "Execute", at(5), 0),
    ]
    read(reading, items, 11)
    held = reading.held(range(len(reading)), at(60))
    assert held is not None
    assert held.signal.tolist() == [10, 11, 12]
    assert times(held) == [10.0, 10.0, 10.0]
    assert held.value[0] == 1.0
    assert held.status.tolist() == [0, UNKNOWN_NODE, 0]
    assert held.texts[int(held.value[2])] == "Execute"
    assert held.alive_until_ns == 0
    assert known.recovered == {"held": 3}
    assert times(read(reading, [(0, 1.5, at(12), 0)], 61)) == [12.0]  # no first value any more


def test_what_is_newer_than_was_vouched_for_holds_from_itself_on() -> None:
    known = Known()
    reading = reading_of(known)
    read(reading, [(0, 1.0, at(10.5), 0)], 11)
    held = reading.held(range(len(reading)), at(60))
    assert held is not None
    assert held.time_ns.tolist() == [at(10.5) + 1]


def test_nothing_is_held_before_anything_was_vouched_for() -> None:
    assert reading_of(Known()).held([0, 1], at(60)) is None


def test_a_restarted_agent_takes_values_of_before_its_outage_as_held() -> None:
    known = Known()
    known.vouched_ns = at(10)
    batch = read(begun(known), [(0, 1.0, at(5), 0), (1, 2.0, at(30), 0)], 60)
    assert times(batch) == [10.0, 58.0]


def test_where_the_servers_clock_went_back_nothing_is_set_in_relation() -> None:
    known = after_outage(3600)
    batch = read(begun(known, 60), [(0, 1.0, at(5), 0)], 60)
    assert times(batch) == [58.0]
    assert known.vouched_ns == at(59)
    assert reading_of(known).held([0, 1], at(61)) is None


def test_missing_signals_are_told_as_of_now_before_anything_was_published() -> None:
    assert times(reading_of(Known()).told({10: UNKNOWN_NODE}, at(12))) == [12.0]
    assert times(begun(after_outage()).told({10: UNKNOWN_NODE}, at(61))) == [60.0]


def test_missing_signals_are_told_by_the_servers_own_status() -> None:
    reading = reading_of(Known())
    read(reading, [], 10)
    batch = reading.told({11: UNKNOWN_NODE, 10: BAD_NO_COMMUNICATION}, at(12))
    assert batch.signal.tolist() == [11, 10]
    assert batch.status.tolist() == [UNKNOWN_NODE, BAD_NO_COMMUNICATION]
    assert all(math.isnan(value) for value in batch.value)
    assert times(batch) == [10.0, 10.0]


def test_a_signal_that_is_back_is_later_than_it_was_told_to_be_missing() -> None:
    reading = reading_of(Known())
    told = reading.told({10: UNKNOWN_NODE}, at(12))  # nothing was published yet: by our clock
    batch = read(reading, [(0, 1.0, at(-500), 0)], 11)  # the server's is a second behind
    assert batch.time_ns[0] > told.time_ns[0]
    assert times(read(reading, [(0, 1.5, at(11.5), 0)], 12)) == [11.5]
