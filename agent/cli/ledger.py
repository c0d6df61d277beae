"""`andon ledger`: accounts for every sample and every line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, print_data, print_json
from agent.errors import AndonError, ExitCode


def ledger(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration.")] = CONFIG_PATH,
    json: Annotated[bool, typer.Option("--json", help="Print the ledger as JSON.")] = False,
) -> None:
    """Account for every sample and every line.

    Counts since the outbox was made. Works beside a running service and without one. Exit code 6
    where it does not balance.
    """
    try:
        from agent.config import load_gateway
        from agent.outbox import FILE_NAME
        from agent.outbox.reader import open_readonly

        folder = Path(load_gateway(config).data)
        with open_readonly(folder / FILE_NAME) as outbox:
            document = outbox.ledger().document()
    except AndonError as error:
        fail(error)
    if json:
        print_json(document)
    else:
        print_data("\n".join(tell(document)))
    if not document["balanced"]:
        raise typer.Exit(ExitCode.UNBALANCED)


def tell(document: Mapping[str, Any]) -> Iterator[str]:
    """The ledger as sentences anyone can check."""
    samples, lines = document["samples"], document["lines"]
    yield "samples"
    yield _row("received", samples["received"])
    yield _row("into windows and lines", samples["derived"], 1)
    for cause, count in sorted(samples["filtered"].items()):
        yield _row(f"filtered: {cause.replace('_', ' ')}", count, 1)
    for cause, count in sorted(samples["dropped"].items()):
        yield _row(f"dropped: {cause.replace('_', ' ')}", count, 1)
    if not samples["filtered"]:
        yield _row("filtered", 0, 1)
    if not samples["dropped"]:
        yield _row("dropped", 0, 1)
    yield _row("pending", samples["pending"], 1)
    yield ""
    yield "lines"
    yield _row("made", lines["made"])
    yield _row("acknowledged", lines["acknowledged"], 1)
    yield _row("waiting", lines["waiting"], 1)
    yield _row("replaced", lines["replaced"], 1)
    for cause, count in sorted(lines["dead_letter"].items()):
        yield _row(f"dead letters: {cause.replace('_', ' ')}", count, 1)
    if not lines["dead_letter"]:
        yield _row("dead letters", 0, 1)
    for name, sink in document["sinks"].items():
        yield ""
        yield f"{name}: {sink['acknowledged']:,} acknowledged, {sink['waiting']:,} waiting, " + (
            f"{sink['dead_letter']:,} rejected"
        )
    yield ""
    yield "balanced" if document["balanced"] else "NOT BALANCED"


def _row(name: str, count: int, depth: int = 0) -> str:
    indent = "  " * (depth + 1)
    return f"{indent}{name:<{34 - len(indent)}}{count:>16,}"
