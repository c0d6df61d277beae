"""Resident memory: what a service needs only while it starts is given back to the system.

A gateway has 1 GB. The compiler behind the kernels (libllvmlite, 70 MB) is read from its file when
kernels are made or loaded, and not touched after that; so it is, in part, with other libraries.
Their pages are dropped; what is needed after all, such as the compiler for types that no kernel has
met, is read again. Threads share two heaps, or each would keep its own peak. Linux with glibc only;
elsewhere nothing is done. Nothing here fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger("andon.service")

MADV_DONTNEED: Final = 4
M_ARENA_MAX: Final = -8
"""madvise(2), mallopt(3)."""
HEAPS_MAX: Final = 2
LIBRARY: Final = ".so"
MAPPINGS: Final = Path("/proc/self/smaps")
"""What is mapped to memory and what of it is there; proc(5)."""

_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)$")
_PRIVATE_PAGES: Final = re.compile(r"^(?:Anonymous|Swap):\s+0 kB$")


def share_heaps() -> None:
    """Before threads are started: they share a few heaps."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS_MAX)


def release_start() -> None:
    """After the kernels are there: drop libraries' pages, and what the start left behind."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for start, stop in _unchanged(LIBRARY):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), MADV_DONTNEED)
        libc.malloc_trim(0)


def _unchanged(name: str) -> Iterator[tuple[int, int]]:
    """Mappings of files of such a name that cannot be written and hold no page of our own.

    Dropping a page that the loader has changed (relocations) would lose the change.
    """
    found, clean = None, 0
    for line in MAPPINGS.read_text(errors="replace").splitlines():
        mapping = _MAPPING.match(line)
        if mapping is not None:
            usable = name in mapping[4] and "w" not in mapping[3]
            found, clean = (mapping if usable else None), 0
        elif found is not None and _PRIVATE_PAGES.match(line):
            clean += 1
            if clean == 2:
                yield int(found[1], 16), int(found[2], 16)
