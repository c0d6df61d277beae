"""`andon browse`: what a machine's OPC UA server offers, as a configuration ready to paste."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.__main__ import INTERRUPTED
from agent.cli.browse.progress import Progress
from agent.cli.browse.server import by_address, by_name, talking, trust_of
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


ServerArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENDPOINT|NAME",
        help="The server, opc.tcp://host:port, or its name in the configuration.",
    ),
]
ResumeOption = Annotated[
    Path | None,
    typer.Option(help="Keep what is found in this file; go on with it where it is there."),
]
MapOption = Annotated[
    Path | None,
    typer.Option("--map", help="Only what this map of a machine names, under its names."),
]
ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", help="The gateway's configuration, for its certificates."),
]


def browse(
    endpoint: ServerArgument,
    start: Annotated[
        str, typer.Option("--from", help="Begin at this node instead of the folder Objects.")
    ] = "",
    resume: ResumeOption = None,
    nodes_max: Annotated[int, typer.Option(min=1, help="Nodes that are looked at.")] = 100_000,
    depth_max: Annotated[int, typer.Option(min=0, help="References from the start.")] = 30,
    map_file: MapOption = None,
    match: Annotated[
        str, typer.Option(help="Only variables whose path is like this: `*/Spindle*`.")
    ] = "",
    machine: Annotated[str, typer.Option(help="Only this machine.")] = "",
    only: Annotated[str, typer.Option(help=f"Only such variables: {', '.join(ONLY)}.")] = "",
    security: Annotated[
        str, typer.Option(help="auto, none, or the name of a security policy.")
    ] = "auto",
    user: Annotated[
        str, typer.Option(help="The user to log in as; the password is asked for.")
    ] = "",
    password_env: Annotated[
        str, typer.Option(help="The environment variable that holds the password instead.")
    ] = PASSWORD_ENV,
    config: ConfigOption = CONFIG_PATH,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Walk a server's address space and print what can be read as TOML.

    Nothing is written or called on the server. Kinds that are guessed from names say so.
    """
    if only and only not in ONLY:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(ONLY)}", param_hint="--only")
    is_named = "://" not in endpoint
    if is_named and (user or security != "auto"):
        raise typer.BadParameter("the configuration says user and security of a server by name")
    try:
        if is_named:
            server = by_name(endpoint, config)
        else:
            server = by_address(endpoint, security, user, password_env)
        with talking(server, config, is_named=is_named):
            configure_logging(False)
            most = nodes_max, depth_max
            space, bounds, found = _look(server, _start(start), map_file, resume, most, config)
        shown = _filtered(found, match, machine, only)
    except AndonError as error:
        fail(error)
    except asyncio.CancelledError:
        say("stopped" + (f"; the same command goes on from {resume}" if resume else ""))
        raise typer.Exit(INTERRUPTED) from None
    from agent.cli.browse.tell import document, tell, toml, what_next

    if json:
        print_json(document(space, shown, bounds))
    else:
        print_data(toml(server, shown, None if is_named else password_env))
    say(tell(space, found, shown, bounds, by_map=map_file is not None))
    if shown.signals and not json:
        say(what_next(server, config, None if is_named else password_env))


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
    asyncio.run(_walk(server, trust_of(config, server), space, bounds, resume))
    if space.failed and len(space.nodes) == 1:
        raise ConfigError(
            f"{endpoint} does not let {space.start} be browsed: {', '.join(space.failed)}",
            "begin elsewhere with --from, or leave it out",
        )
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
    """What the options leave of it. Raises ConfigError."""
    known = [one.name for one in found.machines]
    if machine and machine not in known:
        raise ConfigError(
            f"--machine {machine}: no signal that was found is of such a machine",
            f"they are of {', '.join(known)}" if known else "",
        )
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
