"""The outage: a day of samples into an outbox whose far side does not answer, time compressed.

Kernels, write budget, journal and outbox are the real ones; the pipeline around them is not. It
stages and commits by the machine's clock, so that, compressed, one commit would hold minutes, its
blocks would be larger than any real one, and the rates would be hundreds of times too high. Here
the source's time takes the clock's place: it is staged each second and committed as often as the
write budget asks.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from agent.batch import Batch
from agent.cli.bench.synthetic import CONFIG, add_signals
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.detect.anomaly import Anomaly
from agent.forward import Forwarder
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.lines.report import Reporter
from agent.outbox import BYTES_MAX, Commit
from agent.outbox.reader import open_readonly
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline import PipelineSettings
from agent.pipeline.budget import WriteBudget
from agent.pipeline.journal import Journal, Opened, Revised, Took
from agent.pipeline.keeping import Keeping, Tails
from agent.pipeline.recover import seal
from agent.signals import SECOND_NS, SignalTable
from agent.sinks.influxdb import InfluxdbSink

SIGNALS: Final = 500
RATE_HZ: Final = 20
SOURCE: Final = "line"
SINK: Final = "cloud"
TIMEOUT_S: Final = 1.0
DISTINCT: Final = 64
"""Rows of values made beforehand."""
GATEWAY_EVERY_S: Final = 5


class Outage:
    """A gateway whose clock is the source's.

    commits_s : how long each commit took
    windows : made so far
    """

    def __init__(self, path: Path, start_ns: int, bytes_max: int) -> None:
        self.now_ns = self._start_ns = start_ns
        self.windows = 0
        self.commits_s: list[float] = []
        self.outbox: SqliteOutbox = open_outbox(
            path, [SINK], bytes_max=bytes_max, now_ns=lambda: self.now_ns
        )
        self.samples = SampleLedger()
        self._table = SignalTable(2 * SIGNALS)
        self._ids = np.array(add_signals(self._table, SOURCE, SIGNALS, every_s=1), np.int32)
        self._derive = Derive(self._table, DetectSettings(), self.samples, NO_CHECKPOINT, start_ns)
        self._reporter = Reporter(CONFIG, self._table)
        settings = PipelineSettings()
        self.budget = WriteBudget(settings.write_bytes_per_day, None, 0.0)
        self._keeping = Keeping(settings.journal, settings.write_bytes_per_day, 0.0)
        self._keeping.add(SOURCE, redelivers=False)
        self._journal = Journal()
        self._anomalies: list[Anomaly] = []
        self._commit_due_s = self._gateway_due_s = 0.0
        random = np.random.default_rng(7)
        level = random.uniform(10, 100, SIGNALS)
        self._values = np.round(level + random.normal(0, 1, (DISTINCT, SIGNALS)), 3)

    @property
    def passed_s(self) -> float:
        """How much of the source's time has passed."""
        return (self.now_ns - self._start_ns) / SECOND_NS

    def second(self) -> None:
        """One more second of all signals: derived, staged, and committed when that is due."""
        batch = self._batch()
        self.now_ns += SECOND_NS
        if SOURCE in self._keeping.journaled:
            self._journal.add(Took(SOURCE, batch))
        self._keeping.count(SOURCE, len(batch))
        self._derive.take(SOURCE, batch)
        self._stage()
        if self.passed_s >= self._commit_due_s:
            self._commit_due_s = self.passed_s + self.budget.interval_s
            self.commit()

    def commit(self, *, last: bool = False) -> None:
        """As the pipeline commits; `last` with all that a clean stop leaves."""
        if last:
            self._derive.pause()
            self._stage()
        journaled = self._keeping.journaled
        if journaled:
            self._journal.add(Revised())
        else:
            opened = self._derive.open_anomalies()
            self._journal.add(Opened([asdict(anomaly) for anomaly in opened]))
        revised, now_s = self._derive.revise(), self.passed_s
        self.windows += len(revised)
        self.outbox.stage(Lines(revised, ready=self._ready()), early=False)
        checkpoint = None
        if last or self._keeping.is_due(now_s):
            self._keeping.decide(now_s)
            state = self._derive.checkpoint(clean=last, journaled=self._keeping.journaled)
            checkpoint = seal(state, Tails())
        blob = self._journal.pack() if checkpoint is None else b""
        began_s = time.perf_counter()
        self.outbox.commit(Commit(self.samples.copy(), blob, checkpoint))
        self.commits_s.append(time.perf_counter() - began_s)
        if checkpoint is None:
            self._keeping.wrote(blob, self._journal.samples)
        else:
            self._keeping.took_checkpoint(len(checkpoint), now_s)
        self._journal = Journal()
        self.budget.look(self.outbox.written_bytes, now_s)

    def _stage(self) -> None:
        derived = self._derive.collect()
        self._anomalies += derived.anomalies
        self.windows += len(derived.windows)
        self.outbox.stage(Lines(derived.windows), self._table.take_changed(), early=True)

    def _ready(self) -> tuple[bytes, ...]:
        lines = self._reporter.anomalies(self._anomalies)
        self._anomalies = []
        if self.passed_s >= self._gateway_due_s:
            self._gateway_due_s = self.passed_s + GATEWAY_EVERY_S
            ledger, usage = self.outbox.ledger(), self.outbox.usage()
            lines.append(self._reporter.gateway(ledger, self.now_ns, usage, 0.0))
        return tuple(lines)

    def _batch(self) -> Batch:
        """A second of all signals, sample after sample."""
        ticks = np.arange(RATE_HZ) + round(self.passed_s) * RATE_HZ
        times = np.repeat(self._start_ns + ticks * (SECOND_NS // RATE_HZ), SIGNALS)
        return Batch(
            np.tile(self._ids, RATE_HZ), times, self._values[ticks % DISTINCT].ravel(),
            np.zeros(len(times), np.uint32),
            received_ns=int(times[-1]), alive_until_ns=int(times[-1]),
        )  # fmt: skip


def outage(path: Path, hours: float, bytes_max: int) -> dict[str, float]:
    """Let a line run through so many hours that end now, unheard; figures by name."""
    start_ns = time.time_ns() // SECOND_NS * SECOND_NS - round(hours * 3600) * SECOND_NS
    it = Outage(path, start_ns, bytes_max)
    began_s, cpu_s = time.monotonic(), time.process_time()
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes connections and says nothing
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        sink = InfluxdbSink(SINK, url=url, token="", outbox=it.outbox.uuid, timeout_s=TIMEOUT_S)
        forwarder = Forwarder(it.outbox, sink, now_ns=lambda: it.now_ns)
        forwarder.start()
        it.second()
        rss_first_mb = rss_mb()
        while it.now_ns < time.time_ns():
            it.second()
        it.commit(last=True)
        assert forwarder.stop(drain_s=20 * TIMEOUT_S), "the forwarder has not ended"
    ledger, written = it.outbox.ledger(), it.outbox.written_bytes
    it.outbox.close()
    figures = {
        "outage_s": it.passed_s,
        "start_s": start_ns // SECOND_NS,
        "fill_seconds": time.monotonic() - began_s,
        "fill_cpu_s": time.process_time() - cpu_s,
        "fill_rss_mb_first": rss_first_mb,
        "fill_rss_mb_last": rss_mb(),
        "windows_outage": it.windows,
        "commit_interval_s": it.budget.interval_s,
        "write_gb_per_day": written / it.passed_s * 86_400 / 1e9,
        "dropped": ledger.lines.dropped.total(),
        "balanced_before": ledger.balanced,
    }
    return figures | _commits(it.commits_s) | _held(path)


def _held(path: Path) -> dict[str, float]:
    """What `andon outbox` says of the file, beside what is true."""
    with open_readonly(path) as reader:
        usage = reader.usage()
        with reader.reading() as read:
            blocks = read.execute("SELECT count(*) FROM block").fetchone()[0]
    bytes_per_hour = usage.bytes / usage.lines_waiting * SIGNALS * 3600
    return {
        "waiting_before": usage.lines_waiting,
        "bytes_before": usage.bytes,
        "bytes_per_million_windows": usage.bytes / usage.lines_waiting * 1e6,
        "blocks": blocks,
        "lines_in_per_s_said": usage.lines_in_per_s,
        "hours_left_said": usage.hours_left or 0.0,
        "hours_left_true": (usage.bytes_max - usage.bytes) / bytes_per_hour,
        "hours_in_1_gib": BYTES_MAX / bytes_per_hour,
    }


def _commits(seconds: list[float]) -> dict[str, float]:
    """How long commits took, and whether that grew."""
    tenth = max(len(seconds) // 10, 1)
    return {
        "commits": len(seconds),
        "commit_ms_p50": float(np.median(seconds)) * 1e3,
        "commit_ms_p99": float(np.quantile(seconds, 0.99)) * 1e3,
        "commit_ms_max": max(seconds) * 1e3,
        "commit_ms_first_tenth": float(np.median(seconds[:tenth])) * 1e3,
        "commit_ms_last_tenth": float(np.median(seconds[-tenth:])) * 1e3,
    }


def rss_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
