"""Rates: events a second, as a mean over about five minutes that forgets slowly.

Each event weighs `exp(-age / TAU_S)`; dividing by what a steady stream would weigh makes the mean
right from the first minute on. Kept as three numbers, so it can stand in the outbox's state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

TAU_S: Final = 300.0
YOUNG_S: Final = 10.0
"""A rate is never taken over less, or the first second after a start would look like a flood."""


@dataclass(slots=True)
class Rates:
    """Lines in, lines out and bytes in.

    weights : the weighted sums, as they stood at `at_ns`
    since_ns : when counting began
    """

    since_ns: int
    at_ns: int
    weights: Sequence[float] = (0.0, 0.0, 0.0)

    def document(self) -> list[Any]:
        """As plain JSON: what the constructor takes."""
        return [self.since_ns, self.at_ns, list(self.weights)]

    def count(self, now_ns: int, lines_in: int, lines_out: int, bytes_in: float) -> None:
        """Take in what has happened since the last call. A clock set back takes no time."""
        fade = math.exp(-max(now_ns - self.at_ns, 0) / 1e9 / TAU_S)
        new = lines_in, lines_out, bytes_in
        self.weights = tuple(w * fade + n for w, n in zip(self.weights, new, strict=True))
        self.since_ns, self.at_ns = min(self.since_ns, now_ns), now_ns

    def per_s(self, now_ns: int) -> tuple[float, float, float]:
        """Lines in, lines out and bytes in a second, as seen from this moment."""
        fade = math.exp(-max(now_ns - self.at_ns, 0) / 1e9 / TAU_S)
        age_s = max((now_ns - self.since_ns) / 1e9, YOUNG_S)
        scale = fade / (TAU_S * -math.expm1(-age_s / TAU_S))
        lines_in, lines_out, bytes_in = self.weights
        return lines_in * scale, lines_out * scale, bytes_in * scale
