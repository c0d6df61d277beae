"""bdSeq: the number of a session, by which a host knows whose death it was told (Sparkplug 5.4).

Enters: a file. Leaves: the next number, 0 after 255, on the disk before it is used. A file that
cannot be read begins at 0 again, one that cannot be written is warned of: a host may then take a
late death of an earlier session for one of this, until the next birth.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

BDSEQ_MAX: Final = 255

_log = logging.getLogger("andon.sparkplug")


class BdSeq:
    """Gives each CONNECT its number."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = _read(file)

    def next(self) -> int:
        """The number of the next CONNECT."""
        self._last = 0 if self._last is None or self._last >= BDSEQ_MAX else self._last + 1
        try:
            _write(self._file, self._last)
        except OSError as error:
            _log.warning("%s cannot be written: %s; nothing is lost", self._file, error.strerror)
        return self._last


def _read(file: Path) -> int | None:
    """The last number, None where there is none."""
    try:
        number = int(file.read_bytes()[:8])
    except (OSError, ValueError):
        return None
    return number if 0 <= number <= BDSEQ_MAX else None


def _write(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    with new.open("wb") as out:
        out.write(b"%d\n" % number)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
