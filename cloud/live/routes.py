"""The live endpoints: `GET /v1/board` and `GET /v1/stream`.

Enters: requests that may read. Leaves: the board's bytes with an ETag, and server-sent events,
for as long as the reader may read (asked again every `heartbeat_s`).
Fails: `Refusal` 400 for a bad `recent`, 401, 403, 503 when too many consumers read.

The board is a plain ASGI route over bytes that are ready: the framework's routing of parameters
and models would cost far more than the answer.
"""

import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cloud.access import require
from cloud.errors import Refusal
from cloud.live.snapshot import RECENT_MAX
from cloud.live.stream import Hub

router = APIRouter(tags=["live"])


class Board:
    """`GET /v1/board?recent=N` as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        require(request, "read")
        body, etag = request.app.state.snapshot.tagged(_recent(request))
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Authorization, Cookie"}
        if etag in request.headers.get("if-none-match", ""):
            response = Response(status_code=304, headers=headers)
        else:
            response = Response(body, headers=headers, media_type="application/json")
        await response(scope, receive, send)


board_route = Route("/v1/board", Board(), methods=["GET"])


class _Stream(StreamingResponse):
    """A response that gives its consumer's place back, even if nothing was ever sent."""

    def __init__(self, request: Request) -> None:
        self._hub: Hub = request.app.state.hub
        self._consumer = self._hub.join(request.headers.get("last-event-id"))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._chunks(request), headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the consumer or the server goes."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._consumer)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """What the consumer is told, until its token is revoked or its session over."""
        again_s = request.app.state.settings.heartbeat_s
        checked_s = time.monotonic()
        async for chunk in self._consumer.read():
            if time.monotonic() - checked_s >= again_s:
                try:
                    require(request, "read")
                except Refusal:
                    return
                checked_s = time.monotonic()
            yield chunk


@router.get("/v1/stream")
async def stream(request: Request) -> StreamingResponse:
    """What changes, as server-sent events; `Last-Event-ID` resumes."""
    require(request, "read")
    return _Stream(request)


def _recent(request: Request) -> int:
    text = request.query_params.get("recent", "0")
    unknown = set(request.query_params) - {"recent"}
    if unknown:
        raise Refusal(400, "invalid", f"unknown parameter {min(unknown)!r}; known: recent")
    if not text.isdecimal() or len(text) > 4 or int(text) > RECENT_MAX:
        raise Refusal(400, "invalid", f"recent is {text[:40]!r}; it must be 0 to {RECENT_MAX}")
    return int(text)
