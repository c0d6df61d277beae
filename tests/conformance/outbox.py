"""What every outbox must keep. `tests/agent/outbox/` runs it over each of them.

A subclass gives the fixture `opening`: called with sinks it opens the outbox, and called again it
opens it once more, after a stop or, with `crash`, after the power failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pytest

from agent.ledger import SampleLedger
from agent.lines import LIVE_NS, SAMPLE, WINDOW, Lines, Packet
from agent.outbox import Commit, DeadLetter, Outbox
from agent.outbox.intervals import Interval, Intervals
from agent.signals import Path, Signal

PATH = Path("acme", "guiyang", "assembly", "line-1")
SIGNALS = {i: Signal(PATH, "press-01", f"signal_{i}", "press", high=2.5) for i in range(3)}
S = 10**9
NOTHING = Commit(SampleLedger())


class Opening(Protocol):
    def __call__(self, sinks: Sequence[str], *, crash: bool = False, **options: Any) -> Outbox: ...


class Clock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * S

    def __call__(self) -> int:
        return self.now_ns


def ready(*numbers: int) -> Lines:
    """Ready lines, each saying its number."""
    return Lines(ready=tuple(b"a v=%di %d" % (number, number) for number in numbers))


def gateway(*numbers: int) -> Lines:
    """Ready lines in which the gateway says how it stands."""
    return Lines(ready=tuple(b"gateway,x=y v=%di %d" % (number, number) for number in numbers))


def windows(*starts_s: int, rev: int = 0, signal: int = 0) -> Lines:
    """Windows of one signal that start at these seconds."""
    rows = np.zeros(len(starts_s), WINDOW)
    rows["signal"], rows["rev"], rows["every_ns"] = signal, rev, S
    rows["start_ns"] = np.array(starts_s, np.int64) * S
    return Lines(rows)


def raw(*times_s: int) -> Lines:
    """Raw samples at these seconds."""
    rows = np.zeros(len(times_s), SAMPLE)
    rows["text"], rows["time_ns"] = -1, np.array(times_s, np.int64) * S
    return Lines(samples=rows)


def mixed() -> Lines:
    """Two windows, two samples and a ready line that holds a newline."""
    rows, samples = np.zeros(2, WINDOW), np.zeros(2, SAMPLE)
    rows["signal"], rows["every_ns"], rows["start_ns"] = [0, 1], S, [1, 2]
    rows["mean"] = [0.1, np.nan]
    samples["signal"], samples["time_ns"], samples["text"] = [2, 2], [3, 4], [-1, 1]
    return Lines(rows, samples, ("unused", "scrap"), (b'b v="x\ny" 5',))


def put(outbox: Outbox, *parts: Lines, early: bool = False) -> None:
    """Stage these lines and commit."""
    for lines in parts:
        outbox.stage(lines, SIGNALS, early=early)
    outbox.commit(NOTHING)


def bodies(packet: Packet | None) -> list[bytes]:
    """The lines of a packet, each without its newline."""
    if packet is None:
        return []
    return [packet.part(i, i + 1).body.removesuffix(b"\n") for i in range(len(packet))]


def read(outbox: Outbox, sink: str, lines_max: int = 1000, *, live: bool = False) -> list[bytes]:
    """The next lines for this sink."""
    return bodies(outbox.packet(sink, lines_max, live=live))


def ids(outbox: Outbox, sink: str, *, live: bool = False) -> range:
    """The ids of the next packet, one run; they are on their way from here on."""
    packet = outbox.packet(sink, 1000, live=live)
    if packet is None:
        return range(0)
    assert packet.runs == ((packet.first, packet.last),)
    return range(packet.first, packet.last + 1)


def runs(outbox: Outbox, sink: str, lines_max: int = 1000) -> list[Interval]:
    """The ids of the next packet in order; they are on their way from here on."""
    packet = outbox.packet(sink, lines_max, live=False)
    return list(packet.runs) if packet else []


def take(outbox: Outbox, sink: str, packet: Packet) -> None:
    """The far side has taken all of it."""
    for first, last in packet.runs:
        outbox.acknowledge(sink, first, last, void=packet.void)


def drain(outbox: Outbox, sink: str, lines_max: int = 7) -> tuple[Intervals, Intervals]:
    """Send everything: the ids that were sent, and those that were told void."""
    sent, void = Intervals(), Intervals()
    while packet := outbox.packet(sink, lines_max, live=False):
        take(outbox, sink, packet)
        for run in packet.runs:
            sent.add(*run)
        for interval in packet.void:
            void.add(*interval)
    return sent, void


def dead(line_id: int, cause: str = "rejected") -> DeadLetter:
    return DeadLetter(line_id, cause, "the far side's words", b"a v=1i 1")


def waiting(outbox: Outbox, sink: str) -> int:
    return outbox.ledger().sinks[sink].waiting


class OutboxConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def opening(self) -> Opening:
        raise NotImplementedError

    def test_lines_are_numbered_from_1_without_holes_for_life(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1, 2))
        outbox.acknowledge("cloud", 1, 2)
        put(outbox, ready())
        put(outbox, ready(3))
        assert ids(outbox, "cloud") == range(3, 4)
        outbox.acknowledge("cloud", 3, 3)
        outbox = opening(["cloud"])
        put(outbox, ready(4))
        packet = outbox.packet("cloud", 10, live=False)
        assert packet is not None
        assert (packet.first, packet.body, packet.void) == (4, b"a v=4i 4\n", ())

    def test_a_packet_spans_commits_in_order_and_keeps_to_its_limit(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        for numbers in ((1, 2), (3,), (4, 5, 6)):
            put(outbox, ready(*numbers))
        assert read(outbox, "cloud", 4) == [b"a v=%di %d" % (n, n) for n in (1, 2, 3, 4)]
        outbox.acknowledge("cloud", 1, 4)
        assert read(outbox, "cloud", 4) == [b"a v=5i 5", b"a v=6i 6"]
        outbox.acknowledge("cloud", 5, 6)
        assert outbox.packet("cloud", 4, live=False) is None

    def test_of_one_commit_ready_lines_come_out_first_then_windows_and_samples(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, mixed())
        tags = b",enterprise=acme,site=guiyang,area=assembly,line=line-1,machine=press-01"
        empty = b"std=0,min=0,max=0,first=0,last=0,increase=0,rev=0i"
        expected = [
            b"window" + tags + b",signal=signal_0,every=1s n=0i,good=0,mean=0.1," + empty + b" 1",
            b"window" + tags + b",signal=signal_1,every=1s n=0i,good=0," + empty + b" 2",
            b"sample" + tags + b",signal=signal_2 value=0,status=0i 3",
            b"sample" + tags + b',signal=signal_2 text="scrap",status=0i 4',
        ]
        assert read(outbox, "cloud") == [b'b v="x\ny" 5']
        outbox.acknowledge("cloud", 5, 5)
        assert read(outbox, "cloud") == expected
        outbox.acknowledge("cloud", 1, 1)
        outbox = opening(["cloud"])
        assert read(outbox, "cloud", 2) == expected[1:3]
        outbox.acknowledge("cloud", 2, 3)
        assert read(outbox, "cloud") == expected[3:]

    def test_what_was_committed_is_there_after_a_crash(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        name = outbox.uuid
        outbox.stage(mixed(), SIGNALS, early=True)
        samples = SampleLedger(9, 4, Counter(same_time=2), Counter(late=1), 2, Counter(behind=1))
        as_committed = samples.copy()
        outbox.commit(Commit(samples, checkpoint=b"state"))
        samples.received = 100  # what was committed must not move with it
        outbox = opening(["cloud"], crash=True)
        assert outbox.uuid == name
        assert outbox.signals() == SIGNALS
        assert outbox.checkpoint() == b"state"
        assert outbox.ledger().samples == as_committed
        assert outbox.ledger().lines.waiting == 5

    def test_the_journal_holds_what_was_committed_since_the_checkpoint(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        for journal, checkpoint, stands in (
            (b"1", None, (b"", [b"1"])),
            (b"", None, (b"", [b"1"])),
            (b"2", None, (b"", [b"1", b"2"])),
            (b"3", b"one", (b"one", [])),
            (b"4", None, (b"one", [b"4"])),
            (b"5", b"", (b"", [])),
            (b"6", None, (b"", [b"6"])),
        ):
            outbox.commit(Commit(SampleLedger(), journal, checkpoint))
            assert (outbox.checkpoint(), outbox.journal()) == stands
        outbox = opening(["cloud"], crash=True)
        assert (outbox.checkpoint(), outbox.journal()) == (b"", [b"6"])
        assert not outbox.checkpoint_wanted

    def test_early_lines_go_before_their_commit_and_others_after_it(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.stage(raw(1, 2), SIGNALS, early=True)
        outbox.stage(raw(3), early=False)
        outbox.stage(raw(4), early=True)
        assert outbox.packet("cloud", 10, live=False) is None
        assert ids(outbox, "cloud", live=True) == range(1, 3)
        outbox.acknowledge("cloud", 1, 2)
        assert ids(outbox, "cloud", live=True) == range(4, 5)
        assert outbox.dirty
        outbox.commit(NOTHING)
        assert not outbox.dirty
        assert ids(outbox, "cloud", live=True) == range(3, 5)

    def test_what_was_acknowledged_before_its_commit_is_counted_and_gone(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        outbox.stage(ready(1, 2, 3), early=True)
        assert outbox.staged_lines == 3
        outbox.acknowledge("cloud", 1, 3)
        assert outbox.staged_lines == 0
        outbox.commit(NOTHING)
        outbox = opening(["cloud"], crash=True)
        ledger = outbox.ledger()
        assert (ledger.lines.made, ledger.lines.acknowledged) == (3, 3)
        assert outbox.packet("cloud", 10, live=False) is None

    def test_lines_leave_the_live_lane_when_they_are_old_and_go_in_order(
        self, opening: Opening
    ) -> None:
        clock = Clock()
        outbox = opening(["cloud"], now_ns=clock)
        put(outbox, raw(1), early=True)
        clock.now_ns += LIVE_NS
        put(outbox, raw(2), early=True)
        assert ids(outbox, "cloud", live=True) == range(2, 3)
        outbox.acknowledge("cloud", 2, 2)
        put(outbox, raw(3), early=True)
        assert runs(outbox, "cloud") == [(1, 1), (3, 3)]

    def test_after_a_restart_nothing_is_live(self, opening: Opening) -> None:
        put(opening(["cloud"]), ready(1), early=True)
        outbox = opening(["cloud"])
        assert outbox.packet("cloud", 10, live=True) is None
        assert ids(outbox, "cloud") == range(1, 2)

    def test_each_sink_has_its_own_position_and_the_slowest_acknowledges(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 3)
        assert outbox.packet("cloud", 10, live=False) is None
        assert len(read(outbox, "plant")) == 3
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (0, 3)
        outbox.acknowledge("plant", 2, 3)
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)
        assert (ledger.sinks["cloud"].acknowledged, ledger.sinks["cloud"].waiting) == (3, 0)
        assert (ledger.sinks["plant"].acknowledged, ledger.sinks["plant"].waiting) == (2, 1)
        assert ledger.balanced

    def test_a_line_that_one_sink_rejects_and_one_takes_is_a_dead_letter_once(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 3, [dead(2), dead(3, "too_large")])
        assert outbox.ledger().lines.dead_letter == Counter(rejected=1, too_large=1)
        assert outbox.ledger().lines.waiting == 1
        outbox.acknowledge("plant", 1, 3, [dead(3, "rejected")])
        ledger = outbox.ledger()
        assert ledger.lines.dead_letter == Counter(rejected=1, too_large=1)
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (1, 0)
        assert [(s.acknowledged, s.dead_letter) for s in ledger.sinks.values()] == [(1, 2), (2, 1)]
        assert ledger.balanced

    def test_dead_letters_are_kept_with_the_far_sides_words_and_told_void(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("plant", 1, 1, [dead(1)])
        outbox.acknowledge("cloud", 1, 2, [dead(2)])
        for restart in (False, True):
            outbox = opening(["cloud", "plant"]) if restart else outbox
            assert outbox.dead_letters() == [("plant", dead(1)), ("cloud", dead(2))]
            assert outbox.dead_letters("cloud") == [("cloud", dead(2))]
            for sink, void in (("plant", ((1, 1),)), ("cloud", ((2, 2),))):
                packet = outbox.packet(sink, 10, live=False)
                assert packet is not None
                assert packet.void == void

    def test_what_a_far_side_cannot_hold_is_acknowledged_and_counted(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 3, withheld=2)
        sink = outbox.ledger().sinks["cloud"]
        assert (sink.acknowledged, sink.withheld) == (3, 2)

    def test_acknowledging_again_changes_nothing(self, opening: Opening) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 2, [dead(2)])
        before = outbox.ledger()
        outbox.acknowledge("cloud", 1, 2, [dead(1), dead(2)], withheld=1)
        assert outbox.ledger() == before
        assert outbox.dead_letters() == [("cloud", dead(2))]

    def test_acknowledging_what_was_never_made_is_refused(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1))
        for sink, last in (("cloud", 2), ("nobody", 1)):
            with pytest.raises(ValueError, match="acknowledges lines 1-"):
                outbox.acknowledge(sink, 1, last)

    def test_a_sink_that_left_no_longer_holds_lines_back(self, opening: Opening) -> None:
        outbox = opening(["cloud", "plant"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 2)
        for running in (True, False):
            if running:
                outbox.use_sinks(["cloud"])
            else:
                outbox = opening(["cloud"])
            ledger = outbox.ledger()
            assert list(ledger.sinks) == ["cloud"]
            assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)

    def test_a_new_sink_starts_with_what_is_held_and_is_told_of_the_rest(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud"])
        put(outbox, ready(1, 2, 3))
        outbox.acknowledge("cloud", 1, 2)
        outbox = opening(["plant"])  # and cloud leaves at the same time
        assert read(outbox, "plant") == [b"a v=3i 3"]
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)
        assert ledger.balanced
        assert drain(outbox, "plant") == (Intervals([(3, 3)]), Intervals([(1, 2)]))

    def test_without_a_sink_every_line_is_kept(self, opening: Opening) -> None:
        outbox = opening([])
        put(outbox, ready(1, 2))
        assert outbox.ledger().lines.waiting == 2
        assert read(opening(["cloud"]), "cloud") == [b"a v=1i 1", b"a v=2i 2"]

    def test_usage_tells_how_many_lines_wait_and_since_when(self, opening: Opening) -> None:
        clock = Clock()
        outbox = opening(["cloud"], now_ns=clock)
        assert outbox.usage().oldest_ns is None
        put(outbox, ready(1))
        clock.now_ns += S
        outbox.stage(ready(2), early=False)
        packet = outbox.packet("cloud", 10, live=False)
        usage = outbox.usage()
        assert packet is not None
        assert usage.lines_waiting == 2
        assert 0 < usage.bytes < usage.bytes_max
        assert usage.oldest_ns == packet.made_ns == clock.now_ns - S
        outbox.acknowledge("cloud", 1, 2)
        assert outbox.usage().lines_waiting == 0
        assert outbox.usage().oldest_ns is None
