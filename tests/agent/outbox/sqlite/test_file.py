"""The file beside other processes: who may open it and look, what a kill leaves, what it costs."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.lines import WINDOW, Lines
from agent.outbox import PIECE_LINES_MAX, STAGED_LINES_MAX, Commit
from agent.outbox.reader import open_readonly
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.outbox.sqlite.blocks import pack
from agent.outbox.sqlite.file import DISK_BLOCK_BYTES, LOG_BYTES
from tests.agent.outbox.sqlite import seeded
from tests.conformance.outbox import (
    NOTHING,
    SIGNALS,
    Clock,
    S,
    dead,
    drain,
    mixed,
    put,
    raw,
    read,
    ready,
    take,
    windows,
)

OPENS_IN_S = 1.0
LOOKED_100_TIMES_S = 1.0
"""Going through all 20,000 pieces would take several times as long."""
COMMITTER = """
import sys
from agent.outbox.sqlite import open_outbox
from tests.conformance.outbox import mixed, put, take
outbox = open_outbox(sys.argv[1], ["cloud"])
while True:
    put(outbox, mixed())
    packet = outbox.packet("cloud", 4, live=False)
    take(outbox, "cloud", packet)
    print(outbox.ledger().lines.made, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        yield outbox


def test_a_second_agent_is_refused_and_told_who_holds_the_file(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutboxError, match=f"in use by another agent .process {holder.pid}"):
            open_outbox(path, ["cloud"])
        holder.kill()
    open_outbox(path, ["cloud"]).close()


def test_commands_read_beside_a_running_agent(path: Path, outbox: SqliteOutbox) -> None:
    put(outbox, ready(1, 2))
    with open_readonly(path) as reader:
        assert reader.uuid == outbox.uuid
        assert reader.ledger() == outbox.ledger()
        put(outbox, ready(3))
        outbox.acknowledge("cloud", 1, 1, [dead(1)])
        outbox.commit(NOTHING)
        assert reader.ledger() == outbox.ledger()
        assert reader.dead_letters() == outbox.dead_letters() == [("cloud", dead(1))]
        ours, theirs = outbox.usage(), reader.usage()
        assert (theirs.bytes, theirs.lines_waiting) == (ours.bytes, ours.lines_waiting)
        assert theirs.lines_in_per_s == pytest.approx(ours.lines_in_per_s, rel=0.1)


def test_a_reader_tells_what_each_sink_is_done_with_and_what_its_far_side_knows(
    path: Path,
) -> None:
    with closing(open_outbox(path, ["cloud", "plant"], staged_lines_max=100)) as outbox:
        put(outbox, ready(1, 2, 3, 4))
        outbox.acknowledge("cloud", 1, 3, [dead(2)])
        with open_readonly(path) as reader:
            assert reader.done("cloud") == reader.known("cloud") == []  # not committed yet
            outbox.commit(NOTHING)
            outbox.stage(ready(5), early=True)  # not yet either, nor the numbers behind it
            assert (reader.done("cloud"), reader.done("plant")) == ([(1, 3)], [])
            assert (reader.known("cloud"), reader.known("plant")) == ([(1, 1), (3, 3)], [])
    with closing(open_outbox(path, ["cloud", "plant"])) as outbox, open_readonly(path) as reader:
        put(outbox, ready(6))
        assert reader.done("cloud") == [(1, 3), (5, 104)]
        assert reader.done("plant") == [(5, 104)]
        outbox.acknowledge("cloud", 4, 4, void=[(2, 2), (5, 104)])
        outbox.commit(NOTHING)
        assert reader.known("cloud") == [(1, 104)]
        with pytest.raises(KeyError):
            reader.done("nobody")


def test_reading_an_outbox_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(OutboxError, match="there is no outbox"):
        open_readonly(path)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="nowhere") as caught:
        open_outbox(tmp_path / "nowhere" / "outbox.db", ["cloud"])
    assert "check that the folder exists" in caught.value.hint


def test_killed_at_any_moment_it_opens_with_the_last_commit(path: Path) -> None:
    rng, made = seeded(3), 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", COMMITTER, str(path)], stdout=subprocess.PIPE, text=True
        ) as agent:
            assert agent.stdout is not None
            for _ in range(rng.randrange(1, 40)):
                said = int(agent.stdout.readline())
            agent.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in agent.stdout if line.endswith("\n"))])
        assert said > made
        with open_readonly(path) as reader:
            assert reader.ledger().balanced
        with closing(open_outbox(path, ["cloud"])) as outbox:
            ledger = outbox.ledger()
            made = ledger.lines.made
            assert said <= made <= said + 5
            assert made % 5 == 0
            assert ledger.balanced
            sent, void = drain(outbox, "cloud")
            assert sent.total == ledger.lines.waiting
            assert void.total == STAGED_LINES_MAX


def test_a_file_of_200_mb_opens_in_under_a_second(path: Path) -> None:
    """Also when all of it is too old: that goes bit by bit, with the commits to come."""
    with closing(open_outbox(path, ["cloud"])) as outbox:
        put(outbox, windows(*range(10_000)))
    blob, made_ns = seeded(1).randbytes(20_000), time.time_ns()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM block")
        other.execute("DELETE FROM columns")
        rows = [(i, i, 1, made_ns, 0, S, len(blob), 0) for i in range(1, 10_001)]
        other.executemany("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        other.executemany("INSERT INTO columns VALUES (?, ?)", [(row[0], blob) for row in rows])
    assert path.stat().st_size > 200_000_000
    for age_s in (0, 10**9):
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE block SET made_ns = ?", (made_ns - age_s * S,))
        began_s = time.monotonic()
        with closing(open_outbox(path, ["cloud"])) as outbox:
            assert time.monotonic() - began_s < OPENS_IN_S
            assert outbox.ledger().balanced
            assert outbox.ledger().lines.made == 10_000
            assert bool(outbox.ledger().lines.dropped) == bool(age_s)


def test_lines_of_one_commit_larger_than_a_block_come_out_whole(outbox: SqliteOutbox) -> None:
    rows = np.zeros(2 * PIECE_LINES_MAX + 5, WINDOW)
    rows["start_ns"], rows["every_ns"] = np.arange(len(rows)), 10**9
    put(outbox, Lines(rows))
    starts: list[int] = []
    while lines := read(outbox, "cloud", 5000):
        outbox.acknowledge("cloud", len(starts) + 1, len(starts) + len(lines))
        starts += [int(line.rsplit(b" ", 1)[1]) for line in lines]
    assert starts == list(range(len(rows)))
    outbox.commit(NOTHING)
    assert outbox.usage().bytes < 100_000  # its blocks are gone


def test_lines_staged_while_sinks_read_reach_each_sink_once(path: Path) -> None:
    commits, sinks = 100, ("a", "b")
    taken: dict[str, list[bytes]] = {"a": [], "b": []}
    with closing(open_outbox(path, sinks)) as outbox:
        deadline = time.monotonic() + 30

        def send(sink: str) -> None:
            live = sink == "a"
            while len(taken[sink]) < commits * 3 and time.monotonic() < deadline:
                live = not live
                packet = outbox.packet(sink, 7, live=live)
                if packet:
                    lines = packet.body.split(b"\n")[:-1]
                    take(outbox, sink, packet)
                    taken[sink] += lines

        threads = [threading.Thread(target=send, args=(sink,)) for sink in sinks]
        for thread in threads:
            thread.start()
        for i in range(commits):
            outbox.stage(ready(3 * i, 3 * i + 1), early=True)
            commit = threading.Thread(target=outbox.commit, args=(NOTHING,))
            commit.start()
            outbox.stage(ready(3 * i + 2), early=i % 2 == 0)
            commit.join()
        outbox.commit(NOTHING)
        for thread in threads:
            thread.join()
        expected = sorted(b"a v=%di %d" % (i, i) for i in range(3 * commits))
        assert {sink: sorted(lines) for sink, lines in taken.items()} == dict.fromkeys(
            sinks, expected
        )
        ledger = outbox.ledger()
        assert ledger.lines.acknowledged == 3 * commits
        assert ledger.balanced


def test_a_crash_while_lines_are_staged_and_sent_leaves_a_ledger_that_balances(
    tmp_path: Path,
) -> None:
    """The state of a commit knows nothing of lines that were staged while it ran."""
    path = tmp_path / "outbox.db"
    with closing(open_outbox(path, ["cloud"])) as outbox:
        for i in range(60):
            outbox.stage(ready(i), early=True)
            commit = threading.Thread(target=outbox.commit, args=(NOTHING,))
            commit.start()
            outbox.stage(ready(-i), early=True)
            if packet := outbox.packet("cloud", 5, live=True):
                outbox.acknowledge("cloud", packet.first, packet.last)
            commit.join()
            with open_readonly(path) as reader:
                assert reader.ledger().balanced
                assert reader.ledger().lines.waiting >= 0


def test_bytes_written_are_counted_with_the_log_and_the_file(path: Path) -> None:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        before = outbox.written_bytes
        put(outbox, mixed())
        small = outbox.written_bytes - before
        assert DISK_BLOCK_BYTES <= small <= 5 * DISK_BLOCK_BYTES
        blob, before = seeded(1).randbytes(LOG_BYTES), outbox.written_bytes
        outbox.commit(Commit(SampleLedger(), b"", blob))
        written = outbox.written_bytes - before
        assert 2 * LOG_BYTES < written < 2.2 * LOG_BYTES  # once into the log, once into the file
        assert path.stat().st_size > LOG_BYTES


def test_rates_and_room_are_told_with_and_without_a_service(path: Path) -> None:
    clock = Clock()
    clock.now_ns = time.time_ns() - 600 * S
    with closing(open_outbox(path, ["cloud"], now_ns=clock)) as outbox:
        for i in range(600):
            clock.now_ns += S
            put(outbox, ready(2 * i, 2 * i + 1))
            if i >= 300:
                outbox.acknowledge("cloud", 3 * (i - 300) + 1, 3 * (i - 300) + 3)
        usage = outbox.usage()
        assert usage.lines_in_per_s == pytest.approx(2, rel=0.02)
        assert usage.lines_out_per_s == pytest.approx(3, rel=0.03)
        assert usage.drain_s == pytest.approx(300 / (usage.lines_out_per_s - 2), rel=0.2)
        assert usage.hours_left is not None
        assert usage.hours_left > 1000
    with open_readonly(path) as reader:
        assert reader.usage().lines_in_per_s == pytest.approx(2, rel=0.05)


def test_what_the_log_owes_the_file_is_counted_when_it_is_put_there(outbox: SqliteOutbox) -> None:
    put(outbox, windows(*range(200)))
    written = outbox.written_bytes
    outbox.write_back()
    assert outbox.written_bytes > written
    written = outbox.written_bytes
    outbox.write_back()
    assert outbox.written_bytes == written


def test_a_commit_that_is_tried_again_packs_only_what_is_new(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = Mock(wraps=pack)
    monkeypatch.setattr("agent.outbox.sqlite.commit.pack", packed)
    outbox.stage(windows(1, 2, 3), SIGNALS, early=False)
    with monkeypatch.context() as broken:
        broken.setattr(outbox._store, "write", Mock(side_effect=OSError(5, "input/output error")))
        for _ in range(2):
            with pytest.raises(OutboxError, match="input/output error"):
                outbox.commit(NOTHING)
    put(outbox, ready(1))
    assert [len(call.args[0]) for call in packed.call_args_list] == [3, 1]
    assert outbox.staged_lines == 0
    assert [len(list(ids)) for ids in drain(outbox, "cloud")] == [1, 0]


def test_many_small_pieces_cost_a_turn_of_the_pipeline_nothing(outbox: SqliteOutbox) -> None:
    outbox.stage(raw(0), SIGNALS, early=True)
    for number in range(1, 20_000):
        outbox.stage(raw(number), early=True)
    began_s = time.process_time()
    for number in range(100):
        outbox.stage(raw(number), early=True)
        assert outbox.staged_lines == 20_001 + number
    assert time.process_time() - began_s < LOOKED_100_TIMES_S
