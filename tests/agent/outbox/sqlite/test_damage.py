"""Damaged files are set aside and named, never deleted, and collecting goes on at once."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.lines import LIVE_NS
from agent.outbox import Commit
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline.journal import JournalError, unpack
from tests.agent.outbox.sqlite import copy, seeded
from tests.conformance.outbox import (
    NOTHING,
    Clock,
    drain,
    mixed,
    put,
    read,
    ready,
    windows,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(path: Path, clock: Clock) -> Iterator[SqliteOutbox]:
    with closing(open_outbox(path, ["cloud", "plant"], now_ns=clock)) as outbox:
        yield outbox


def ruin(path: Path, start: int = 1024, stop: int = 1 << 20) -> None:
    """Overwrite pages of a file that is open."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * (min(stop, path.stat().st_size) - start))


@pytest.mark.parametrize("harm", ["garbage", "truncated", "overwritten", "state"])
def test_a_file_damaged_when_opened_is_set_aside_and_a_new_one_begun(
    path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        name = outbox.uuid
        put(outbox, mixed())
        outbox.commit(Commit(SampleLedger(), checkpoint=seeded(1).randbytes(100_000)))
    content = bytearray(path.read_bytes())
    if harm == "garbage":
        content[:] = b"not a database" * 1000
    elif harm == "truncated":
        del content[len(content) // 2 :]
    elif harm == "overwritten":
        content[1024:16384] = b"\xff" * (16384 - 1024)
    if harm == "state":
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE state SET document = zeroblob(99)")
        content = bytearray(path.read_bytes())
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR), closing(open_outbox(path, ["cloud"])) as outbox:
        assert outbox.uuid != name
        assert outbox.ledger().lines.made == 0
        assert outbox.signals() == {}
        put(outbox, ready(1))
        assert read(outbox, "cloud") == [b"a v=1i 1"]
    (aside,) = path.parent.glob("outbox.db.damaged-*Z")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text


def test_a_file_damaged_while_running_is_set_aside_and_the_same_outbox_goes_on(
    path: Path, outbox: SqliteOutbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    name = outbox.uuid
    outbox.commit(Commit(SampleLedger(5, 5), b"journal", b"state"))
    put(outbox, ready(*range(2000)))
    outbox.acknowledge("plant", 1, 500)
    clock.now_ns += LIVE_NS
    put(outbox, ready(-1, -2))  # young: still in memory too
    outbox.stage(ready(-3), early=False)
    outbox._store.file.checkpoint()
    ruin(path)
    outbox._store.file.connection.execute("PRAGMA shrink_memory")
    outbox.commit(Commit(SampleLedger(9, 9), b"lost"))
    assert outbox.uuid == name
    assert outbox.checkpoint_wanted
    ledger = outbox.ledger()
    assert ledger.balanced
    assert ledger.samples.received == 9
    assert ledger.lines.dropped == Counter(damaged=2000)
    assert ledger.lines.waiting == 3
    assert [len(list(ids)) for ids in drain(outbox, "cloud")] == [1, 1]
    assert read(outbox, "plant") == [b"a v=-1i -1", b"a v=-2i -2", b"a v=-3i -3"]
    packet = outbox.packet("plant", 1, live=False)
    assert packet is not None
    assert packet.void == ((501, 2000),)
    assert (outbox.checkpoint(), outbox.journal()) == (b"", [])
    outbox.commit(Commit(SampleLedger(9, 9), b"", b"whole again"))
    outbox.commit(Commit(SampleLedger(9, 9), b"more"))
    assert not outbox.checkpoint_wanted
    (aside,) = path.parent.glob("outbox.db.damaged-*Z")
    assert str(aside) in caplog.text
    copy(path, path.parent / "later" / "outbox.db")
    with closing(open_outbox(path.parent / "later" / "outbox.db", ["plant"])) as later:
        assert later.uuid == name
        assert later.signals() == outbox.signals()
        assert (later.checkpoint(), later.journal()) == (b"whole again", [b"more"])
        assert later.ledger().balanced


def test_a_crash_before_the_first_commit_of_the_new_file_uses_no_id_twice(
    path: Path, outbox: SqliteOutbox
) -> None:
    put(outbox, ready(1, 2, 3))
    outbox.stage(ready(4), early=True)
    outbox._committer.renew(sqlite3.DatabaseError("as if"))
    copy(path, path.parent / "later" / "outbox.db")
    with closing(open_outbox(path.parent / "later" / "outbox.db", ["cloud"])) as later:
        assert later.uuid == outbox.uuid
        put(later, ready(5))
        sent, void = drain(later, "cloud")
        assert void.holds(1, 4)
        assert sent.next_in(1) > 4
        ledger = later.ledger()
        assert ledger.lines.dropped == Counter(damaged=4)
        assert (ledger.lines.acknowledged, ledger.lines.waiting) == (1, 0)
        assert ledger.balanced


def test_damage_found_by_a_sink_is_mended_there_and_then(path: Path, outbox: SqliteOutbox) -> None:
    put(outbox, ready(*range(2000)), windows(1))
    outbox._store.file.checkpoint()
    outbox._staging.pieces.clear()  # as when they are old
    ruin(path, 8192)
    for connection in (outbox._store.file.connection, outbox._store._reader):
        connection.execute("PRAGMA shrink_memory")
    assert outbox.packet("cloud", 10, live=False) is None
    ledger = outbox.ledger()
    assert ledger.lines.dropped == Counter(damaged=2001)
    assert ledger.balanced
    put(outbox, ready(1))
    assert read(outbox, "cloud") == [b"a v=1i 1"]
    assert list(path.parent.glob("outbox.db.damaged-*Z"))


def test_a_block_that_cannot_be_read_is_dropped_and_the_rest_goes_on(
    path: Path, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    for numbers in ((1, 2), (3, 4), (5, 6)):
        put(outbox, ready(*numbers))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE columns SET columns = zeroblob(40) WHERE first = 3")
    assert read(outbox, "cloud") == [b"a v=1i 1", b"a v=2i 2"]
    outbox.acknowledge("cloud", 1, 2)
    assert read(outbox, "cloud") == [b"a v=5i 5", b"a v=6i 6"]
    ledger = outbox.ledger()
    assert ledger.lines.dropped == Counter(damaged=2)
    assert ledger.balanced
    assert "block 3-4 cannot be read" in caplog.text
    outbox.commit(NOTHING)
    assert [int(first) for first in outbox._store.index.blocks["first"]] == [1, 5]


@pytest.mark.parametrize("table", ["journal", "checkpoint"])
def test_a_journal_or_checkpoint_lost_with_its_page_costs_one_file_and_no_start(
    path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        name = outbox.uuid
        put(outbox, ready(1, 2))
        outbox.commit(Commit(SampleLedger(5, 5), checkpoint=seeded(1).randbytes(5000)))
        for i in range(5):
            outbox.commit(Commit(SampleLedger(5, 5), seeded(i).randbytes(3000)))
    with closing(sqlite3.connect(path)) as other:
        where = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (root,) = other.execute(where, (table,)).fetchone()
    ruin(path, (root - 1) * 1024, root * 1024)
    with closing(open_outbox(path, ["cloud"])) as outbox:
        whole = table == "journal"
        assert len(outbox.checkpoint()) == 5000 * whole
        assert outbox.journal() == [b""] * whole  # so that nobody goes on from half of it
        assert outbox.checkpoint_wanted
        assert (outbox.uuid, outbox.ledger().samples) == (name, SampleLedger(5, 5))
        assert outbox.ledger().lines.dropped == Counter(damaged=2)
        assert outbox.ledger().balanced
    (aside,) = path.parent.glob("outbox.db.damaged-*Z")
    assert str(aside) in caplog.text
    with closing(open_outbox(path, ["cloud"])) as outbox:
        assert (outbox.checkpoint(), outbox.journal()) == (b"", [])


def test_the_journal_ends_with_nothing_in_place_of_a_damaged_entry(
    path: Path, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.commit(Commit(SampleLedger(), checkpoint=b"state"))
    for blob in (b"1", b"2", b"3"):
        outbox.commit(Commit(SampleLedger(), blob))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE journal SET blob = x'ff' WHERE blob = ?", (b"2",))
    assert outbox.journal() == [b"1", b""]
    assert "journal is damaged after 1 entries" in caplog.text
    with pytest.raises(JournalError):  # and who plays it, knows
        unpack(b"")
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE checkpoint SET blob = x'ff'")
    assert (outbox.checkpoint(), outbox.journal()) == (b"", [b""])


def test_an_outbox_of_a_newer_version_is_left_alone_and_of_the_first_set_aside(path: Path) -> None:
    open_outbox(path, ["cloud"]).close()
    for version, meant in ((99, "99"), (1, "")):
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(version),))
        if meant:
            for _ in range(2):  # and the lock is let go of
                with pytest.raises(OutboxError, match="schema version 99"):
                    open_outbox(path, ["cloud"])
            assert not list(path.parent.glob("*damaged*"))
    open_outbox(path, ["cloud"], age_max_ns=10**9).close()
    assert list(path.parent.glob("outbox.db.damaged-*Z"))
