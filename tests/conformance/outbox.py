"""What every outbox must keep. `tests/agent/outbox/` runs it over each of them.

A subclass gives the fixture `opening`: called with sinks, it opens the outbox, and called again it
closes and opens it again as a restart would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from agent.ledger import SampleLedger
from agent.lines import SAMPLE, WINDOW, Lines
from agent.outbox import Commit, DeadLetter, Outbox
from agent.signals import Path, Signal

Opening = Callable[[Sequence[str]], Outbox]

PATH = Path("acme", "guiyang", "assembly", "line-1")
SIGNALS = {i: Signal(PATH, "press-01", f"signal_{i}", "press", high=2.5) for i in range(3)}


def ready(*numbers: int) -> Commit:
    """A commit of ready lines, each saying its number."""
    lines = tuple(b"a v=%di %d" % (number, number) for number in numbers)
    return Commit(Lines(ready=lines), SampleLedger())


def mixed() -> Commit:
    """A commit with two windows, two samples and a ready line that holds a newline."""
    windows, samples = np.zeros(2, WINDOW), np.zeros(2, SAMPLE)
    windows["signal"], windows["every_ns"], windows["start_ns"] = [0, 1], 10**9, [1, 2]
    windows["mean"] = [0.1, np.nan]
    samples["signal"], samples["time_ns"], samples["text"] = [2, 2], [3, 4], [-1, 0]
    ready = (b'b v="x\ny" 5',)
    return Commit(Lines(windows, samples, ("scrap",), ready), SampleLedger(), SIGNALS, b"state")


def read(outbox: Outbox, sink: str, lines_max: int = 1000) -> list[bytes]:
    """The next lines for this sink, each without its newline."""
    packet = outbox.packet(sink, lines_max)
    if packet is None:
        return []
    return [packet.part(i, i + 1).body.removesuffix(b"\n") for i in range(len(packet))]


def dead(line_id: int, cause: str = "rejected") -> DeadLetter:
    return DeadLetter(line_id, cause, "the far side's words", b"a v=1i 1")


class OutboxConformance:
    """The tests; names are what is promised."""

    @pytest.fixture
    def opening(self) -> Opening:
        raise NotImplementedError

    def test_lines_are_numbered_from_1_without_holes_for_life(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.commit(ready(1, 2))
        outbox.acknowledge("cloud", 2)
        outbox.commit(ready())
        outbox.commit(ready(3))
        packet = outbox.packet("cloud", 10)
        assert packet is not None
        assert (packet.first, packet.last) == (3, 3)
        outbox.acknowledge("cloud", 3)
        outbox = opening(["cloud"])
        outbox.commit(ready(4))
        packet = outbox.packet("cloud", 10)
        assert packet is not None
        assert (packet.first, packet.body) == (4, b"a v=4i 4\n")

    def test_a_packet_spans_commits_in_order_and_keeps_to_its_limit(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        for numbers in ((1, 2), (3,), (4, 5, 6)):
            outbox.commit(ready(*numbers))
        assert read(outbox, "cloud", 4) == [b"a v=%di %d" % (n, n) for n in (1, 2, 3, 4)]
        outbox.acknowledge("cloud", 4)
        assert read(outbox, "cloud", 4) == [b"a v=5i 5", b"a v=6i 6"]
        outbox.acknowledge("cloud", 6)
        assert outbox.packet("cloud", 4) is None

    def test_windows_samples_and_ready_lines_come_out_in_this_order(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.commit(mixed())
        tags = b",enterprise=acme,site=guiyang,area=assembly,line=line-1,machine=press-01"
        empty = b"std=0,min=0,max=0,first=0,last=0,increase=0,rev=0i"
        expected = [
            b"window" + tags + b",signal=signal_0,every=1s n=0i,good=0,mean=0.1," + empty + b" 1",
            b"window" + tags + b",signal=signal_1,every=1s n=0i,good=0," + empty + b" 2",
            b"sample" + tags + b",signal=signal_2 value=0,status=0i 3",
            b"sample" + tags + b',signal=signal_2 text="scrap",status=0i 4',
            b'b v="x\ny" 5',
        ]
        assert read(outbox, "cloud") == expected
        outbox.acknowledge("cloud", 1)
        outbox = opening(["cloud"])
        assert read(outbox, "cloud", 2) == expected[1:3]
        outbox.acknowledge("cloud", 3)
        assert read(outbox, "cloud") == expected[3:]

    def test_what_was_committed_is_there_after_a_restart(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        name = outbox.uuid
        samples = SampleLedger(9, 4, Counter(same_time=2), Counter(late=1), 2)
        as_committed = samples.copy()
        outbox.commit(mixed())
        outbox.commit(Commit(Lines(), samples))
        samples.received = 100  # what was committed must not move with it
        outbox = opening(["cloud"])
        assert outbox.uuid == name
        assert outbox.signals() == SIGNALS
        assert outbox.checkpoint() == b"state"
        assert outbox.ledger().samples == as_committed
        assert outbox.ledger().lines.waiting == 5

    def test_a_checkpoint_stays_until_it_is_replaced_or_forgotten(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        assert outbox.checkpoint() == b""
        for given, stands in ((b"one", b"one"), (None, b"one"), (b"two", b"two"), (b"", b"")):
            outbox.commit(Commit(Lines(), SampleLedger(), checkpoint=given))
            assert outbox.checkpoint() == stands

    def test_each_sink_has_its_own_position_and_the_slowest_acknowledges(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.commit(ready(1, 2, 3))
        outbox.acknowledge("cloud", 3)
        assert outbox.packet("cloud", 10) is None
        assert len(read(outbox, "plant")) == 3
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (0, 3)
        outbox.acknowledge("plant", 2)
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)
        assert (ledger.sinks["cloud"].acknowledged, ledger.sinks["cloud"].waiting) == (3, 0)
        assert (ledger.sinks["plant"].acknowledged, ledger.sinks["plant"].waiting) == (2, 1)
        assert ledger.balanced

    def test_a_line_that_one_sink_rejects_and_one_takes_is_a_dead_letter_once(
        self, opening: Opening
    ) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.commit(ready(1, 2, 3))
        outbox.acknowledge("cloud", 3, [dead(2), dead(3, "too_large")])
        assert outbox.ledger().lines.dead_letter == Counter(rejected=1, too_large=1)
        assert outbox.ledger().lines.waiting == 1
        outbox.acknowledge("plant", 3, [dead(3, "rejected")])
        ledger = outbox.ledger()
        assert ledger.lines.dead_letter == Counter(rejected=1, too_large=1)
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (1, 0)
        assert [(s.acknowledged, s.dead_letter) for s in ledger.sinks.values()] == [(1, 2), (2, 1)]
        assert ledger.balanced

    def test_dead_letters_are_kept_with_the_far_sides_words(self, opening: Opening) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.commit(ready(1, 2))
        outbox.acknowledge("plant", 1, [dead(1)])
        outbox.acknowledge("cloud", 2, [dead(2)])
        outbox = opening(["cloud", "plant"])
        assert outbox.dead_letters() == [("plant", dead(1)), ("cloud", dead(2))]
        assert outbox.dead_letters("cloud") == [("cloud", dead(2))]

    def test_acknowledging_again_changes_nothing(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.commit(ready(1, 2, 3))
        outbox.acknowledge("cloud", 2, [dead(2)])
        before = outbox.ledger()
        outbox.acknowledge("cloud", 2, [dead(1), dead(2)])
        outbox.acknowledge("cloud", 1)
        assert outbox.ledger() == before
        assert outbox.dead_letters() == [("cloud", dead(2))]

    def test_acknowledging_what_was_never_made_is_refused(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.commit(ready(1))
        for sink, last in (("cloud", 2), ("nobody", 1)):
            with pytest.raises(ValueError, match="acknowledges line"):
                outbox.acknowledge(sink, last)

    def test_a_sink_that_left_no_longer_holds_lines_back(self, opening: Opening) -> None:
        outbox = opening(["cloud", "plant"])
        outbox.commit(ready(1, 2, 3))
        outbox.acknowledge("cloud", 2)
        outbox = opening(["cloud"])
        ledger = outbox.ledger()
        assert list(ledger.sinks) == ["cloud"]
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)

    def test_a_new_sink_starts_with_what_is_still_stored(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        outbox.commit(ready(1, 2, 3))
        outbox.acknowledge("cloud", 2)
        outbox = opening(["plant"])  # and cloud leaves at the same time
        assert read(outbox, "plant") == [b"a v=3i 3"]
        ledger = outbox.ledger()
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (2, 1)
        assert ledger.balanced

    def test_without_a_sink_every_line_is_kept(self, opening: Opening) -> None:
        outbox = opening([])
        outbox.commit(ready(1, 2))
        assert outbox.ledger().lines.waiting == 2
        assert read(opening(["cloud"]), "cloud") == [b"a v=1i 1", b"a v=2i 2"]

    def test_usage_tells_how_many_lines_wait_and_since_when(self, opening: Opening) -> None:
        outbox = opening(["cloud"])
        assert outbox.usage().oldest_ns is None
        outbox.commit(ready(1))
        outbox.commit(ready(2))
        packet = outbox.packet("cloud", 10)
        usage = outbox.usage()
        assert packet is not None
        assert usage.lines_waiting == 2
        assert usage.bytes > 0
        assert usage.oldest_ns == packet.made_ns > 0
        outbox.acknowledge("cloud", 2)
        assert outbox.usage().lines_waiting == 0
        assert outbox.usage().oldest_ns is None
