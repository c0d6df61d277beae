"""The power fails at any moment: whatever was committed is there, whole, and nothing else.

A disk keeps what was synced. Of what was written since it keeps any part, in any order: the log is
cut at every byte of its last commit, and any of its new sectors may be missing; while the log is
put into the file, any of the file's new sectors may be missing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import Commit
from agent.outbox.reader import open_readonly
from agent.outbox.sql import connect
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.outbox.sqlite.blocks import unpack
from tests.agent.outbox.sqlite import seeded
from tests.conformance.outbox import SIGNALS, drain, raw, read, ready, take, windows

SECTOR_BYTES = 512
LOOKED_AT_CLOSELY = 64
"""At each byte it is seen which commit was the last, at every so many that all of it is there."""

Held = tuple[object, ...]


@dataclass(frozen=True)
class Disk:
    """The two files at one moment."""

    body: bytes
    log: bytes

    @classmethod
    def of(cls, path: Path) -> Disk:
        return cls(path.read_bytes(), path.with_name(path.name + "-wal").read_bytes())

    def put(self, path: Path) -> Path:
        path.write_bytes(self.body)
        path.with_name(path.name + "-wal").write_bytes(self.log)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        return path


def held(path: Path) -> Held:
    """Everything that a commit made durable, read from the files."""
    with open_readonly(path) as reader, reader.reading() as read:
        rows = read.execute("SELECT first, crc, columns FROM block JOIN columns USING (first)")
        blocks = [
            (first, lines.windows.tobytes(), lines.samples.tobytes(), lines.ready)
            for first, crc, columns in rows
            for lines in [unpack(columns, crc)]
        ]
        journal = read.execute("SELECT blob FROM journal ORDER BY id").fetchall()
        checkpoint = read.execute("SELECT blob FROM checkpoint").fetchall()
    with open_readonly(path) as reader:
        ledger = reader.ledger()
    assert ledger.balanced
    return str(ledger), tuple(blocks), tuple(journal), tuple(checkpoint)


def last_commit(path: Path) -> tuple[object, ...]:
    """Which commit the file opens with: everything that each commit writes anew, and counts."""
    with closing(connect(path, readonly=True)) as read:
        (row,) = read.execute(
            "SELECT document, (SELECT count(*) FROM block), (SELECT max(id) FROM journal) "
            "FROM state"
        )
        return tuple(row)


def life(outbox: SqliteOutbox, rng: random.Random, steps: int) -> Iterator[int]:
    """A gateway's life: each step ends with a commit."""
    for step in range(steps):
        outbox.stage(rng.choice([ready(step), raw(step, step + 1)]), SIGNALS, early=True)
        outbox.stage(windows(step, step + 1), early=True)
        outbox.stage(windows(*rng.sample(range(step + 1), min(step, 2)), rev=1), early=False)
        packet = outbox.packet("cloud", 3, live=rng.random() < 0.5)
        if packet and rng.random() < 0.7:
            take(outbox, "cloud", packet)
        checkpoint = rng.choice([None, None, None, b"state %d" % step])
        outbox.commit(Commit(SampleLedger(step, step), b"journal %d" % step, checkpoint))
        yield step


def mix(old: bytes, new: bytes, rng: random.Random, share: float) -> bytes:
    """`old` with some of the sectors in which `new` differs, and the length of either."""
    length = rng.choice([len(old), len(new)])
    size = max(len(old), len(new))
    before, after = old.ljust(size, b"\0"), bytearray(new.ljust(size, b"\0"))
    for at in range(0, size, SECTOR_BYTES):
        if rng.random() >= share:
            after[at : at + SECTOR_BYTES] = before[at : at + SECTOR_BYTES]
    return bytes(after[: max(length, _last_change(before, bytes(after)))])


def _last_change(before: bytes, after: bytes) -> int:
    sectors = range(0, len(before), SECTOR_BYTES)
    changed = [
        at for at in sectors if before[at : at + SECTOR_BYTES] != after[at : at + SECTOR_BYTES]
    ]
    return changed[-1] + SECTOR_BYTES if changed else 0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    with closing(open_outbox(tmp_path / "outbox.db", ["cloud"])) as outbox:
        yield outbox


@pytest.mark.parametrize("reused", [False, True])
def test_cut_at_every_byte_of_its_last_commit_it_opens_with_the_one_before(
    tmp_path: Path, outbox: SqliteOutbox, reused: bool
) -> None:
    rng, copy = seeded(1), tmp_path / "copy.db"
    for _ in life(outbox, rng, 6):
        pass
    if reused:  # the log begins anew, and behind its end lie frames of long ago
        outbox._store.file.checkpoint()
        outbox.commit(Commit(SampleLedger(99, 99)))
    before = Disk.of(outbox.path)
    expected, last = held(before.put(copy)), last_commit(copy)
    outbox.stage(ready(1) if reused else Lines(), early=False)
    outbox.commit(Commit(SampleLedger(100, 100), b"last"))
    after = Disk.of(outbox.path)
    assert held(after.put(copy)) != expected
    before.put(copy)
    written = [i for i in range(len(after.log)) if after.log[i : i + 1] != before.log[i : i + 1]]
    for stop in range(written[0], written[-1] + 1):
        rest = before.log[stop:] if reused else b""
        copy.with_name(copy.name + "-shm").unlink(missing_ok=True)
        copy.with_name(copy.name + "-wal").write_bytes(after.log[:stop] + rest)
        if stop % LOOKED_AT_CLOSELY == 0:
            assert held(copy) == expected, stop
        else:
            assert last_commit(copy) == last, stop
    with closing(open_outbox(copy, ["cloud"])) as opened:
        assert opened.ledger().samples.received in (6 - 1, 99)
        assert len(read(opened, "cloud")) > 0


@pytest.mark.parametrize("seed", range(3))
def test_with_any_of_its_unsynced_sectors_it_opens_with_what_was_committed(
    tmp_path: Path, outbox: SqliteOutbox, seed: int
) -> None:
    rng, copy = seeded(seed), tmp_path / "copy.db"
    before, expected = Disk.of(outbox.path), held(outbox.path)
    for step in life(outbox, rng, 20):
        after, wanted = Disk.of(outbox.path), held(outbox.path)
        for _ in range(10):
            log = mix(before.log, after.log, rng, rng.choice([0.3, 0.8, 0.97]))
            assert held(Disk(before.body, log).put(copy)) in (expected, wanted)
        if step % 4 == 3:
            outbox._store.file.checkpoint()
            body = outbox.path.read_bytes()
            for _ in range(10):
                some = mix(after.body, body, rng, rng.choice([0.1, 0.5, 0.9]))
                assert held(Disk(some, after.log).put(copy)) == wanted
        before, expected = Disk.of(outbox.path), wanted


@pytest.mark.parametrize("seed", range(2))
def test_whatever_remains_it_can_be_opened_drained_and_balances(
    tmp_path: Path, outbox: SqliteOutbox, seed: int
) -> None:
    rng = seeded(seed)
    before = Disk.of(outbox.path)
    for step in life(outbox, rng, 20):
        after = Disk.of(outbox.path)
        log = mix(before.log, after.log, rng, 0.7)
        folder = tmp_path / str(step)
        folder.mkdir()
        with closing(open_outbox(Disk(before.body, log).put(folder / "o.db"), ["cloud"])) as opened:
            waiting = opened.ledger().sinks["cloud"].waiting
            opened.stage(ready(1), early=True)
            opened.commit(Commit(SampleLedger()))
            sent, _ = drain(opened, "cloud")
            assert sent.total == waiting + 1
            ledger = opened.ledger()
            assert (ledger.lines.waiting, ledger.balanced) == (0, True)
        assert not list(folder.glob("*damaged*"))
        before = after
