"""Browsing an OPC UA server: its address space, as tables of signals.

Enters: a server's table and what of it is wished for. Leaves: TOML or JSON on stdout, talk on
stderr. Fails: AndonError.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from agent.__main__ import INTERRUPTED
from agent.cli.browse.opcua.progress import Walking
from agent.cli.browse.opcua.server import by_address, talking, trust_of
from agent.cli.run import configure_logging
from agent.cli.terminal import print_data, print_json, say
from agent.errors import ConfigError

if TYPE_CHECKING:
    from agent.config import OpcuaConfig
    from agent.sources.opcua.browse import AddressSpace, Bounds, Proposal
    from agent.trust import Trust

__all__ = ["Wishes", "browse", "by_address"]

SAVE_S: Final = 10.0
"""How often what was found is written down."""
SAVE_SHARE: Final = 20.0
"""Writing takes at most one part in so many of the time."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What of a server is wished for; see the options of the command."""

    start: str
    resume: Path | None
    nodes_max: int
    depth_max: int
    map_file: Path | None
    match: str
    machine: str
    only: str


def browse(
    server: OpcuaConfig, wishes: Wishes, config: Path, password_env: str | None, *, json: bool
) -> None:
    """Walk a server's address space and print what can be read.

    password_env : where the password is; None where the server is in the configuration
    """
    try:
        with talking(server, config, is_named=password_env is None):
            configure_logging(False)
            space, bounds, found = _look(server, wishes, config)
        shown = _filtered(found, wishes)
    except asyncio.CancelledError:
        resume = wishes.resume
        say("stopped" + (f"; the same command goes on from {resume}" if resume else ""))
        raise typer.Exit(INTERRUPTED) from None
    from agent.cli.browse.opcua.tell import document, tell, toml
    from agent.cli.browse.words import what_next

    if json:
        print_json(document(space, shown, bounds))
    else:
        print_data(toml(server, shown, password_env))
    say(tell(space, found, shown, bounds, by_map=wishes.map_file is not None))
    if shown.signals and not json:
        say(what_next(server, config, password_env))


def _look(
    server: OpcuaConfig, wishes: Wishes, config: Path
) -> tuple[AddressSpace, Bounds, Proposal]:
    """Walk, and see what it comes to."""
    from agent.sources.opcua.browse import AddressSpace, Bounds, load, load_map, propose

    start, resume = _start(wishes.start), wishes.resume
    known = load_map(wishes.map_file) if wishes.map_file else None
    endpoint = server.endpoint
    space = load(resume, endpoint, start) if resume else AddressSpace(endpoint, start)
    beside = tuple(said.node for said in known.signals if said.node) if known else ()
    bounds = Bounds(wishes.nodes_max, wishes.depth_max, beside)
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
    with Walking(space, bounds) as progress:

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


def _filtered(found: Proposal, wishes: Wishes) -> Proposal:
    """What the options leave of it. Raises ConfigError."""
    machine, only = wishes.machine, wishes.only
    known = [one.name for one in found.machines]
    if machine and machine not in known:
        raise ConfigError(
            f"--machine {machine}: no signal that was found is of such a machine",
            f"they are of {', '.join(known)}" if known else "",
        )
    pattern = wishes.match.lower()
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
