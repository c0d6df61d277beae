"""Who logs in, and how a password travels."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from agent.trust import Trust
from tests.agent.sources.opcua.security.secured import (
    NONE,
    PASSWORD,
    POLICIES,
    STRONG,
    USER,
    SecuredServer,
    kind,
    opened,
    refused,
)
from tests.agent.trust.certificates import (
    ALWAYS,
    Pair,
    server,
)


@pytest.mark.parametrize("mode", ["sign_and_encrypt", "sign"])
@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes256_Sha256_RsaPss"])
def test_a_user_logs_in_with_a_password(
    plc: SecuredServer, trust: Trust, pinned: Pair, mode: str, policy: str
) -> None:
    modes = {"sign": "Sign", "sign_and_encrypt": "SignAndEncrypt"}
    plc.offer(pinned, [kind(f"{policy.replace('_', '')}_{modes[mode]}")])
    said = opened(plc, trust, mode=mode, security=policy, **USER)
    assert said.endswith("as user operator")
    assert plc.users.seen == [("operator", PASSWORD)]


def test_a_wrong_password_is_refused_with_a_way_out(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    plc.offer(pinned)
    error = refused(plc, trust, user="operator", password="wrong")
    assert "refuses the session as user operator: BadUserAccessDenied" in str(error)
    assert "user and password" in error.hint


def test_a_password_over_a_signed_channel_is_encrypted_or_not_sent(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    plc.offer(pinned, [POLICIES.Basic256Sha256_Sign])
    for endpoint in plc.internal.endpoints:
        for token in endpoint.UserIdentityTokens:
            token.SecurityPolicyUri = "http://opcfoundation.org/UA/SecurityPolicy#None"
    assert "it has no endpoint for" in str(refused(plc, trust, mode="sign", **USER))
    assert plc.users.seen == []


def test_of_several_ways_to_send_a_password_the_safest_is_taken(
    plc: SecuredServer, trust: Trust, pinned: Pair, monkeypatch: Any
) -> None:
    plc.offer(pinned, [POLICIES.Basic256Sha256_Sign], [ua.UserNameIdentityToken])
    (endpoint,) = plc.internal.endpoints
    uris = ["None", "Basic128Rsa15", "Aes256_Sha256_RsaPss", "Basic256Sha256"]
    endpoint.UserIdentityTokens = [
        ua.UserTokenPolicy(
            PolicyId=uri,
            TokenType=ua.UserTokenType.UserName,
            SecurityPolicyUri=f"http://opcfoundation.org/UA/SecurityPolicy#{uri}",
        )
        for uri in uris
    ]
    sent = []
    truth = plc.internal.decrypt_user_token

    def decrypt(session: Any, token: Any) -> Any:
        sent.append((token.PolicyId, token.EncryptionAlgorithm))
        return truth(session, token)

    monkeypatch.setattr(plc.internal, "decrypt_user_token", decrypt)
    opened(plc, trust, mode="sign", **USER)
    algorithm = "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"
    assert sent == [("Aes256_Sha256_RsaPss", algorithm)]


def test_a_password_in_clear_text_takes_security_none_by_name_and_is_warned_of(
    plc: SecuredServer, trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    plc.offer(None, [NONE])
    assert opened(plc, trust, security="none", **USER) == "no security, as user operator"
    assert "the password crosses the network in clear text" in caplog.text


def test_a_password_is_encrypted_where_a_server_without_security_can(
    plc: SecuredServer, trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    plc.offer(server(), [NONE, *STRONG])
    assert opened(plc, trust, security="none", **USER) == "no security, as user operator"
    assert "readable to whoever answers" in caplog.text
    assert plc.users.seen == [("operator", PASSWORD)]


def test_no_password_ever_shows_in_a_log(
    plc: SecuredServer, trust: Trust, pinned: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    plc.offer(pinned)
    caplog.set_level(logging.DEBUG, "asyncua")
    opened(plc, trust, **USER)
    client = [r for r in caplog.records if r.name.startswith("asyncua.client.ua_client.UAS")]
    said = "\n".join(record.getMessage() for record in client)
    assert "ActivateSessionRequest" in said
    assert PASSWORD not in said
    assert repr(PASSWORD.encode())[2:-1] not in said


@pytest.mark.parametrize("policies", [STRONG, [NONE, *STRONG]])
def test_a_user_logs_in_with_a_certificate(
    plc: SecuredServer, trust: Trust, pinned: Pair, tmp_path: Path, policies: Any
) -> None:
    plc.offer(pinned, policies)
    user = server(number=6, name="operator", **ALWAYS)
    plc.users.certificate = user.der
    files = {"user_certificate": tmp_path / "user.der", "user_key": tmp_path / "user.pem"}
    files["user_certificate"].write_bytes(user.der)
    files["user_key"].write_bytes(user.key_pem)
    security = {"security": "none"} if NONE in policies else {}
    said = opened(plc, trust, **security, **files)
    assert said.endswith(f"as the user of {files['user_certificate']}")
    plc.users.certificate = server(number=7, **ALWAYS).der
    assert "refuses the session as the user of" in str(refused(plc, trust, **security, **files))


@pytest.mark.parametrize("spoil", ["no file", "no certificate", "another key", "expired"])
def test_user_files_that_cannot_be_used_are_named(
    plc: SecuredServer, trust: Trust, pinned: Pair, tmp_path: Path, spoil: str
) -> None:
    plc.offer(pinned)
    end = {"end": datetime(2021, 1, 1, tzinfo=UTC)} if spoil == "expired" else {}
    user = server(number=6, name="operator", **{**ALWAYS, **end})
    files = {"user_certificate": tmp_path / "user.der", "user_key": tmp_path / "user.pem"}
    files["user_certificate"].write_bytes(b"hello" if spoil == "no certificate" else user.pem)
    files["user_key"].write_bytes(
        server(number=7).key_pem if spoil == "another key" else user.key_pem
    )
    if spoil == "no file":
        files["user_key"].unlink()
    expected = {
        "no file": "user.pem: No such file",
        "no certificate": "must be a certificate and its key",
        "another key": "user.pem is not the RSA key of",
        "expired": "user.der expired on 2021-01-01",
    }
    assert expected[spoil] in str(refused(plc, trust, **files))


def test_on_an_encrypted_channel_a_token_of_an_old_policy_is_taken(
    plc: SecuredServer, trust: Trust, pinned: Pair
) -> None:
    plc.offer(pinned, [POLICIES.Basic256Sha256_SignAndEncrypt], [ua.UserNameIdentityToken])
    (endpoint,) = plc.internal.endpoints
    endpoint.UserIdentityTokens[
        0
    ].SecurityPolicyUri = "http://opcfoundation.org/UA/SecurityPolicy#Basic256"
    assert opened(plc, trust, **USER).endswith("as user operator")
    assert plc.users.seen == [("operator", PASSWORD)]
