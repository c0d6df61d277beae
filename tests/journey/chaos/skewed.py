"""The agent under a clock that the rig can step: `python -m tests.journey.chaos.skewed run ...`.

The offset is one int64 of nanoseconds in the file that ANDON_CHAOS_CLOCK names, mapped into memory
so that asking the time costs no system call. The agent asks `time`; monotonic time stays true.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import Final

OFFSET: Final = struct.Struct("<q")
VARIABLE: Final = "ANDON_CHAOS_CLOCK"
_PR_SET_PDEATHSIG: Final = 1


def skew(path: Path) -> None:
    """From now on `time.time_ns` and `time.time` are off by what the file says."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        return true_ns() + int(OFFSET.unpack_from(offset)[0])

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    skew(Path(os.environ[VARIABLE]))
    from agent.cli import app

    app()


if __name__ == "__main__":
    main()
