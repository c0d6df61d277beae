"""How many samples a second one core takes from a source into the committed outbox.

Enters: a folder. Leaves: `samples_per_s`, by the processor time of all threads, the same by the
clock, and `encode_us_per_line`. All that the service does is done: windows, detectors, journal,
checkpoints, commits with fsync.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

import numpy as np

from agent.cli.bench.synthetic import CONFIG, DECIMALS, SyntheticSource, add_signals
from agent.cli.service import warm_up
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.ledger import SampleLedger
from agent.lines import WINDOW, Lines
from agent.lines.encode import Encoder
from agent.lines.report import Reporter
from agent.outbox.sqlite import open_outbox
from agent.pipeline import Pipeline, PipelineSettings
from agent.signals import SECOND_NS, SignalTable

SIGNALS: Final = 1000
INTERVAL_NS: Final = SECOND_NS // 20
INTERVALS: Final = 3000
SINK: Final = "cloud"
LINES: Final = 100_000
RUNS: Final = 5


def measure(folder: Path) -> dict[str, float]:
    """The figures, by name."""
    warm_up()  # compiling is no part of it
    return _samples(folder) | {"encode_us_per_line": _encode_us()}


def _samples(folder: Path) -> dict[str, float]:
    outbox = open_outbox(folder / "throughput.db", [SINK])
    table = SignalTable(SIGNALS)
    ids = add_signals(table, "bench", SIGNALS, every_s=1)
    derive = Derive(table, DetectSettings(), SampleLedger(), NO_CHECKPOINT, time.time_ns())

    async def run() -> tuple[float, float]:
        stop, sent = asyncio.Event(), asyncio.Event()
        source = SyntheticSource(
            "bench", ids, INTERVAL_NS, paced=False, stop_after=INTERVALS, done=sent.set
        )
        settings = PipelineSettings(journal="always")
        reporter = Reporter(CONFIG, table)
        pipeline = Pipeline(table, [source], derive, outbox, [], reporter, settings)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        running = asyncio.create_task(pipeline.run(stop))
        sending = asyncio.create_task(sent.wait())
        await asyncio.wait([running, sending], return_when=asyncio.FIRST_COMPLETED)
        if running.done():  # it failed, or it would run
            await running
        await pipeline.remove(source.name)  # returns when all of it is committed
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        stop.set()
        await running
        return wall_s, cpu_s

    wall_s, cpu_s = asyncio.run(run())
    ledger = outbox.ledger()
    written = outbox.written_bytes
    outbox.close()
    samples = ledger.samples.received
    assert samples == SIGNALS * INTERVALS
    assert ledger.balanced
    return {
        "samples": samples,
        "samples_per_s": samples / cpu_s,
        "samples_per_s_wall": samples / wall_s,
        "lines": ledger.lines.made,
        "written_bytes_per_sample": written / samples,
    }


def _encode_us() -> float:
    """Of a window line, the median of some runs."""
    table = SignalTable(SIGNALS)
    add_signals(table, "bench", SIGNALS, every_s=1)
    encoder = Encoder(dict(enumerate(table)))
    random = np.random.default_rng(1)
    rows = np.zeros(LINES, WINDOW)
    rows["signal"] = np.arange(LINES) % SIGNALS
    rows["start_ns"] = time.time_ns()
    rows["every_ns"], rows["n"], rows["good"] = SECOND_NS, 20, 1.0
    for name in ("mean", "std"):
        rows[name] = random.normal(50, 10, LINES)
    for name in ("min", "max", "first", "last"):
        rows[name] = np.round(random.normal(50, 10, LINES), DECIMALS)
    rows["increase"] = np.nan
    encoder.encode(Lines(rows[:100]))
    seconds = []
    for _ in range(RUNS):
        began_s = time.perf_counter()
        encoder.encode(Lines(rows))
        seconds.append(time.perf_counter() - began_s)
    return statistics.median(seconds) / LINES * 1e6
