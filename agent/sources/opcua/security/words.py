"""What is said where a session is not secured: what is wrong, and what a person can do.

Enters: what was found, or what the server answered. Leaves: SourceRefused and SourceUnreachable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from agent.config import OpcuaConfig
from agent.errors import SourceRefused, SourceUnreachable
from agent.sources.opcua.security.choice import MODES, Choice, choose, policy_name
from agent.trust import Own, Verdict
from agent.trust.certificate import name, printable, thumbprint

NAMED_MAX: Final = 8
"""Of what the server offers, so much is named."""

_IDENTITIES: Final = {
    ua.UserTokenType.Anonymous: "anonymous",
    ua.UserTokenType.UserName: "user name",
    ua.UserTokenType.Certificate: "user certificate",
    ua.UserTokenType.IssuedToken: "issued token",
}

_OF_CERTIFICATE: Final = (
    "BadCertificate",
    "BadSecurityChecksFailed",
    "BadApplicationSignatureInvalid",
    "BadNoValidCertificates",
)
_OF_IDENTITY: Final = ("BadIdentityToken", "BadUserAccessDenied", "BadUserSignatureInvalid")
_OF_POLICY: Final = ("BadSecurityModeRejected", "BadSecurityPolicyRejected")
"""How the names of status codes begin (OPC 10000-4, 7.39.2)."""

_TRUST_US: Final = (
    "on the server, move this gateway's certificate from Rejected to Trusted, or import it there "
    "from `andon trust show own --pem`"
)
_WAYS_OUT: Final = (
    ({"user": "", "user_certificate": None}, "it wants a user: set user and password"),
    (
        {"user": None, "user_certificate": None},
        "it takes anonymous sessions: leave user and password out",
    ),
    ({"user": None, "user_certificate": Path()}, "it wants user_certificate and user_key"),
    ({"mode": "sign"}, 'mode = "sign" takes sessions that are signed and not encrypted'),
    ({"security": "auto"}, 'security = "auto" takes the best that it offers'),
    ({"security": "Basic256"}, 'it is out of date; security = "Basic256" takes it as it is'),
    ({"security": "Basic128Rsa15"}, 'it is out of date; security = "Basic128Rsa15" takes it'),
    (
        {"security": "none"},
        "enable a secured endpoint on the server; on a network of machines that you trust, "
        'security = "none" does without',
    ),
)
"""The changes that help where nothing fits, the least first."""


def explained(
    step: Callable[..., Awaitable[Any]], config: OpcuaConfig, choice: Choice, own: Own | None
) -> Callable[..., Awaitable[Any]]:
    """A step of asyncua's connecting, whose refusals say what a person can do."""
    where = f"{config.name}: {config.endpoint}"
    us = f"this gateway's certificate {thumbprint(own.certificate)}" if own else "this gateway"

    async def done(*args: Any, **options: Any) -> Any:
        try:
            return await step(*args, **options)
        except InvalidSignature as error:
            raise SourceRefused(
                f"{where} does not have the private key of its certificate",
                "somebody else may answer at this address",
            ) from error
        except ConnectionError as error:
            if not choice.is_secure:
                raise
            raise SourceUnreachable(
                f"{where} closed the connection while it was being secured",
                f"some servers do so with certificates they do not trust: {_TRUST_US}",
            ) from error
        except ua.UaStatusCodeError as error:
            refusal = _refusal(type(error).__name__, where, us, config, choice)
            if refusal is None:
                raise
            raise refusal from error
        except (ua.UaError, ValueError) as error:  # what asyncua finds by itself
            raise SourceRefused(f"{where}: {error}") from error

    return done


def _refusal(
    code: str, where: str, us: str, config: OpcuaConfig, choice: Choice
) -> SourceRefused | None:
    """What a status code says; None where it is not about security."""
    if code.startswith(_OF_CERTIFICATE):
        return SourceRefused(f"{where} does not trust {us}: {code}", _TRUST_US)
    if code.startswith(_OF_IDENTITY):
        return SourceRefused(
            f"{where} refuses the session {identity(config)}: {code}",
            "check who may log in there, and how: user and password, user_certificate, or none",
        )
    if code.startswith(_OF_POLICY):
        return SourceRefused(
            f"{where} refuses {choice.said}, though it offers it: {code}",
            "name another with security, or look at the server's settings",
        )
    return None


def nothing_fits(endpoints: Iterable[ua.EndpointDescription], config: OpcuaConfig) -> SourceRefused:
    """What the server offers, and the smallest change that makes it fit."""
    offered = set()
    for one in endpoints:
        kinds = (_IDENTITIES.get(t.TokenType, "another") for t in one.UserIdentityTokens or ())
        how = f"{policy_name(one.SecurityPolicyUri or '')} {MODES.get(one.SecurityMode, '')}"
        offered.add(f"{how.strip()} ({', '.join(dict.fromkeys(kinds))})")
    wanted = "no security" if config.security == "none" else f'security = "{config.security}"'
    what = (
        f"{config.name}: {config.endpoint} refuses: it has no endpoint for {wanted}, "
        f"{identity(config)}; it offers {listed(sorted(offered)) or 'nothing'}"
    )
    for change, hint in _WAYS_OUT:
        if choose(endpoints, config.model_copy(update=change)) is not None:
            return SourceRefused(what, hint)
    return SourceRefused(what, "enable a secured endpoint on the server")


def distrust(where: str, leaf: x509.Certificate, verdict: Verdict) -> SourceRefused:
    """What the certificate is, why it is not trusted, and how it would be."""
    mark = thumbprint(leaf)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return SourceRefused(
        f"{where}: its certificate {verdict.why}: {mark}, {name(leaf)}, "
        f"valid {begin:%Y-%m-%d} to {end:%Y-%m-%d}",
        "compare the thumbprint with the one that the server shows; if it is the same, "
        f"`andon trust trust {mark}`"
        if verdict.is_unknown
        else "make a new certificate on the server, and trust that one here",
    )


def identity(config: OpcuaConfig) -> str:
    """Who logs in."""
    if config.user_certificate is not None:
        return f"as the user of {config.user_certificate}"
    return "anonymous" if config.user is None else f"as user {config.user}"


def listed(texts: list[str]) -> str:
    """Some of them, which a server wrote."""
    more = f", and {len(texts) - NAMED_MAX:,} more" if len(texts) > NAMED_MAX else ""
    return ", ".join(map(printable, texts[:NAMED_MAX])) + more
