"""Login: a one-time code in a link becomes a session cookie.

Enters: `GET /login?code=`. Leaves: 303 to `/` with the cookie. Fails: 401 for a code that is
wrong, old or used, 429 when attempts come faster than `login_burst_max` and `login_refill_s`
allow.
"""

import math
import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from cloud.access.gate import COOKIE, SECRET_CHARS_MAX
from cloud.web import way_in

router = APIRouter(include_in_schema=False)

_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class TokenBucket:
    """Bounded attempts for everybody together: `burst` at once, one more every `refill_s` seconds.

    One bucket and not one per address: it needs no table that an attacker could fill.
    """

    def __init__(
        self, burst: int, refill_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._now_s = now_s
        self._level = float(burst)
        self._at_s = now_s()

    def take(self) -> float:
        """Zero when the attempt may go on, else seconds until the next one may."""
        now_s = self._now_s()
        self._level = min(self._burst, self._level + (now_s - self._at_s) / self._refill_s)
        self._at_s = now_s
        if self._level < 1:
            return (1 - self._level) * self._refill_s
        self._level -= 1
        return 0.0


@router.get("/login")
async def login(request: Request, code: str = "") -> Response:
    """Exchange a one-time code for a session cookie."""
    state = request.app.state
    wait_s = state.login_attempts.take()
    if wait_s:
        headers = {**_PRIVATE, "Retry-After": str(math.ceil(wait_s))}
        return PlainTextResponse("Too many attempts; wait a moment.\n", 429, headers)
    secret = state.credentials.exchange(code) if 0 < len(code) <= SECRET_CHARS_MAX else None
    if secret is None:
        return way_in(request, spent=True)
    response = RedirectResponse("/", 303, _PRIVATE)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=state.settings.session_s,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
