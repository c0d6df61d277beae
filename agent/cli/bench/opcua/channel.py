"""The server's end of a secure channel without security (OPC 10000-6, 6.7 and 7.1).

Enters: what TCP brings. Leaves: whole requests, and the frames of responses. Fails: Refused where
the client breaks the protocol or asks for security; the connection then ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

BUFFER_BYTES_MAX: Final = 65_535
"""A chunk, either way."""
REQUEST_BYTES_MAX: Final = 16 * 1024 * 1024
"""A request of several chunks."""

HEADER: Final = struct.Struct("<3scI")
_MESSAGE: Final = struct.Struct("<3scIIIII")
"""Type, chunk, size; channel, token, sequence number, request."""


class Refused(Exception):
    """The client does what this server does not serve."""


class Channel:
    """One client's channel."""

    def __init__(self, number: int) -> None:
        self._received = bytearray()
        self._parts = bytearray()
        self._sequence = 0
        self._chunk_max = BUFFER_BYTES_MAX
        self._token = 0
        self._issued = ua.ChannelSecurityToken(ChannelId=ua.UInt32(number))

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The requests that these bytes complete, as request id and body from its type id on.

        Requests about the channel itself are answered by `greet`, under request id 0.
        """
        self._received += data
        while len(self._received) >= HEADER.size:
            kind, chunk, size = HEADER.unpack_from(self._received)
            if not HEADER.size <= size <= BUFFER_BYTES_MAX + 1:
                raise Refused(f"a frame of {size} bytes")
            if len(self._received) < size:
                return
            frame = bytes(self._received[:size])
            del self._received[:size]
            if kind != ua.MessageType.SecureMessage:
                yield 0, frame
            elif size < _MESSAGE.size or len(self._parts) + size > REQUEST_BYTES_MAX:
                raise Refused("a message that is too short or too long")
            else:
                *_, self._token, _, request = _MESSAGE.unpack_from(frame)
                self._parts += frame[_MESSAGE.size :]
                if chunk == ua.ChunkType.Single:
                    body, self._parts = bytes(self._parts), bytearray()
                    yield request, body

    def greet(self, frame: bytes) -> bytes:
        """The answer to a frame about the channel itself: hello, or open."""
        kind = frame[:3]
        if kind == ua.MessageType.Hello:
            hello = struct_from_binary(ua.Hello, Buffer(frame, HEADER.size))
            self._chunk_max = min(BUFFER_BYTES_MAX, hello.ReceiveBufferSize)
            buffers = (ua.UInt32(BUFFER_BYTES_MAX), ua.UInt32(self._chunk_max))
            body = struct_to_binary(ua.Acknowledge(ua.UInt32(0), *buffers))
            return HEADER.pack(b"ACK", b"F", HEADER.size + len(body)) + body
        if kind == ua.MessageType.SecureOpen:
            return self._open(Buffer(frame, HEADER.size + 4))
        raise Refused(f"a frame of type {kind!r}")

    def frames(self, request: int, body: bytes) -> bytes:
        """A response, in as many chunks as the client's buffer asks for."""
        room = self._chunk_max - _MESSAGE.size
        parts = []
        for begin in range(0, len(body), room):
            part = body[begin : begin + room]
            chunk = b"F" if begin + room >= len(body) else b"C"
            self._sequence += 1
            parts += [
                _MESSAGE.pack(
                    b"MSG", chunk, _MESSAGE.size + len(part), self._issued.ChannelId, self._token,
                    self._sequence, request,
                ),
                part,
            ]  # fmt: skip
        return b"".join(parts)

    def _open(self, buffer: Buffer) -> bytes:
        security = struct_from_binary(ua.AsymmetricAlgorithmHeader, buffer)
        sequence = struct_from_binary(ua.SequenceHeader, buffer)
        request = struct_from_binary(ua.OpenSecureChannelRequest, buffer)
        if security.SecurityPolicyURI != SecurityPolicyNone.URI:
            raise Refused(f"security policy {security.SecurityPolicyURI}")
        self._sequence += 1
        self._issued.TokenId = ua.UInt32(self._issued.TokenId + 1)
        self._issued.RevisedLifetime = request.Parameters.RequestedLifetime
        response = ua.OpenSecureChannelResponse()
        response.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
        response.Parameters.SecurityToken = self._issued
        body = b"".join((
            struct_to_binary(security),
            struct.pack("<II", self._sequence, sequence.RequestId),
            struct_to_binary(response),
        ))  # fmt: skip
        size = HEADER.size + 4 + len(body)
        return HEADER.pack(b"OPN", b"F", size) + struct.pack("<I", self._issued.ChannelId) + body
