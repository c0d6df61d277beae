"""Watches the configuration's files: names, times and sizes, looked at now and then.

Looking costs a few system calls and works on every filesystem. A change is told once, and only when
the files have stood still from one look to the next, since editors and package managers write in
several steps.
"""

from __future__ import annotations

from pathlib import Path

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Of each file its name, its time in ns, its size in bytes and its number on the disk."""


class Files:
    """The files of one configuration, `path` and `conf.d/*.toml` beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._seen = fingerprint(path)

    def have_changed(self) -> bool:
        """Whether they are others than those read last, and stand still."""
        now = fingerprint(self.path)
        still, self._seen = now == self._seen, now
        return still and now != self._read

    def note_read(self) -> None:
        """They are read next: what changes from here on is a change."""
        self._read = fingerprint(self.path)


def fingerprint(path: Path) -> Fingerprint:
    """What tells a changed file; files that are not there or cannot be seen are left out."""
    found = []
    try:
        beside = sorted(path.parent.joinpath("conf.d").glob("*.toml"))
    except OSError:
        beside = []
    for file in (path, *beside):
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
