"""The signal table: what is known of each signal, and the small integers that stand for them.

An id is given once and kept for the life of the outbox, so that columns on disk still mean the
same after a restart; a signal that leaves the configuration leaves a hole. The table is owned by
the event loop's thread; `signals_max` bounds what configuration and topics may create.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from agent.errors import SignalsFull

Kind = Literal["analog", "counter", "discrete", "text", "waveform"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SECOND_NS: Final = 1_000_000_000
HOLD_FOREVER: Final = 0

MACHINE_SIGNAL: Final = "_machine"
"""The signal an anomaly names when it concerns the machine as a whole."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a line is, by ISA-95: enterprise, site, area, line."""

    enterprise: str
    site: str
    area: str
    line: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of one machine.

    every_ns : width of its windows
    hold_ns : how long a value stands without news although the source is alive; `HOLD_FOREVER`
        where the source sends only changes (OPC UA), else the longest expected pause between
        samples (MQTT)
    low, high : limits given by the configuration, in `unit`, or None
    raw : every sample is sent as a `sample` line beside its windows (text always is)
    state : of a text: its words are what state the machine is in, and are told as `state` lines
    source : the name of the source that reads it; `node` is its address there
    """

    path: Path
    machine: str
    name: str
    source: str
    kind: Kind = "analog"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    grade: str = "general"
    node: str = ""
    description: str = ""
    every_ns: int = 10 * SECOND_NS
    hold_ns: int = HOLD_FOREVER
    raw: bool = False
    state: bool = False

    @property
    def key(self) -> tuple[Path, str, str]:
        """Its identity: path, machine and signal name."""
        return (self.path, self.machine, self.name)

    @property
    def label(self) -> str:
        """`machine/signal`, as people say it."""
        return f"{self.machine}/{self.name}"

    def document(self) -> dict[str, Any]:
        """The signal as plain JSON values; `from_document` reads it back."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Signal:
        """The signal that `document` wrote; fields of a newer version are ignored."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        values["path"] = Path(**values["path"])
        return cls(**values)


class SignalTable:
    """Signals by id. Ids are dense, from 0, given in order and never given again."""

    def __init__(self, signals_max: int, stored: Mapping[int, Signal] | None = None) -> None:
        self.signals_max = signals_max
        self._signals: list[Signal] = []
        self._ids: dict[tuple[Path, str, str], int] = {}
        self._changed: dict[int, None] = {}
        self._altered: dict[int, None] = {}
        for expected, (number, signal) in enumerate(sorted((stored or {}).items())):
            assert number == expected, "stored signal ids have a hole"
            self._append(signal)

    def __len__(self) -> int:
        return len(self._signals)

    def __getitem__(self, number: int) -> Signal:
        return self._signals[number]

    def __iter__(self) -> Iterator[Signal]:
        return iter(self._signals)

    def add(self, signal: Signal) -> int:
        """The id of this signal, new or known; what is known of it is brought up to date.

        Raises SignalsFull when a new one would exceed `signals_max`.
        """
        number = self._ids.get(signal.key)
        if number is None:
            number = self._new(signal)
            self._changed[number] = None
        elif self._signals[number] != signal:
            self._signals[number] = replace(signal)
            self._changed[number] = self._altered[number] = None
        return number

    def find(self, path: Path, machine: str, name: str) -> int | None:
        """The id of a known signal, or None."""
        return self._ids.get((path, machine, name))

    def take_changed(self) -> dict[int, Signal]:
        """Signals added or changed since the last call, by id: what the next commit must store."""
        changed = {number: self._signals[number] for number in self._changed}
        self._changed.clear()
        return changed

    def take_altered(self) -> list[int]:
        """Known signals that say something else since the last call: what derive must take up."""
        altered = list(self._altered)
        self._altered.clear()
        return altered

    def _new(self, signal: Signal) -> int:
        if len(self._signals) >= self.signals_max:
            raise SignalsFull(
                f"signal {signal.label} would be number {self.signals_max + 1:,}; "
                f"gateway.signals_max is {self.signals_max:,}",
                "narrow the topic patterns, or raise signals_max if the gateway has the memory",
            )
        return self._append(signal)

    def _append(self, signal: Signal) -> int:
        self._signals.append(signal)
        self._ids[signal.key] = len(self._signals) - 1
        return len(self._signals) - 1
