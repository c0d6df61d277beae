"""No room: by the outbox's own limit, by SQLite's, and on disks that are really full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agent.errors import OutboxError
from agent.ledger import SampleLedger
from agent.lines import SAMPLE, WINDOW, Lines
from agent.outbox import Commit, LineClass
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.outbox.sqlite.room import RESERVE_RETRY_S
from tests.conformance.outbox import SIGNALS, drain, ready

ROOT = Path(__file__).parents[4]
MIB = 1 << 20


def noise(seed: int, windows: int = 0, samples: int = 0, keep: int = 0) -> Lines:
    """Lines that do not compress."""
    rng = np.random.default_rng(seed)
    rows, raw = np.zeros(windows, WINDOW), np.zeros(samples, SAMPLE)
    rows["every_ns"], raw["text"] = 10**9, -1
    for name in ("mean", "std", "min", "max", "first", "last"):
        rows[name] = rng.normal(size=windows)
    rows["start_ns"], raw["time_ns"] = np.arange(windows), np.arange(samples)
    raw["value"] = rng.normal(size=samples)
    texts = tuple(b'a v="%s" 1' % rng.bytes(400).hex().encode() for _ in range(keep))
    return Lines(rows, raw, (), texts)


def classes(outbox: SqliteOutbox) -> dict[LineClass, int]:
    """Stored lines of each class."""
    blocks = outbox._store.index.blocks
    lines = blocks["last"] - blocks["first"] + 1
    return {c: int(lines[blocks["line_class"] == c].sum()) for c in LineClass}


def test_at_its_limit_raw_samples_go_first_then_windows_and_ready_lines_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_outbox(tmp_path / "o.db", ["cloud"], bytes_max=2 * MIB)) as outbox:
        seen = []
        for i in range(300):
            outbox.stage(noise(i, windows=100, samples=200, keep=4), SIGNALS, early=False)
            outbox.commit(Commit(SampleLedger(i, i)))
            assert outbox.usage().bytes <= 2 * MIB
            assert outbox.ledger().balanced
            seen.append(classes(outbox))
        raw, window, keep = ([held[c] for held in seen] for c in LineClass)
        assert keep[-1] == 1200
        assert 0 < window[-1] < max(window)
        first_raw = next(i for i in range(1, 300) if raw[i] < raw[i - 1])
        first_window = next(i for i in range(1, 300) if window[i] < window[i - 1])
        assert first_raw < first_window
        assert max(raw[first_window:]) < max(raw) / 5
        dropped = outbox.ledger().lines.dropped
        assert set(dropped) == {"quota"}
        assert "dropped by quota" in caplog.text
        sent, void = drain(outbox, "cloud", 5000)
        assert sent.total + dropped["quota"] == outbox.ledger().lines.made
        assert void.total == dropped["quota"]


def test_what_is_on_its_way_is_not_dropped_for_room(tmp_path: Path) -> None:
    with closing(open_outbox(tmp_path / "o.db", ["cloud"], bytes_max=MIB)) as outbox:
        outbox.stage(noise(0, samples=1000), SIGNALS, early=False)
        outbox.commit(Commit(SampleLedger()))
        packet = outbox.packet("cloud", 1000, live=False)
        assert packet is not None
        for i in range(1, 40):
            outbox.stage(noise(i, samples=5000), early=False)
            outbox.commit(Commit(SampleLedger()))
        before = outbox.ledger().lines
        outbox.acknowledge("cloud", packet.first, packet.last)
        after = outbox.ledger().lines
        assert before.dropped["quota"] > 0
        assert after.acknowledged - before.acknowledged == 1000


def test_a_full_disk_costs_the_reserve_and_old_lines_and_collecting_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit stands for the disk: the file cannot grow over 1 MiB."""
    with closing(open_outbox(tmp_path / "o.db", ["cloud"], reserve_bytes=MIB)) as outbox:
        reserve, file = tmp_path / "o.reserve", outbox._store.file
        assert reserve.stat().st_size == MIB
        monkeypatch.setattr(
            file, "grow", lambda bytes_wanted: file.connection.execute("PRAGMA max_page_count=1024")
        )
        for i in range(100):
            outbox.stage(noise(i, samples=3000, keep=1), SIGNALS, early=False)
            outbox.commit(Commit(SampleLedger(i, i), b"journal"))
            assert outbox.ledger().balanced
        assert classes(outbox)[LineClass.KEEP] == 100
        assert outbox.ledger().lines.dropped["quota"] > 1000
        assert not reserve.exists()
        assert "the disk is full" in caplog.text
        monkeypatch.undo()
        room = outbox._store.room
        monkeypatch.setattr(room, "_tried_s", time.monotonic() - RESERVE_RETRY_S)
        outbox.commit(Commit(SampleLedger()))
        assert reserve.stat().st_size == MIB
        assert room.limit_bytes == room.bytes_max


FILLER = """
import json, resource, sys
from pathlib import Path
from agent.ledger import SampleLedger
from agent.outbox import Commit
from agent.outbox.sqlite import open_outbox
from tests.agent.outbox.sqlite.test_full import classes, noise
from tests.conformance.outbox import SIGNALS, drain
path, file_bytes_max = Path(sys.argv[1]), int(sys.argv[2])
if file_bytes_max:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
outbox = open_outbox(path, ["cloud"], reserve_bytes=1 << 20)
other = open(path.parent / "other", "wb", buffering=0)
failed = 0
for i in range(200):
    if i % 25 == 24 and not file_bytes_max:
        try:
            other.write(bytes(1 << 18))
        except OSError:
            pass
    outbox.stage(noise(i, windows=100, samples=2000, keep=1), SIGNALS, early=False)
    try:
        outbox.commit(Commit(SampleLedger(i, i), b"journal", b"state" if i % 10 == 0 else None))
    except Exception as error:
        print(i, error, getattr(error, "hint", ""), file=sys.stderr)
        failed += 1
    assert outbox.ledger().balanced
held, lines = classes(outbox), outbox.ledger().lines
outbox.close()
outbox = open_outbox(path, ["cloud"], reserve_bytes=1 << 20)
again = outbox.ledger().lines
sent, void = drain(outbox, "cloud", 5000)
ledger = outbox.ledger()
outbox.close()
print(json.dumps({
    "failed": failed, "keep": held[2], "dropped": dict(lines.dropped), "waiting": again.waiting,
    "same": lines == again, "sent": sent.total, "void": void.total, "balanced": ledger.balanced,
    "left": ledger.lines.waiting,
}))
"""


def fill(command: list[str], folder: Path, file_bytes_max: int) -> dict[str, int]:
    done = subprocess.run(
        [*command, sys.executable, "-c", FILLER, str(folder / "o.db"), str(file_bytes_max)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def expect_whole(result: dict[str, int]) -> None:
    assert result["failed"] == 0
    assert result["keep"] == 200
    assert result["dropped"]["quota"] > 100_000  # type: ignore[index]
    assert result["same"]
    assert result["sent"] == result["waiting"]
    assert result["balanced"]
    assert result["left"] == 0


def test_a_file_that_the_system_lets_grow_no_more_is_a_full_disk(tmp_path: Path) -> None:
    expect_whole(fill([], tmp_path, 3 * MIB))


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """A command prefix under which `tmp_path / "disk"` is a file system of 8 MiB."""
    (tmp_path / "disk").mkdir()
    unshare = shutil.which("unshare") or "unshare"
    mount = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    return [unshare, "-rm", "sh", "-c", mount, str(tmp_path / "disk")]


def test_a_really_full_disk_stops_nothing(tmp_path: Path, small_disk: list[str]) -> None:
    """In a file system of its own; where the system forbids that, under a limit of file size."""
    allowed = subprocess.run([*small_disk, "true"], capture_output=True, check=False)
    if allowed.returncode:
        expect_whole(fill([], tmp_path, 4 * MIB))
    else:
        expect_whole(fill(small_disk, tmp_path / "disk", 0))


def test_lines_stay_staged_while_nothing_can_be_written_and_go_with_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_outbox(tmp_path / "o.db", ["cloud"])) as outbox:

        def refuse(changes: object) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(outbox._store, "write", refuse)
        outbox.stage(ready(1, 2), SIGNALS, early=True)
        outbox.acknowledge("cloud", 1, 1)
        with pytest.raises(OutboxError, match="Input/output error"):
            outbox.commit(Commit(SampleLedger(2, 2)))
        assert outbox.dirty
        assert outbox.ledger().lines.waiting == 1
        monkeypatch.undo()
        outbox.stage(ready(3), early=True)
        outbox.commit(Commit(SampleLedger(3, 3)))
        assert not outbox.dirty
        assert drain(outbox, "cloud")[0].total == 2
