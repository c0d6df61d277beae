"""CSV payloads: what separates columns, what they are called, which is the time.

Enters: texts of one topic. Leaves: the options of `payload = { csv = { ... } }` that would read
them; None where they are no tables. Nothing fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from agent.config.fields import check_signal_name
from agent.config.mqtt.payload import SIGNALS_MAX, SKIP, TIME
from agent.sources.mqtt.browse.shapes import roles

SEPARATORS: Final = ("\t", ";", ",", "|")
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")

Row = Sequence[str]


def guess(texts: Sequence[str]) -> dict[str, Any] | None:
    """How these texts would be read."""
    lines = ([line for line in text.splitlines() if line.strip()] for text in texts)
    blocks = [block for block in lines if block]
    for separator in SEPARATORS:
        rows = [[line.split(separator) for line in block] for block in blocks]
        widths = {len(row) for block in rows for row in block}
        if len(widths) == 1 and 1 < max(widths) <= SIGNALS_MAX:
            return _of(rows, separator)
    return None


def _of(blocks: Sequence[Sequence[Row]], separator: str) -> dict[str, Any] | None:
    first = blocks[0][0]
    header = all(len(block) > 1 and block[0] == first for block in blocks) and not any(
        map(_is_number, first)
    )
    rows = [row for block in blocks for row in block[header:]]
    titles = [title.strip().strip('"') for title in first] if header else []
    columns = _columns(titles, rows)
    cells: list[Any] = [row[columns.index(TIME)].strip() for row in rows] if TIME in columns else []
    if not set(columns) - {SKIP, TIME}:
        return None
    options: dict[str, Any] = {"columns": columns}
    if separator != ",":
        options["separator"] = separator
    unit = _time_unit(cells)
    if cells and unit != "ms":
        options["time_unit"] = unit
    return options | ({"header": True} if header else {})


def _columns(titles: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Names of the columns: one time, numbers by their titles or places, texts skipped."""
    columns: list[str] = []
    for place in range(len(rows[0])):
        cells = [row[place].strip() for row in rows]
        title = titles[place] if titles else ""
        may_be_time = roles.time_rank(title) is not None if titles else place == 0
        if may_be_time and TIME not in columns and _time_unit(cells):
            columns.append(TIME)
        elif all(_is_number(cell) for cell in cells if cell) and any(cells):
            columns.append(_free(title or f"column_{place + 1}", columns))
        else:
            columns.append(SKIP)
    return columns


def _time_unit(cells: Sequence[str]) -> str | None:
    return roles.time_unit([float(cell) if _is_number(cell) else cell for cell in cells])


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell))


def _free(title: str, taken: Sequence[str]) -> str:
    """A title as a name that no other column has; one that cannot be a name is skipped."""
    try:
        check_signal_name(title)
    except ValueError:
        return SKIP
    return SKIP if title in (*taken, TIME, SKIP) else title
