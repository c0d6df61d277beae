"""What of a server's offer is taken: the best policy, mode and identity that both sides have.

Enters: endpoints, the configuration. Leaves: a choice, or none; nothing raises.

The best is what encrypts, before what only signs; then RSA-PSS signatures with OAEP over SHA-256;
then AES with 256 bits before 128, in which alone Basic256Sha256 and Aes128_Sha256_RsaOaep differ.
The server's own ranking (SecurityLevel) is not asked: anybody between could change it. Names of
hosts in endpoints are not followed: the configured address is the one that is reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asyncua import ua
from asyncua.crypto import security_policies as policies

from agent.config import OpcuaConfig
from agent.trust.certificate import printable

Policy = type[policies.SecurityPolicy]

NONE: Final = policies.SecurityPolicyNone
STRONG: Final[dict[str, Policy]] = {
    "Aes256_Sha256_RsaPss": policies.SecurityPolicyAes256Sha256RsaPss,
    "Basic256Sha256": policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": policies.SecurityPolicyAes128Sha256RsaOaep,
}
"""The best first. RSA keys of 2048 to 4096 bits."""
DEPRECATED: Final[dict[str, Policy]] = {
    "Basic256": policies.SecurityPolicyBasic256,
    "Basic128Rsa15": policies.SecurityPolicyBasic128Rsa15,
}
"""SHA-1, and RSA keys of 1024 to 2048 bits; only by name."""

Mode: Final = ua.MessageSecurityMode
MODES: Final = {Mode.SignAndEncrypt: "signed and encrypted", Mode.Sign: "signed"}


@dataclass(frozen=True, slots=True)
class Choice:
    """An endpoint that is acceptable, and the identity it takes."""

    policy: Policy
    mode: ua.MessageSecurityMode
    endpoint: ua.EndpointDescription
    token: ua.UserTokenPolicy

    @property
    def said(self) -> str:
        """As a person says it."""
        if not self.is_secure:
            return "no security"
        return f"{policy_name(self.policy.URI)}, {MODES[self.mode]}"

    @property
    def is_secure(self) -> bool:
        """Whether messages are signed at least."""
        return self.policy is not NONE


def choose(endpoints: Iterable[ua.EndpointDescription], config: OpcuaConfig) -> Choice | None:
    """The best endpoint that the configuration accepts; None where there is none."""
    accepted = list(_accepted(config))
    secured = [Mode.SignAndEncrypt, *([Mode.Sign] if config.mode == "sign" else [])]
    modes = [Mode.None_] if config.security == "none" else secured
    found: list[tuple[int, int, int, Choice]] = []
    for endpoint in endpoints:
        policy = _by_uri(accepted, endpoint.SecurityPolicyUri)
        if policy is None or endpoint.SecurityMode not in modes:
            continue
        if not (endpoint.EndpointUrl or "").startswith("opc.tcp://"):
            continue
        for grade, token in _tokens(endpoint, policy, config):
            rank = modes.index(endpoint.SecurityMode), accepted.index(policy), grade
            found.append((*rank, Choice(policy, endpoint.SecurityMode, endpoint, token)))
    return min(found, key=lambda one: one[:3])[3] if found else None


def _accepted(config: OpcuaConfig) -> Iterable[Policy]:
    if config.security == "auto":
        return STRONG.values()
    if config.security == "none":
        return (NONE,)
    return ((STRONG | DEPRECATED)[config.security],)


def _tokens(
    endpoint: ua.EndpointDescription, policy: Policy, config: OpcuaConfig
) -> Iterable[tuple[int, ua.UserTokenPolicy]]:
    """The ways this endpoint takes our identity that are safe, the lowest grade the best."""
    kind = _kind(config)
    # Where the channel is encrypted, or was asked to be in the clear, the token need not be.
    is_free = endpoint.SecurityMode == Mode.SignAndEncrypt or config.security == "none"
    may_be_clear = is_free or config.password is None
    is_old = is_free or config.security in DEPRECATED
    ways = [*STRONG.values(), *(DEPRECATED.values() if is_old else ())]
    for token in endpoint.UserIdentityTokens or ():
        if token.TokenType != kind:
            continue
        # Without one of its own, a token is protected as the channel is (OPC 10000-4, 7.42).
        way = _by_uri([*ways, NONE], token.SecurityPolicyUri or policy.URI)
        if kind == ua.UserTokenType.Anonymous:
            yield 0, token
        elif way in ways:
            yield ways.index(way), token
        elif way is NONE and kind == ua.UserTokenType.UserName and may_be_clear:
            yield len(ways), token


def _kind(config: OpcuaConfig) -> ua.UserTokenType:
    if config.user_certificate is not None:
        return ua.UserTokenType.Certificate
    return ua.UserTokenType.Anonymous if config.user is None else ua.UserTokenType.UserName


def _by_uri(among: Iterable[Policy], uri: str | None) -> Policy | None:
    return next((policy for policy in among if uri == policy.URI), None)


def policy_name(uri: str) -> str:
    """What people call a policy."""
    return printable(uri.rpartition("#")[2])
