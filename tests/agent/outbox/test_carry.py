"""A backlog is carried out in a file that is an outbox of its own; nothing is lost or doubled."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import AGE_MAX_NS, Commit, carry
from agent.outbox.carry import export, take
from agent.outbox.reader import open_readonly
from agent.outbox.sql import connect
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from tests.agent.outbox.sqlite import seeded
from tests.conformance.outbox import NOTHING, Clock, dead, drain, mixed, put, read, ready


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    """With ten lines, of which three have been sent and one rejected."""
    with closing(open_outbox(path, ["cloud"])) as outbox:
        put(outbox, mixed())
        outbox.acknowledge("cloud", 1, 4, [dead(2)])
        outbox.commit(Commit(SampleLedger(8, 8), b"journal"))
        put(outbox, ready(6, 7, 8, 9, 10))
        yield outbox


def test_what_waits_is_exported_beside_a_running_service(
    path: Path, outbox: SqliteOutbox, tmp_path: Path
) -> None:
    target = tmp_path / "stick.db"
    exported = export(path, target)
    assert (exported.uuid, exported.lines, exported.last) == (outbox.uuid, 6, 10)
    assert exported.bytes == target.stat().st_size < 100_000
    assert [file.name for file in tmp_path.glob("stick*")] == ["stick.db"]
    assert outbox.ledger().lines.waiting == 6
    with closing(open_outbox(target, ["cloud"])) as carried:
        assert carried.uuid == outbox.uuid
        assert (carried.journal(), carried.checkpoint(), carried.dead_letters()) == ([], b"", [])
        packet = carried.packet("cloud", 2, live=False)
        assert packet is not None
        assert (packet.first, packet.last, packet.void) == (5, 6, ((2, 2),))
        carried.acknowledge("cloud", 5, 6)
    with closing(open_outbox(target, ["cloud"])) as carried:  # broken off, and gone on with
        assert read(carried, "cloud") == [b"a v=%di %d" % (n, n) for n in range(7, 11)]
    with closing(open_outbox(target, ["other"])) as carried:
        assert list(drain(carried, "other")[0]) == [(7, 10)]


def test_lines_that_are_taken_are_settled_here_as_exported(
    path: Path, outbox: SqliteOutbox, tmp_path: Path
) -> None:
    with pytest.raises(OutboxError, match="in use by another agent"):
        take(path, tmp_path / "stick.db")
    assert not (tmp_path / "stick.db").exists()
    outbox.close()
    exported = take(path, tmp_path / "stick.db")
    assert exported.lines == 6
    with closing(open_outbox(path, ["cloud"])) as left:
        ledger = left.ledger()
        assert ledger.lines.dropped == Counter(exported=6)
        assert ledger.samples.received == 0
        assert (ledger.lines.waiting, ledger.balanced) == (0, True)
        put(left, ready(11))
        sent, void = drain(left, "cloud")
        assert list(sent) == [(11, 11)]
        assert list(void) == [(2, 2), (5, 10)]


def test_taking_drops_nothing_by_limits_that_are_not_the_services(tmp_path: Path) -> None:
    path, clock = tmp_path / "outbox.db", Clock()
    with closing(open_outbox(path, ["cloud"], bytes_max=1 << 40, age_max_ns=1 << 62)) as outbox:
        put(outbox, mixed())
    clock.now_ns = time.time_ns() - 2 * AGE_MAX_NS
    with closing(
        open_outbox(path, ["cloud"], bytes_max=1 << 40, age_max_ns=1 << 62, now_ns=clock)
    ) as outbox:
        put(outbox, ready(6))
    assert take(path, tmp_path / "stick.db").lines == 6
    with open_readonly(path) as left:
        assert left.ledger().lines.dropped == Counter(exported=6)
        assert left.usage().bytes_max == 1 << 40


def test_a_stick_needs_no_more_room_than_what_is_carried(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        for i in range(4):
            outbox.stage(Lines(ready=(seeded(i).randbytes(1 << 20).hex().encode(),)), early=False)
            outbox.commit(NOTHING)
        outbox.acknowledge("cloud", 1, 2)
        outbox.commit(Commit(SampleLedger(), checkpoint=seeded(9).randbytes(1 << 22)))
        most = _most_bytes(monkeypatch, tmp_path / "stick")
        exported = export(path, tmp_path / "stick.db")
    assert exported.lines == 2
    assert 2 << 20 < exported.bytes < 5 << 19
    assert max(most) == exported.bytes


def _most_bytes(monkeypatch: pytest.MonkeyPatch, stem: Path) -> list[int]:
    """What the files of the stick take, before and after each step of what SQLite does there."""
    sizes = [0]

    def measure(*_: object) -> int:
        files = stem.parent.glob(f"{stem.name}*")
        sizes.append(sum(file.stat().st_size for file in files))
        return 0

    def watched(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_progress_handler(measure, 1)
        connection.set_trace_callback(measure)
        return connection

    monkeypatch.setattr(carry, "connect", watched)
    return sizes


def test_a_file_that_is_there_is_not_written_over(path: Path, outbox: SqliteOutbox) -> None:
    with pytest.raises(OutboxError, match="exists already"):
        export(path, path)
    assert outbox.ledger().lines.waiting == 6


def test_what_is_no_outbox_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="there is no outbox"):
        export(tmp_path / "none.db", tmp_path / "stick.db")
    (tmp_path / "text.db").write_text("no database " * 500)
    with pytest.raises(OutboxError, match="not a database"):
        export(tmp_path / "text.db", tmp_path / "stick.db")
    assert not (tmp_path / "stick.db").exists()
