"""Rates: events a second, as means that forget: what comes over minutes, what goes over seconds.

What comes is steady and decides how long there is room; what goes begins and ends with the far
side. Each event weighs `exp(-age / tau)`; dividing by what a steady stream would weigh makes the
mean right from the first minute on. Kept as three numbers, so it can stand in the outbox's state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

TAUS_S: Final = (300.0, 30.0, 300.0)
"""Of lines in, lines out and bytes in."""
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
        passed_s = max(now_ns - self.at_ns, 0) / 1e9
        new = lines_in, lines_out, bytes_in
        self.weights = tuple(
            weight * math.exp(-passed_s / tau_s) + n
            for weight, n, tau_s in zip(self.weights, new, TAUS_S, strict=True)
        )
        self.since_ns, self.at_ns = min(self.since_ns, now_ns), now_ns

    def per_s(self, now_ns: int) -> tuple[float, float, float]:
        """Lines in, lines out and bytes in a second, as seen from this moment."""
        passed_s = max(now_ns - self.at_ns, 0) / 1e9
        age_s = max((now_ns - self.since_ns) / 1e9, YOUNG_S)
        lines_in, lines_out, bytes_in = (
            weight * math.exp(-passed_s / tau_s) / (tau_s * -math.expm1(-age_s / tau_s))
            for weight, tau_s in zip(self.weights, TAUS_S, strict=True)
        )
        return lines_in, lines_out, bytes_in
