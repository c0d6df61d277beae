"""What a measured client and the publisher of its messages tell each other, in a shared file.

Enters: an empty file. Leaves: the same three numbers in both processes. The publisher waits while
too much is on the way, so that a broker between them has nothing to drop. Each number has one
writer. Fails: OSError.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

_NUMBERS: Final = 3


class Counts:
    """`begun` is 1 once the client reads; `taken` and `sent` count, one process each."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            opened.truncate(8 * _NUMBERS)
            self._numbers = memoryview(mmap.mmap(opened.fileno(), 8 * _NUMBERS)).cast("q")

    @property
    def begun(self) -> int:
        """Whether there is a client to read what is sent."""
        return self._numbers[0]

    @begun.setter
    def begun(self, number: int) -> None:
        self._numbers[0] = number

    @property
    def taken(self) -> int:
        """How many the client has."""
        return self._numbers[1]

    @taken.setter
    def taken(self, number: int) -> None:
        self._numbers[1] = number

    @property
    def sent(self) -> int:
        """How many have been sent."""
        return self._numbers[2]

    @sent.setter
    def sent(self, number: int) -> None:
        self._numbers[2] = number
