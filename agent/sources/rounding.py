"""Integers that a float64 cannot hold: said once by the source that brings them."""

from __future__ import annotations

import logging


class Rounding:
    """The warning of one source."""

    def __init__(self, source: str, log: logging.Logger) -> None:
        self._source = source
        self._log = log
        self._said = False

    def say(self, inexact: int) -> None:
        """So many have come so far."""
        if inexact and not self._said:
            self._said = True
            self._log.warning(
                "%s: integers beyond 2^53 come, %s so far; of such numbers the last digits are "
                'rounded. Read them as kind = "text" where each digit counts.',
                self._source, f"{inexact:,}",
            )  # fmt: skip
