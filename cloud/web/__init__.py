"""The page people look at: server-rendered from the board snapshot, then kept live by the stream.

Enters: `GET /` of a signed-in browser. Leaves: one HTML page in the reader's language, whole at
first paint, and static files under `/static`. It asks no other machine (see `CONTENT_POLICY`).
Can fail: 401 with a page that says how to get in.
"""

import json
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud import access
from cloud.web.view import board_view
from cloud.web.words import CATALOGUES, choose_language

RECENT_WINDOWS = 60
LANGUAGE_COOKIE = "andon_lang"
LANGUAGE_REMEMBERED_S = 365 * 86400
CONTENT_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language, Cookie",
}

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def signed_in(request: Request) -> bool:
    """Whether this browser may read the board."""
    try:
        access.require(request, "read")
    except HTTPException:
        return False
    return True


@router.get("/")
def board(
    request: Request, allowed: Annotated[bool, Depends(signed_in)], lang: str | None = None
) -> HTMLResponse:
    """The board, or 401 with how to sign in; `?lang=` is remembered in a cookie."""
    if allowed:
        language = _language(request, lang)
        words = CATALOGUES[language]
        snapshot = json.loads(request.app.state.snapshot.board(recent=RECENT_WINDOWS))
        context = {"w": words, "language": language, "board": board_view(snapshot, words)}
        page = _TEMPLATES.get_template("board.html").render(context)
        response = HTMLResponse(page, headers=HEADERS)
    else:
        response = way_in(request, lang)
    if lang in CATALOGUES:
        response.set_cookie(LANGUAGE_COOKIE, lang, LANGUAGE_REMEMBERED_S, samesite="lax")
    return response


def way_in(request: Request, lang: str | None = None, *, spent: bool = False) -> HTMLResponse:
    """The 401 page that says how to sign in; `spent` when a link was used already or too old."""
    language = _language(request, lang)
    page = _TEMPLATES.get_template("signed_out.html")
    body = page.render(w=CATALOGUES[language], language=language, spent=spent)
    return HTMLResponse(body, 401, HEADERS)


def _language(request: Request, lang: str | None) -> str:
    remembered = request.cookies.get(LANGUAGE_COOKIE)
    return choose_language(lang, remembered, request.headers.get("accept-language", ""))


def mount_static(app: FastAPI) -> None:
    """Serve the page's style, modules, words and charts under `/static`."""
    app.mount("/static", _checked_each_time(StaticFiles(directory=_HERE / "static")))


def _checked_each_time(files: ASGIApp) -> ASGIApp:
    """Make browsers ask for changes (304 by ETag): an upgraded board is never half old."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-cache"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await files(scope, receive, stamped)

    return app
