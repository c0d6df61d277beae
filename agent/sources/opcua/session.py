"""One session with one server.

Enters: requests. Leaves: the bytes of responses, each within a deadline; those of PublishRequests
when the server has something to say. Fails: OSError, TimeoutError and UaError as asyncua does;
SourceRefused where security is not agreed on (`security.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from agent.config import OpcuaConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.sources.opcua.client import GuardedClient
from agent.sources.opcua.fallback import time_ns
from agent.sources.opcua.security import secure
from agent.trust import Trust

CLOSE_S: Final = 3.0
ABANDON_S: Final = 0.5
"""A connection that was lost is closed within this, in case the server still hears."""

_SERVICE_FAULT: Final = b"\x01\x00" + int(
    ua.ObjectIds.ServiceFault_Encoding_DefaultBinary
).to_bytes(2, "little")
"""How the answer to a failed request begins (OPC 10000-6, 5.2.2.9: a four-byte NodeId)."""


_REFUSALS: Final = (ua.uaerrors.BadUserAccessDenied, ua.uaerrors.BadSecurityChecksFailed)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may hold: what all servers bear, or less where the server says so."""

    items_per_call_max: int = 200
    """A Siemens S7-1200 takes fifty times as long for each item beyond 200 a call."""
    nodes_per_read_max: int = 1000
    nodes_per_browse_max: int = 100
    nodes_per_history_max: int = 100
    continuation_points_max: int = 10


_CAPABILITY: Final = "Server_ServerCapabilities_"
_LIMITS: Final = {
    "items_per_call_max": "OperationLimits_MaxMonitoredItemsPerCall",
    "nodes_per_read_max": "OperationLimits_MaxNodesPerRead",
    "nodes_per_browse_max": "OperationLimits_MaxNodesPerBrowse",
    "nodes_per_history_max": "OperationLimits_MaxNodesPerHistoryReadData",
    "continuation_points_max": "MaxBrowseContinuationPoints",
}
"""Where a server says it (OPC 10000-5, 6.3.2 and 6.3.11)."""


class Session:
    """An activated session.

    security : what was agreed on, as a person says it
    limits : what one call may hold
    namespaces : the server's, in its order, as it told last
    """

    def __init__(self, client: GuardedClient, security: str) -> None:
        self.client = client
        self.security = security
        self.limits = Limits()
        self.namespaces: list[str] = []

    def node(self, text: str) -> ua.NodeId | None:
        """A NodeId of the configuration; None where the server has no such namespace."""
        return node_of(text, self.namespaces)

    async def look_up(self) -> None:
        """Ask the server for its namespaces."""
        self.namespaces = await self.client.get_namespace_array()

    async def request(self, request: Any) -> bytes:
        """The answer to a request, from its type id on. Raises UaStatusCodeError of a fault."""
        return bytes(await self.client.uaclient._send_request(request))

    def publish(self, acknowledgements: Sequence[tuple[int, int]]) -> asyncio.Future[Buffer]:
        """Send a PublishRequest. Answers resolve in the order in which the server sent them.

        acknowledgements : subscription and sequence number of each
        `checked` reads an answer. Raises ConnectionError where there is no connection any more.
        """
        return self.client.publish(acknowledgements)

    async def now_ns(self) -> int:
        """The server's clock, UTC; 0 where it does not say."""
        data = (await self._read([ua.ObjectIds.Server_ServerStatus_CurrentTime]))[0]
        moment = data.Value.Value if data.Value is not None else None
        return (time_ns(moment) or 0) if isinstance(moment, datetime) else 0

    async def read_limits(self) -> None:
        """Ask the server what one call may hold."""
        numbers = [getattr(ua.ObjectIds, _CAPABILITY + name) for name in _LIMITS.values()]
        ours, said = self.limits, {}
        for name, data in zip(_LIMITS, await self._read(numbers), strict=True):
            value = data.Value.Value if data.Value is not None else None
            if isinstance(value, int) and value > 0:  # 0: as many as one likes
                said[name] = value
        bearable = {name: min(most, said.get(name, most)) for name, most in asdict(ours).items()}
        self.limits = replace(ours, **bearable)

    async def close(self, *, delete_subscriptions: bool) -> None:
        """End the session within a deadline; a server that does not answer is left."""
        with suppress(OSError, TimeoutError, ua.UaError, asyncio.InvalidStateError):
            async with asyncio.timeout(CLOSE_S if delete_subscriptions else ABANDON_S):
                await self.client.end(delete_subscriptions=delete_subscriptions)
        self.client.abort()

    async def _read(self, numbers: Sequence[int]) -> list[ua.DataValue]:
        nodes = [ua.NodeId(ua.Int32(number)) for number in numbers]
        session = self.client.uaclient.session
        return await session.read_attributes(nodes, ua.AttributeIds.Value)


async def open_session(
    config: OpcuaConfig, trust: Trust | None, *, name: str = "Andon agent"
) -> Session:
    """Connect, agree on security and activate, within `config.connect_timeout_s`."""
    client = GuardedClient(config.endpoint, config.connect_timeout_s)
    client.name = client.description = name
    try:
        async with asyncio.timeout(config.connect_timeout_s):
            session = Session(client, await secure(client, config, trust))
            await client.connect()
            await session.look_up()
            with suppress(ua.UaError):  # the smallest servers have no such nodes
                await session.read_limits()
    except (SourceError, OSError, TimeoutError, ua.UaError):
        client.abort()
        raise
    except Exception as error:  # whatever asyncua stumbles over in bytes that are no OPC UA
        client.abort()
        raise SourceUnreachable(
            f"{config.name}: {config.endpoint} answers, but not as an OPC UA server: {error!r}",
            "does something else listen at this port?",
        ) from error
    except BaseException:
        client.abort()
        raise
    nodes = (session.node(text) for text in config.writable)
    client.writable = frozenset(node for node in nodes if node is not None)
    return session


def node_of(text: str, namespaces: Sequence[str]) -> ua.NodeId | None:
    """A NodeId from text (OPC 10000-6, 5.1.12); None where there is no such namespace."""
    if text.startswith("nsu="):
        uri, _, rest = text[len("nsu=") :].partition(";")
        if uri not in namespaces:
            return None
        text = f"ns={namespaces.index(uri)};{rest}"
    return ua.NodeId.from_string(text)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Say what a server's refusal or silence means: SourceRefused or SourceUnreachable."""
    try:
        yield
    except _REFUSALS as error:
        raise SourceRefused(
            f"{where} refuses: {error}", "check the user, and what the server lets him do"
        ) from error
    except (OSError, TimeoutError, ua.UaError, asyncio.InvalidStateError) as error:
        raise SourceUnreachable(
            f"{where} does not answer: {reason(error)}",
            "is the server running, is the port right, does a firewall stand between?",
        ) from error


def reason(error: BaseException) -> str:
    """What an error says, or is."""
    return str(error) or type(error).__name__


def checked(answer: Buffer) -> bytes:
    """The bytes of an answer, from its type id on. Raises UaStatusCodeError of a ServiceFault."""
    body = bytes(answer)
    if body.startswith(_SERVICE_FAULT):
        buffer = Buffer(body)
        nodeid_from_binary(buffer)
        struct_from_binary(ua.ResponseHeader, buffer).ServiceResult.check()
    return body
