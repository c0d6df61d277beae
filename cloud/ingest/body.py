"""The body of a write, bounded on the wire and again when inflated.

Enters: a request. Leaves: plain bytes. Fails: `Refusal` 413 beyond `body_bytes_max`, 400 for
broken gzip, 415 for another encoding.
"""

import zlib

from starlette.requests import ClientDisconnect, Request

from cloud.errors import Refusal

_GZIP = 16 + zlib.MAX_WBITS


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The whole body, inflated when it is gzip.

    Raises
    ------
    Refusal : 400, 413 or 415; the rest of a body that is too large is not read.

    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Refusal(415, "invalid", f"content encoding {encoding[:40]!r}; use gzip or identity")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > bytes_max:
        raise _too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise _too_large(bytes_max)
            chunks.append(chunk)
    except ClientDisconnect:
        raise Refusal(400, "invalid", "the body ended early") from None
    body = b"".join(chunks)
    return inflate(body, bytes_max) if encoding == "gzip" else body


def inflate(body: bytes, bytes_max: int) -> bytes:
    """Inflate gzip (all members), never beyond `bytes_max` bytes.

    Raises
    ------
    Refusal : 400 for broken gzip, 413 for too much inside.

    """
    parts: list[bytes] = []
    room = bytes_max
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error as error:
            raise Refusal(400, "invalid", f"the body is not gzip: {error}") from None
        room -= len(part)
        if room < 0:
            raise _too_large(bytes_max)
        if not member.eof:
            raise Refusal(400, "invalid", "the body is not gzip: it ends early")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(
        413, "request too large", f"the body is larger than {bytes_max} bytes; send smaller batches"
    )
