"""The forwarder: one thread per sink that takes the outbox's lines to the far side, in order.

Enters: packets of the outbox. Leaves: acknowledgements to it, and dead letters. A line is on its
way as soon as `wake` is set after its commit; nothing polls.

    taken          acknowledged, at once the next
    too large      halved
    rejected       bisected down to the very line, which becomes a dead letter; the rest is written
    unreachable    kept; tried again after 0.5 s, doubling to 30 s with jitter, or after Retry-After
    refused        kept; tried again likewise, since somebody may be mending it

A far side that rejects every line, having taken none, is treated as one that refuses: a wrong port
or bucket must not turn a day of data into dead letters.

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
from dataclasses import dataclass
from typing import Final

from agent.errors import AndonError, SinkRefused, SinkRejected, SinkUnreachable
from agent.lines import Packet
from agent.outbox import DeadLetter, Outbox
from agent.sinks import Sink

QUIET_S: Final = 60.0
"""The same cause is not logged again before this."""

_DOUBT: Final = "check its url, org and bucket; a wrong line is never alone to blame for all"

_log = logging.getLogger("andon.forward")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is sent at once, and how patiently.

    lines_max : lines a packet
    lines_min : packets are not made smaller than this for lack of an answer
    rejected_run_max : so many rejected lines in a row, and none taken, are not believed
    retry_first_s, retry_max_s : the pause after the first failure, and the longest
    retry_after_max_s : a longer Retry-After is not believed
    """

    lines_max: int = 5000
    lines_min: int = 100
    rejected_run_max: int = 200
    retry_first_s: float = 0.5
    retry_max_s: float = 30.0
    retry_after_max_s: float = 600.0


class Forwarder:
    """Forwards the lines of one outbox to one sink. The sink is its own from here on: it closes it.

    wake : set by whoever commits, after the commit; one event for each forwarder
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink,
        wake: threading.Event | None = None,
        limits: Limits = Limits(),
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.wake = wake or threading.Event()
        self._outbox = outbox
        self._sink = sink
        self._limits = limits
        self._now_ns = now_ns
        self._lines_max = limits.lines_max
        self._hurry = threading.Event()
        self._stop_at: float | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"andon-forward-{sink.name}", daemon=True
        )
        self._failures = 0
        self._problem = ""
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
    def state(self) -> str:
        """How it is, as one sentence for the status line."""
        if self._problem:
            return f"{self.name} {self._problem}; next try in {self.next_try_s:.0f} s"
        if self._last_ok_ns is None:
            return f"{self.name}: nothing sent yet"
        ago_s = max(self._now_ns() - self._last_ok_ns, 0) / 1e9
        return f"{self.name}: last write {ago_s:.1f} s ago, {self._lag_ms:.0f} ms after its commit"

    @property
    def lag_ms(self) -> float:
        """From commit to the far side's yes: of the line on its way, else of the last one."""
        oldest_ns = self._oldest_ns
        if oldest_ns is None:
            return self._lag_ms
        return max(self._now_ns() - oldest_ns, 0) / 1e6

    @property
    def last_ok_ns(self) -> int | None:
        """When the far side last took something, UTC; None where it never did."""
        return self._last_ok_ns

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
            return True
        self._thread.join(drain_s)
        return not self._thread.is_alive()

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
                    if self._stop_at is not None:
                        break
                    self.wake.wait()
        finally:
            self._sink.close()

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _send_next(self) -> bool:
        """Send one packet; False where there is none."""
        packet = self._outbox.packet(self.name, self._lines_max)
        if packet is None:
            self._oldest_ns = None
            return False
        self._oldest_ns = packet.made_ns
        parts, dead, taken = [packet], list[DeadLetter](), False
        while parts and not self._is_over():
            part = parts.pop()
            try:
                self._sink.send(part)
            except SinkRejected as error:
                if len(part) > 1:
                    parts += self._halves(part, error)
                    continue
                dead.append(_dead_letter(part, error))
                if not taken and self._is_doubtful(dead, last=not parts):
                    raise SinkRefused(f"it rejects every line: {error}", _DOUBT) from error
            else:
                self._settle(part.last, dead)
                self._succeed(part)
                dead, taken = [], True
        if dead and not parts:
            self._settle(packet.last, dead)
        return True

    def _halves(self, part: Packet, error: SinkRejected) -> list[Packet]:
        """Both halves of a rejected packet, the first one last, to be taken from the end."""
        half = len(part) // 2
        if error.too_large:
            self._shrink(half)
        return [part.part(half, len(part)), part.part(0, half)]

    def _is_doubtful(self, dead: list[DeadLetter], last: bool) -> bool:
        """Whether a far side that took none of these lines is wrong about all of them.

        Then it is not the lines: another server answers, or org, bucket or schema are not right.
        """
        never_took = last and self._last_ok_ns is None and dead[-1].cause == "rejected"
        return never_took or len(dead) >= self._limits.rejected_run_max

    def _settle(self, last: int, dead: list[DeadLetter]) -> None:
        """Lines up to `last` are done with, those in `dead` for good."""
        self._outbox.acknowledge(self.name, last, dead)
        for letter in dead:
            self._say(
                logging.ERROR, letter.cause,
                f"{self.name} does not take line {letter.line_id}: {letter.reason}; "
                "it is kept as a dead letter",
            )  # fmt: skip

    def _shrink(self, lines: int) -> None:
        """Send fewer lines at once, until sends succeed again."""
        smaller = max(lines, self._limits.lines_min)
        self._lines_max = min(self._lines_max, smaller)

    def _succeed(self, packet: Packet) -> None:
        now_ns = self._now_ns()
        if self._problem:
            self._say(logging.INFO, "again", f"{self.name} takes lines again")
        self._failures, self._problem = 0, ""
        self._last_ok_ns = now_ns
        self._lag_ms = max(now_ns - packet.made_ns, 0) / 1e6
        grown = self._lines_max + max(self._limits.lines_max // 16, 1)
        self._lines_max = min(grown, self._limits.lines_max)

    def _wait_after(self, error: Exception) -> None:
        """Say what is wrong and wait for the next try."""
        limits, asked_s = self._limits, 0.0
        longest_s = min(limits.retry_first_s * 2.0 ** min(self._failures, 30), limits.retry_max_s)
        delay_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        if isinstance(error, SinkUnreachable):
            asked_s = min(error.retry_after_s, limits.retry_after_max_s)
            self._shrink(self._lines_max // 2)
        self._failures += 1
        self._next_try_at = time.monotonic() + max(delay_s, asked_s)
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


def _dead_letter(line: Packet, error: SinkRejected) -> DeadLetter:
    cause = "too_large" if error.too_large else "rejected"
    return DeadLetter(line.first, cause, str(error), line.body.removesuffix(b"\n"))
