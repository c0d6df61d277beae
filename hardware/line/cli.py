"""The command `andon-line`: a line of machines to try the agent on.

In: options. Out: what `control.py` says. Exit codes: `control.ExitCode`.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hardware.line.control import ExitCode, LineError, Times, talk

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Begin when a client has subscribed, or at once.")
]
Control = Annotated[
    bool, typer.Option("--control", help="Obey start, stop and quit on stdin; its end means quit.")
]


@app.callback()
def main() -> None:
    """Machines to try the agent on: a simulated line, or a recording played back.

    Events are written to stdout, one JSON object a line: ready, started, stopped (with what was
    sent). After stopped the servers keep serving until SIGINT, SIGTERM or quit. Exit codes: 0 ended
    as asked, 2 an option or file cannot be used, 3 a port or broker cannot be had.
    """


@app.command()
def run(
    opcua_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the OPC UA server; 0 takes a free one.")
    ] = 0,
    mqtt_url: Annotated[
        str, typer.Option(help="Broker of the MQTT machines.")
    ] = "mqtt://127.0.0.1:1883",
    embedded_broker: Annotated[
        bool,
        typer.Option("--embedded-broker", help="Start a broker on a free port; told when ready."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides all values and faults.")] = 1,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to produce; 0 until stopped.")
    ] = 0,
    truth: Annotated[
        Path | None, typer.Option(help="Write each planted fault here as it begins, as JSON lines.")
    ] = None,
    takt_s: Annotated[float, typer.Option(help="Seconds from one unit to the next.")] = 1.7,
    faults: Annotated[
        bool, typer.Option("--faults/--no-faults", help="Plant faults, or stay healthy.")
    ] = True,
    wait: Wait = True,
    control: Control = False,
) -> None:
    """Simulate a line.

    A press and an oven on OPC UA; a conveyor, a camera and a meter on MQTT.
    """
    with _one_message():
        # Imported here so that --help answers at once and Ctrl-C is ours from the start.
        from hardware.line import production

        options = production.LineOptions(
            opcua_port=opcua_port,
            mqtt_url=mqtt_url,
            embedded_broker=embedded_broker,
            seed=seed,
            seconds=seconds,
            truth=truth,
            takt_s=takt_s,
            control=control,
            wait=wait,
            faults=faults,
        )
        asyncio.run(production.run(options))


@app.command()
def play(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header line.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the OPC UA server; 0 takes a free one.")
    ] = 0,
    machine: Annotated[
        str | None, typer.Option(help="Name of the machine; the file's name if not given.")
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than recorded.")] = 1.0,
    delimiter: Annotated[
        str | None, typer.Option(help="Between cells; found in the header line if not given.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Column of times, ISO 8601 or seconds; the first one if not given."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to play, a,b,c; all numeric ones if not given.")
    ] = None,
    times: Annotated[
        Times,
        typer.Option(
            help="Source times: the file's own, the clock's, or the file's shifted to begin now."
        ),
    ] = Times.SHIFTED,
    wait: Wait = True,
    control: Control = False,
) -> None:
    """Play a recording.

    Its columns become variables of an OPC UA server, written row after row.
    """
    with _one_message():
        from hardware.line import recording

        table = recording.read(
            file,
            delimiter=delimiter,
            time_column=time,
            columns=columns.split(",") if columns else None,
        )
        options = recording.PlayOptions(
            port=port,
            machine=machine or file.stem,
            speed=speed,
            times=times,
            wait=wait,
            control=control,
        )
        asyncio.run(recording.run(table, options))


@contextmanager
def _one_message() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code."""
    # Until the event loop takes the signals over there is nothing to tidy, only imports to leave.
    numbers = signal.SIGINT, signal.SIGTERM
    previous = [signal.signal(number, lambda *_: os._exit(ExitCode.DONE)) for number in numbers]
    try:
        yield
    except LineError as error:
        talk(f"error: {error}")
        raise typer.Exit(error.code) from None
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
