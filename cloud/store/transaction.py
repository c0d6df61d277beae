"""One group of writes in one transaction of the database.

Enters: parsed writes and what is known (types of foreign fields, outboxes). Leaves: `Committed` for
each, and what was learned, which counts only once the transaction is on disk. Fails: with whatever
the database says; then nothing of the group was kept.
"""

import json
import logging
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import duckdb
import pyarrow as pa

from agent.outbox.intervals import Interval, Intervals, count
from cloud.errors import StoreError
from cloud.ingest.line_protocol import Parsed
from cloud.live.shape import AHEAD_NS_MAX, every_ns, gateway_identity
from cloud.settings import Settings
from cloud.store.intervals import Received, take
from cloud.store.sql import query
from cloud.store.tables import FieldKinds, LiveRow, Sorted, Table, assort

log = logging.getLogger("cloud.store")

_REMEMBERED = tuple(one.name for one in fields(Received) if one.name not in ("covered", "void"))


@dataclass(eq=False, slots=True)
class Write:
    """One request's lines on their way to the disk.

    size_bytes : of the body, for the queue's bound.
    outbox : its uuid and the ids of the lines, in their order, where the writer said so.
    void : ids that this outbox will never send.
    answer : whatever `on_commit` needs to reply; the store does not look at it.
    """

    parsed: Parsed
    size_bytes: int = 0
    outbox: tuple[str, Sequence[Interval]] | None = None
    void: Sequence[Interval] = ()
    answer: Any = None


@dataclass(slots=True)
class Committed:
    """What became of a write: `error`, or points kept with `conflicts` naming those left out.

    live : lines for the board; empty when the whole write was a repeat of one already received.
    """

    write: Write
    conflicts: list[str] = field(default_factory=list)
    dropped: int = 0
    live: list[LiveRow] = field(default_factory=list)
    error: StoreError | None = None


class Transaction:
    """One group of writes in one transaction; what it learned counts only after the commit."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        tables: dict[str, Table],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._tables = tables
        self.done: list[Committed] = []
        self.arrival = 0
        self.kinds: FieldKinds = {}
        self.outboxes: dict[str, Received] = {}
        self._now_ns = time.time_ns()

    def run(
        self,
        group: Sequence[Write],
        arrival: int,
        kinds: FieldKinds,
        outboxes: dict[str, Received],
    ) -> "Transaction":
        """Commit the group; `arrival`, `kinds` and `outboxes` are what the last one left.

        Raises whatever the database does.
        """
        self.arrival = arrival
        ready: dict[str, list[pa.Table]] = {}
        for write in group:
            result = assort(
                write.parsed,
                self._tables,
                kinds | self.kinds if self.kinds else kinds,
                fields_max=self._settings.foreign_fields_max,
            )
            self.kinds |= result.new_kinds
            for name, tables in result.tables.items():
                ready.setdefault(name, []).extend(tables)
            self.done.append(self._receive(write, result, outboxes))
        self._connection.begin()
        try:
            for name, tables in ready.items():
                self._append(name, pa.concat_tables(tables, promote_options="default"))
            self._remember()
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        return self

    def _receive(self, write: Write, result: Sorted, outboxes: dict[str, Received]) -> Committed:
        done = Committed(write, result.conflicts, len(result.left_out), result.live)
        if write.outbox is None:
            return done
        name, ids = write.outbox
        known = self.outboxes.get(name) or outboxes.get(name)
        if known is None and len(outboxes) + len(self.outboxes) >= self._settings.outboxes_max:
            log.warning("outbox %s is not followed: outboxes_max is reached", name)
            return done
        known = known or Received()
        if all(known.holds(first, last) for first, last in ids):
            done.live = []
        known = take(
            known,
            _came(write, result),
            write.void,
            intervals_max=self._settings.intervals_max,
            void_intervals_max=self._settings.void_intervals_max,
        )
        for row in done.live:
            if row.measurement == "gateway":
                known = replace(known, gateway=gateway_identity(row.tags))
                row.fields["missing"] = count(known.holes)
        ends_ns = [end_ns for end_ns in (known.window_end_ns, self._end_ns(result)) if end_ns]
        self.outboxes[name] = replace(
            known, window_end_ns=max(ends_ns, default=None), written_ns=self._now_ns
        )
        return done

    def _end_ns(self, result: Sorted) -> int | None:
        """When the newest window of a write ended; None without one."""
        ends_ns = [
            newest["time_ns_max"] + every_ns(newest["every"])
            for table in result.tables.get("window", ())
            for newest in table.group_by("every").aggregate([("time_ns", "max")]).to_pylist()
        ]
        return max((end for end in ends_ns if end <= self._now_ns + AHEAD_NS_MAX), default=None)

    def _append(self, name: str, table: pa.Table) -> None:
        arrivals = range(self.arrival + 1, self.arrival + 1 + table.num_rows)
        table = table.append_column("arrival", pa.array(arrivals, pa.int64()))
        self.arrival += table.num_rows
        self._insert(name, table)

    def _remember(self) -> None:
        if self.kinds:
            names = [
                {"measurement": measurement, "field": name, "kind": kind}
                for (measurement, name), kind in self.kinds.items()
            ]
            self._insert("other_field", pa.Table.from_pylist(names))
        for name, received in self.outboxes.items():
            values = {
                "outbox": name,
                "received": json.dumps(list(received.covered)),
                **{name: getattr(received, name) for name in _REMEMBERED},
                "void": json.dumps(list(received.void)),
            }
            self._connection.execute(query("put_outbox"), values)

    def _insert(self, name: str, table: pa.Table) -> None:
        self._connection.register("incoming", table)
        try:
            # The name is one of the tables of schema.sql, never text of a writer.
            sql = f'INSERT INTO "{name}" BY NAME SELECT * FROM incoming'  # noqa: S608
            self._connection.execute(sql)
        finally:
            self._connection.unregister("incoming")


def remembered(row: dict[str, Any]) -> Received:
    """What a row of the query `outboxes` says of one outbox."""
    covered, void = (Intervals(json.loads(row[name])) for name in ("received", "void"))
    return Received(covered, void, **{name: row[name] for name in _REMEMBERED})


def _came(write: Write, result: Sorted) -> Iterable[Interval]:
    """The ids of a write whose lines were kept; none where lines and ids cannot be told apart."""
    assert write.outbox is not None
    _, ids = write.outbox
    if not result.left_out:
        return ids
    if write.parsed.lines != count(ids):
        return ()
    left_out = sorted(bisect_left(write.parsed.offsets, offset) for offset in result.left_out)
    came, start = Intervals(), 0
    for first, last in ids:
        came.add(first, last)
        stop = start + last - first + 1
        for place in left_out[bisect_left(left_out, start) : bisect_left(left_out, stop)]:
            came.remove(first + place - start, first + place - start)
        start = stop
    return came
