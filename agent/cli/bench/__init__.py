"""`andon bench`: what this gateway can carry, measured on it.

Each benchmark is one file; with `--json` it prints one flat object. Figures are of this machine and
this moment: compare within one run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.terminal import print_data, print_json, say

bench = typer.Typer(name="bench", help="Measure what this gateway can carry.", no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Measure what this gateway can carry."""


@bench.command(name="pipeline")
def pipeline(
    seconds: Annotated[
        float, typer.Option(min=5, help="How long the footprint of 10,000 signals is watched.")
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

    with tempfile.TemporaryDirectory(prefix="andon-bench-", dir=data) as folder:
        say("throughput: 1,000 signals, as fast as they go, journal on")
        figures = throughput.measure(Path(folder))
        say(f"footprint: 10,000 signals at 1 s, 10 s windows, for {seconds:g} s")
        figures |= footprint.measure(Path(folder), seconds)
    if json:
        print_json(figures)
    else:
        print_data("\n".join(f"{name:<34}{_figure(value):>14}" for name, value in figures.items()))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
