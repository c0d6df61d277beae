"""Browsing: from the address of a server to the signals that a configuration could read.

Enters: a session, and where to begin. Leaves: an address space (`address_space.py`), of which
`propose` makes machines and signals. Fails: SourceUnreachable when the server does not answer or
goes away in the middle, ConfigError where the start is no node of this server. Nothing is ever
written or called.
"""

from __future__ import annotations

import asyncio

from asyncua import ua

from agent.config import OpcuaConfig
from agent.errors import ConfigError, SourceUnreachable
from agent.sources.opcua.browse.address_space import AddressSpace, load, save
from agent.sources.opcua.browse.maps import MachineMap, load_map
from agent.sources.opcua.browse.node_ids import Namespaces
from agent.sources.opcua.browse.proposal import Offer, Proposal, propose
from agent.sources.opcua.browse.requests import Requests
from agent.sources.opcua.browse.walk import OBJECTS, Bounds, Step, walk
from agent.sources.opcua.session import Session, explained, open_session
from agent.trust import Trust

__all__ = [
    "OBJECTS",
    "AddressSpace",
    "Bounds",
    "MachineMap",
    "Offer",
    "Proposal",
    "Step",
    "browse",
    "connect",
    "load",
    "load_map",
    "propose",
    "save",
]


async def connect(config: OpcuaConfig, trust: Trust | None) -> Session:
    """A session to browse with. Raises SourceUnreachable, SourceRefused."""
    with explained(config.endpoint):
        return await open_session(config, trust, name="andon browse")


async def browse(session: Session, space: AddressSpace, bounds: Bounds, step: Step) -> None:
    """Walk on from where `space` stands, until all is found that the bounds allow.

    `step` is called after every answer of the server; `space` is whole then.
    """
    try:
        uris = session.namespaces
        requests = Requests(session, Namespaces(uris))
        if requests.namespaces.node(space.start) is None:
            raise ConfigError(
                f"the server has no node {space.start}: its namespaces are {', '.join(uris)}",
                "begin elsewhere with --from, or leave it out",
            )
        await walk(requests, space, bounds, step)
    except (OSError, TimeoutError, asyncio.InvalidStateError, ua.UaError) as error:
        raise SourceUnreachable(
            f"{space.endpoint} no longer answers: {str(error) or type(error).__name__}",
            "what was found until then is kept where --resume names a file",
        ) from error
