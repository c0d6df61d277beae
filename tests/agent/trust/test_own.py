"""The gateway's own certificate: what it says, that it stays, and how it is exchanged."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import ConfigError
from agent.trust import Trust
from agent.trust.certificate import der, thumbprint
from agent.trust.own import BITS, FORMER_MAX
from tests.agent.trust.certificates import DAY, NOW, NOW_NS, Pair, authority, key, server


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100, 1000))

    def generate(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        return key(next(numbers) % 4 + 100, key_size)

    monkeypatch.setattr("agent.trust.own.rsa.generate_private_key", generate)


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "pki", "gw 1/冲压", lambda: NOW_NS)


def value(certificate: x509.Certificate, kind: type) -> object:
    return certificate.extensions.get_extension_for_class(kind).value


def test_it_says_what_opc_ua_wants_of_an_application(trust: Trust) -> None:
    own = trust.own()
    usage = own.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    names = own.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert own.uri == f"urn:{socket.gethostname()}:andon:gw%201/%E5%86%B2%E5%8E%8B"
    assert names.get_values_for_type(x509.DNSName) == [socket.gethostname()]
    assert (usage.digital_signature, usage.content_commitment) == (True, True)
    assert (usage.key_encipherment, usage.data_encipherment) == (True, True)
    assert (usage.key_cert_sign, usage.crl_sign) == (True, False)
    assert value(own.certificate, x509.BasicConstraints) == x509.BasicConstraints(False, None)
    assert set(value(own.certificate, x509.ExtendedKeyUsage)) == {  # type: ignore[call-overload]
        ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    }  # fmt: skip
    assert own.key.key_size == BITS
    assert own.certificate.public_key() == own.key.public_key()
    assert own.certificate.not_valid_before_utc == NOW - DAY
    own.certificate.verify_directly_issued_by(own.certificate)


def test_asyncuas_own_validation_takes_it(tmp_path: Path) -> None:
    own = Trust(tmp_path, "gw-1").own()
    about = ua.ApplicationDescription(
        ApplicationUri=own.uri, ApplicationType=ua.ApplicationType.Client
    )
    options = CertificateValidatorOptions
    validator = CertificateValidator(options.EXT_VALIDATION | options.PEER_CLIENT)
    asyncio.run(validator.validate(own.certificate, about))


def test_it_is_made_once_and_kept(trust: Trust) -> None:
    first = trust.own()
    again = Trust(trust.folder, "another name").own()
    assert again.certificate == first.certificate
    assert Trust(trust.folder, "another name").uri() == first.uri
    assert (trust.folder / "own" / "cert.der").read_bytes() == der(first.certificate)


def test_two_processes_that_make_it_at_once_agree_on_one(trust: Trust) -> None:
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(Trust(trust.folder, "gw-1").own()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 4
    assert {own.certificate for own in made} == {trust.own().certificate}


def test_a_crash_between_key_and_certificate_leaves_a_pair(trust: Trust) -> None:
    former = trust.own()
    renewed = trust.rotate()
    (trust.folder / "own" / "cert.der").write_bytes(der(former.certificate))
    assert trust.own().certificate == renewed.certificate
    assert (trust.folder / "own" / "cert.der").read_bytes() == der(renewed.certificate)


def test_a_certificate_that_an_authority_made_of_the_key_is_taken_with_its_chain(
    trust: Trust,
) -> None:
    own, root = trust.own(), authority()
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.certificate.subject)
        .issuer_name(root.certificate.subject)
        .public_key(own.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    issued = builder.sign(root.key, hashes.SHA256())
    file = trust.folder / "own" / "cert.der"
    file.write_bytes(Pair(issued, own.key).der + root.der)
    assert trust.own().certificate == issued
    assert trust.own().chain == (root.certificate,)
    trust.rotate()
    assert trust.rotate_back().certificate == issued
    assert trust.own().chain == (root.certificate,)


def test_a_rotated_certificate_is_another_and_one_can_go_back(trust: Trust) -> None:
    first = trust.own()
    second = trust.rotate(bits=2048)
    assert trust.own().certificate == second.certificate
    assert second.key.public_key() != first.key.public_key()
    assert thumbprint(trust.rotate_back().certificate) == thumbprint(first.certificate)
    assert trust.own().certificate == first.certificate
    assert thumbprint(trust.rotate_back().certificate) == thumbprint(second.certificate)


def test_only_so_many_former_pairs_are_kept(trust: Trust) -> None:
    times = iter(range(NOW_NS, NOW_NS + 10**15, 10**9))
    trust = Trust(trust.folder, "gw-1", lambda: next(times))
    for _ in range(FORMER_MAX + 3):
        trust.rotate()
    assert len(list((trust.folder / "own").glob("key-*.pem"))) == FORMER_MAX


def test_there_is_no_way_back_before_the_first_rotation(trust: Trust) -> None:
    trust.own()
    with pytest.raises(ConfigError, match="no former certificate"):
        trust.rotate_back()


def test_the_private_keys_are_never_anothers_to_read(trust: Trust) -> None:
    before = os.umask(0)
    try:
        trust.own()
        trust.rotate()
    finally:
        os.umask(before)
    modes = {file.stat().st_mode & 0o777 for file in (trust.folder / "own").iterdir()}
    assert modes == {0o600}


def test_no_certificate_is_made_by_a_clock_that_was_never_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clock says 1970-01-01") as caught:
        Trust(tmp_path, "gw-1", lambda: 0).own()
    assert "timedatectl" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"not a key", server().pem])
def test_files_that_are_no_pair_are_an_error_and_rotating_mends_them(
    trust: Trust, content: bytes
) -> None:
    trust.own()
    (trust.folder / "own" / "key.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=r"key\.pem is no private key") as caught:
        trust.own()
    assert "andon trust rotate" in caught.value.hint
    assert trust.rotate().certificate == trust.own().certificate


def test_a_certificate_of_another_key_is_an_error(trust: Trust) -> None:
    folder = trust.folder / "own"
    folder.mkdir(parents=True)
    (folder / "key.pem").write_bytes(server().key_pem)
    (folder / "cert.der").write_bytes(server(number=3).der)
    with pytest.raises(ConfigError, match=r"not the certificate of key\.pem"):
        trust.own()
