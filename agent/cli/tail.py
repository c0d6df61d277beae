"""`andon tail`: what the running service makes, as it makes it."""

from __future__ import annotations

import json as json_module
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.batch import status_name
from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, print_data
from agent.errors import AndonError, SourceUnreachable

TYPES: Final = ("window", "sample", "state", "anomaly")


def tail(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration.")] = CONFIG_PATH,
    machine: Annotated[str, typer.Option(help="Only this machine.")] = "",
    signal: Annotated[str, typer.Option(help="Only this signal.")] = "",
    only: Annotated[str, typer.Option(help=f"Only such: {', '.join(TYPES)}.")] = "",
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="End after so many; 0 never.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Show what the running service makes.

    Windows, raw samples, states of machines and anomalies, as they are committed.
    """
    if only and only not in TYPES:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(TYPES)}", param_hint="--only")
    wanted = {"machine": machine, "signal": signal, "type": only}
    try:
        from agent.config import load_gateway

        folder = Path(load_gateway(config).data)
        _tail(folder, {k: v for k, v in wanted.items() if v}, lines, json)
    except AndonError as error:
        fail(error)
    except BrokenPipeError:  # as with `| head`: typer ends the command without a word
        raise
    except OSError as error:
        fail(
            SourceUnreachable(
                f"no service answers at {folder}: {error.strerror or error}",
                "start it with `andon run`, or check that you may read its data folder",
            )
        )
    except KeyboardInterrupt:
        return


def _tail(folder: Path, wanted: dict[str, str], lines: int, json: bool) -> None:
    from agent.status import tail as events

    shown = 0
    for event in events(folder):
        missed = event["type"] == "missed"
        if not missed and any(event.get(key) != value for key, value in wanted.items()):
            continue
        print_data(json_module.dumps(event, ensure_ascii=False) if json else tell(event))
        sys.stdout.flush()  # a pipe's reader wants it now too
        shown += not missed
        if lines and shown >= lines:
            return


def tell(event: dict[str, Any]) -> str:
    """One event as a line for a person."""
    if event["type"] == "missed":
        return f"... {event['events']:,} more that this terminal was too slow for"
    moment = datetime.fromtimestamp(event["time_ns"] / 1e9, UTC)
    signal = "" if event["signal"] == "_machine" else f"/{event['signal']}"
    where = f"{moment:%H:%M:%S.%f}"[:-3] + f"  {event['machine']}{signal}"
    return f"{where:<46}  {_WHAT[event['type']](event)}"


def _window(event: dict[str, Any]) -> str:
    shown = [f"{name} {event[name]:.6g}" for name in ("mean", "min", "max") if name in event]
    if "increase" in event:
        shown = [f"+{event['increase']:.6g}", f"last {event['last']:.6g}"]
    unit = f" {event['unit']}" if event["unit"] else ""
    text = ", ".join(shown) + unit if shown else "nothing"
    return f"{event['every']:>3}  n {event['n']:<5} good {event['good']:>4.0%}  {text}"


def _sample(event: dict[str, Any]) -> str:
    value, status = event["value"], event["status"]
    if value is None:
        said = "no value"
    else:
        said = value if isinstance(value, str) else f"{value:.6g} {event['unit']}".rstrip()
    return f"{said}  {status_name(status)}" if status else said


def _state(event: dict[str, Any]) -> str:
    if event["ended_ns"]:
        return f"{event['state']}: over after {_lasted_s(event):.1f} s"
    reason = f", {event['reason']}" if event["reason"] else ""
    return f"now {event['state']}{reason}"


def _anomaly(event: dict[str, Any]) -> str:
    if event["ended_ns"]:
        return f"{event['detector']}: over after {_lasted_s(event):.1f} s"
    return f"{event['severity'].upper()} {event['detector']}: {event['message']}"


def _lasted_s(event: dict[str, Any]) -> float:
    return float(event["ended_ns"] - event["time_ns"]) / 1e9


_WHAT: Final = {"window": _window, "sample": _sample, "state": _state, "anomaly": _anomaly}
