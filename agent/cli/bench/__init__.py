"""`andon bench`: what this gateway can carry, measured on it.

Each benchmark is one file; with `--json` it prints one flat object. Figures are of this machine and
this moment: compare within one run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.terminal import fail, print_data, print_json, say
from agent.errors import AndonError, ConfigError

bench = typer.Typer(name="bench", help="Measure what this gateway can carry.", no_args_is_help=True)

Titles = Mapping[str, tuple[str, str]]
"""What figures are, and their units."""

_PIPELINE: Final = {
    "samples_per_s": ("samples a second and core, into the committed outbox", ""),
    "samples_per_s_wall": ("samples a second by the clock", ""),
    "samples": ("of so many samples", ""),
    "lines": ("which made so many lines", ""),
    "written_bytes_per_sample": ("written to the disk for a sample", "B"),
    "encode_us_per_line": ("encoding a window's line", "us"),
    "rss_mb_10k_signals": ("memory of 10,000 signals at 1 s", "MB"),
    "rss_peak_mb_10k_signals": ("its peak", "MB"),
    "cpu_share_10k_signals": ("share of one core", "%"),
    "disk_gb_per_day_10k_signals": ("written to the disk", "GB a day"),
    "checkpoint_mb_10k_signals": ("of it once an hour, the state to restart from", "MB"),
    "commit_interval_s_10k_signals": ("a commit every", "s"),
    "rss_mb_10k_signals_offline": ("memory while the far side is away", "MB"),
    "disk_gb_per_day_10k_signals_offline": ("written to the disk while it is away", "GB a day"),
    "commit_interval_s_10k_signals_offline": ("a commit every", "s"),
}


@bench.callback()
def _bench() -> None:
    """Measure what this gateway can carry."""


@bench.command(name="pipeline")
def pipeline(
    seconds: Annotated[
        float,
        typer.Option(
            min=1, help="How long the footprint of 10,000 signals is watched, once it is steady."
        ),
    ] = 60,
    data: Annotated[
        Path | None,
        typer.Option(help="Measure on the disk of this folder, such as the gateway's own."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the way from a source to the committed outbox.

    A synthetic source stands for the machines, a server on this machine that forgets all for the
    cloud; detectors, journal, outbox and forwarder are the real ones.
    """
    from agent.cli.bench import footprint, throughput

    try:
        if data is not None and not data.is_dir():
            raise ConfigError(f"--data is {data}; there is no such folder", "make it first")
        with tempfile.TemporaryDirectory(prefix="andon-bench-", dir=data) as folder:
            say("throughput: 1,000 signals at 20 Hz, as fast as they go, journal on")
            figures = throughput.measure(Path(folder))
            took_s = footprint.WARM_S + seconds
            say(f"footprint: 10,000 signals at 1 s, 10 s windows, for {took_s:g} s")
            figures |= footprint.measure(Path(folder), seconds)
    except AndonError as error:
        fail(error)
    _print(figures, _PIPELINE, json)


@bench.command(name="opcua")
def wire(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each client is measured.")] = 2,
    soak_minutes: Annotated[
        float, typer.Option(min=0, help="Then watch the memory for so long, at 100,000/s.")
    ] = 0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only print where the source's time goes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the way from an OPC UA server's wire to batches.

    A server on this machine sends as much as its client asks for; asyncua's own way is measured
    beside ours.
    """
    from agent.cli.bench import opcua

    try:
        if profile:
            rows = opcua.profile(seconds)
            _print_profile(rows, "notifications", json)
            return
        say(f"1,000 signals, {opcua.RUNS} runs: 1,000, 100 and 10 notifications a message; asyncua")
        figures = opcua.measure(seconds)
        if soak_minutes:
            say(f"soak: {opcua.SOAK_RATE_HZ:,.0f} notifications a second for {soak_minutes:g} min")
            figures |= opcua.soak(soak_minutes)
    except AndonError as error:
        fail(error)
    _print(figures, opcua.FIGURES, json)


@bench.command(name="mqtt")
def broker(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each client is measured.")] = 2,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only print where the source's time goes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the way from an MQTT broker to batches.

    A publisher keeps mosquitto on this machine busy; what mosquitto uses of the processor, and
    paho's own way, are measured beside ours. Needs mosquitto: apt-get install mosquitto.
    """
    from agent.cli.bench import mqtt

    try:
        if profile:
            _print_profile(mqtt.profile(seconds), "messages", json)
            return
        say(f"1,000 signals, {mqtt.RUNS} runs: JSON at QoS 0 and 1, Sparkplug; paho")
        figures = mqtt.measure(seconds)
        say(mqtt.bottleneck(figures))
    except AndonError as error:
        fail(error)
    _print(figures, mqtt.FIGURES, json)


def _print_profile(rows: Sequence[Mapping[str, Any]], what: str, json: bool) -> None:
    from agent.cli.bench.client import tell_profile

    print_json(rows) if json else print_data("\n".join(tell_profile(rows, what)))


def _print(figures: Mapping[str, float], titles: Titles, json: bool) -> None:
    print_json(figures) if json else print_data("\n".join(_tell(figures, titles)))


def _tell(figures: Mapping[str, float], titles: Titles) -> Iterator[str]:
    for name, (title, unit) in titles.items():
        if name in figures:
            value = figures[name] * (100 if unit == "%" else 1)
            yield f"{title:<54}{_figure(value):>12} {unit}".rstrip()


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
