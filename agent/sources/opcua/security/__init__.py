"""How a session is secured: agreed on with the server, checked, and said.

Enters: what the server offers, the configuration, the folder of certificates. Leaves: a client that
is ready to connect. Fails: SourceRefused, with what a person can do, where the two sides cannot
agree or one does not trust the other, here or while `client` connects; SourceUnreachable where the
server closes the connection without a word; OSError, TimeoutError and UaError as asyncua does.

asyncua encrypts, signs and verifies; it checks that the session's certificate is the channel's, and
the server's signature. Checked here beside it: trust, validity, key length, the application's URI,
and that the endpoints told before the channel was secured are those told in it, or somebody between
could hide the good ones (OPC 10000-4, 5.7.2). A password never crosses the network in clear text
unless security "none" was asked for, and never shows in a log.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicy
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from agent.config import OpcuaConfig
from agent.config.fields import is_loopback
from agent.errors import ConfigError, SourceRefused
from agent.sources.opcua.client import GuardedClient
from agent.sources.opcua.security.choice import (
    DEPRECATED,
    NONE,
    STRONG,
    Choice,
    choose,
    policy_name,
)
from agent.sources.opcua.security.words import distrust, explained, identity, listed, nothing_fits
from agent.trust import Own, Trust
from agent.trust.certificate import (
    application_uri,
    hosts,
    key_bits,
    printable,
    read_chain,
    thumbprint,
    untimely,
)

log = logging.getLogger("andon.opcua")


async def secure(client: Client, config: OpcuaConfig, trust: Trust | None) -> str:
    """Agree with the server on how `client`, not yet connected, will speak to it.

    trust : may be None only where security is "none"
    Returns what was agreed on, as a person says it.
    """
    endpoints = await _endpoints(config)
    choice = choose(endpoints, config)
    if choice is None:
        raise nothing_fits(endpoints, config)
    try:
        user = await asyncio.to_thread(_user, config)
        own = await asyncio.to_thread(_own, choice, config, trust)
        client.application_uri = _uri(own, trust)
        policy = _policy(choice, own, config, trust)
    except ConfigError as error:
        raise SourceRefused(f"{config.name}: {error}", error.hint) from None
    client.security_policy = policy  # type: ignore[assignment]
    client.uaclient.set_security(policy)
    if user is not None:
        client.user_certificate, client.user_private_key = user
    elif config.user is not None:
        client.set_user(config.user)
        client.set_password(config.password.get_secret_value() if config.password else "")
    _watch(client, config, choice, own)
    _say_risks(config, choice, endpoints, trust)
    return f"{choice.said}, {identity(config)}"


async def _endpoints(config: OpcuaConfig) -> list[ua.EndpointDescription]:
    """What the server offers, over a connection of its own: nobody vouches for it yet."""
    client = GuardedClient(config.endpoint, config.connect_timeout_s)
    try:
        async with asyncio.timeout(config.connect_timeout_s):
            return await client.connect_and_get_server_endpoints()
    finally:
        client.abort()


def _own(choice: Choice, config: OpcuaConfig, trust: Trust | None) -> Own | None:
    """What we identify ourselves with, where anybody will see it."""
    if trust is None or not (choice.is_secure or config.user_certificate is not None):
        return None
    return trust.own()


def _uri(own: Own | None, trust: Trust | None) -> str:
    if own is not None:
        return own.uri
    return trust.uri() if trust is not None else f"urn:{socket.gethostname()}:andon"


def _policy(
    choice: Choice, own: Own | None, config: OpcuaConfig, trust: Trust | None
) -> SecurityPolicy:
    if not choice.is_secure:
        # A session by user certificate shows the gateway's too, or asyncua would show the user's.
        return NONE(  # type: ignore[no-untyped-call]
            host_cert=own.certificate if own is not None else None
        )
    if trust is None or own is None:
        raise ConfigError(
            "a secured session needs a folder of certificates", 'or say security = "none"'
        )
    server = _server_certificate(choice, config, trust)
    return choice.policy(
        server, own.certificate, own.key, choice.mode, host_cert_chain=list(own.chain)
    )


def _server_certificate(choice: Choice, config: OpcuaConfig, trust: Trust) -> x509.Certificate:
    """The server's certificate, checked. Raises SourceRefused."""
    where = f"{config.name}: {config.endpoint}"
    try:
        chain = read_chain(choice.endpoint.ServerCertificate or b"")
    except ValueError as error:
        raise SourceRefused(f"{where} sends a certificate, but {error}") from None
    leaf = chain[0]
    mark, verdict = thumbprint(leaf), trust.judge(chain)
    if not verdict.is_trusted:
        trust.keep_rejected(leaf)
        raise distrust(where, leaf, verdict)
    strong = choice.policy in STRONG.values()
    bits, least, most = key_bits(leaf), 2048 if strong else 1024, 4096 if strong else 2048
    if not least <= bits <= most:
        raise SourceRefused(
            f"{where}: its certificate {mark} has an RSA key of {bits} bits, and "
            f"{policy_name(choice.policy.URI)} takes {least} to {most}",
            "make a new certificate on the server",
        )
    claimed, made_for = choice.endpoint.Server.ApplicationUri or "", application_uri(leaf)
    if claimed != made_for:
        wrong = f"{where} calls itself {printable(claimed)!r}, and its certificate {mark} is for " \
                f"{printable(made_for)!r}"  # fmt: skip
        if not verdict.is_pinned:
            trust.keep_rejected(leaf)
            raise SourceRefused(
                wrong,
                "make a new certificate on the server; or take this one by hand: "
                f"`andon trust trust {mark}`",
            )
        trust.say(f"{wrong}; taken, since it is trusted by hand")
    _say_host(where, config, leaf, trust)
    for note in verdict.notes:
        trust.say(note)
    trust.say_warnings(leaf)
    return leaf


def _say_host(where: str, config: OpcuaConfig, leaf: x509.Certificate, trust: Trust) -> None:
    host, named = urlsplit(config.endpoint).hostname or "", hosts(leaf)
    if host.lower() not in {one.lower() for one in named} and not is_loopback(host):
        trust.say(
            f"{where}: the server's certificate is for {listed(named) or 'no host'}, not for "
            f"{host}; taken, since it is trusted"
        )


def _watch(client: Client, config: OpcuaConfig, choice: Choice, own: Own | None) -> None:
    """Have what the server answers while `client` connects checked, and its refusals explained."""
    create = client.create_session

    async def create_checked() -> ua.CreateSessionResult:
        answer = await create()
        # asyncua takes the first token of our kind, which need not be the safest.
        client._policy_ids = [_confirmed(answer.ServerEndpoints, config, choice).token]
        return answer

    steps: dict[str, Callable[..., Awaitable[Any]]] = {
        "open_secure_channel": client.open_secure_channel,
        "create_session": create_checked,
        "activate_session": client.activate_session,
    }
    for name, step in steps.items():
        setattr(client, name, explained(step, config, choice, own))


def _confirmed(
    endpoints: Iterable[ua.EndpointDescription], config: OpcuaConfig, choice: Choice
) -> Choice:
    """The choice by what the server says of itself in the session. Raises SourceRefused."""
    again = choose(endpoints, config)
    if not choice.is_secure:
        return again or choice  # nobody vouches for either
    if again is None or (again.policy, again.mode) != (choice.policy, choice.mode):
        raise SourceRefused(
            f"{config.name}: {config.endpoint} was said to offer {choice.said} at best, and itself "
            f"offers {again.said if again else 'nothing that fits'}",
            "somebody between may be hiding the better: look for what answers at this address",
        )
    return again


def _say_risks(
    config: OpcuaConfig,
    choice: Choice,
    endpoints: Iterable[ua.EndpointDescription],
    trust: Trust | None,
) -> None:
    """Of what was asked for by name."""
    say = trust.say if trust is not None else log.warning
    where = f"{config.name}: {config.endpoint}"
    if config.security in DEPRECATED:
        say(f"{where}: {config.security} is deprecated, since it can be broken")
    if choice.is_secure:
        return
    better = choose(endpoints, config.model_copy(update={"security": "auto", "mode": "sign"}))
    offer = f'; the server offers {better.said}: security = "auto" takes it' if better else ""
    clear = choice.token.SecurityPolicyUri in (None, "", NONE.URI)
    if config.password is None:
        risk = "anybody on the way can read and change it"
    elif clear:
        risk = "the password crosses the network in clear text"
    else:
        risk = "the password is readable to whoever answers at this address"
    say(f"{where}: the session is not secured, as configured: {risk}{offer}")


def _user(config: OpcuaConfig) -> tuple[x509.Certificate, rsa.RSAPrivateKey] | None:
    """Certificate and key to log in with. Raises ConfigError."""
    if config.user_certificate is None or config.user_key is None:
        return None
    files = config.user_certificate, config.user_key
    try:
        certificate = read_chain(files[0].read_bytes())[0]
        content = files[1].read_bytes()
        load = load_pem_private_key if b"-----BEGIN" in content else load_der_private_key
        key = load(content, password=None)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{files[0]} and {files[1]} must be a certificate and its key without passphrase: "
            f"{error}"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{files[1]} is not the RSA key of {files[0]}")
    if reason := untimely(certificate, datetime.now(UTC)):
        raise ConfigError(f"{files[0]} {reason}", "the user needs a new certificate")
    return certificate, key


class _NoPasswords(logging.Filter):
    """asyncua logs whole requests at debug; with this one a password could go along."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                type(one).__name__ if isinstance(one, ua.ActivateSessionRequest) else one
                for one in record.args
            )
        return True


logging.getLogger("asyncua.client.ua_client.UASocketProtocol").addFilter(_NoPasswords())
