"""The command `andon`: one file per command, put together here."""

from __future__ import annotations

import typer

# Under other names, or the functions would hide their modules.
from agent.cli.check import check as _check
from agent.cli.demo import demo as _demo
from agent.cli.init import init as _init
from agent.cli.ledger import ledger as _ledger
from agent.cli.run import run as _run
from agent.cli.tail import tail as _tail

app = typer.Typer(
    name="andon",
    help="The Andon agent: reads machines, notices what is wrong, loses nothing on the way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (_init, _check, _run, _demo, _tail, _ledger):
    app.command()(command)
