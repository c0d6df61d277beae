"""The command `andon`: one file per command, put together here."""

from __future__ import annotations

import typer

from agent.cli.check import check
from agent.cli.demo import demo
from agent.cli.init import init
from agent.cli.ledger import ledger
from agent.cli.run import run
from agent.cli.tail import tail

app = typer.Typer(
    name="andon",
    help="The Andon agent: reads machines, notices what is wrong, loses nothing on the way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (init, check, run, demo, tail, ledger):
    app.command()(command)
