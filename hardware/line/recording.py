"""A recording as a machine: a CSV file read, and played as one OPC UA variable a column.

In: a CSV file with a header line, times in ISO 8601 (without a zone: UTC) or in seconds, numbers
with a decimal point; commands. Out: `Recording`; an OPC UA server with the nodes
`<machine>.<column>`, events as of the simulated line with `rows` beside them. An empty cell, or
nan, is NaN, and is written as Bad without a value. Fails with LineError(USAGE) that names the row
(the header is row 1, as an editor counts) and the column, or says which option or port cannot be
used.

Rows are written in the file's order, each value with its row's one time; a row whose time lies
before an earlier row's follows it at once.
"""

import csv
import difflib
import math
import os
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.line.control import Control, ExitCode, LineError, Times, sent, wait_until
from hardware.line.faults import Bad
from hardware.line.opcua import MachineServer, Variable

DELIMITERS = ";,\t|"
CELLS_MAX = 100_000_000  # 800 MB of float64
SPEED_MAX = 100_000.0  # source times are written in microseconds
BAD = 0x80000000  # OPC UA StatusCode Bad: without saying why

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_MAX = Decimal(2**63 - 1)


@dataclass(frozen=True)
class Recording:
    """Columns of one machine over time.

    columns : their names, as in the file.
    time_ns : (n,) int64, UTC.
    values : (n, len(columns)) float64; NaN where the file has no value.
    """

    columns: tuple[str, ...]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]


def read(
    path: Path,
    *,
    delimiter: str | None = None,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Recording:
    """Read a CSV file.

    delimiter : None takes the one of `DELIMITERS` that is most frequent in the header line.
    time_column : None takes the first column.
    columns : None takes every column, besides the time, whose first value is a number.
    """
    if delimiter is not None and len(delimiter) != 1:
        raise _error(path, f"--delimiter is {delimiter!r}; it must be one character")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            found = delimiter or max(DELIMITERS, key=first.count)
            header = next(csv.reader([first], delimiter=found), [])
            if not header:
                raise _error(path, "has no header line")
            time_at = _place(path, header, time_column) if time_column else 0
            file.seek(0)
            if columns is None:
                places = _numeric(csv.reader(file, delimiter=found), len(header), time_at)
                file.seek(0)
            else:
                places = [_place(path, header, column) for column in columns]
            return _parse(path, csv.reader(file, delimiter=found), time_at, places)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise _error(path, f"cannot be read: {why}") from None


@dataclass(frozen=True)
class PlayOptions:
    """What `andon-line play` was asked for; see its help for the meanings."""

    port: int
    machine: str
    speed: float
    times: Times
    wait: bool
    control: bool

    def __post_init__(self) -> None:
        """Raises LineError(USAGE) for a speed out of range."""
        if not 0 < self.speed <= SPEED_MAX:
            raise LineError(
                ExitCode.USAGE,
                f"--speed is {self.speed:g}; it must be above 0 and at most {SPEED_MAX:g}",
            )


async def run(recording: Recording, options: PlayOptions) -> None:
    """Open, wait for the start, play, report, and serve until the end is asked for."""
    control = Control(commands=options.control)
    async with AsyncExitStack() as stack:
        variables = [Variable(options.machine, column) for column in recording.columns]
        server = MachineServer(options.port, variables)
        await server.open()
        stack.push_async_callback(server.close)
        control.emit("ready", opcua=server.url, mqtt=None, pid=os.getpid())
        subscribed = server.wait_subscribed(every=True) if options.wait else None
        if await control.wait_start(subscribed):
            await _play(recording, options, control, server)
            await control.quit.wait()


async def _play(
    recording: Recording, options: PlayOptions, control: Control, server: MachineServer
) -> None:
    start_ns = time.time_ns()
    control.emit("started", start_ns=start_ns)
    elapsed_ns = (recording.time_ns - recording.time_ns[0]) / options.speed
    stamps_ns = {
        Times.FILE: recording.time_ns,
        Times.SHIFTED: start_ns + elapsed_ns.astype(np.int64),
        Times.NOW: None,
    }[options.times]
    keys = [f"{options.machine}/{column}" for column in recording.columns]
    origin_s = time.monotonic()
    rows = 0
    for due_s, values in zip((elapsed_ns / 1e9).tolist(), recording.values.tolist(), strict=True):
        if await wait_until(control.stop, origin_s + due_s - time.monotonic()):
            break
        stamp_ns = time.time_ns() if stamps_ns is None else int(stamps_ns[rows])
        for key, value in zip(keys, values, strict=True):
            await server.write(key, Bad(BAD) if math.isnan(value) else value, stamp_ns)
        rows += 1
    control.emit(
        "stopped",
        sent=sent(server.sent, Counter()),
        overflowed=server.overflowed.total(),
        unacknowledged=0,
        units=0,
        rows=rows,
    )


def _place(path: Path, header: list[str], column: str) -> int:
    if header.count(column) == 1:
        return header.index(column)
    near = difflib.get_close_matches(column, header, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(header)}"
    if column in header:
        hint = "; its header names it more than once"
    raise _error(path, f"has no single column {column!r}{hint}")


def _numeric(rows: Iterator[list[str]], width: int, time_at: int) -> list[int]:
    """Places of the columns whose first value is a number."""
    next(rows)
    numeric: dict[int, bool] = {time_at: False}
    for row in rows:
        for place, cell in enumerate(row[:width]):
            if place not in numeric and cell.strip():
                numeric[place] = _number(cell) is not None
        if len(numeric) == width:
            break
    return sorted(place for place, known in numeric.items() if known)


def _parse(path: Path, rows: Any, time_at: int, places: list[int]) -> Recording:
    header = next(rows)
    names = tuple(header[place] for place in places)
    if not names:
        raise _error(path, "holds no column of numbers besides the time")
    if len(set(names)) < len(names):
        raise _error(path, f"names a column more than once: {', '.join(names)}")
    time_ns, values = array("q"), array("d")
    for row in filter(None, rows):
        where = f"row {rows.line_num}"
        if len(row) != len(header):
            raise _error(path, f"{where} has {len(row)} cells, the header {len(header)}")
        time_ns.append(_time_ns(path, where, header[time_at], row[time_at]))
        for place in places:
            value = _number(row[place])
            if value is None:
                raise _error(
                    path, f"{where}, column {header[place]!r}: {row[place]!r} is not a number"
                )
            values.append(value)
        if len(values) > CELLS_MAX:
            raise _error(path, f"holds more than {CELLS_MAX:,} values; play a part of it")
    if not time_ns:
        raise _error(path, "holds no rows below its header line")
    shape = len(time_ns), len(places)
    return Recording(names, np.array(time_ns), np.array(values).reshape(shape))


def _number(cell: str) -> float | None:
    """A finite number, NaN for an empty cell, None for anything else."""
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isinf(value) else value


def _time_ns(path: Path, where: str, column: str, cell: str) -> int:
    """ISO 8601 or seconds since 1970 as nanoseconds, exactly."""
    with suppress(InvalidOperation):
        time_ns = Decimal(cell.strip()) * 1_000_000_000
        if time_ns.is_finite() and abs(time_ns) <= _NS_MAX:
            return int(time_ns)
    with suppress(ValueError):
        moment = datetime.fromisoformat(cell.strip())
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        return since // timedelta(microseconds=1) * 1000
    raise _error(
        path,
        f"{where}, column {column!r}: {cell!r} is no time; "
        "it must be ISO 8601 or seconds, in the column named by --time",
    )


def _error(path: Path, what: str) -> LineError:
    return LineError(ExitCode.USAGE, f"{path}: {what}")
