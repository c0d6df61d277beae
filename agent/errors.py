"""Every error the agent raises on purpose, as one tree, and the exit codes of its commands.

    AndonError
    ├── ConfigError            the configuration is wrong: path, value, rule and way out
    ├── SourceError            a machine side cannot be read
    │   ├── SourceUnreachable  nothing answers there; worth another try
    │   └── SourceRefused      it answers and says no (identity, security); needs a person
    ├── SinkError              a far side did not take what it was sent
    │   ├── SinkUnreachable    nothing answers, or it says "later"; worth another try
    │   ├── SinkRefused        it knows us and says no (token, scope); needs a person
    │   └── SinkRejected       it says that the lines themselves are wrong
    ├── OutboxError            the outbox file cannot be opened, read or written
    └── SignalsFull            more distinct signals than `signals_max` allows

Each carries a sentence for a person (`str(error)`) and, where there is one, a `hint`: what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class ExitCode(IntEnum):
    """What the commands answer to the shell."""

    OK = 0
    UNEXPECTED = 1
    CONFIG = 2
    """The configuration or the command line is wrong."""
    UNREACHABLE = 3
    """A machine, a broker, a port or the cloud cannot be reached or bound."""
    REFUSED = 4
    """The far side answers and refuses: token, identity, trust."""
    OUTBOX = 5
    """The outbox cannot be opened, or is in use by another agent."""
    UNBALANCED = 6
    """The ledger does not balance, or a demo's promise was not kept."""


class AndonError(Exception):
    """An error with a sentence for a person and a way out.

    `hint` says what to do about it; empty when there is nothing useful to say.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(AndonError):
    """The configuration is wrong. The message gives path, value, rule, file and line."""

    exit_code = ExitCode.CONFIG


class SourceError(AndonError):
    """A machine side cannot be read."""

    exit_code = ExitCode.UNREACHABLE


class SourceUnreachable(SourceError):
    """Nothing answers; the pipeline tries again."""


class SourceRefused(SourceError):
    """The machine side answers and says no; the pipeline tries again, slowly, and says so."""

    exit_code = ExitCode.REFUSED


class SinkError(AndonError):
    """A far side did not take what it was sent."""

    exit_code = ExitCode.UNREACHABLE


class SinkUnreachable(SinkError):
    """Nothing answers, or the answer was "later".

    `retry_after_s` is what the far side asked for, 0 when it said nothing.
    """

    def __init__(self, message: str, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class SinkRefused(SinkError):
    """Token or scope is wrong; everything is kept."""

    exit_code = ExitCode.REFUSED


class SinkRejected(SinkError):
    """The far side says that lines are wrong, or the packet too large (`too_large`).

    `lines`, where it names the wrong ones and has written all others: what it says of each, by
    its offset in the packet.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        too_large: bool = False,
        lines: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message, hint)
        self.too_large = too_large
        self.lines = lines


class OutboxError(AndonError):
    """The outbox file cannot be opened, read or written."""

    exit_code = ExitCode.OUTBOX


class SignalsFull(AndonError):
    """More distinct signals than `gateway.signals_max` allows."""

    exit_code = ExitCode.CONFIG
