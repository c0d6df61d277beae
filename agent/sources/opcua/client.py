"""asyncua's client, reduced to what is wanted of it and guarded.

Of asyncua stay the connection, chunks, sequence numbers, encryption and the renewal of the channel.
Its publish loop, watchdogs and reconnecting are not started: what they notice shows in the
publications. No request that would change something at the server passes: a Write or a Call of a
node that is not in `writable` raises NotWritable before anything is sent.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from asyncua import Client, ua
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary

TCP_S: Final = 3.0
"""A connection that is not there by then was asked for in vain: packets go nowhere."""
HELLO_S: Final = 4.0
"""The same of the first answer; only then cryptography begins, which may take its time."""
MESSAGE_BYTES_MAX: Final = 64 << 20
"""Larger messages are not taken: the server is told so, and is not believed if it sends them."""
SESSION_TIMEOUT_MS: Final = 120_000

REFRESHES: Final = frozenset(
    {ua.ObjectIds.ConditionType_ConditionRefresh, ua.ObjectIds.ConditionType_ConditionRefresh2}
)
"""Methods that change nothing: they ask for conditions to be told again."""

_CHANGES: Final = (
    ua.HistoryUpdateRequest,
    ua.AddNodesRequest,
    ua.DeleteNodesRequest,
    ua.AddReferencesRequest,
    ua.DeleteReferencesRequest,
)
"""Services that are never used."""


_PUBLISH: Final = b"\x01\x00" + int(ua.ObjectIds.PublishRequest_Encoding_DefaultBinary).to_bytes(
    2, "little"
)
_HEADER: Final = struct.Struct("<qIIiIBBBi")
"""Timestamp, handle, diagnostics, no audit id, no timeout, no additional header; then how many
acknowledgements follow."""
_EPOCH_TICKS: Final = 116_444_736_000_000_000
"""From 1601 to 1970 in units of 100 ns."""


class NotWritable(Exception):
    """The configuration does not list this node as writable."""


class GuardedClient(Client):
    """A client for one connection.

    writable : the only nodes that may be written or called
    """

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        super().__init__(endpoint, timeout=timeout_s)
        self._transport = _Transport(timeout_s)
        self._transport.pre_request_hook = self.uaclient.pre_request_hook
        self.uaclient = self._transport
        self.nodes = Shortcuts(self.uaclient.session)
        self.session_timeout = SESSION_TIMEOUT_MS
        self.max_messagesize = MESSAGE_BYTES_MAX

    @property
    def writable(self) -> Collection[ua.NodeId]:
        """The only nodes that may be written or called."""
        return self._transport.writable

    @writable.setter
    def writable(self, nodes: Collection[ua.NodeId]) -> None:
        self._transport.writable = nodes

    async def connect(self, **_: Any) -> None:
        """Connect and activate the session; nothing watches over it."""
        self.uaclient.clear_disconnect_request()
        await self._connect_sequence()

    async def connect_socket(self) -> None:
        """Open the connection, within `TCP_S`."""
        async with asyncio.timeout(TCP_S):
            await super().connect_socket()

    async def send_hello(self) -> None:
        """Say hello, and be answered within `HELLO_S`."""
        async with asyncio.timeout(HELLO_S):
            await super().send_hello()

    def publish(self, acknowledgements: Sequence[tuple[int, int]]) -> asyncio.Future[Buffer]:
        """Send a PublishRequest; its answer comes when the server has something to say."""
        protocol = self.uaclient.protocol
        if not isinstance(protocol, _Protocol):
            raise ConnectionError("the connection is closed")
        return protocol.publish(acknowledgements)

    async def end(self, *, delete_subscriptions: bool) -> None:
        """Close session, channel and connection, as the server expects it."""
        self.uaclient.request_disconnect()
        await self._cancel_task(self._renew_channel_task)
        self.uaclient.pre_request_hook = None
        await self.uaclient.close_session(delete_subscriptions)
        await self.close_secure_channel()
        self.disconnect_socket()

    def abort(self) -> None:
        """Drop the connection at once; safe at any time."""
        self.uaclient.request_disconnect()
        if self._renew_channel_task is not None:
            self._renew_channel_task.cancel()
        protocol = self.uaclient.protocol
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()


class _Transport(UaClient):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.writable: Collection[ua.NodeId] = ()

    def _make_protocol(self) -> UASocketProtocol:
        protocol = _Protocol(self, self._timeout, self.security_policy)
        protocol.pre_request_hook = self.pre_request_hook
        protocol.on_connection_lost = self._on_transport_lost
        protocol.is_session_closing = self._is_session_closing
        self.protocol = protocol
        return protocol


class _Protocol(UASocketProtocol):
    """asyncua's connection, which lets no request pass that would change what is not writable."""

    def __init__(self, transport: _Transport, timeout_s: float, policy: Any) -> None:
        super().__init__(timeout_s, policy)
        self._guarded = transport
        self._unsent: list[bytes] = []
        """PublishRequests of this turn of the event loop; sent before any later request."""

    def publish(self, acknowledgements: Sequence[tuple[int, int]]) -> asyncio.Future[Buffer]:
        """Send a PublishRequest, encoded here: asyncua takes six times as long for it.

        acknowledgements : subscription and sequence number of each
        """
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        self._request_handle += 1
        body = publish_request(self.authentication_token, self._request_handle, acknowledgements)
        self.revolve_security_token()
        self._request_id += 1
        chunks = self._connection.message_to_binary(body, request_id=self._request_id)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Buffer] = loop.create_future()
        self._callbackmap[self._request_id] = future
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(chunks)
        return future

    def _flush(self) -> None:
        """Send what waits: many small packets cost both sides more than what is in them."""
        chunks, self._unsent = b"".join(self._unsent), []
        if self.transport is not None:
            self.transport.write(chunks)

    def _process_received_message(self, msg: Any) -> None:
        # asyncua takes a fault in answer to OpenSecureChannel for the channel.
        if isinstance(msg, ua.Message) and isinstance(
            msg.SecurityHeader(),  # type: ignore[no-untyped-call]
            ua.AsymmetricAlgorithmHeader,
        ):
            self.check_answer(msg.body(), "")  # type: ignore[no-untyped-call]
        super()._process_received_message(msg)

    def _send_request(self, request: Any, *args: Any, **options: Any) -> asyncio.Future[Any]:
        if isinstance(request, _CHANGES):
            raise NotWritable(f"{type(request).__name__} is never sent: the agent only reads")
        for node in _changed_by(request):
            if node not in self._guarded.writable:
                raise NotWritable(
                    f"{node.to_string()} is not written or called: the configuration does not list "
                    "it as writable"
                )
        self._flush()
        return super()._send_request(request, *args, **options)


def publish_request(
    token: ua.NodeId, handle: int, acknowledgements: Sequence[tuple[int, int]]
) -> bytes:
    """A PublishRequest that may wait at the server for ever (OPC 10000-4, 5.14.5.2 and 7.32)."""
    sent = time.time_ns() // 100 + _EPOCH_TICKS
    count = len(acknowledgements)
    return (
        _PUBLISH
        + nodeid_to_binary(token)
        + _HEADER.pack(sent, handle, 0, -1, 0, 0, 0, 0, count)
        + struct.pack(f"<{2 * count}I", *(n for pair in acknowledgements for n in pair))
    )


def _changed_by(request: Any) -> list[ua.NodeId]:
    """The nodes that a request would write or call."""
    if isinstance(request, ua.WriteRequest):
        return [value.NodeId for value in request.Parameters.NodesToWrite]
    if isinstance(request, ua.CallRequest):
        return [
            call.MethodId
            for call in request.Parameters.MethodsToCall
            if call.MethodId.NamespaceIndex or call.MethodId.Identifier not in REFRESHES
        ]
    return []
