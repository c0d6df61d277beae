"""Quarantine: the newest payloads that could not be read, for a person to look at.

Enters: what was rejected, why, and how it began. Leaves: counts by cause, the newest payloads, and
a warning in the log once a minute a topic. Nothing fails. Bounded in memory and in rate: of a flood
a few a second are kept, one of each topic and cause, and the rest is counted. One thread's alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

log = logging.getLogger("andon.rejected")

KEPT_MAX: Final = 100
PAYLOAD_BYTES_MAX: Final = 1_000
"""So much of a payload is kept, from its beginning."""
TEXT_CHARS_MAX: Final = 1_000
"""So much of a topic and of a reason is kept."""
KEPT_PER_S_MAX: Final = 10
SECOND_NS: Final = 1_000_000_000
SAY_EVERY_S: Final = 60.0
SAY_TOPICS_MAX: Final = 10
"""So many topics are spoken of in that time, each once; the others are only counted."""
PAYLOAD_SHOWN_MAX: Final = 40
_CHARACTER_BYTES_MAX: Final = 4

UNREADABLE: Final = "unreadable"
NO_SIGNAL: Final = "no_signal"
"""Causes that every source of messages may have."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One payload that brought no sample, or less than it might have.

    number : of this source since the start, from 1; those between were only counted
    time_ns : when it was put here, UTC
    cause : as in the source's counts
    size : of the payload, in bytes; `payload` is how it begins
    reason : why, in words
    """

    number: int
    source: str
    time_ns: int
    cause: str
    topic: str
    size: int
    payload: bytes
    reason: str

    def document(self) -> dict[str, Any]:
        """As the status socket tells it. `form` says whether `payload` is text or hex digits."""
        text = _as_text(self.payload, is_cut=self.size > len(self.payload))
        return {
            "type": "rejected", "source": self.source, "number": self.number,
            "time_ns": self.time_ns, "cause": self.cause, "topic": self.topic, "bytes": self.size,
            "payload": self.payload.hex(" ") if text is None else text,
            "form": "hex" if text is None else "text", "reason": self.reason,
        }  # fmt: skip


class Quarantine:
    """What one source rejected. `skipped` counts payloads that were counted only.

    rejected : how much, by cause
    now_ns : the gateway's clock, UTC
    """

    def __init__(self, source: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.rejected: Counter[str] = Counter()
        self.skipped = 0
        self._source = source
        self._now_ns = now_ns
        self._kept: deque[Rejected] = deque(maxlen=KEPT_MAX)
        self._number = 0
        self._keeping = _Turns(KEPT_PER_S_MAX)
        self._said = _Turns(SAY_TOPICS_MAX)
        self._listener: Callable[[Rejected], None] | None = None

    def put(
        self, cause: str, topic: str, payload: bytes | bytearray, reason: object, count: int = 1
    ) -> None:
        """Count `count` by its cause, and keep the payload if few were kept in this second.

        reason : a sentence, or what says it by `str`; asked for only where it is kept or said
        """
        self.rejected[cause] += count
        self._number += 1
        time_ns = self._now_ns()
        if self._keeping.take((cause, topic), time_ns // SECOND_NS):
            rejected = Rejected(
                self._number, self._source, time_ns, cause, _sayable(topic),
                len(payload), bytes(payload[:PAYLOAD_BYTES_MAX]), _sayable(str(reason)),
            )  # fmt: skip
            self._kept.append(rejected)
            if self._listener is not None:
                self._listener(rejected)
        else:
            self.skipped += 1
        self._say(cause, topic, payload, reason)

    def newest(self) -> list[Rejected]:
        """Those that are kept, oldest first."""
        return list(self._kept)

    def listen(self, callback: Callable[[Rejected], None]) -> None:
        """Tell this one of each that is kept, from now on, instead of anybody before."""
        self._listener = callback

    def _say(self, cause: str, topic: str, payload: bytes | bytearray, reason: object) -> None:
        """Say what cannot be read, once a minute a topic and cause."""
        if not self._said.take((cause, topic), int(time.monotonic() // SAY_EVERY_S)):
            return
        shown = bytes(payload[:PAYLOAD_SHOWN_MAX]).decode(errors="backslashreplace")
        log.warning(
            "%s: %.200s: %r is set aside (%s): %.200s. Other topics are not affected; "
            "`andon tail --rejected` shows more.",
            self._source, printable(topic), shown, cause, printable(str(reason)),
        )  # fmt: skip


class _Turns:
    """Who has a turn: each once in a period, and so many in all.

    Half of the turns are for those who had none in the period before, or the same ones would have
    all of them for ever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._period = -1
        self._had: set[tuple[str, str]] = set()
        self._before: set[tuple[str, str]] = set()
        self._again = 0

    def take(self, who: tuple[str, str], period: int) -> bool:
        """Take a turn in this period; False where there is none."""
        if period != self._period:
            self._period, self._before, self._had, self._again = period, self._had, set(), 0
        is_again = who in self._before
        if who in self._had or len(self._had) >= self._most:
            return False
        if is_again and self._again >= self._most // 2:
            return False
        self._had.add(who)
        self._again += is_again
        return True


def documents(quarantines: Mapping[str, Quarantine]) -> dict[str, Any]:
    """The service's answer to `rejected`: what all of them keep, oldest first, and their counts.

    quarantines : by the source's name
    """
    kept = sorted((one for some in quarantines.values() for one in some.newest()), key=_when)
    return {
        "rejected": [one.document() for one in kept],
        "counts": {name: dict(some.rejected) for name, some in quarantines.items()},
    }


def printable(text: str) -> str:
    """Text from outside as a log or a terminal may show it: in one line, no commands in it."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _sayable(text: str) -> str:
    """Text that UTF-8 can say: halves of surrogate pairs are escaped."""
    return text[:TEXT_CHARS_MAX].encode(errors="backslashreplace").decode()


def _when(rejected: Rejected) -> int:
    return rejected.time_ns


def _as_text(payload: bytes, is_cut: bool) -> str | None:
    """The payload as text, if most of it is some.

    Bytes that are not UTF-8 are escaped; a character that was cut off at the end is left out.
    """
    for cut in range(_CHARACTER_BYTES_MAX if is_cut else 1):
        try:
            text = payload[: len(payload) - cut].decode()
        except UnicodeDecodeError:
            continue
        return text if _can_be_read(text) else None
    text = payload.decode(errors="backslashreplace")
    strange = sum(byte >= 0x80 for byte in payload)
    return text if _can_be_read(text) and 4 * strange <= len(payload) else None


def _can_be_read(text: str) -> bool:
    strange = sum(not (character.isprintable() or character in "\t\r\n") for character in text)
    return 4 * strange <= len(text)
