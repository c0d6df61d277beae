"""The outbox on disk: what every outbox keeps, and what only a file must survive."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agent.errors import OutboxError
from agent.ledger import Ledger, SampleLedger
from agent.lines import WINDOW, Lines
from agent.outbox import Commit
from agent.outbox.blocks import BLOCK_LINES_MAX
from agent.outbox.memory import MemoryOutbox, Store
from agent.outbox.reader import open_readonly
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from tests.conformance.outbox import SIGNALS, Opening, OutboxConformance, dead, mixed, read, ready

COMMITTER = """
import sys
from agent.outbox.sqlite import open_outbox
from tests.conformance.outbox import mixed
outbox = open_outbox(sys.argv[1], ["cloud"])
while True:
    outbox.commit(mixed())
    outbox.acknowledge("cloud", max(outbox.ledger().lines.made - 7, 0))
    print(outbox.ledger().lines.made, flush=True)
"""


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance that repeats


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        yield outbox


class TestSqliteOutbox(OutboxConformance):
    @pytest.fixture
    def opening(self, path: Path) -> Iterator[Opening]:
        opened: list[SqliteOutbox] = []

        def opening(sinks: Sequence[str]) -> SqliteOutbox:
            for before in opened:
                before.close()
            opened.append(open_outbox(path, sinks))
            return opened[-1]

        yield opening
        opened[-1].close()


@pytest.mark.parametrize("seed", range(5))
def test_it_does_what_the_outbox_in_memory_does(path: Path, seed: int) -> None:
    rng, store, sinks = seeded(seed), Store(), ["a", "b"]
    twin, outbox = MemoryOutbox(sinks, store), open_outbox(path, sinks)
    for step in range(60):
        sink = rng.choice(sinks)
        made = twin.ledger().lines.made
        match rng.randrange(6):
            case 0 | 1:
                commit = rng.choice([mixed(), ready(*range(step, step + rng.randrange(4)))])
                for each in (twin, outbox):
                    each.commit(commit)
            case 2 | 3 | 4 if made:
                last = min(twin.ledger().lines.made, store.positions[sink] + rng.randrange(6))
                first = store.positions[sink] + 1
                rejected = [dead(i) for i in range(first, last + 1) if rng.random() < 0.3]
                for each in (twin, outbox):
                    each.acknowledge(sink, last, rejected)
            case 5 if step % 3 == 0:
                sinks = rng.choice([["a", "b"], ["b", "c"], ["a"], ["a", "c"]])
                outbox.close()
                twin, outbox = MemoryOutbox(sinks, store), open_outbox(path, sinks)
        assert outbox.ledger() == twin.ledger()
        assert outbox.ledger().balanced
        assert outbox.dead_letters() == twin.dead_letters()
        lines_max = rng.randrange(1, 12)
        for name in sinks:
            assert read(outbox, name, lines_max) == read(twin, name, lines_max)
    outbox.close()


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
    outbox.commit(ready(1, 2))
    with open_readonly(path) as reader:
        assert reader.uuid == outbox.uuid
        assert reader.ledger() == outbox.ledger()
        outbox.commit(ready(3))
        outbox.acknowledge("cloud", 1, [dead(1)])
        assert reader.ledger() == outbox.ledger()
        assert reader.dead_letters() == [("cloud", dead(1))]
        assert reader.usage().lines_waiting == 2


def test_reading_an_outbox_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(OutboxError, match="there is no outbox"):
        open_readonly(path)
    assert not path.exists()


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
            assert len(read(outbox, "cloud")) == ledger.lines.waiting <= 12


@pytest.mark.parametrize("harm", ["garbage", "truncated", "overwritten"])
def test_a_damaged_file_is_set_aside_and_named(
    path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_outbox(path, ["cloud"])) as outbox:
        name = outbox.uuid
        outbox.commit(mixed())
        outbox.commit(Commit(Lines(), SampleLedger(), checkpoint=seeded(1).randbytes(100_000)))
    content = bytearray(path.read_bytes())
    if harm == "garbage":
        content[:] = b"not a database" * 1000
    elif harm == "truncated":
        del content[len(content) // 2 :]
    else:
        content[4096:16384] = b"\xff" * 12288
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR), closing(open_outbox(path, ["cloud"])) as outbox:
        assert outbox.uuid != name
        assert outbox.ledger().lines.made == 0
        outbox.commit(ready(1))
    (aside,) = path.parent.glob("outbox.db.damaged-*")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text


def test_a_block_that_cannot_be_read_is_dead_letters_and_the_rest_goes_on(
    path: Path, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    for numbers in ((1, 2), (3, 4), (5, 6)):
        outbox.commit(ready(*numbers))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE block SET columns = zeroblob(40) WHERE first = 3")
    assert read(outbox, "cloud") == [b"a v=1i 1", b"a v=2i 2"]
    outbox.acknowledge("cloud", 2)
    assert read(outbox, "cloud") == [b"a v=5i 5", b"a v=6i 6"]
    ledger = outbox.ledger()
    assert ledger.lines.dead_letter == {"damaged": 2}
    assert ledger.balanced
    assert "block 3-4 cannot be read" in caplog.text


def test_a_full_disk_refuses_the_commit_whole_and_takes_it_once_there_is_room(path: Path) -> None:
    with closing(open_outbox(path, ["cloud"], bytes_max=400_000)) as outbox:
        big = noise(b"new")
        before, refused = fill(outbox, big)
        assert "full" in str(refused)
        assert "bytes_max" in refused.hint
        assert outbox.ledger() == before
        made = before.lines.made
        outbox.acknowledge("cloud", made, [dead(made)])
        outbox.commit(big)
        assert outbox.ledger().lines.made == made + 50
        assert outbox.ledger().balanced


def test_a_full_outbox_is_emptied_also_of_lines_that_every_sink_rejects(path: Path) -> None:
    sinks = ["cloud", "mirror"]
    with closing(open_outbox(path, sinks, bytes_max=400_000)) as outbox:
        before, _ = fill(outbox, noise())
        made = before.lines.made
        for sink in sinks:
            outbox.acknowledge(sink, made, [dead(i) for i in range(1, made + 1)])
        assert outbox.ledger().lines.dead_letter.total() == made
        outbox.commit(noise())


def noise(checkpoint: bytes | None = None) -> Commit:
    """Lines that do not compress."""
    rng = seeded(5)
    lines = tuple(b'a v="%s" 1' % rng.randbytes(400).hex().encode() for _ in range(50))
    return Commit(Lines(ready=lines), SampleLedger(received=7, derived=7), checkpoint=checkpoint)


def fill(outbox: SqliteOutbox, commit: Commit) -> tuple[Ledger, OutboxError]:
    """Commit until it is refused: the ledger before that, and the refusal."""
    while True:
        before = outbox.ledger()
        assert before.lines.made < 10_000
        try:
            outbox.commit(commit)
        except OutboxError as error:
            return before, error


def test_dead_letters_are_bounded_and_their_count_goes_on(path: Path) -> None:
    with closing(open_outbox(path, ["cloud"], dead_letters_max=3)) as outbox:
        outbox.commit(ready(*range(10)))
        outbox.acknowledge("cloud", 4, [dead(i) for i in range(1, 5)])
        outbox.acknowledge("cloud", 6, [dead(i) for i in range(5, 7)])
        assert [letter.line_id for _, letter in outbox.dead_letters()] == [4, 5, 6]
        assert outbox.ledger().lines.dead_letter.total() == 6


def test_an_outbox_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_outbox(path, ["cloud"]).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    for _ in range(2):  # and the lock is let go of
        with pytest.raises(OutboxError, match="schema version 99"):
            open_outbox(path, ["cloud"])
    assert not list(path.parent.glob("*damaged*"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="nowhere") as caught:
        open_outbox(tmp_path / "nowhere" / "outbox.db", ["cloud"])
    assert "check that the folder exists" in caught.value.hint


def test_a_commit_larger_than_a_block_comes_out_whole(outbox: SqliteOutbox) -> None:
    windows = np.zeros(2 * BLOCK_LINES_MAX + 5, WINDOW)
    windows["start_ns"], windows["every_ns"] = np.arange(len(windows)), 10**9
    outbox.commit(Commit(Lines(windows), SampleLedger(), SIGNALS))
    starts, sent = [], 0
    while lines := read(outbox, "cloud", 5000):
        starts += [int(line.rsplit(b" ", 1)[1]) for line in lines]
        sent += len(lines)
        outbox.acknowledge("cloud", sent)
    assert starts == list(range(len(windows)))
    assert outbox.usage().bytes < 100_000  # its blocks are gone


def test_lines_committed_while_sinks_read_reach_each_sink_once_in_order(path: Path) -> None:
    commits, taken = 150, {"a": [], "b": []}  # type: ignore[var-annotated]
    with closing(open_outbox(path, ["a", "b"])) as outbox:
        deadline = time.monotonic() + 20

        def drain(sink: str) -> None:
            while len(taken[sink]) < commits * 2 and time.monotonic() < deadline:
                if lines := read(outbox, sink, 7):
                    taken[sink] += lines
                    outbox.acknowledge(sink, len(taken[sink]))

        sinks = [threading.Thread(target=drain, args=(sink,)) for sink in taken]
        for thread in sinks:
            thread.start()
        for i in range(commits):
            outbox.commit(ready(2 * i, 2 * i + 1))
        for thread in sinks:
            thread.join()
        expected = [b"a v=%di %d" % (i, i) for i in range(2 * commits)]
        assert taken == {"a": expected, "b": expected}
        assert outbox.ledger().lines.acknowledged == 2 * commits
