"""`andon tail`: what the running service makes, as it makes it, and what it rejects."""

from __future__ import annotations

import json as json_module
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.batch import status_name
from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, print_data, say
from agent.errors import AndonError, SourceUnreachable
from agent.sources.quarantine import NO_SIGNAL, UNREADABLE, printable
from agent.sparkplug import NAMESPACE

TYPES: Final = ("window", "sample", "state", "anomaly")
PAYLOAD_CHARS_MAX: Final = 200
"""So much of a rejected payload is shown; with --json it is all that the service keeps."""


def tail(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration.")] = CONFIG_PATH,
    machine: Annotated[str, typer.Option(help="Only this machine.")] = "",
    signal: Annotated[str, typer.Option(help="Only this signal.")] = "",
    only: Annotated[str, typer.Option(help=f"Only such: {', '.join(TYPES)}.")] = "",
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Payloads that could not be read, and why.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="End after so many; 0 never.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Show what the running service makes.

    Windows, raw samples, states of machines and anomalies, as they are committed. Or, with
    --rejected, payloads that could not be read: those that the service keeps, then those that come.
    """
    if only and only not in TYPES:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(TYPES)}", param_hint="--only")
    wanted = {"machine": machine, "signal": signal, "type": only}
    if rejected and any(wanted.values()):
        raise typer.BadParameter("it goes with --lines and --json alone", param_hint="--rejected")
    try:
        from agent.config import load_gateway

        folder = Path(load_gateway(config).data)
        if rejected:
            _rejected(folder, lines, json)
        else:
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
        if event["type"] == "rejected":
            continue
        if not missed and any(event.get(key) != value for key, value in wanted.items()):
            continue
        _print(event, json)
        shown += not missed
        if lines and shown >= lines:
            return


def _rejected(folder: Path, lines: int, json: bool) -> None:
    from agent.status import rejected

    shown = 0
    for event in rejected(folder, newest=lines):
        if event["type"] == "counts":
            say(_counts(event["counts"]))
            continue
        _print(event, json)
        shown += event["type"] == "rejected"
        if lines and shown >= lines:
            return


def _print(event: dict[str, Any], json: bool) -> None:
    print_data(json_module.dumps(event, ensure_ascii=False) if json else tell(event))
    sys.stdout.flush()  # a pipe's reader wants it now too


def tell(event: dict[str, Any]) -> str:
    """One event as a line for a person; a rejected payload as a few."""
    if event["type"] == "missed":
        return f"... {event['events']:,} more that this terminal was too slow for"
    if event["type"] == "rejected":
        return _rejection(event)
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
        said = (
            printable(value) if isinstance(value, str) else f"{value:.6g} {event['unit']}".rstrip()
        )
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


def _rejection(event: dict[str, Any]) -> str:
    """A payload that could not be read, in a few lines: where and when, why, how it began."""
    moment = datetime.fromtimestamp(event["time_ns"] / 1e9, UTC)
    cause = event["cause"]
    what, way_out = _REJECTIONS.get(cause, (cause.replace("_", " "), ""))
    if cause == UNREADABLE and event["topic"].startswith(f"{NAMESPACE}/"):
        way_out = "mend what sends it: this is not Sparkplug B"
    form = " in hexadecimal" if event["form"] == "hex" else ""
    shown = printable(event["payload"])
    more = " ..." if len(shown) > PAYLOAD_CHARS_MAX else ""
    said = [
        f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"  {event['source']}  {printable(event['topic'])}",
        f"  {what}: {printable(event['reason'])}",
        f"  payload, {event['bytes']:,} bytes{form}: {shown[:PAYLOAD_CHARS_MAX]}{more}",
    ]
    return "\n".join([*said, f"  {way_out}"] if way_out else said)


def _counts(counts: dict[str, dict[str, int]]) -> str:
    """How much was rejected, by source."""
    told = [
        f"{number:,} {cause.replace('_', ' ')} from {source}"
        for source, causes in counts.items()
        for cause, number in causes.items()
    ]
    return f"rejected since the start: {', '.join(told) or 'nothing'}"


def _lasted_s(event: dict[str, Any]) -> float:
    return float(event["ended_ns"] - event["time_ns"]) / 1e9


_WHAT: Final = {"window": _window, "sample": _sample, "state": _state, "anomaly": _anomaly}

_REJECTIONS: Final = {
    UNREADABLE: (
        "cannot be read",
        "compare it with `payload` of this topic in the configuration, or mend what sends it",
    ),
    NO_SIGNAL: (
        "leads to no signal",
        "narrow the topics in the configuration, or mend the name that it sends",
    ),
    "no_birth": (
        "came without a birth",
        "the node was asked for one; if this stays, let it obey `Node Control/Rebirth`",
    ),
    "unknown_metric": (
        "has metrics that its birth had not",
        "the node was asked for a new birth; if this stays, let it obey `Node Control/Rebirth`",
    ),
    "retained": ("is old", "let the node publish it without retain"),
    "too_long": ("is too long", "send it in parts"),
}
"""Causes as people say them, and what to do about each."""
