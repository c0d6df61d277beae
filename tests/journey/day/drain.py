"""The way is open: the full outbox in a running agent, the line at its real pace.

Enters: the outbox that the outage left, after a clean stop. Leaves: it is empty, and figures.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from agent.cli.bench.synthetic import CONFIG, SyntheticSource, add_signals
from agent.derive import DetectSettings
from agent.forward import Forwarder, Limits
from agent.lines.report import Reporter
from agent.outbox.reader import open_readonly
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline import Pipeline, PipelineSettings
from agent.pipeline.recover import recover
from agent.signals import SECOND_NS, SignalTable
from agent.sinks.influxdb import InfluxdbSink
from tests.journey.day.far_side import far_side, stats
from tests.journey.day.outage import RATE_HZ, SIGNALS, SINK, SOURCE, rss_mb

LOOK_S: Final = 0.1
LIVE_LINES: Final = 2 * SIGNALS
"""So many lines wait at times though nothing is held back: windows of one second close at once."""
LIVE_S: Final = 8.0
"""It goes on for so long at least."""
HEADROOM_S: Final = 6 * 3600
"""The far side has room for so many seconds after the outage."""
STOP_S: Final = 20.0


class Watch:
    """Looks at a draining outbox now and then.

    lag_ms : the forwarder's word, at each look
    said : by seconds since the start, what `andon outbox` says: lines waiting, time to drain
    """

    def __init__(self, outbox: SqliteOutbox, forwarder: Forwarder) -> None:
        self.lag_ms: list[float] = []
        self.said: list[tuple[float, int, float | None]] = []
        self.rss_mb: list[float] = []
        self._outbox = outbox
        self._forwarder = forwarder

    async def drained(self, deadline_s: float) -> float:
        """Until only live lines wait; how many seconds that took, infinite past the deadline."""
        began_s, looks = time.monotonic(), 0
        while True:
            passed_s, looks = time.monotonic() - began_s, looks + 1
            self.lag_ms.append(self._forwarder.lag_ms)
            if looks % round(1 / LOOK_S) == 0:
                self._look(passed_s)
            if self._outbox.ledger().lines.waiting <= LIVE_LINES:
                return passed_s
            if passed_s > deadline_s:
                return float("inf")
            await asyncio.sleep(LOOK_S)

    def figures(self, drained_s: float) -> dict[str, float]:
        """What it saw."""
        figures = {
            "lag_ms_max": max(self.lag_ms),
            "rss_mb_first": self.rss_mb[0] if self.rss_mb else 0.0,
            "rss_mb_max": max(self.rss_mb, default=0.0),
        }
        for part in (0.1, 0.5, 0.9):  # what it says of the time to go, against what it took
            looks = [look for look in self.said if look[0] >= part * drained_s][:1]
            for at_s, _, left_s in looks:
                name = f"drain_said_over_true_{round(100 * part)}"
                said_s = float("inf") if left_s is None else left_s
                figures[name] = said_s / max(drained_s - at_s, 0.1)
        return figures

    def _look(self, passed_s: float) -> None:
        usage = self._outbox.usage()
        self.said.append((passed_s, usage.lines_waiting, usage.drain_s))
        self.rss_mb.append(rss_mb())


def drain(
    path: Path, bytes_max: int, held: dict[str, float], lines_per_s: int, deadline_s: float
) -> dict[str, float]:
    """Drain what the outage left there; figures by name."""
    began_s = time.perf_counter()
    outbox = open_outbox(path, [SINK], bytes_max=bytes_max)
    opened_s = time.perf_counter() - began_s
    outage_s = int(held["outage_s"])
    with far_side(SIGNALS, int(held["start_s"]), outage_s + HEADROOM_S, outage_s) as url:
        sink = InfluxdbSink(SINK, url=url, token="", outbox=outbox.uuid)
        forwarder = Forwarder(outbox, sink, limits=Limits(backlog_lines_per_s=lines_per_s))
        figures = asyncio.run(_run(outbox, forwarder, deadline_s))
        figures["stopped"] = forwarder.stop(STOP_S)
        figures |= stats(url)
    ledger, usage = outbox.ledger(), outbox.usage()
    outbox.close()
    with open_readonly(path) as reader:
        figures["dead_letters"] = len(reader.dead_letters())
        stored = reader.ledger()
    return figures | {
        "open_ms": opened_s * 1e3,
        "waiting_after": usage.lines_waiting,
        "bytes_after": usage.bytes,
        "file_bytes_after": path.stat().st_size,
        "lines_made": ledger.lines.made,
        "lines_acknowledged": ledger.lines.acknowledged,
        "samples_derived": ledger.samples.derived,
        "balanced": ledger.balanced and stored.lines == ledger.lines,
    }


async def _run(outbox: SqliteOutbox, forwarder: Forwarder, deadline_s: float) -> dict[str, float]:
    table, stop, written = SignalTable(2 * SIGNALS), asyncio.Event(), outbox.written_bytes
    ids = add_signals(table, SOURCE, SIGNALS, every_s=1)
    recovered = recover(outbox, table, DetectSettings(), time.time_ns())
    pipeline = Pipeline(
        table,
        [SyntheticSource(SOURCE, ids, SECOND_NS // RATE_HZ)],
        recovered.derive,
        outbox,
        [forwarder],
        Reporter(CONFIG, table),
        PipelineSettings(),
    )
    acknowledged = outbox.ledger().lines.acknowledged
    watch, cpu_s = Watch(outbox, forwarder), time.process_time()
    running = asyncio.create_task(pipeline.run(stop))
    forwarder.start()
    drained_s = await watch.drained(deadline_s)
    cpu_s = time.process_time() - cpu_s
    sent = outbox.ledger().lines.acknowledged - acknowledged
    figures = watch.figures(drained_s) | {
        "drain_s": drained_s,
        "drain_lines_per_s": sent / drained_s,
        "drain_cpu_s": cpu_s,
        "drain_cpu_us_per_line": cpu_s / max(sent, 1) * 1e6,
        "drain_written_bytes_per_line": (outbox.written_bytes - written) / max(sent, 1),
        "drain_commit_interval_s": pipeline.commit_interval_s,
    }
    await asyncio.sleep(max(LIVE_S - drained_s, 0.0))
    stop.set()
    await running
    return figures | {"windows_live": pipeline.windows_made}
