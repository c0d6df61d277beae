"""The cloud's web application, assembled.

Enters: settings, an open store and open credentials. Leaves: a FastAPI application whose state
holds `settings`, `store`, `credentials`, `snapshot`, `hub`, `login_attempts` and `reads`. Fails:
never here; what requests get wrong is rendered in InfluxDB's error shape under `/api/v2` and as
RFC 9457 problems elsewhere.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from cloud import VERSION, web
from cloud.access import Credentials, login, require
from cloud.errors import Refusal, StoreError
from cloud.ingest import write
from cloud.live import routes
from cloud.live.snapshot import Event, Snapshot
from cloud.live.stream import Hub
from cloud.settings import Settings
from cloud.store import history
from cloud.store.store import Store
from cloud.store.transaction import Committed

log = logging.getLogger("cloud.app")


def create_app(settings: Settings, store: Store, credentials: Credentials) -> FastAPI:
    """The application over an open store, which it closes when the server stops.

    The board is rebuilt from the store first.
    """
    app = FastAPI(
        title="Andon cloud", version=VERSION, lifespan=_lifespan,
        openapi_url=None, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.settings = settings
    app.state.store = store
    app.state.credentials = credentials
    app.state.snapshot = Snapshot(settings)
    app.state.snapshot.rebuild(store)
    app.state.hub = Hub(settings)
    app.state.reads = asyncio.Semaphore(settings.reads_max)
    app.state.login_attempts = login.TokenBucket(settings.login_burst_max, settings.login_refill_s)
    app.router.routes.append(routes.board_route)
    for router in (write.router, routes.router, history.router, login.router, web.router):
        app.include_router(router)
    app.get("/health", include_in_schema=False)(health)
    app.get("/v1/openapi.json", include_in_schema=False)(openapi)
    web.mount_static(app)
    app.add_exception_handler(HTTPException, _render_refusal)
    app.add_exception_handler(RequestValidationError, _render_invalid)
    app.add_exception_handler(StoreError, _render_unavailable)
    app.add_exception_handler(Exception, _render_failure)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    snapshot, hub, store = app.state.snapshot, app.state.hub, app.state.store

    def deliver(committed: list[Committed], events: list[Event]) -> None:
        for done in committed:
            if not done.write.answer.done():  # the client may have gone
                done.write.answer.set_result(done)
        hub.publish(events)

    def on_commit(committed: list[Committed]) -> None:
        events: list[Event] = []
        try:
            events = snapshot.apply([row for done in committed for row in done.live])
        except Exception:  # what is on disk is answered, even if it cannot be shown
            log.exception("the board could not take a commit")
        loop.call_soon_threadsafe(deliver, committed, events)

    store.listen(on_commit)
    try:
        yield
    finally:
        hub.close()
        await asyncio.to_thread(store.close)
        app.state.credentials.close()


async def health(request: Request) -> JSONResponse:
    """Whether writes reach the disk, in InfluxDB's shape."""
    healthy = request.app.state.store.healthy
    body = {
        "name": "andon-cloud",
        "message": "ready for queries and writes" if healthy else "the last write was not kept",
        "status": "pass" if healthy else "fail",
        "version": VERSION,
    }
    return JSONResponse(body, 200 if healthy else 503)


async def openapi(request: Request) -> JSONResponse:
    """The description of this API."""
    require(request, "read")
    return JSONResponse(request.app.openapi())


async def _render_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, Refusal) else _code(error.status_code)
    return _render(request, error.status_code, code, str(error.detail), error.headers)


async def _render_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"][1:])
    detail = f"{name} is {str(problem.get('input'))[:60]!r}: {problem['msg']}"
    return _render(request, 400, "invalid", detail)


async def _render_unavailable(request: Request, error: Exception) -> Response:
    retry = {"Retry-After": str(request.app.state.settings.retry_after_s)}
    return _render(request, 503, "unavailable", str(error), retry)


async def _render_failure(request: Request, error: Exception) -> Response:
    return _render(request, 500, "internal error", "an internal error; the server's log has it")


def _render(request: Request, status: int, code: str, detail: str, headers: Any = None) -> Response:
    if request.url.path.startswith("/api/v2"):
        return JSONResponse({"code": code, "message": detail}, status, headers)
    problem = {"title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return Response(json.dumps(problem), status, headers, "application/problem+json")


def _code(status: int) -> str:
    return "not found" if status == 404 else HTTPStatus(status).phrase.lower()
