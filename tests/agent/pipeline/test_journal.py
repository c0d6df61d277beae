"""The journal gives back the calls it was given, in their order and bit by bit."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from agent.batch import Batch, empty
from agent.pipeline.journal import (
    Call,
    Journal,
    JournalError,
    Lost,
    Opened,
    Passed,
    Revised,
    Took,
    Vouched,
    unpack,
)
from agent.pipeline.keeping import Keeping, Tails
from agent.sources import REDELIVERED_MAX, Packets

RANDOM = np.random.default_rng(11)
START = 1_800_000_000 * 10**9


def batch(n: int, texts: tuple[str, ...] = ()) -> Batch:
    return Batch(
        RANDOM.integers(0, 1000, n).astype(np.int32),
        START + RANDOM.integers(-(10**12), 10**12, n),
        np.where(RANDOM.random(n) < 0.1, np.nan, RANDOM.normal(0, 1e9, n)),
        RANDOM.integers(0, 2**32, n).astype(np.uint32),
        START + 5,
        START + 4,
        texts,
    )


def packets(*ids: int) -> Packets:
    return Packets(np.array(ids, np.uint16), RANDOM.integers(0, 2**32, len(ids)).astype(np.uint32))


def same(ours: Call, theirs: Call) -> bool:
    if not (isinstance(ours, Took) and isinstance(theirs, Took)):
        return ours == theirs
    a, b = ours.batch, theirs.batch
    equal = all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in ("signal", "time_ns", "value", "status")
    )
    told = (ours.source, a.received_ns, a.alive_until_ns, a.texts)
    equal = equal and told == (theirs.source, b.received_ns, b.alive_until_ns, b.texts)
    if ours.packets is None or theirs.packets is None:
        return equal and ours.packets is theirs.packets
    return (
        equal
        and ours.packets.ids.tobytes() == theirs.packets.ids.tobytes()
        and ours.packets.digests.tobytes() == theirs.packets.digests.tobytes()
    )


CALLS: list[Call] = [
    Took("press", batch(100)),
    Took("floor", batch(3, ("scrap", "", "重")), packets(7, 8, 65_535)),
    Lost("press", "the connection is lost", START),
    Revised(),
    Passed("press", START + 9),
    Took("floor", empty(START, START), packets(9)),
    Opened(
        [{"signal": 3, "detector": "level", "value": float("nan"), "ended_ns": None}],
        [{"state": "Held"}],
    ),
    Took("press", batch(1)),
    Vouched({"press": START + 7, "floor": 0}),
]


def test_calls_come_back_in_their_order_bit_by_bit() -> None:
    again = unpack(Journal(CALLS).pack())
    assert len(again) == len(CALLS)
    kept = [call for call in zip(CALLS, again, strict=True) if not isinstance(call[0], Opened)]
    assert all(same(ours, theirs) for ours, theirs in kept)
    (opened,) = [call for call in again if isinstance(call, Opened)]
    assert opened.anomalies[0]["detector"] == "level"
    assert opened.states == [{"state": "Held"}]


def test_only_the_newest_of_until_when_was_vouched_is_kept() -> None:
    calls: list[Call] = [Revised(), Vouched({"press": 1}), Revised(), Vouched({"press": 2})]
    assert Journal(calls).calls == [Revised(), Vouched({"press": 2}), Revised()]


def test_a_blob_of_the_first_format_is_still_read() -> None:
    body = zlib.compress(b'{"calls":[["o",[{"signal":3}]],["r"]],"ways":[0,0,0,0]}')
    head = struct.pack("<BI", 1, len(zlib.decompress(body)))
    assert unpack(head + body) == [Opened([{"signal": 3}]), Revised()]


def test_heartbeats_with_nothing_between_them_are_one_and_the_newest_counts() -> None:
    beats = [Took("press", empty(START + i, START + i)) for i in range(3)]
    other = [Took("floor", empty(START + i, START + i)) for i in range(3)]
    calls = [beats[0], other[0], beats[1], other[1], Took("press", batch(1)), beats[2], other[2]]
    again = Journal(calls).calls
    assert again == [beats[1], other[2], calls[4], beats[2]]


def test_heartbeats_do_not_move_across_what_was_revised() -> None:
    beats = [Took("press", empty(START + i, START + i)) for i in range(2)]
    calls: list[Call] = [beats[0], Revised(), beats[1]]
    assert Journal(calls).calls == calls


@pytest.mark.parametrize("where", [0, 3, 20, -1])
def test_a_damaged_blob_says_so(where: int) -> None:
    blob = bytearray(Journal(CALLS).pack())
    blob[where] ^= 0xFF
    with pytest.raises(JournalError):
        unpack(bytes(blob))


def test_a_blob_that_was_cut_short_says_so() -> None:
    blob = Journal(CALLS).pack()
    for length in range(len(blob)):
        with pytest.raises(JournalError):
            unpack(blob[:length])


def test_the_newest_packets_of_each_source_outlive_a_checkpoint() -> None:
    tails = Tails()
    for number in range(3 * REDELIVERED_MAX):
        tails.add("floor", packets(number % 65_535 + 1))
    tails.add("roof", packets(5))
    again: dict[str, list[int]] = {}
    for call in unpack(tails.pack()):
        assert isinstance(call, Took)
        assert call.packets is not None
        again[call.source] = call.packets.ids.tolist()
    newest = range(3 * REDELIVERED_MAX - REDELIVERED_MAX, 3 * REDELIVERED_MAX)
    assert again == {"floor": [number % 65_535 + 1 for number in newest], "roof": [5]}


def test_what_redelivers_is_journaled_always_and_the_rest_while_the_budget_allows() -> None:
    keeping = Keeping("auto", bytes_per_day=1e9, now_s=0.0)
    for name, redelivers in (("mqtt", True), ("slow", False), ("fast", False)):
        keeping.add(name, redelivers)
    assert keeping.journaled == {"mqtt", "slow", "fast"}
    keeping.count("mqtt", 60_000)
    keeping.count("slow", 600)
    keeping.count("fast", 600_000)
    keeping.wrote(bytes(660_600 * 4), 660_600)
    keeping.decide(60.0)
    assert keeping.journaled == {"mqtt", "slow"}


@pytest.mark.parametrize(("mode", "journaled"), [("always", {"fast"}), ("never", set())])
def test_the_setting_is_stronger_than_the_budget(mode: str, journaled: set[str]) -> None:
    keeping = Keeping(mode, bytes_per_day=1e6, now_s=0.0)
    keeping.add("fast", redelivers=False)
    keeping.count("fast", 10_000_000)
    keeping.decide(60.0)
    assert keeping.journaled == journaled


def test_a_checkpoint_is_due_when_the_journal_outgrows_it() -> None:
    keeping = Keeping("always", bytes_per_day=1e9, now_s=0.0)
    assert keeping.is_due(0.0), "a start puts the state of the stop away"
    keeping.decide(0.0)
    keeping.took_checkpoint(1 << 20, 0.0)
    assert not keeping.is_due(1.0)
    keeping.wrote(bytes(4 << 20), 1_000_000)
    assert keeping.is_due(2.0)
    keeping.took_checkpoint(1 << 20, 2.0)
    assert not keeping.is_due(3.0)
    assert keeping.is_due(2.0 + 3600)
    keeping.took_checkpoint(1 << 20, 3700.0)
    keeping.soon()
    assert keeping.is_due(3701.0)


def test_what_was_decided_with_a_checkpoint_that_failed_is_decided_with_the_next() -> None:
    keeping = Keeping("auto", bytes_per_day=1e6, now_s=0.0)
    keeping.add("fast", redelivers=False)
    keeping.took_checkpoint(1000, 0.0)
    keeping.count("fast", 600_000)
    keeping.wrote(bytes(100_000), 600_000)
    assert keeping.is_due(60.0), "it costs more than the budget"
    keeping.decide(60.0)
    assert keeping.journaled == set()
    keeping.soon()  # as the committer does when a checkpoint could not be committed
    assert keeping.is_due(61.0), "until a checkpoint says so"
