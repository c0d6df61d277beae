"""Columns as parsed, sorted into the tables of the database.

Enters: `Columns` of a write and the shapes of the tables (read from the database itself). Leaves:
Arrow tables to append, the rows the live board wants, and conflicts. Nothing here fails: a point
whose field has another type than the table, or than it had when the field was first seen, is left
out and named, as InfluxDB does.

A line belongs to a typed table when its tags are exactly the table's; all others, and fields a
table does not have, go to `other`, so nothing that was written is lost.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from cloud.ingest.line_protocol import Columns, FieldColumn, Kind, Parsed, Value, rows

KIND_OF_TYPE: dict[str, Kind] = {
    "DOUBLE": "float",
    "BIGINT": "integer",
    "UBIGINT": "unsigned",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
}
ARROW_OF_KIND = {
    "float": pa.float64(),
    "integer": pa.int64(),
    "unsigned": pa.uint64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
}
LIVE_MEASUREMENTS = frozenset({"machine", "signal", "window", "anomaly", "sample", "gateway"})
CONFLICTS_NAMED_MAX = 20

FieldKinds = dict[tuple[str, str], Kind]


@dataclass(frozen=True, slots=True)
class Table:
    """The shape of one typed table: all its tags, those with a default, fields with their kind."""

    name: str
    tags: frozenset[str]
    defaults: dict[str, str]
    fields: dict[str, Kind]

    def takes(self, tag_keys: Iterable[str]) -> bool:
        """Whether a line with exactly these tags belongs here."""
        return self.tags == set(tag_keys) | self.defaults.keys()


@dataclass(frozen=True, slots=True)
class LiveRow:
    """One line that concerns the board."""

    measurement: str
    tags: dict[str, str]
    time_ns: int
    fields: dict[str, Value]


@dataclass(slots=True)
class Sorted:
    """One write, ready for the database.

    tables : by table name, Arrow tables without `arrival`.
    conflicts : messages that name line, field and both types; at most `CONFLICTS_NAMED_MAX`.
    left_out : where the lines of points left out start in the body.
    new_kinds : fields of foreign measurements seen for the first time.
    """

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    new_kinds: FieldKinds = field(default_factory=dict)
    live: list[LiveRow] = field(default_factory=list)

    def append(self, name: str, table: pa.Table) -> None:
        """Add rows for the table `name`."""
        if table.num_rows:
            self.tables.setdefault(name, []).append(table)


def shapes(columns: Iterable[tuple[str, str, str, bool, str | None]]) -> dict[str, Table]:
    """Shapes of the typed tables, from the rows of the query `columns`."""
    tables: dict[str, Table] = {}
    for name, column, data_type, nullable, default in columns:
        table = tables.setdefault(name, Table(name, frozenset(), {}, {}))
        if nullable:
            table.fields[column] = KIND_OF_TYPE[data_type]
        elif data_type == "VARCHAR":
            tables[name] = Table(name, table.tags | {column}, table.defaults, table.fields)
            if default is not None:
                table.defaults[column] = default.strip("'")
    return {
        name: table
        for name, table in tables.items()
        if "machine" in table.tags or name == "gateway"
    }


def assort(
    parsed: Parsed, tables: dict[str, Table], kinds: FieldKinds, *, fields_max: int
) -> Sorted:
    """Sort one parsed body; `kinds` holds the known types of foreign fields and is not changed."""
    result = Sorted()
    for columns in parsed.columns:
        table = tables.get(columns.measurement)
        if table is not None and not table.takes(columns.tag_keys):
            table = None
        bad = _conflicts(columns, table, kinds, result.new_kinds, fields_max)
        _report(parsed, columns, bad, result)
        _sort_columns(columns, table, bad, result)
    return result


def _sort_columns(
    columns: Columns, table: Table | None, bad: dict[int, str], result: Sorted
) -> None:
    known = table.fields if table is not None else {}
    if table is not None:
        typed = _typed(columns, table)
        keep = pa.array((row for row in range(len(columns)) if row not in bad), pa.int64())
        result.append(table.name, typed.take(keep) if bad else typed)
        if table.name in LIVE_MEASUREMENTS:
            result.live += [
                LiveRow(table.name, tags, time_ns, fields)
                for row, (tags, time_ns, fields) in enumerate(rows(columns))
                if row not in bad
            ]
    for (key, kind), column in columns.fields.items():
        if key not in known:
            result.append("other", _foreign(columns, key, kind, column, bad))


def _conflicts(
    columns: Columns, table: Table | None, kinds: FieldKinds, new: FieldKinds, fields_max: int
) -> dict[int, str]:
    """Rows that must not be written, with the reason."""
    bad: dict[int, str] = {}
    measurement = columns.measurement
    for (key, kind), column in columns.fields.items():
        name = (measurement, key)
        expected = table.fields.get(key) if table is not None else None
        expected = expected or kinds.get(name) or new.get(name)
        if expected is None and len(kinds) + len(new) < fields_max:
            new[name] = expected = kind
        if expected == kind:
            continue
        reason = (
            f'field type conflict: input field "{key}" on measurement "{measurement}" is type'
            f" {kind}, already exists as type {expected}"
            if expected is not None
            else f'max fields exceeded: "{key}" on measurement "{measurement}" would be more than'
            f" {fields_max} fields"
        )
        bad.update(dict.fromkeys(column.rows, reason))
    return bad


def _report(parsed: Parsed, columns: Columns, bad: dict[int, str], result: Sorted) -> None:
    result.left_out += [columns.offset[row] for row in bad]
    for row, reason in sorted(bad.items()):
        if len(result.conflicts) == CONFLICTS_NAMED_MAX:
            return
        number, line = parsed.locate(columns.offset[row])
        result.conflicts.append(f"{reason} (line {number}: '{line}')")


def _typed(columns: Columns, table: Table) -> pa.Table:
    names = dict(_tag_columns(columns))
    count = len(columns)
    arrays = {**names, "time_ns": pa.array(columns.time_ns, pa.int64())}
    for tag, default in table.defaults.items():
        arrays.setdefault(tag, pa.array([default] * count, pa.string()))
    for (key, kind), column in columns.fields.items():
        if table.fields.get(key) == kind:
            arrays[key] = pa.array(_dense(column, count), ARROW_OF_KIND[kind])
    return pa.table(arrays)


def _tag_columns(columns: Columns) -> Iterator[tuple[str, pa.Array]]:
    index = pa.array(columns.series_index, pa.int32())
    for key, values in zip(columns.tag_keys, zip(*columns.series, strict=True), strict=True):
        yield key, pa.array(values, pa.string()).take(index)


def _dense(column: FieldColumn, count: int) -> list[Value | None]:
    if len(column.rows) == count:
        return list(column.values)
    dense: list[Value | None] = [None] * count
    for row, value in zip(column.rows, column.values, strict=True):
        dense[row] = value
    return dense


def _foreign(
    columns: Columns, key: str, kind: Kind, column: FieldColumn, bad: dict[int, str]
) -> pa.Table:
    kept = [
        (row, value)
        for row, value in zip(column.rows, column.values, strict=True)
        if row not in bad
    ]
    tags = [
        json.dumps(dict(zip(columns.tag_keys, values, strict=True)), ensure_ascii=False)
        for values in columns.series
    ]
    index = [columns.series_index[row] for row, _ in kept]
    return pa.table(
        {
            "measurement": pa.array([columns.measurement] * len(kept), pa.string()),
            "tags": pa.array([tags[i] for i in index], pa.string()),
            "field": pa.array([key] * len(kept), pa.string()),
            "time_ns": pa.array([columns.time_ns[row] for row, _ in kept], pa.int64()),
            kind: pa.array([value for _, value in kept], ARROW_OF_KIND[kind]),
        }
    )
