"""What a running agent costs: 10,000 signals at 1 s, 10 s windows, forwarded to a server.

Enters: a folder. Leaves: resident memory, share of one core, bytes to the disk, once with a far
side that takes everything and once without any. The agent is a process of its own, with all that
the service imports; the far side is here and forgets what it is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from agent.cli.bench.synthetic import CONFIG, SyntheticSource, add_signals
from agent.signals import SECOND_NS, SignalTable

SIGNALS: Final = 10_000
BATCHES: Final = 10
EVERY_S: Final = 10
WARM_S: Final = 45.0
"""What a start costs is not what a day costs: by then it is decided what is journaled."""
SINK: Final = "cloud"


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """The figures, by name."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        online = _watch(folder / "online", seconds, url)
        server.shutdown()
    offline = _watch(folder / "offline", seconds, "http://127.0.0.1:9")
    figures = {f"{name}_10k_signals": value for name, value in online.items()}
    return figures | {"disk_gb_per_day_10k_signals_offline": offline["disk_gb_per_day"]}


def _watch(folder: Path, seconds: float, url: str) -> dict[str, float]:
    folder.mkdir()
    command = [sys.executable, "-m", "agent.cli.bench.footprint", str(folder), str(seconds), url]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(folder: Path, seconds: float, url: str) -> dict[str, float]:
    """The watched process: runs an agent and says what it took."""
    from agent.cli import service  # all that the service imports
    from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
    from agent.forward import Forwarder
    from agent.ledger import SampleLedger
    from agent.lines.report import Reporter
    from agent.outbox.sqlite import open_outbox
    from agent.pipeline import Pipeline, PipelineSettings
    from agent.sinks.influxdb import InfluxdbSink

    service.share_heaps()
    service.warm_up()
    service.release_compiler()
    outbox = open_outbox(folder / "outbox.db", [SINK])
    table = SignalTable(SIGNALS)
    ids = add_signals(table, "bench", SIGNALS, EVERY_S)
    derive = Derive(table, DetectSettings(), SampleLedger(), NO_CHECKPOINT, time.time_ns())
    sink = InfluxdbSink(SINK, url=url, token="", outbox=outbox.uuid)
    forwarder = Forwarder(outbox, sink)

    async def run() -> dict[str, float]:
        stop = asyncio.Event()
        source = SyntheticSource("bench", ids, SECOND_NS, batches=BATCHES)
        pipeline = Pipeline(
            table,
            [source],
            derive,
            outbox,
            [forwarder],
            Reporter(CONFIG, table),
            PipelineSettings(),
        )
        running = asyncio.create_task(pipeline.run(stop))
        await asyncio.sleep(WARM_S)
        began_s, cpu_s, written = time.monotonic(), time.process_time(), outbox.written_bytes
        await asyncio.sleep(seconds)
        passed_s = time.monotonic() - began_s
        figures = {
            "rss_mb": _rss_mb(),
            "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "cpu_share": (time.process_time() - cpu_s) / passed_s,
            "disk_gb_per_day": (outbox.written_bytes - written) / passed_s * 86_400 / 1e9,
            "commit_interval_s": pipeline.commit_interval_s,
        }
        stop.set()
        await running
        return figures

    forwarder.start()
    figures = asyncio.run(run())
    forwarder.stop()
    outbox.close()
    return figures


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])))  # noqa: T201
