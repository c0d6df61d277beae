"""Takes one packet to the far side and acts on its answers, down to the very line.

Enters: a packet. Leaves: acknowledgements to the outbox, each line's exactly once, and dead
letters. Fails: SinkUnreachable and SinkRefused; what was not acknowledged by then comes again.

    taken          acknowledged
    too large      halved
    rejected       halved, until it is one line: that one is a dead letter; or, where the far side
                   names the wrong lines and has written the rest, those are

A dead letter is a line lost to this far side, so nothing becomes one on its word alone. It has to
prove that it takes lines at all, *after* it rejected: by taking another line of the packet, or,
after `rejected_run_max` lines in a row or at the packet's end, by taking once more a line that it
took before. A wrong bucket or another server fails that, and keeps everything; a packet that holds
nothing but wrong lines passes it, whatever its length. Where it never took a line, some of the
packet's own are tried, a different choice each time; without one it is not believed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from agent.errors import SinkRefused, SinkRejected
from agent.forward.limits import Limits
from agent.lines import Packet
from agent.outbox import DeadLetter, Outbox
from agent.outbox.intervals import Interval, Intervals
from agent.sinks import Sink

_DOUBT: Final = "check its url, org and bucket; a wrong line is never alone to blame for all"


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def taken(self, part: Packet) -> None:
        """The far side took lines of this part."""

    def rejected(self, letter: DeadLetter) -> None:
        """A line became a dead letter."""

    def too_many(self, lines: int) -> None:
        """Packets should have no more lines than this for a while."""


@dataclass(slots=True)
class _Answered:
    """Lines that were answered and are not acknowledged yet.

    ids : their ids
    void, told : intervals to tell the far side, and those that a write it took has told it
    proved : whether it took a line after the last one it rejected
    """

    void: tuple[Interval, ...]
    told: tuple[Interval, ...] = ()
    ids: Intervals = field(default_factory=Intervals)
    dead: list[DeadLetter] = field(default_factory=list)
    withheld: int = 0
    proved: bool = True


class Courier:
    """Delivers packets of one outbox to one sink."""

    def __init__(self, outbox: Outbox, sink: Sink, limits: Limits, watcher: Watcher) -> None:
        self._outbox = outbox
        self._sink = sink
        self._limits = limits
        self._watcher = watcher
        self._proof: Packet | None = None

    def deliver(self, packet: Packet, is_over: Callable[[], bool]) -> None:
        """Send it until all of it is acknowledged or rejected, it is over, or time is up.

        What is left then is asked of the outbox again. Raises SinkUnreachable, SinkRefused.
        """
        parts, answered = [packet], _Answered(packet.void)
        until_s = time.monotonic() + self._limits.bisect_s
        while parts and not is_over():
            part = parts.pop()
            try:
                self._send(part, answered)
            except SinkRejected as error:
                if len(part) > 1 and not error.lines:
                    parts += self._halves(part, error)
                    continue
                self._reject(part, error, answered)
            for run in part.runs:
                answered.ids.add(*run)
            is_late = bool(parts) and time.monotonic() >= until_s
            if answered.dead and not answered.proved:
                if parts and not is_late and len(answered.dead) < self._limits.rejected_run_max:
                    continue
                self._prove(packet, answered.dead)
            self._settle(answered)
            if is_late:
                self._watcher.too_many(self._limits.lines_min)
                return

    def _send(self, part: Packet, answered: _Answered) -> None:
        withheld = self._sink.send(replace(part, void=answered.void))
        answered.withheld += withheld
        if withheld == len(part):
            return  # nothing was sent, so nothing is proved or told
        self._take(part, None if withheld else len(part) - 1, answered)

    def _take(self, part: Packet, last: int | None, answered: _Answered) -> None:
        """Note that it took lines, `last` being the last; None where that is not known.

        No older line may prove it right: sent again, it could undo its own revision.
        """
        self._proof = None if last is None else _line(part, last)
        answered.told, answered.void, answered.proved = answered.void, (), True
        self._watcher.taken(part)

    def _halves(self, part: Packet, error: SinkRejected) -> list[Packet]:
        """Both halves of a rejected packet, the first one last, to be taken from the end."""
        half = len(part) // 2
        if error.too_large:
            self._watcher.too_many(half)
        return [part.part(half, len(part)), part.part(0, half)]

    def _reject(self, part: Packet, error: SinkRejected, answered: _Answered) -> None:
        """One line that is rejected, or those that the far side names."""
        named = error.lines or {0: str(error)}
        cause = "too_large" if error.too_large else "rejected"
        for offset, reason in sorted(named.items()):
            line = _line(part, offset).body.removesuffix(b"\n")
            answered.dead.append(DeadLetter(part.id_of(offset), cause, reason, line))
        answered.proved = False
        written = set(range(len(part))) - set(named)
        if written:
            self._take(part, max(written), answered)

    def _prove(self, packet: Packet, dead: list[DeadLetter]) -> None:
        """Raise SinkRefused unless the far side takes a line now."""
        even = ", even one it has taken before" if self._proof is not None else ""
        lines = [self._proof] if self._proof is not None else self._probes(packet, dead)
        for line in lines:
            try:
                if not self._sink.send(line):
                    self._proof = line
                    self._watcher.taken(packet)
                    return
            except SinkRejected:
                self._proof = None  # it was right once and proves nothing any more
        raise SinkRefused(f"it rejects every line{even}: {dead[-1].reason}", _DOUBT)

    def _probes(self, packet: Packet, dead: list[DeadLetter]) -> list[Packet]:
        """Some lines of the packet that are not known to be rejected."""
        known = {letter.line_id for letter in dead}
        unknown = [offset for offset in range(len(packet)) if packet.id_of(offset) not in known]
        chosen = random.sample(unknown, min(len(unknown), self._limits.probes_max))
        return [_line(packet, offset) for offset in chosen]

    def _settle(self, answered: _Answered) -> None:
        """Acknowledge what was answered."""
        left = answered.withheld
        for first, last in answered.ids:
            dead = [letter for letter in answered.dead if first <= letter.line_id <= last]
            withheld = min(left, last - first + 1 - len(dead))
            left -= withheld
            self._outbox.acknowledge(
                self._sink.name, first, last, dead, void=answered.told, withheld=withheld
            )
        for letter in answered.dead:
            self._watcher.rejected(letter)
        answered.ids, answered.dead, answered.told, answered.withheld = Intervals(), [], (), 0


def _line(packet: Packet, offset: int) -> Packet:
    """One line of a packet, with nothing else to tell."""
    return replace(packet.part(offset, offset + 1), void=())
