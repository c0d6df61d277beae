"""`andon outbox`: what waits, how long there is room, and how to carry it out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.outbox.tell import exported, letter, sent, tell
from agent.cli.terminal import fail, print_data, print_json, say
from agent.errors import AndonError, ConfigError, OutboxError

outbox = typer.Typer(name="outbox", help="What waits to be sent, and how long there is room.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The gateway's configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEAD_SHOWN: Final = 20


@outbox.callback(invoke_without_command=True)
def _show(
    context: typer.Context, config: ConfigOption = CONFIG_PATH, json: JsonOption = False
) -> None:
    """Say what waits to be sent, and how long there is room.

    Works beside a running service and without one. Rates are means over about five minutes.
    """
    if context.invoked_subcommand is not None:
        if config != CONFIG_PATH:  # before the command is as good as behind it
            context.default_map = {context.invoked_subcommand: {"config": str(config)}}
        return
    try:
        from agent.cli.outbox.look import look

        document = look(_file(config))
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
    file: Annotated[
        Path | None, typer.Option(help="A file that was carried out, instead of the gateway's own.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the lines that a far side rejected, with its reasons, the newest last."""
    try:
        from agent.cli.outbox.look import dead_letters

        rows = dead_letters(file or _file(config), sink)
    except AndonError as error:
        fail(error)
    shown = rows[-lines:]
    if json:
        print_json(shown)
        return
    print_data("\n\n".join(map(letter, shown)) or "no dead letters")
    if len(shown) < len(rows):
        say(f"the newest {len(shown):,} of {len(rows):,}; -n {len(rows)} shows all")


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

    Works beside a running service; `andon outbox import` sends it from where there is a way. A file
    that exists is not written over.
    """
    try:
        from agent.outbox.carry import export as carry_out
        from agent.outbox.carry import take as take_out

        source = _file(config)
        if file.is_dir():
            raise ConfigError(
                f"{file} is a folder", f"name a new file in it, such as {file / 'backlog.db'}"
            )
        if take:
            _check_stopped(source)
        summary = (take_out if take else carry_out)(source, file)
    except AndonError as error:
        fail(error)
    if json:
        print_json({"file": str(file), "lines": summary.lines, "bytes": summary.bytes})
        return
    print_data(exported(str(file), summary.lines, summary.bytes))
    if summary.lines and not take:
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
    can be broken off: what has arrived is noted in the file, and the same command sends the rest.
    """
    try:
        from agent.cli.outbox.carry import send
        from agent.config import load

        settings = load(config)
        if file.resolve() == _file(config).resolve():
            raise ConfigError(
                f"{file} is this gateway's own outbox", "its service sends it: `andon run`"
            )
        done = send(file, settings, _sink(settings, sink), say)
    except AndonError as error:
        fail(error)
    print_json(done.document()) if json else print_data("\n".join(sent(done.document())))
    if done.error is not None:
        fail(done.error)


def _file(config: Path) -> Path:
    from agent.config import load_gateway
    from agent.outbox import FILE_NAME

    return Path(load_gateway(config).data) / FILE_NAME


def _check_stopped(source: Path) -> None:
    """A lock keeps the service's outbox safe as well; this says it in the terms of this command."""
    from agent.cli.outbox.look import status

    if status(source.parent) is not None:
        raise OutboxError(
            "the service runs, and goes on sending these lines",
            "stop it first; or export without --take: what is sent twice changes nothing",
        )


def _sink(config: Any, name: str) -> Any:
    named = {sink.name: sink for sink in config.influxdb}
    if name in {sink.name for sink in (*config.sparkplug, *config.uns)}:
        raise ConfigError(
            f"the sink {name} speaks MQTT, and a broker does not tell lines of another gateway "
            "from this one's",
            f"send them to one that speaks HTTP: {', '.join(named) or 'there is none'}",
        )
    if name and name not in named:
        raise ConfigError(
            f"there is no sink {name!r}", f"the configuration has {', '.join(named) or 'none'}"
        )
    if not name and len(named) != 1:
        raise ConfigError(
            f"the configuration has {len(named)} sinks that can take them",
            "say which one with --sink" if named else "add an [[influxdb]] table",
        )
    return named[name or next(iter(named))]
