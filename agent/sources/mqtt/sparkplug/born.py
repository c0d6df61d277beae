"""Births: what a node or a device says of its metrics, as a table for the kernel.

Enters: the bytes of an NBIRTH or DBIRTH. Leaves: its metrics, and their table once it is known
which signal each is. Fails: PayloadError. This is Python, a metric at a time: births are rare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.batch import Int32, Int64
from agent.kernels.sparkplug import metrics as kernel
from agent.kernels.sparkplug import values
from agent.kernels.sparkplug.fields import fault_words
from agent.signals import Kind
from agent.sparkplug import BDSEQ, DataType
from agent.sparkplug.datatypes import INTEGERS, TEXTS

PROPERTIES_MAX: Final = 32
"""So many properties of a metric are looked at."""
UNIT_KEYS: Final = frozenset(
    {"engunit", "engunits", "engineeringunit", "engineeringunits", "unit", "units"}
)
"""Names of properties that give a metric's unit, in small letters, without blanks and dashes.
Sparkplug names none; these are in use."""
_NOT_LETTERS: Final = str.maketrans("", "", " _-")

Raw = npt.NDArray[np.uint8]


class PayloadError(ValueError):
    """Bytes that are no Sparkplug payload: says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Defined:
    """One metric as its birth defines it. alias : None where it has none."""

    name: str
    alias: int | None
    datatype: int
    unit: str

    @property
    def kind(self) -> Kind | None:
        """The kind of signal it is, unless the configuration says more; None for none."""
        if self.datatype == DataType.BOOLEAN:
            return "discrete"
        if self.datatype in INTEGERS or self.datatype in (DataType.FLOAT, DataType.DOUBLE):
            return "analog"
        return "text" if self.datatype in TEXTS else None


@dataclass(frozen=True, slots=True)
class Birth:
    """What a birth, or an NDEATH, holds. bdseq : None where it has none."""

    metrics: tuple[Defined, ...]
    bdseq: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What each name and alias of a node or a device stands for; see `agent/kernels/sparkplug`.

    signals : (s,) int32, rising, all signals in it
    metrics : what the birth said, in its order
    """

    names: Raw
    name_at: Int64
    aliases: Int64
    entries: Int64
    signals: Int32
    metrics: tuple[Defined, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)


def read_birth(raw: Raw, at: int, end: int, count: int) -> Birth:
    """Read a birth or NDEATH, `raw[at:end]`, of so many metrics. Raises PayloadError."""
    found = np.empty((count, kernel.METRIC), np.int64)
    said = kernel.metrics(raw, at, end, found)
    if said < 0:
        raise PayloadError(fault_words(said, at))
    metrics: dict[str, Defined] = {}
    bdseq: int | None = None
    for row in found.tolist():
        name = _text(raw, row[kernel.NAME_AT], row[kernel.NAME_SIZE])
        if name is None:
            continue  # its value is counted as that of an unknown metric
        if name == BDSEQ and row[kernel.FIELD] in (kernel.INT, kernel.LONG):
            bdseq = row[kernel.BITS]
        alias = row[kernel.ALIAS] if row[kernel.FLAGS] & kernel.ALIASED else None
        unit = _unit(raw, row[kernel.PROPERTIES_AT], row[kernel.PROPERTIES_SIZE])
        metrics.setdefault(name, Defined(name, alias, row[kernel.DATATYPE], unit))
    return Birth(tuple(metrics.values()), bdseq)


def table_of(metrics: Sequence[Defined], signal_of: Callable[[Defined], tuple[int, bool]]) -> Table:
    """The table of these metrics.

    signal_of : the signal of one, or what stands in its place, and whether it is text

    An alias that two metrics claim stands for none of them.
    """
    by_name = sorted(metrics, key=lambda metric: metric.name.encode())
    names = [metric.name.encode() for metric in by_name]
    signals = [signal_of(metric) for metric in by_name]
    entries = np.array(
        [
            (signal, metric.datatype, text)
            for metric, (signal, text) in zip(by_name, signals, strict=True)
        ],
        np.int64,
    ).reshape(-1, values.ENTRY)
    claims = Counter(metric.alias for metric in by_name)
    aliases = sorted(
        (metric.alias, row)
        for row, metric in enumerate(by_name)
        if metric.alias is not None and claims[metric.alias] == 1
    )
    return Table(
        np.frombuffer(b"".join(names), np.uint8),
        np.cumsum([0, *map(len, names)], dtype=np.int64),
        np.array(aliases, np.int64).reshape(-1, 2),
        entries,
        np.unique(entries[entries[:, 0] >= 0, 0]).astype(np.int32),
        tuple(metrics),
    )


EMPTY: Final = table_of((), lambda metric: (values.LEFT_OUT, False))


def _unit(raw: Raw, at: int, size: int) -> str:
    """The unit that a metric's properties give; "" for none."""
    if size <= 0:
        return ""
    places = np.empty((PROPERTIES_MAX, 4), np.int64)
    count = kernel.properties(raw, at, at + size, places)
    for key_at, key_size, value_at, value_size in places[:count].tolist():
        key = _text(raw, key_at, key_size) or ""
        if key.lower().translate(_NOT_LETTERS) in UNIT_KEYS:
            return _text(raw, *kernel.text_in(raw, value_at, value_at + value_size)) or ""
    return ""


def _text(raw: Raw, at: int, size: int) -> str | None:
    if size < 0:
        return None
    try:
        return bytes(raw[at : at + size]).decode()
    except UnicodeDecodeError:
        return None
