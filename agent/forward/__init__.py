"""The forwarder: one thread per sink that takes the outbox's lines to the far side.

Enters: packets of the outbox, live ones first and the backlog beside them (`lanes.py`). Leaves:
acknowledgements to it, and dead letters (`courier.py`). A line is on its way as soon as `wake` is
set after it was staged or committed; nothing polls.

    taken          acknowledged, at once the next
    too large      halved
    rejected       bisected down to the very line, which becomes a dead letter; the rest is written
    unreachable    kept; tried again after 0.5 s, doubling to 30 s with jitter, or after Retry-After
    refused        kept; tried again likewise, since somebody may be mending it

A packet that got no answer is sent smaller next time, for a slow link whose packets do not make it
within the deadline; it grows again with every success. WARN: nothing is lost. ERROR: a line was, or
somebody must come; each cause speaks at most once a minute.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from agent.errors import AndonError, SinkRefused, SinkUnreachable
from agent.forward.courier import Courier
from agent.forward.lanes import Lanes
from agent.forward.limits import Limits
from agent.lines import Packet
from agent.outbox import DeadLetter, Outbox
from agent.sinks import Sink

__all__ = ["Forwarder", "Limits"]

QUIET_S: Final = 60.0
"""The same cause is not logged again before this."""

_ENDS_WITHIN_S: Final = 0.2
"""A thread that waits for nobody has ended so long after its time was over."""

_LIMITS: Final = Limits()

_log = logging.getLogger("andon.forward")


class Forwarder:
    """Forwards the lines of one outbox to one sink. The sink is its own from here on: it closes it.

    wake : set by whoever stages or commits, after it; one event for each forwarder
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink,
        wake: threading.Event | None = None,
        limits: Limits = _LIMITS,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.wake = wake or threading.Event()
        self._sink = sink
        self._limits = limits
        self._now_ns = now_ns
        self._lanes = Lanes(outbox, sink.name, limits)
        self._courier = Courier(outbox, sink, limits, self)
        self._lines_max = limits.lines_max
        self._hurry = threading.Event()
        self._stop_at: float | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"andon-forward-{sink.name}", daemon=True
        )
        self._failures = 0
        self._problem = ""
        self._refused = False
        self._next_try_at = 0.0
        self._last_ok_ns: int | None = None
        self._oldest_ns: int | None = None
        self._lag_ms = 0.0
        self._said_at: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._sink.name

    @property
    def flavour(self) -> str:
        """Which kind of server it writes to; empty while it is not known."""
        return self._sink.flavour

    @property
    def state(self) -> str:
        """How it is, as one sentence for the status line."""
        if self._problem:
            return f"{self.name} {self._problem}; next try in {self.next_try_s:.0f} s"
        if self._last_ok_ns is None:
            return f"{self.name}: nothing sent yet"
        ago_s = max(self._now_ns() - self._last_ok_ns, 0) / 1e9
        kind = f" ({self.flavour})" if self.flavour else ""
        return f"{self.name}{kind}: last write {ago_s:.1f} s ago, live lines {self._lag_ms:.0f} ms"

    @property
    def lag_ms(self) -> float:
        """How long a live line takes to the far side's yes: the one on its way, else the last."""
        oldest_ns = self._oldest_ns
        if oldest_ns is None:
            return self._lag_ms
        return max(self._now_ns() - oldest_ns, 0) / 1e6

    @property
    def last_ok_ns(self) -> int | None:
        """When the far side last took something, UTC; None where it never did."""
        return self._last_ok_ns

    @property
    def refused(self) -> bool:
        """Whether the far side's last word was no: somebody must come."""
        return self._refused

    @property
    def next_try_s(self) -> float:
        """Seconds until the next try; 0 when nothing has failed."""
        return max(self._next_try_at - time.monotonic(), 0.0) if self._problem else 0.0

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def try_now(self) -> None:
        """Do not wait for the next try."""
        self._hurry.set()

    def stop(self, drain_s: float = 5.0) -> bool:
        """Send what is there for at most `drain_s` seconds, then stop; what is left stays stored.

        Returns whether the thread has ended; one that waits for an answer ends with it.
        """
        self._stop_at = time.monotonic() + drain_s
        self.wake.set()
        self._hurry.set()
        if self._thread.ident is None:
            self._sink.close()
            return True
        self._thread.join(drain_s + _ENDS_WITHIN_S)
        return not self._thread.is_alive()

    def taken(self, part: Packet) -> None:
        """The far side took lines of this part."""
        now_ns = self._now_ns()
        if self._problem:
            self._say(logging.INFO, "again", f"{self.name} takes lines again")
        self._failures, self._problem, self._refused = 0, "", False
        self._last_ok_ns = now_ns
        if self._lanes.live:
            self._lag_ms = max(now_ns - part.made_ns, 0) / 1e6
        if self._lanes.live or not self._lanes.live_waits:
            self._oldest_ns = None
        grown = self._lines_max + max(self._limits.lines_max // 16, 1)
        self._lines_max = min(grown, self._limits.lines_max)

    def rejected(self, letter: DeadLetter) -> None:
        """A line became a dead letter."""
        self._say(
            logging.ERROR, letter.cause,
            f"{self.name} does not take line {letter.line_id}: {letter.reason}; "
            "it is kept as a dead letter",
        )  # fmt: skip

    def too_many(self, lines: int) -> None:
        """Send fewer lines at once, until sends succeed again."""
        smaller = max(lines, self._limits.lines_min)
        self._lines_max = min(self._lines_max, smaller)

    def _run(self) -> None:
        try:
            while not self._is_over():
                self.wake.clear()
                try:
                    sent = self._send_next()
                except Exception as error:  # a thread that dies would stop the line without a word
                    if self._stop_at is not None:
                        break
                    self._wait_after(error)
                    continue
                if not sent:
                    if self._stop_at is not None and self._lanes.pause_s is None:
                        break
                    self.wake.wait(self._pause_s())
        finally:
            self._sink.close()

    def _pause_s(self) -> float | None:
        """How long to wait for a line; None until `wake`."""
        pause_s, stop_at = self._lanes.pause_s, self._stop_at
        if pause_s is None or stop_at is None:
            return pause_s
        return min(pause_s, max(stop_at - time.monotonic(), 0.0))

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _send_next(self) -> bool:
        """Send one packet; False where there is none."""
        packet = self._lanes.next(self._lines_max)
        if packet is None:
            return False
        if self._lanes.live and self._oldest_ns is None:
            self._oldest_ns = packet.made_ns
        self._courier.deliver(packet, self._is_over)
        return True

    def _wait_after(self, error: Exception) -> None:
        """Say what is wrong and wait for the next try."""
        limits, asked_s = self._limits, 0.0
        longest_s = min(limits.retry_first_s * 2.0 ** min(self._failures, 30), limits.retry_max_s)
        delay_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        if isinstance(error, SinkUnreachable):
            asked_s = min(error.retry_after_s, limits.retry_after_max_s)
            self.too_many(self._lines_max // 2)
        self._failures += 1
        self._next_try_at = time.monotonic() + max(delay_s, asked_s)
        self._refused = isinstance(error, SinkRefused)
        self._problem = self._report(error)
        self._hurry.wait(max(delay_s, asked_s))
        self._hurry.clear()

    def _report(self, error: Exception) -> str:
        """Log an error and return it as half a sentence about the sink."""
        if isinstance(error, SinkUnreachable):
            level, cause, problem = logging.WARNING, "unreachable", f"unreachable ({error})"
        elif isinstance(error, SinkRefused):
            level, cause, problem = logging.ERROR, "refused", f"refuses ({error})"
        elif isinstance(error, AndonError):
            level, cause, problem = logging.ERROR, "outbox", f"waits ({error})"
        else:
            level, cause, problem = logging.ERROR, "defect", f"waits ({error!r})"
        hint = error.hint if isinstance(error, AndonError) else ""
        self._say(level, cause, f"{self.name} {problem}; its lines are kept", hint, error)
        return problem

    def _say(
        self, level: int, cause: str, message: str, hint: str = "", error: Exception | None = None
    ) -> None:
        now_s = time.monotonic()
        if now_s - self._said_at.get(cause, -QUIET_S) < QUIET_S:
            return
        self._said_at[cause] = now_s
        trace = error if cause == "defect" else None
        _log.log(level, "%s%s", message, f" ({hint})" if hint else "", exc_info=trace)
