"""`andon ledger`: accounts for every sample and every line, here and at the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.ledger.tell import tell
from agent.cli.terminal import fail, print_data, print_json
from agent.errors import AndonError, ExitCode


def ledger(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration.")] = CONFIG_PATH,
    cloud: Annotated[
        bool, typer.Option("--cloud", help="Compare with what the cloud has.")
    ] = False,
    token_env: Annotated[
        str, typer.Option(metavar="NAME", help="For --cloud: a variable that holds its token.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the ledger as JSON.")] = False,
) -> None:
    """Account for every sample and every line.

    Counts since the outbox was made. Works beside a running service and without one. With --cloud,
    which reads the whole configuration and so needs its secrets, every Andon cloud it names is
    asked what it holds. Exit code 6 where the ledger does not balance or a cloud lacks lines.
    """
    try:
        from agent.cli.ledger.ask import brokers, far_sides, proof_of
        from agent.cli.ledger.compare import Sent
        from agent.config import load, load_gateway
        from agent.outbox import FILE_NAME
        from agent.outbox.reader import open_readonly

        whole = load(config) if cloud else None
        gateway = whole.gateway if whole else load_gateway(config)
        sides = far_sides(whole.influxdb, token_env) if whole else []
        # Read before any cloud is asked: what is done here, it must then have.
        with open_readonly(Path(gateway.data) / FILE_NAME) as outbox:
            uuid, document = outbox.uuid, outbox.ledger().document()
            sinks = document["sinks"]
            sent = {
                name: Sent(outbox.done(name), outbox.known(name), sink["waiting"])
                for name, sink in sinks.items()
                if sides
            }
        proofs = [proof_of(side, uuid, sent[side.name]) for side in sides if side.name in sent]
        proofs += [proof for proof in brokers(whole) if proof.name in sinks] if whole else []
    except AndonError as error:
        fail(error)
    if json:
        held = {proof.name: proof.document() for proof in proofs}
        print_json(document | ({"outbox": uuid, "cloud": held} if cloud else {}))
    else:
        print_data("\n".join(tell(document, proofs)))
    if not document["balanced"] or not all(proof.balanced for proof in proofs):
        raise typer.Exit(ExitCode.UNBALANCED)
    for proof in proofs:
        if proof.error is not None:
            fail(proof.error)
