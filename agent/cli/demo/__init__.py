"""`andon demo`: a small line, its gateway and a cloud as three processes on this machine."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.demo.processes import DemoError, Process
from agent.cli.demo.verdict import Verdict, judge, read_truth
from agent.cli.demo.watch import Watch
from agent.cli.terminal import fail, print_json, say
from agent.errors import AndonError, ExitCode

CONFIG: Final = Path(__file__).parent / "line.toml"
CONNECT_S: Final = 180.0
"""The first start compiles the kernels."""
ARRIVE_S: Final = 10.0
FAULTS_S: Final = 60
LOOK_S: Final = 0.2


def demo(
    seconds: Annotated[
        int, typer.Option(min=0, help="End by itself after so many seconds; 0 runs until Ctrl-C.")
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed, other noise and other faults.")
    ] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the board; 0 takes a free one.")
    ] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print what came out as one JSON object.")
    ] = False,
) -> None:
    """Run a small line and watch it on the board.

    Its faults are planted by seed; each should be caught and explained.
    """
    folder = Path(tempfile.mkdtemp(prefix="andon-demo-"))
    try:
        with _stopped_by_signals() as stopped, ExitStack() as stack:
            result = _Demo(folder, stack, seed, port).run(seconds, stopped)
    except AndonError as error:
        fail(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if json:
        print_json(result)
    if not result["ledger_balanced"]:
        say("error: the ledger does not balance, or differs from what the line sent")
        raise typer.Exit(ExitCode.UNBALANCED)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Demo:
    """The demo while it runs. Processes started here are stopped by `stack`, last first."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int, port: int) -> None:
        self._folder = folder
        self._stack = stack
        self._seed = seed
        self._port = port
        self._truth = folder / "truth.jsonl"
        self._data = folder / "gateway"
        self._told: set[Any] = set()

    def run(self, seconds: int, stopped: threading.Event) -> dict[str, Any]:
        """Start all three, let the line produce, stop it and account for everything."""
        say("Andon demo: a small line, its gateway and a cloud on this machine")
        line = self._start("line", "hardware.line.cli", [
            "run", "--embedded-broker", "--control", "--seed", str(self._seed),
            "--truth", str(self._truth),
        ])  # fmt: skip
        cloud = self._start("cloud", "cloud.cli", [
            "serve", "--json", "--port", str(self._port), "--data", str(self._folder / "cloud"),
        ])  # fmt: skip
        ready, board = line.wait_for("ready"), cloud.wait_for("ready")
        say(f"  line     {ready['opcua']}\n           {ready['mqtt']}")
        say(f"  cloud    {board['url']}")
        agent = self._start("agent", "agent.cli", ["run", "--json", str(CONFIG)], {
            "ANDON_DEMO_DATA": str(self._data),
            "ANDON_DEMO_OPCUA": ready["opcua"],
            "ANDON_DEMO_MQTT": ready["mqtt"],
            "ANDON_DEMO_CLOUD": board["url"],
            "ANDON_TOKEN": board["write_token"],
        })  # fmt: skip
        self._wait_until_connected(agent, stopped)
        say("  agent    connected to all machines")
        say(f"\nOpen the board:\n{board['board_url']}\n")
        watch = Watch(board["url"], board["read_token"])
        watch.start()
        line.tell("start")
        started_ns = line.wait_for("started")["start_ns"]
        say("  Faults come from the 22nd second on; until then each signal is learned.")
        if 0 < seconds < FAULTS_S:
            say(f"  All kinds of them need {FAULTS_S} seconds; this run is shorter.")
        self._produce(seconds, stopped, watch, started_ns, (line, cloud, agent))
        return self._finish(line, agent, watch, board["board_url"])

    def _start(
        self, name: str, module: str, arguments: list[str], environ: dict[str, str] | None = None
    ) -> Process:
        log = self._folder / f"{name}.log"
        process = Process(name, module, arguments, environ or {}, log)
        self._stack.callback(process.stop)
        return process

    def _wait_until_connected(self, agent: Process, stopped: threading.Event) -> None:
        """Wait for all sources; say so where the kernels must be compiled first."""
        deadline = time.monotonic() + CONNECT_S
        say("  agent    starting (the first time, its kernels are compiled: half a minute)")
        while time.monotonic() < deadline and agent.running and not stopped.is_set():
            sources = self._status().get("sources", {})
            if sources and all(source["state"] == "connected" for source in sources.values()):
                return
            stopped.wait(LOOK_S)
        if stopped.is_set():
            raise DemoError("stopped before the agent was connected")
        raise DemoError(f"the agent is not connected: {agent.words() or 'it says nothing'}")

    def _status(self) -> dict[str, Any]:
        from agent.status import ask_status

        try:
            return ask_status(self._data)
        except (OSError, ValueError):
            return {}

    def _produce(
        self, seconds: int, stopped: threading.Event, watch: Watch, started_ns: int,
        processes: tuple[Process, ...],
    ) -> None:  # fmt: skip
        """Let the line run, telling of faults as they are planted and caught."""
        end_ns = started_ns + seconds * 1_000_000_000
        while not stopped.is_set() and (seconds == 0 or time.time_ns() < end_ns):
            stopped.wait(LOOK_S)
            self._tell(judge(read_truth(self._truth), _all(watch), time.time_ns()), started_ns)
            for process in processes:
                if not process.running:
                    raise DemoError(f"the {process.name} ended: {process.words()}")

    def _tell(self, verdict: Verdict, started_ns: int) -> None:
        for fault in verdict.planted:
            if ("planted", fault) not in self._told:
                self._told.add(("planted", fault))
                at_s = (fault.visible_ns - started_ns) / 1e9
                say(f"  {at_s:5.1f} s  visible  {fault.kind} on {fault.machine}/{fault.signal}")
        for fault, anomaly in verdict.caught.items():
            if ("caught", fault) not in self._told:
                self._told.add(("caught", fault))
                at_s = (anomaly.seen_ns - started_ns) / 1e9
                say(f"  {at_s:5.1f} s  caught   {anomaly.message}")
        for anomaly in verdict.false_alarms:
            if ("false", anomaly.id) not in self._told:
                self._told.add(("false", anomaly.id))
                at_s = (anomaly.seen_ns - started_ns) / 1e9
                say(f"  {at_s:5.1f} s  alarm    {anomaly.message}")

    def _finish(
        self, line: Process, agent: Process, watch: Watch, board_url: str
    ) -> dict[str, Any]:
        """Stop the line, wait until all it sent has arrived, stop the agent, and account."""
        stopped_ns = time.time_ns()
        line.tell("stop")
        sent = line.wait_for("stopped")["sent"]
        sent_total = sent["opcua"] + sent["mqtt"]
        deadline = time.monotonic() + ARRIVE_S
        while time.monotonic() < deadline:
            if self._ledger_samples(self._status()).get("received") == sent_total:
                break
            time.sleep(LOOK_S)
        agent.stop()
        final = agent.wait_for("stopped")
        watch.stop()
        if watch.error and not watch.latencies_ms:
            say(f"  the board could not be read: {watch.error}")
        verdict = judge(read_truth(self._truth), _all(watch), stopped_ns)
        ledger = final["ledger"]
        samples, lines = ledger["samples"], ledger["lines"]
        balanced = ledger["balanced"] and samples["received"] == sent_total
        latency = watch.latency_ms_p99()
        self._say_end(verdict, ledger, sent_total, balanced, agent.words())
        return {
            "received": samples["received"],
            "sent": sent_total,
            "windows": final["windows"],
            "lines_made": lines["made"],
            "lines_acknowledged": lines["acknowledged"],
            "planted": len(verdict.planted),
            "caught": len(verdict.caught),
            "false_alarms": len(verdict.false_alarms),
            "missed": [f"{f.kind} {f.machine}/{f.signal}" for f in verdict.planted
                       if f not in verdict.caught],
            "delays_s": {f"{f.kind} {f.machine}/{f.signal}": round(
                (a.seen_ns - f.visible_ns) / 1e9, 2) for f, a in verdict.caught.items()},
            "ledger_balanced": balanced,
            "board_url": board_url,
            "latency_ms_p99": None if latency is None else round(latency, 1),
            "seed": self._seed,
        }  # fmt: skip

    @staticmethod
    def _ledger_samples(status: dict[str, Any]) -> dict[str, Any]:
        samples: dict[str, Any] = status.get("ledger", {}).get("samples", {})
        return samples

    @staticmethod
    def _say_end(
        verdict: Verdict, ledger: dict[str, Any], sent: int, balanced: bool, words: str
    ) -> None:
        samples, lines = ledger["samples"], ledger["lines"]
        filtered, dropped = sum(samples["filtered"].values()), sum(samples["dropped"].values())
        say(
            f"\n  {len(verdict.caught)} of {len(verdict.planted)} faults caught, "
            f"{len(verdict.false_alarms)} false alarms\n"
            f"  the line sent {sent:,} samples; the agent received {samples['received']:,}: "
            f"{samples['derived']:,} into windows and lines, {filtered:,} filtered, "
            f"{dropped:,} dropped, {samples['pending']:,} in windows still open\n"
            f"  of {lines['made']:,} lines the cloud acknowledged {lines['acknowledged']:,}\n"
            f"  {'balanced' if balanced else 'NOT BALANCED'}"
        )
        if words and sys.stderr.isatty():
            say(f"\n  the agent said:\n{words}")


def _all(watch: Watch) -> list[Any]:
    return list(watch.anomalies.values())
