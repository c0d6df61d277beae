"""`andon browse`: what a machine's OPC UA server offers, as a configuration ready to paste."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from agent.__main__ import INTERRUPTED
from agent.cli.browse.progress import Progress
from agent.cli.browse.tell import document, tell, toml
from agent.cli.check import CONFIG_PATH
from agent.cli.run import configure_logging
from agent.cli.terminal import fail, print_data, print_json, say
from agent.errors import AndonError, ConfigError
from agent.signals import KINDS

if TYPE_CHECKING:
    from agent.config import OpcuaConfig
    from agent.sources.opcua.browse import AddressSpace, Bounds, Proposal
    from agent.trust import Trust

ONLY: Final = ("writable", "historized", *KINDS)
PASSWORD_ENV: Final = "OPCUA_PASSWORD"  # noqa: S105 - names where it is
SAVE_S: Final = 10.0
"""How often what was found is written down."""
SAVE_SHARE: Final = 20.0
"""Writing takes at most one part in so many of the time."""
_SERVER_STATE: Final = {"name": "server_state", "node": "i=2259"}


def browse(
    endpoint: Annotated[str, typer.Argument(help="The server, opc.tcp://host:port.")],
    start: Annotated[
        str, typer.Option("--from", help="Begin at this node instead of the folder Objects.")
    ] = "",
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep what is found in this file; go on with it where it is there."),
    ] = None,
    nodes_max: Annotated[int, typer.Option(min=1, help="Nodes that are looked at.")] = 100_000,
    depth_max: Annotated[int, typer.Option(min=0, help="References from the start.")] = 30,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="Only what this map of a machine names, under its names."),
    ] = None,
    match: Annotated[
        str, typer.Option(help="Only variables whose path is like this: `*/Spindle*`.")
    ] = "",
    machine: Annotated[str, typer.Option(help="Only this machine.")] = "",
    only: Annotated[str, typer.Option(help=f"Only such variables: {', '.join(ONLY)}.")] = "",
    security: Annotated[
        str, typer.Option(help="auto, none, or the name of a security policy.")
    ] = "auto",
    user: Annotated[str, typer.Option(help="The user to log in as.")] = "",
    password_env: Annotated[
        str, typer.Option(help="The environment variable that holds the user's password.")
    ] = PASSWORD_ENV,
    config: Annotated[
        Path, typer.Option(help="The gateway's configuration, for its certificates.")
    ] = CONFIG_PATH,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Walk a server's address space and print what can be read as TOML.

    Nothing is written or called on the server. Kinds that are guessed from names say so.
    """
    if only and only not in ONLY:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(ONLY)}", param_hint="--only")
    configure_logging(False)
    try:
        server = _server(endpoint, security, user, password_env)
        space, bounds, found = _look(
            server, _start(start), map_file, resume, (nodes_max, depth_max), config
        )
    except AndonError as error:
        fail(error)
    except asyncio.CancelledError:
        say("stopped" + (f"; the same command goes on from {resume}" if resume else ""))
        raise typer.Exit(INTERRUPTED) from None
    found = _filtered(found, match, machine, only)
    if json:
        print_json(document(space, found, bounds))
    else:
        print_data(toml(server, found, password_env))
    say(tell(space, found, bounds))


def _look(
    server: OpcuaConfig,
    start: str,
    map_file: Path | None,
    resume: Path | None,
    most: tuple[int, int],
    config: Path,
) -> tuple[AddressSpace, Bounds, Proposal]:
    """Walk, within so many nodes and references from the start, and see what it comes to."""
    from agent.sources.opcua.browse import AddressSpace, Bounds, load, load_map, propose

    known = load_map(map_file) if map_file else None
    endpoint = server.endpoint
    space = load(resume, endpoint, start) if resume else AddressSpace(endpoint, start)
    beside = tuple(said.node for said in known.signals if said.node) if known else ()
    bounds = Bounds(*most, beside)
    asyncio.run(_walk(server, _trust(config, server), space, bounds, resume))
    return space, bounds, propose(space, known)


def _start(text: str) -> str:
    """The NodeId to begin at, Objects where none is given. Raises ConfigError."""
    from pydantic import TypeAdapter, ValidationError

    from agent.config.fields import NodeId
    from agent.sources.opcua.browse import OBJECTS

    try:
        return TypeAdapter[str](NodeId).validate_python(text or OBJECTS)
    except ValidationError as error:
        raise ConfigError(f"--from {text}: {error.errors()[0]['msg']}") from error


def _server(endpoint: str, security: str, user: str, password_env: str) -> OpcuaConfig:
    """The options as a configuration has them. Raises ConfigError."""
    from pydantic import SecretStr, ValidationError

    from agent.config import OpcuaConfig

    name = urlsplit(endpoint).hostname or "server"
    table: dict[str, Any] = {
        "name": name,
        "endpoint": endpoint,
        "machine": name,
        "security": security,
        "signals": (_SERVER_STATE,),
    }
    if user:
        table["user"] = user
        if password := os.environ.get(password_env):
            table["password"] = SecretStr(password)
    try:
        return OpcuaConfig.model_validate(table)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        what = f"{said['loc'][0]}: {said['msg']}"
        raise ConfigError(f"this cannot be browsed: {what}") from error


def _trust(config: Path, server: OpcuaConfig) -> Trust | None:
    """The gateway's certificates; None where they are not needed. Raises ConfigError."""
    from agent.config import load_gateway
    from agent.config.model import PKI
    from agent.trust import Trust

    if server.security == "none":
        return None
    if not config.exists():
        raise ConfigError(
            f"{config} is not there: a secured session needs the certificates of a gateway",
            "name its configuration with --config; on a network of machines that you trust, "
            "--security none does without",
        )
    gateway = load_gateway(config)
    return Trust(gateway.data / PKI, gateway.name)


async def _walk(
    server: OpcuaConfig,
    trust: Trust | None,
    space: AddressSpace,
    bounds: Bounds,
    resume: Path | None,
) -> None:
    from agent.sources.opcua.browse import browse as walk
    from agent.sources.opcua.browse import connect, save

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    session = await connect(server, trust)
    say(f"{server.endpoint}: {session.security}")
    saved_s = spent_s = 0.0
    with Progress(space, bounds) as progress:

        def step() -> None:
            nonlocal saved_s, spent_s
            progress.show()
            begin_s = time.monotonic()
            if resume and begin_s - saved_s > max(SAVE_S, SAVE_SHARE * spent_s):
                save(space, resume)
                saved_s = time.monotonic()
                spent_s = saved_s - begin_s

        try:
            await walk(session, space, bounds, step)
        finally:
            if resume:
                save(space, resume)
            await session.close(delete_subscriptions=True)


def _filtered(found: Proposal, match: str, machine: str, only: str) -> Proposal:
    """What the options leave of it."""
    pattern = match.lower()
    signals = tuple(
        offer
        for offer in found.signals
        if (not pattern or fnmatchcase(offer.path.lower(), pattern))
        and machine in ("", offer.machine)
        and only in ("", offer.kind, *offer.traits)
    )
    names = {offer.machine for offer in signals}
    return replace(
        found, signals=signals, machines=tuple(m for m in found.machines if m.name in names)
    )
