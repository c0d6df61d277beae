"""The command `andon`: one file per command, put together here."""

from __future__ import annotations

from typing import Annotated

import typer

# Under other names, or the functions would hide their modules.
from agent.cli.bench import bench as _bench
from agent.cli.browse import browse as _browse
from agent.cli.check import check as _check
from agent.cli.demo import demo as _demo
from agent.cli.init import init as _init
from agent.cli.ledger import ledger as _ledger
from agent.cli.outbox import outbox as _outbox
from agent.cli.run import run as _run
from agent.cli.tail import tail as _tail
from agent.cli.terminal import print_data
from agent.cli.trust import trust as _trust

app = typer.Typer(
    name="andon",
    help="The Andon agent: reads machines, notices what is wrong, loses nothing on the way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from agent.lines.report import agent_version

        print_data(agent_version())
        raise typer.Exit


for command in (_init, _check, _browse, _run, _demo, _tail, _ledger):
    app.command()(command)
for group in (_outbox, _trust, _bench):
    app.add_typer(group)
