"""CSV payloads: lines of cells, each column a signal (RFC 4180, with any separator).

Enters: bytes. Leaves: Readings. Fails: Unreadable where there is no line, or no text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from agent.config.mqtt.payload import SKIP, TIME, CsvConfig, TimeUnit
from agent.sources.mqtt.payloads.document import check_size
from agent.sources.mqtt.payloads.reading import Plain, Reading, Readings, Unreadable, reading
from agent.sources.mqtt.payloads.times import time_of_cell


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Reads lines of some columns, in the order of the configuration."""

    columns: tuple[str, ...]
    separator: str
    time_unit: TimeUnit
    has_header: bool

    @classmethod
    def of(cls, config: CsvConfig) -> CsvReader:
        """The reader of these columns."""
        return cls(config.columns, config.separator, config.time_unit, config.header)

    def __call__(self, payload: bytes | bytearray, received_ns: int) -> Readings:
        """What the lines give, line by line. Raises Unreadable, TooMany."""
        check_size(payload)
        try:
            text = payload.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Unreadable("not UTF-8 text") from None
        found = Readings()
        rows = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.separator,
            skipinitialspace=self.separator != " ",
            strict=True,
        )
        is_header = self.has_header
        try:
            for row in rows:
                cells = [cell.strip() for cell in row]
                if not cells or cells == [""]:
                    continue
                if not is_header:
                    self._take(cells, rows.line_num, found)
                is_header = False
        except csv.Error as error:  # where its next line would begin cannot be said any more
            found.miss(f"line {rows.line_num}: {error}")
        if not found.taken and not found.unreadable:
            raise Unreadable("there is no line in it")
        return found

    def _take(self, cells: Sequence[str], line: int, found: Readings) -> None:
        try:
            readings = self._readings(cells)
        except Unreadable as error:
            found.miss(f"line {line}: {error}")
        else:
            for one in readings:
                found.take(one)

    def _readings(self, cells: Sequence[str]) -> list[Reading]:
        columns = self.columns
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            raise Unreadable(f"it has {len(cells):,} cells, not {len(columns):,}")
        time_ns = None
        if TIME in columns:
            time_ns = time_of_cell(cells[columns.index(TIME)], self.time_unit)
        return [
            reading(column, time_ns, Plain(cell) if cell else None)
            for column, cell in zip(columns, cells, strict=False)
            if column not in (TIME, SKIP)
        ]
