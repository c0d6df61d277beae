"""`andon outbox`: what waits, how long there is room, and how to carry it out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, print_data, print_json, say
from agent.errors import AndonError, ConfigError, ExitCode

outbox = typer.Typer(name="outbox", help="What waits to be sent, and how long there is room.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The gateway's configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEAD_SHOWN: Final = 20


@outbox.callback(invoke_without_command=True)
def _show(
    context: typer.Context, config: ConfigOption = CONFIG_PATH, json: JsonOption = False
) -> None:
    """Say what waits to be sent, and how long there is room.

    Works beside a running service and without one.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        from agent.outbox.reader import open_readonly

        with open_readonly(_file(config)) as reader:
            document = _document(reader)
    except AndonError as error:
        fail(error)
    print_json(document) if json else print_data("\n".join(tell(document)))


@outbox.command()
def dead(
    config: ConfigOption = CONFIG_PATH,
    sink: Annotated[str, typer.Option(help="Only what this sink rejected.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="So many, the newest.")] = (
        DEAD_SHOWN
    ),
    json: JsonOption = False,
) -> None:
    """Show the lines that a far side rejected, with its reasons."""
    try:
        from agent.outbox.reader import open_readonly

        with open_readonly(_file(config)) as reader:
            letters = reader.dead_letters(sink or None)[-lines:]
    except AndonError as error:
        fail(error)
    rows = [
        {
            "sink": name, "line_id": letter.line_id, "cause": letter.cause,
            "reason": letter.reason, "line": letter.line.decode("utf-8", "replace"),
        }
        for name, letter in letters
    ]  # fmt: skip
    if json:
        print_json(rows)
    elif not rows:
        print_data("no dead letters")
    else:
        print_data("\n\n".join(_letter(row) for row in rows))


@outbox.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write, such as one on a USB stick.")],
    config: ConfigOption = CONFIG_PATH,
    take: Annotated[
        bool,
        typer.Option(
            "--take",
            help="The lines leave the outbox, counted as exported; stop the service first.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Carry what waits out in a file, when there is no way to the cloud.

    Works beside a running service; `andon outbox import` sends it from where there is a way.
    """
    try:
        from agent.outbox.carry import export as carry_out
        from agent.outbox.carry import take as take_out

        source = _file(config)
        summary = (take_out if take else carry_out)(source, file)
    except AndonError as error:
        fail(error)
    document = {"file": str(file), "lines": summary.lines, "bytes": summary.bytes}
    if json:
        print_json(document)
        return
    print_data(f"{summary.lines:,} lines, {size(summary.bytes)}, are in {file}")
    if not take:
        say("they wait here too; sent twice they change nothing")


@outbox.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `andon outbox export` wrote.")],
    config: ConfigOption = CONFIG_PATH,
    sink: Annotated[
        str, typer.Option(help="The sink that takes it; not needed where there is one.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Send what was carried out, to a far side of this configuration.

    The lines keep the numbers of the gateway they come from, so the cloud sees its holes close. It
    can be broken off: what has arrived is noted in the file.
    """
    try:
        from agent.cli.carry import send
        from agent.config import load

        done = send(file, _sink(load(config), sink), say)
    except AndonError as error:
        fail(error)
    print_json(done) if json else print_data(_sent(done))
    if done["waiting"]:
        raise typer.Exit(ExitCode.UNREACHABLE)


def tell(document: dict[str, Any]) -> Iterator[str]:
    """The outbox as lines for a person."""
    rows = [("holds", f"{size(document['bytes'])} of {size(document['bytes_max'])}")]
    waiting, oldest_s = document["lines_waiting"], document["oldest_s"]
    oldest = f", the oldest for {span(oldest_s)}" if waiting and oldest_s is not None else ""
    rows.append(("waiting", f"{_lines(waiting)}{oldest}"))
    rows.append(("comes in", f"{document['lines_in_per_s']:,.1f} lines/s"))
    rows.append(("goes out", f"{document['lines_out_per_s']:,.1f} lines/s"))
    hours = document["hours_left"]
    if hours is None:
        rows.append(("room", "nothing comes in"))
    else:
        rows.append(("room", f"for {span(3600 * hours)} at the present rate, were nothing sent"))
    if waiting:
        drain_s = document["drain_s"]
        rows.append(
            ("drains", "no: more comes than goes" if drain_s is None else f"in {span(drain_s)}")
        )
    for name, sink in document["sinks"].items():
        rejected = f", {sink['dead_letter']:,} rejected" if sink["dead_letter"] else ""
        rows.append((name, f"{sink['waiting']:,} waiting, {sink['acknowledged']:,} sent{rejected}"))
    for cause, count in sorted(document["dropped"].items()):
        rows.append(("dropped", f"{count:,} lines: {cause}"))
    yield f"outbox {document['file']}"
    width = max(len(title) for title, _ in rows)
    for title, text in rows:
        yield f"  {title:<{width}}  {text}"
    if document["dead_letters"]:
        yield f"{document['dead_letters']:,} lines were rejected: see `andon outbox dead`"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.2f} GB"


def span(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 1:
        return "less than a second"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    whole, parts = round(seconds), []
    for name, length in units:
        count, whole = divmod(whole, length)
        if count or parts:
            parts.append(f"{count:,} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def _document(reader: Any) -> dict[str, Any]:
    import time
    from dataclasses import asdict

    usage, ledger = reader.usage(), reader.ledger()
    oldest_s = None if usage.oldest_ns is None else max(time.time() - usage.oldest_ns / 1e9, 0.0)
    return {
        "file": str(reader.path),
        "uuid": reader.uuid,
        "bytes": usage.bytes,
        "bytes_max": usage.bytes_max,
        "lines_waiting": usage.lines_waiting,
        "oldest_s": oldest_s,
        "lines_in_per_s": round(usage.lines_in_per_s, 3),
        "lines_out_per_s": round(usage.lines_out_per_s, 3),
        "hours_left": usage.hours_left,
        "drain_s": usage.drain_s,
        "dead_letters": ledger.lines.dead_letter.total(),
        "dropped": dict(ledger.lines.dropped),
        "sinks": {name: asdict(sink) for name, sink in ledger.sinks.items()},
    }


def _file(config: Path) -> Path:
    from agent.config import load_gateway
    from agent.outbox import FILE_NAME

    return Path(load_gateway(config).data) / FILE_NAME


def _sink(config: Any, name: str) -> Any:
    named = {sink.name: sink for sink in config.influxdb}
    if name and name not in named:
        raise ConfigError(
            f"there is no sink {name!r}", f"the configuration has {', '.join(named) or 'none'}"
        )
    if not name and len(named) != 1:
        raise ConfigError(f"the configuration has {len(named)} sinks", "say which one with --sink")
    return named[name or next(iter(named))]


def _letter(row: dict[str, Any]) -> str:
    head = f"line {row['line_id']:,} to {row['sink']}, {row['cause']}"
    return f"{head}\n  {row['reason']}\n  {row['line']}"


def _sent(done: dict[str, Any]) -> str:
    parts = [f"{done['acknowledged']:,} lines were sent to {done['sink']}"]
    if done["dead_letter"]:
        parts.append(f"{done['dead_letter']:,} were rejected")
    if done["waiting"]:
        parts.append(f"{done['waiting']:,} still wait in the file; run the same command again")
    return "; ".join(parts)
