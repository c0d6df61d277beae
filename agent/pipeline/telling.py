"""Telling: the lines beside what was derived, and the words to whoever reads the log.

What is known of machines and signals is told when it changes and once after a start, anomalies and
states of machines as they change, the gateway itself every `GATEWAY_EVERY_S`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from agent.derive.machine_states import MachineState
from agent.detect.anomaly import Anomaly
from agent.ledger import SampleLedger
from agent.lines.report import Reporter
from agent.outbox import Outbox
from agent.pipeline.budget import WriteBudget
from agent.pipeline.clock import Clock
from agent.signals import Signal, SignalTable

log = logging.getLogger("andon.pipeline")

GATEWAY_EVERY_S: Final = 5.0
SAY_EVERY_S: Final = 60.0
SAY_DISK_EVERY_S: Final = 6 * 3600.0

_CLOCKS: Final = {
    "late": "{} came too late for any window, counted as late; does a machine's clock run behind?",
    "clock_ahead": "{} from the future were given the time of their arrival, counted as retimed; "
    "does a machine's clock run ahead, or the gateway's behind?",
    "clock_behind": "{} of long ago were given the time of their arrival, counted as retimed; has "
    "a machine lost its clock?",
}


class Forward(Protocol):
    """What the pipeline needs of a forwarder."""

    @property
    def lag_ms(self) -> float:
        """How long the oldest live line has been waiting."""

    @property
    def wake(self) -> threading.Event:
        """Set when there are new lines."""


class Teller:
    """Makes the ready lines of one pipeline.

    reporter, forwarders : may be changed between commits, when the configuration is
    announce : everything that is known is told with the next lines
    """

    def __init__(
        self,
        reporter: Reporter,
        table: SignalTable,
        outbox: Outbox,
        forwarders: Sequence[Forward],
        clock: Clock,
        samples: SampleLedger,
    ) -> None:
        self.reporter = reporter
        self.forwarders = forwarders
        self.announce = True
        self._table = table
        self._outbox = outbox
        self._clock = clock
        self._gateway_due_s = 0.0
        self._warned = samples.filtered | samples.retimed
        self._said_s: dict[str, float] = {}

    def wake(self) -> None:
        """Tell the forwarders that there are lines."""
        for forwarder in self.forwarders:
            forwarder.wake.set()

    def lines(
        self,
        changed: Sequence[Signal],
        anomalies: Sequence[Anomaly],
        states: Sequence[MachineState] = (),
    ) -> tuple[bytes, ...]:
        """What is to be told now."""
        now_ns = self._clock.now_ns()
        ready: list[bytes] = []
        if self.announce:
            self.announce = False
            ready += self.reporter.machines(now_ns)
            changed = [signal for signal in self._table if signal.source]
        ready += self.reporter.signals(changed, now_ns)
        ready += self.reporter.anomalies(anomalies)
        ready += self.reporter.states(states)
        now_s = time.monotonic()
        if now_s >= self._gateway_due_s:
            self._gateway_due_s = now_s + GATEWAY_EVERY_S
            ready.append(self._gateway(now_ns))
        return tuple(ready)

    def warn_of_clocks(self, samples: SampleLedger) -> None:
        """Samples that no window could take, or not at their time: a person should know why."""
        counts = samples.filtered | samples.retimed
        for cause, sentence in _CLOCKS.items():
            new = counts[cause] - self._warned.get(cause, 0)
            count = "1 sample" if new == 1 else f"{new:,} samples"
            if new and self.say(cause, sentence.format(count)):
                self._warned[cause] = counts[cause]

    def warn_of_disk(self, budget: WriteBudget) -> None:
        """The disk is asked to write more than it should be."""
        if budget.is_over:
            self.say(
                "disk",
                f"the disk is asked to write {budget.gb_per_day:.1f} GB a day; outbox."
                f"write_gb_per_day is {budget.allowed_gb_per_day:g}; nothing is lost, but it wears",
                every_s=SAY_DISK_EVERY_S,
            )

    def say(
        self, subject: str, sentence: str, *, loud: bool = False, every_s: float = SAY_EVERY_S
    ) -> bool:
        """Say what is wrong, once in so long a subject; whether it was said."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(subject, -math.inf) < every_s:
            return False
        self._said_s[subject] = now_s
        log.log(logging.ERROR if loud else logging.WARNING, "%s", sentence)
        return True

    def _gateway(self, now_ns: int) -> bytes:
        lag_ms = max((forwarder.lag_ms for forwarder in self.forwarders), default=0.0)
        ledger, usage = self._outbox.ledger(), self._outbox.usage()
        return self.reporter.gateway(ledger, now_ns, usage, lag_ms, self._clock.steps)
