"""What a running agent costs: 10,000 signals at 1 s, 10 s windows, forwarded to a server.

Enters: a folder. Leaves: resident memory, share of one core, bytes to the disk, with a far side
that takes everything and without any. Each agent is a process of its own, with all that the service
imports; both run at once, since what is counted is their own. The far side is here and forgets what
it is sent.
What can fail: one of those processes, AndonError.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from agent.cli.bench.synthetic import CONFIG, SyntheticSource, add_signals
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.errors import AndonError
from agent.forward import Forwarder
from agent.ledger import SampleLedger
from agent.lines.report import Reporter
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline import Pipeline
from agent.pipeline.budget import DAY_S
from agent.pipeline.keeping import CHECKPOINT_EVERY_S
from agent.signals import SECOND_NS, SignalTable
from agent.sinks.influxdb import InfluxdbSink

SIGNALS: Final = 10_000
BATCHES: Final = 10
EVERY_S: Final = 10
WARM_S: Final = 110.0
"""What a start costs is not what a day costs: by then it is decided what is journaled, and how
often to commit."""
PATIENCE_S: Final = 120.0
"""So much longer than it should take, the watched process is given up."""
NOWHERE: Final = "http://127.0.0.1:9"
"""The discard port, where nothing listens."""
LOGGED: Final = 2
"""What is stored goes to the disk twice: into the log, and from there into the file."""
OFFLINE: Final = ("rss_mb", "disk_gb_per_day", "commit_interval_s")
"""What is another matter without a far side."""
SINK: Final = "cloud"


@dataclass(frozen=True, slots=True)
class Watch:
    """What the watched process is told."""

    folder: str
    url: str
    signals: int
    warm_s: float
    seconds: float


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """The figures, by name. Raises AndonError where the watched process fails."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ways = {"online": f"http://127.0.0.1:{server.server_port}", "offline": NOWHERE}
        with ThreadPoolExecutor(len(ways)) as pool:
            watches = [pool.submit(_watch, folder / name, ways[name], seconds) for name in ways]
        server.shutdown()
    online, offline = (watch.result() for watch in watches)
    figures = {f"{name}_10k_signals": value for name, value in online.items()}
    return figures | {f"{name}_10k_signals_offline": offline[name] for name in OFFLINE}


def _watch(folder: Path, url: str, seconds: float) -> dict[str, float]:
    folder.mkdir()
    watch = Watch(str(folder), url, SIGNALS, WARM_S, seconds)
    command = [sys.executable, "-m", __name__, json.dumps(asdict(watch))]
    try:
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True,
            timeout=WARM_S + seconds + PATIENCE_S,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise AndonError(
            f"the measured agent failed: {error}", "what it said stands above"
        ) from error
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(watch: Watch) -> dict[str, float]:
    """The watched process: runs an agent and says what it took."""
    from agent.cli import service  # all that the service imports

    service.share_heaps()
    service.warm_up()
    service.release_start()
    outbox = open_outbox(Path(watch.folder) / "outbox.db", [SINK])
    forwarder = Forwarder(outbox, InfluxdbSink(SINK, url=watch.url, token="", outbox=outbox.uuid))
    forwarder.start()
    figures = asyncio.run(_run(watch, outbox, forwarder))
    forwarder.stop(0)
    outbox.close()
    return figures


async def _run(watch: Watch, outbox: SqliteOutbox, forwarder: Forwarder) -> dict[str, float]:
    table = SignalTable(watch.signals)
    ids = add_signals(table, "bench", watch.signals, EVERY_S)
    derive = Derive(table, DetectSettings(), SampleLedger(), NO_CHECKPOINT, time.time_ns())
    source = SyntheticSource("bench", ids, SECOND_NS, batches=BATCHES)
    pipeline = Pipeline(table, [source], derive, outbox, [forwarder], Reporter(CONFIG, table))
    stop = asyncio.Event()
    running = asyncio.create_task(pipeline.run(stop))
    await asyncio.wait([running], timeout=watch.warm_s)
    written = _written(outbox)
    began_s, cpu_s = time.monotonic(), time.process_time()
    await asyncio.wait([running], timeout=watch.seconds)
    if running.done():  # it failed, or it would run
        await running
    days, cpu_s = (time.monotonic() - began_s) / DAY_S, time.process_time() - cpu_s
    written = _written(outbox) - written
    checkpoint = len(outbox.checkpoint())
    if not pipeline.journaled:  # it comes once an hour, not within what was watched
        written += round(LOGGED * checkpoint * days * DAY_S / CHECKPOINT_EVERY_S)
    figures = {
        "rss_mb": _memory_mb("VmRSS"),
        "rss_peak_mb": _memory_mb("VmHWM"),
        "cpu_share": cpu_s / (days * DAY_S),
        "disk_gb_per_day": written / days / 1e9,
        "checkpoint_mb": checkpoint / 1e6,
        "commit_interval_s": pipeline.commit_interval_s,
    }
    await pipeline.remove(source.name)
    stop.set()
    await running
    return figures


def _written(outbox: SqliteOutbox) -> int:
    """Bytes written so far, with what the log still owes the file.

    The log is put into the file by the megabyte: a minute holds such a moment or does not.
    """
    outbox.write_back()
    return outbox.written_bytes


def _memory_mb(name: str) -> float:
    """Of this process; getrusage would give the peak of the one that started it, if larger."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kilobytes) / 1024


class _Forgetful(BaseHTTPRequestHandler):
    """A far side that takes everything and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(204)
        self.send_header("X-Influxdb-Version", "v2.7.0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)  # that nobody listens at NOWHERE is no news
    print(json.dumps(main(Watch(**json.loads(sys.argv[1])))))  # noqa: T201
