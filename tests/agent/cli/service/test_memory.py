"""What the service gives back once it has started, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.service import memory

ROOT = Path(__file__).parents[4]

CHILD = """
import os
from pathlib import Path

import numpy as np
from numba import njit

from agent.cli.service import memory, warm_up


def rss_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@njit
def total(values):
    return values.sum()


def check(at):
    assert total(np.arange(at, dtype=np.float64)) == at * (at - 1) / 2


memory.share_heaps()
warm_up()
check(10)
before = rss_mb()
memory.release_start()
after = rss_mb()
check(20)  # what was compiled before
warm_up()  # the service's own
assert total(np.arange(30, dtype=np.int16)) == 435  # compiled now, for types not met before
assert total(np.ones((3, 4), np.float32)) == 12
memory.release_start()  # and once more
check(40)
assert total(np.arange(30, dtype=np.uint8)) == 435
print(before, after)
"""


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1" or not memory.MAPPINGS.exists(),
    reason="there is no compiler, or the system does not say where it is",
)
def test_memory_of_the_start_is_given_back_and_kernels_still_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before_mb, after_mb = map(float, done.stdout.split())
    assert after_mb < before_mb - 30


def pages(name: str, rights: str = "r-xp", anonymous_kb: int = 0, swapped_kb: int = 0) -> str:
    return (
        f"7f00000000-7f00002000 {rights} 00001000 fe:00 42                  {name}\n"
        "Size:                  8 kB\nRss:                   8 kB\n"
        f"Anonymous:     {anonymous_kb:8} kB\nSwap:          {swapped_kb:8} kB\n"
        "VmFlags: rd ex mr mw me\n"
    )


COMPILER = "/opt/an don/lib\udcffs/libllvmlite.so"


@pytest.mark.parametrize(
    "mappings",
    [
        pages(COMPILER, "rw-p"),
        pages(COMPILER, anonymous_kb=4),
        pages(COMPILER, swapped_kb=4),
        pages("/usr/lib/locale/locale-archive"),
        pages("[heap]"),
        pages(""),
        pages(COMPILER, "rw-p") + pages("/usr/lib/locale/locale-archive"),
        "nonsense\n",
        "",
    ],
)
def test_no_page_is_dropped_that_could_not_be_read_again(
    mappings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dropped(mappings, tmp_path, monkeypatch) == []


def test_a_librarys_unchanged_pages_are_dropped_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mappings = pages(COMPILER, "rw-p") + pages(COMPILER) + pages("/usr/lib/locale/locale-archive")
    assert dropped(mappings, tmp_path, monkeypatch) == [(0x7F00000000, 0x2000, 4)]


def dropped(
    mappings: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int, int]]:
    """What would be dropped: address, bytes and the advice."""

    class Library:
        def madvise(self, start: object, size: object, advice: int) -> None:
            calls.append((start.value, size.value, advice))  # type: ignore[attr-defined]

        def malloc_trim(self, keep: int) -> None:
            trimmed.append(keep)

    calls: list[tuple[int, int, int]] = []
    trimmed: list[int] = []
    file = folder / "smaps"
    file.write_bytes(mappings.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(memory, "MAPPINGS", file)
    monkeypatch.setattr("ctypes.CDLL", lambda name: Library())
    memory.release_start()
    assert trimmed == [0]
    return calls


def test_where_the_system_tells_nothing_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAPPINGS", tmp_path / "none")
    memory.release_start()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # another C library
    memory.release_start()
    memory.share_heaps()
