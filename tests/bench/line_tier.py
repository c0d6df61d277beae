"""What the line tier costs: `python -m tests.bench.line_tier` prints one JSON object.

Noise on 1,000 signals at 10 Hz with windows of 10 s, in batches of 10,000 samples: the median of
several runs, in samples a second on one core, and the kernels' state in bytes a signal.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.kernels import events, history, level, silence, windows
from agent.lines import WINDOW

SIGNALS: Final = 1_000
ROUNDS_PER_BATCH: Final = 10
BATCHES: Final = 100
RUNS: Final = 7
SECOND_NS: Final = 1_000_000_000
TENTH_NS: Final = SECOND_NS // 10
START_NS: Final = 1_700_000_000 * SECOND_NS
WARMUP_NS: Final = 15 * SECOND_NS
OFF_NS: Final = 2 * SECOND_NS

Array = npt.NDArray[Any]
Batch = tuple[Array, Array, Array, Array]
Kernel = Callable[[Batch], None]


def batches() -> list[Batch]:
    """Signal, time, value and status, each signal in each round."""
    rng = np.random.default_rng(1)
    size = SIGNALS * ROUNDS_PER_BATCH
    signal = np.tile(np.arange(SIGNALS, dtype=np.int32), ROUNDS_PER_BATCH)
    rounds = np.repeat(np.arange(ROUNDS_PER_BATCH), SIGNALS)
    return [
        (
            signal,
            START_NS + (number * ROUNDS_PER_BATCH + rounds) * TENTH_NS,
            50.0 + rng.normal(size=size),
            np.zeros(size, np.uint32),
        )
        for number in range(BATCHES)
    ]


def window_kernel() -> Kernel:
    state = windows.new_state(SIGNALS)
    known = history.new_history(SIGNALS)
    state["every_ns"] = known.base["every_ns"] = 10 * SECOND_NS
    out, filtered = np.empty(windows.OUT_ROWS, WINDOW), np.zeros(len(windows.FILTERED), np.int64)
    return lambda batch: _forget(windows.update(state, known, *batch, out, filtered))


def level_kernel() -> Kernel:
    state = level.new_state(SIGNALS)
    state["active"] = True
    out = np.empty(events.OUT_ROWS, events.EVENT)
    return lambda batch: _forget(level.update(state, *batch, WARMUP_NS, OFF_NS, out))


def silence_kernel() -> Kernel:
    state = silence.new_state(SIGNALS)
    state["active"] = state["moves"] = True
    out = np.empty(events.OUT_ROWS, events.EVENT)
    return lambda batch: _forget(silence.update(state, *batch, WARMUP_NS, out))


def line_kernel() -> Kernel:
    kernels = window_kernel(), level_kernel(), silence_kernel()

    def take(batch: Batch) -> None:
        for kernel in kernels:
            kernel(batch)

    return take


def samples_per_s(make: Callable[[], Kernel], course: list[Batch]) -> int:
    """Median over runs, each with fresh state; one more run before them loads the kernel."""
    rates = []
    for _ in range(RUNS + 1):
        kernel = make()
        begin_s = time.perf_counter()
        for batch in course:
            kernel(batch)
        rates.append(sum(len(batch[0]) for batch in course) / (time.perf_counter() - begin_s))
    return round(statistics.median(rates[1:]))


def measure() -> dict[str, int]:
    """All figures, by the names that budgets use."""
    course = batches()
    return {
        "windows_samples_per_s": samples_per_s(window_kernel, course),
        "level_samples_per_s": samples_per_s(level_kernel, course),
        "silence_samples_per_s": samples_per_s(silence_kernel, course),
        "line_samples_per_s": samples_per_s(line_kernel, course),
        "line_bytes_per_signal": sum(kernel.STATE.itemsize for kernel in (windows, level, silence)),
        "history_bytes_per_signal": sum(rows.nbytes for rows in history.new_history(1)),
    }


def _forget(blocks: list[Array]) -> None:
    """What was derived is no part of the measurement."""


if __name__ == "__main__":
    print(json.dumps(measure()))
