"""Who may do what: the one check in front of every read and write.

Enters: a request. Leaves: an `Identity`. Fails: `Refusal` 401 without valid credentials, 403 with
the wrong scope.
"""

from starlette.requests import Request

from cloud.access.credentials import Credentials, Identity, Scope
from cloud.errors import Refusal

COOKIE = "andon_session"
SECRET_CHARS_MAX = 512


def require(request: Request, *scopes: Scope) -> Identity:
    """The identity behind a request that may do one of `scopes`.

    Takes `Authorization: Bearer TOKEN` or `Token TOKEN`; without that header, for reading, the
    session cookie. Writing with a cookie is refused, so no page elsewhere can make a browser write.

    Raises
    ------
    Refusal : 401 or 403.

    """
    credentials: Credentials = request.app.state.credentials
    identity = _identify(request, credentials)
    if identity is None:
        raise Refusal(
            401, "unauthorized", "unauthorized access", {"WWW-Authenticate": 'Bearer realm="andon"'}
        )
    if identity.scope not in scopes:
        raise Refusal(
            403,
            "forbidden",
            f"insufficient permissions for {scopes[0]}: {identity.name} may only {identity.scope}",
        )
    return identity


def _identify(request: Request, credentials: Credentials) -> Identity | None:
    header = request.headers.get("authorization")
    if header is not None:
        kind, _, secret = header.partition(" ")
        if kind.lower() not in ("bearer", "token") or len(secret) > SECRET_CHARS_MAX:
            return None
        return credentials.by_token(secret.strip())
    cookie = request.cookies.get(COOKIE, "")
    if not cookie or len(cookie) > SECRET_CHARS_MAX:
        return None
    return credentials.by_session(cookie)
