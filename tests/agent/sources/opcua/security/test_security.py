"""What is chosen, who is trusted, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError

from agent.errors import SourceRefused, SourceUnreachable
from agent.sources.opcua.client import GuardedClient
from agent.sources.opcua.security import secure
from agent.trust import Trust
from agent.trust.certificate import thumbprint
from tests.agent.sources.opcua.security.secured import (
    NONE,
    POLICIES,
    STRONG,
    USER,
    SecuredServer,
    config_of,
    connect,
    deny,
    hang_up,
    kind,
    lie,
    opened,
    refused,
)
from tests.agent.trust.certificates import (
    DAY,
    NOW,
    NOW_NS,
    SERVER_URI,
    Pair,
    authority,
    revocations,
    server,
)


def test_the_best_of_all_policies_is_taken_and_said(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    plc.offer(pinned, [NONE, *STRONG])
    said = opened(plc, trust)
    assert said == "Aes256_Sha256_RsaPss, signed and encrypted, anonymous"


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ((POLICIES.Aes128Sha256RsaOaep_SignAndEncrypt, POLICIES.Basic256Sha256_SignAndEncrypt),
         "Basic256Sha256, signed and encrypted"),
        ((POLICIES.Aes256Sha256RsaPss_Sign, POLICIES.Aes128Sha256RsaOaep_SignAndEncrypt),
         "Aes128_Sha256_RsaOaep, signed and encrypted"),
        ((POLICIES.Basic256Sha256_Sign, POLICIES.Aes256Sha256RsaPss_Sign),
         "Aes256_Sha256_RsaPss, signed"),
        ((POLICIES.Basic256Sha256_Sign,), "Basic256Sha256, signed"),
        ((POLICIES.Aes128Sha256RsaOaep_Sign,), "Aes128_Sha256_RsaOaep, signed"),
    ],
)  # fmt: skip
def test_encrypted_comes_before_signed_and_both_work(
    plc: SecuredServer, trust: Trust, pinned: Pair, offered: Any, expected: str
) -> None:
    plc.offer(pinned, offered)
    assert opened(plc, trust, mode="sign") == f"{expected}, anonymous"


@pytest.mark.parametrize(
    "policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
)
def test_a_policy_asked_for_by_name_is_the_one(
    plc: SecuredServer, trust: Trust, pinned: Pair, policy: str
) -> None:
    plc.offer(pinned)
    assert opened(plc, trust, security=policy).startswith(f"{policy}, signed and encrypted")


@pytest.mark.parametrize("policy", ["Basic256", "Basic128Rsa15"])
def test_a_deprecated_policy_is_taken_by_name_only_and_warned_of(
    plc: SecuredServer,
    trust: Trust,
    pinned: Pair,
    policy: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plc.offer(pinned, [NONE, kind(f"{policy}_SignAndEncrypt")])
    error = refused(plc, trust)
    assert "it has no endpoint for" in str(error)
    assert f'security = "{policy}"' in error.hint
    assert opened(plc, trust, security=policy, **USER).startswith(f"{policy}, signed and encrypted")
    assert f"{policy} is deprecated" in caplog.text


@pytest.mark.parametrize(
    ("offered", "tokens", "options", "hint"),
    [
        ([NONE], [ua.AnonymousIdentityToken], {}, 'security = "none" does without'),
        ([POLICIES.Basic256Sha256_Sign], [ua.AnonymousIdentityToken], {}, 'mode = "sign"'),
        (STRONG[:2], [ua.AnonymousIdentityToken], {"security": "Aes256_Sha256_RsaPss"},
         'security = "auto"'),
        (STRONG, [ua.UserNameIdentityToken], {}, "set user and password"),
        (STRONG, [ua.AnonymousIdentityToken], USER, "leave user and password out"),
        (STRONG, [ua.X509IdentityToken], USER, "user_certificate and user_key"),
    ],
)  # fmt: skip
def test_where_nothing_fits_it_is_said_what_is_offered_and_what_would_help(
    plc: SecuredServer,
    trust: Trust,
    pinned: Pair,
    offered: Any,
    tokens: Any,
    options: Any,
    hint: str,
) -> None:
    plc.offer(pinned, offered, tokens)
    error = refused(plc, trust, **options)
    assert "it has no endpoint for" in str(error)
    assert "it offers " in str(error)
    assert hint in error.hint


def test_no_security_needs_no_certificate_and_is_warned_of(
    plc: SecuredServer, trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    plc.offer(server(), [NONE, *STRONG])
    assert opened(plc, trust, security="none") == "no security, anonymous"
    assert not trust.folder.exists()
    assert 'security = "auto" takes it' in caplog.text
    assert opened(plc, None, security="none") == "no security, anonymous"


def test_an_unknown_server_is_refused_kept_and_taken_once_a_person_trusts_it(
    plc: SecuredServer, trust: Trust
) -> None:
    pair = server()
    plc.offer(pair)
    error = refused(plc, trust)
    mark = thumbprint(pair.certificate)
    assert f"is not trusted here: {mark}, press-01, valid 2026-05-31 to 2027-03-28" in str(error)
    assert f"andon trust trust {mark}" in error.hint
    trust.trust(mark)
    assert opened(plc, trust)
    trust.reject(mark)
    refused(plc, trust)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"end": NOW - DAY, "begin": NOW - 9 * DAY}, "its certificate expired on 2026-05-31"),
        ({"begin": NOW + DAY}, "this gateway's clock says 2026-06-01"),
    ],
)
def test_a_server_certificate_out_of_its_time_is_refused(
    plc: SecuredServer, trust: Trust, times: Any, expected: str
) -> None:
    pair = server(**times)
    trust.add(pair.certificate)
    plc.offer(pair)
    assert expected in str(refused(plc, trust))


def test_a_server_is_trusted_for_its_authority_until_that_revokes_it(
    plc: SecuredServer, trust: Trust
) -> None:
    root = authority()
    between = authority(root, 4, name="Line CA")
    pair = server(between)
    trust.add(root.certificate)
    trust.add(between.certificate, as_issuer=True)
    plc.offer(pair)
    assert opened(plc, trust)
    trust.add_revocations(revocations(between, [pair]))
    assert "was revoked by Line CA" in str(refused(plc, trust))


def test_a_certificate_for_another_application_is_taken_only_by_hand(
    plc: SecuredServer, trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    root = authority()
    pair = server(root, uri="urn:plc:press-99")
    trust.add(root.certificate)
    plc.offer(pair)
    error = refused(plc, trust)
    assert f"calls itself '{SERVER_URI}'" in str(error)
    assert "is for 'urn:plc:press-99'" in str(error)
    trust.trust(thumbprint(pair.certificate))
    assert opened(plc, trust)
    assert "taken, since it is trusted by hand" in caplog.text


def test_a_certificate_for_another_host_is_taken_and_said(
    plc: SecuredServer, trust: Trust, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("agent.sources.opcua.security.is_loopback", lambda _: False)
    pair = server(host="10.0.0.5")
    trust.add(pair.certificate)
    plc.offer(pair)
    for _ in range(2):
        assert opened(plc, trust)
    assert caplog.text.count("is for 10.0.0.5, not for 127.0.0.1") == 1


def test_a_key_too_short_for_the_policy_is_refused(plc: SecuredServer, trust: Trust) -> None:
    pair = server(bits=1024)
    trust.add(pair.certificate)
    plc.offer(pair)
    error = refused(plc, trust)
    assert "has an RSA key of 1024 bits, and Aes256_Sha256_RsaPss takes 2048 to 4096" in str(error)


def test_the_configured_address_is_used_whatever_host_the_server_names(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any
) -> None:
    plc.offer(pinned)
    monkeypatch.setattr(
        plc.internal, "_mangle_endpoint_url", lambda *_, **__: "opc.tcp://plc-7.invalid:4840/press"
    )
    assert opened(plc, trust)


@pytest.mark.parametrize(
    ("shown", "mode", "itself"),
    [
        ((0, 1), "sign_and_encrypt", "Aes256_Sha256_RsaPss, signed and encrypted"),
        ((0,), "sign", "Aes256_Sha256_RsaPss, signed and encrypted"),
    ],
)
def test_a_discovery_that_hides_the_better_endpoints_is_found_out(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any,
    shown: Any, mode: str, itself: str,
) -> None:  # fmt: skip
    plc.offer(pinned)
    lie(plc, monkeypatch, shown)
    error = refused(plc, trust, mode=mode)
    assert f"and itself offers {itself}" in str(error)
    assert "somebody between" in error.hint


def test_a_discovery_with_another_certificate_is_not_trusted(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any
) -> None:
    plc.offer(pinned)
    other = server(number=3)
    for endpoint in plc.internal.endpoints:
        endpoint.ServerCertificate = other.der
    assert thumbprint(other.certificate) in str(refused(plc, trust))


def test_a_server_without_the_key_of_its_certificate_gets_no_session(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    plc.offer(Pair(pinned.certificate, server(number=3).key))
    with pytest.raises((SourceRefused, SourceUnreachable, TimeoutError)):
        asyncio.run(connect(config_of(plc.url, connect_timeout_s=1), trust))


def test_a_server_that_does_not_trust_us_says_so_and_we_say_how_it_would(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    met = []

    async def refuse(certificate: Any, about: Any) -> None:
        met.append((certificate, about.ApplicationUri))
        raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    plc.offer(pinned, validator=refuse)
    error = refused(plc, trust)
    mark = thumbprint(trust.own().certificate)
    assert f"this gateway's certificate {mark}: BadCertificateUntrusted" in str(error)
    assert "andon trust show own --pem" in error.hint
    assert met == [(trust.own().certificate, trust.own().uri)]


def test_a_server_that_refuses_the_channel_itself_says_why(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any
) -> None:
    plc.offer(pinned)
    deny(monkeypatch, ua.StatusCodes.BadSecurityChecksFailed)
    assert str(refused(plc, trust)).endswith(": BadSecurityChecksFailed")
    deny(monkeypatch, ua.StatusCodes.BadSecurityPolicyRejected)
    assert "refuses Aes256_Sha256_RsaPss, signed and encrypted, though" in str(refused(plc, trust))


def test_a_server_that_hangs_up_while_it_is_secured_gets_a_guess(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any
) -> None:
    plc.offer(pinned)
    hang_up(monkeypatch)
    with pytest.raises(SourceUnreachable, match="closed the connection while it was being secured"):
        asyncio.run(connect(config_of(plc.url), trust))


def test_a_server_that_is_not_there_is_an_os_error_in_time(trust: Trust) -> None:
    async def run() -> None:
        config = config_of("opc.tcp://127.0.0.1:9")
        await secure(GuardedClient(config.endpoint, 5), config, trust)

    with pytest.raises(OSError, match="9"):
        asyncio.run(run())


def test_an_expired_certificate_of_ours_is_warned_of_and_still_shown(
    plc: SecuredServer, trust: Trust, pinned: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    trust.own()
    late = Trust(trust.folder, "gw-1", lambda: NOW_NS + 4000 * 86_400 * 10**9)
    pair = server(begin=NOW, end=NOW + 9000 * DAY)
    late.add(pair.certificate)
    plc.offer(pair)
    assert opened(plc, late)
    assert "this gateway's certificate expired on" in caplog.text
