"""`andon run`: the service."""

from __future__ import annotations

import asyncio
import json as json_module
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, say
from agent.errors import AndonError, ExitCode

LOG_FORMAT: Final = "%(asctime)sZ %(levelname)-7s %(name)s: %(message)s"
LOG_FORMAT_JOURNAL: Final = "%(levelname)-7s %(name)s: %(message)s"


def run(
    config: Annotated[Path, typer.Argument(help="The configuration.")] = CONFIG_PATH,
    json: Annotated[
        bool, typer.Option("--json", help="Print what happens as JSON, one object a line.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Run the service.

    Reads the machines, derives and forwards, until SIGINT or SIGTERM; then drains and stops.
    SIGHUP, or a change of the configuration's files, applies what has changed in them.
    """
    configure_logging(verbose)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the service can take it
    try:
        from agent.cli.service import Files, Service
        from agent.config import load

        files = Files(config)  # looked at before they are read, or a change between were missed
        service = Service(load(config), files)
    except AndonError as error:
        fail(error)
    try:
        ledger = asyncio.run(_serve(service, config, json))
    except AndonError as error:
        fail(error)
    if not ledger.balanced:
        say("error: the ledger does not balance; `andon ledger` shows both sides")
        raise typer.Exit(ExitCode.UNBALANCED)


def configure_logging(verbose: bool) -> None:
    """Our sentences go to stderr; the libraries' own are ours to tell."""
    journal = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format=LOG_FORMAT_JOURNAL if journal else LOG_FORMAT,
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.Formatter.converter = time.gmtime
    logging.getLogger("andon").setLevel(logging.DEBUG if verbose else logging.INFO)
    for library in ("asyncua", "paho", "urllib3", "influxdb_client", "asyncio"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)


async def _serve(service: Any, config: Path, json: bool) -> Any:
    stop = asyncio.Event()
    log = logging.getLogger("andon.service")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    _event(json, "started", pid=os.getpid())
    log.info("%s runs by %s; Ctrl-C or SIGTERM stops it, SIGHUP reloads", service.name, config)
    ledger = await service.run(stop)
    waiting = ledger.lines.waiting
    log.info("stopped, %s lines wait to be sent", f"{waiting:,}" if waiting else "no")
    _event(json, "stopped", **service.final(ledger))
    return ledger


def _event(json: bool, name: str, **values: Any) -> None:
    if json:
        print(json_module.dumps({"event": name, **values}), flush=True)  # noqa: T201 - is data
