"""The journal: what the pipeline did to the kernels between two commits, to be done once more.

Enters: the calls that `Derive` was given, in their order, and the packet ids of what came. Leaves:
one blob for each commit, and the same calls back, but for the blocks of waveforms. After a crash
they are played on the state of the last checkpoint and yield the same windows; the blobs of before
that checkpoint are forgotten.

Format: version, the length of the head, a head in JSON (the calls, the texts, how each column is
written), then the columns of all batches, each its own way (`agent/columns.py`), compressed.
What can fail: a blob of a newer version, or one that was damaged, raises JournalError.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from agent.batch import Batch
from agent.columns import read_column, write_column
from agent.derive import Derive
from agent.sources import Packets

_VERSION: Final = 2
"""1 knows neither `Vouched` nor states in `Opened`; both are read."""
_HEADER: Final = struct.Struct("<BI")
_LEVEL: Final = 1
"""250 to 400 ns a sample and 2 to 6 B."""

_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "signal": np.dtype(np.int32),
    "time_ns": np.dtype(np.int64),
    "value": np.dtype(np.float64),
    "status": np.dtype(np.uint32),
}
_PACKETS: Final[dict[str, np.dtype[Any]]] = {
    "ids": np.dtype(np.uint16),
    "digests": np.dtype(np.uint32),
}


class JournalError(Exception):
    """A blob that cannot be played."""


@dataclass(frozen=True, slots=True)
class Took:
    """A batch of this source was taken."""

    source: str
    batch: Batch
    packets: Packets | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The source's connection was lost."""

    source: str
    reason: str
    now_ns: int


@dataclass(frozen=True, slots=True)
class Passed:
    """Time passed for a lost source."""

    source: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class Revised:
    """What late samples changed was made anew."""


@dataclass(frozen=True, slots=True)
class Opened:
    """These anomalies and machine states are open, of sources whose samples are not journaled."""

    anomalies: list[dict[str, Any]]
    states: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Vouched:
    """Until when sources whose samples are not journaled had vouched, UTC, by name."""

    alive_ns: dict[str, int]


Call = Took | Lost | Passed | Revised | Opened | Vouched


class Journal:
    """The calls since the last commit."""

    def __init__(self, calls: Iterable[Call] = ()) -> None:
        self.calls: list[Call] = []
        self.samples = 0
        self._heartbeats: dict[str, int] = {}
        self._vouched: int | None = None
        for call in calls:
            self.add(call)

    def add(self, call: Call) -> None:
        """Note a call. Heartbeats of a source with nothing of it in between are one."""
        if isinstance(call, Vouched):
            if self._vouched is not None:
                self.calls[self._vouched] = call
                return
            self._vouched = len(self.calls)
        elif isinstance(call, Took) and _is_heartbeat(call):
            at = self._heartbeats.setdefault(call.source, len(self.calls))
            if at < len(self.calls):
                self.calls[at] = call
                return
        elif isinstance(call, Revised | Opened):
            if self.calls and self.calls[-1] == call:
                return
            self._heartbeats.clear()
        else:
            self._heartbeats.pop(call.source, None)
            if isinstance(call, Took):
                self.samples += len(call.batch)
        self.calls.append(call)

    def pack(self) -> bytes:
        """One blob of all calls."""
        taken = [call for call in self.calls if isinstance(call, Took)]
        packets = [call.packets for call in taken if call.packets is not None]
        parts, ways = [], []
        for name, dtype in _COLUMNS.items():
            column = _joined([getattr(call.batch, name) for call in taken], dtype)
            way, data = write_column(column)
            ways.append(way)
            parts.append(data)
        for name, dtype in _PACKETS.items():
            parts.append(_joined([getattr(p, name) for p in packets], dtype).tobytes())
        head = json.dumps(
            {"calls": [_row(call) for call in self.calls], "ways": ways}, separators=(",", ":")
        ).encode()
        body = zlib.compress(head + b"".join(parts), _LEVEL)
        return _HEADER.pack(_VERSION, len(head)) + body


def unpack(blob: bytes) -> list[Call]:
    """The calls of a blob. Raises JournalError."""
    try:
        version, head_bytes = _HEADER.unpack_from(blob)
        if version > _VERSION:
            raise JournalError(f"its format {version} is newer than this agent")
        data = zlib.decompress(blob[_HEADER.size :])
        return _Reading(json.loads(data[:head_bytes]), data[head_bytes:]).calls()
    except (struct.error, zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise JournalError(f"it is damaged: {error}") from error


def play(calls: Iterable[Call], derive: Derive) -> int:
    """Do it all once more, without keeping what was derived: how many samples that were."""
    samples = 0
    for call in calls:
        match call:
            case Took():
                derive.take(call.source, call.batch)
                samples += len(call.batch)
            case Lost():
                derive.lose(call.source, call.reason, call.now_ns)
            case Passed():
                derive.pass_time(call.source, call.time_ns)
            case Revised():
                derive.collect()
                derive.revise()
            case Opened() | Vouched():
                pass  # known once all has been played
    return samples


def _is_heartbeat(call: Took) -> bool:
    return len(call.batch) == 0 and call.packets is None


def _joined(columns: list[Any], dtype: np.dtype[Any]) -> Any:
    return np.concatenate(columns) if columns else np.empty(0, dtype)


def _row(call: Call) -> list[Any]:
    match call:
        case Took(source, batch, packets):
            ids = -1 if packets is None else len(packets.ids)
            times = [batch.received_ns, batch.alive_until_ns]
            return ["t", source, len(batch), *times, ids, *batch.texts]
        case Lost(source, reason, now_ns):
            return ["l", source, reason, now_ns]
        case Passed(source, time_ns):
            return ["p", source, time_ns]
        case Revised():
            return ["r"]
        case Opened(anomalies, states):
            return ["o", anomalies, states]
        case Vouched(alive_ns):
            return ["v", alive_ns]


class _Reading:
    """Takes the columns apart again, call by call."""

    def __init__(self, head: dict[str, Any], data: bytes) -> None:
        self._rows = head["calls"]
        taken = [row for row in self._rows if row[0] == "t"]
        n = sum(row[2] for row in taken)
        ids = sum(max(row[5], 0) for row in taken)
        at = 0
        self._columns = {}
        for (name, dtype), way in zip(_COLUMNS.items(), head["ways"], strict=True):
            self._columns[name], at = read_column(data, at, dtype, n, way)
        for name, dtype in _PACKETS.items():
            self._columns[name] = np.frombuffer(data, dtype, ids, at)
            at += ids * dtype.itemsize
        if at != len(data):
            raise ValueError("its columns have another length than its calls say")
        self._at, self._ids_at = 0, 0

    def calls(self) -> list[Call]:
        return [self._call(*row) for row in self._rows]

    def _call(self, kind: str, *row: Any) -> Call:
        match kind:
            case "t":
                return self._took(*row)
            case "l":
                return Lost(*row)
            case "p":
                return Passed(*row)
            case "r":
                return Revised()
            case "o":
                return Opened(*row)
            case "v":
                return Vouched(*row)
        raise ValueError(f"a call {kind!r} is not known")

    def _took(
        self, source: str, n: int, received_ns: int, alive_ns: int, ids: int, *texts: str
    ) -> Took:
        rows = slice(self._at, self._at + n)
        self._at += n
        signal, time_ns, value, status = (self._columns[name][rows] for name in _COLUMNS)
        batch = Batch(signal, time_ns, value, status, received_ns, alive_ns, texts)
        if ids < 0:
            return Took(source, batch)
        rows = slice(self._ids_at, self._ids_at + ids)
        self._ids_at += ids
        return Took(source, batch, Packets(*(self._columns[name][rows] for name in _PACKETS)))
