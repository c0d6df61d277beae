"""Certificates of servers, users and authorities, made as tests need them; keys are made once."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9
DAY = timedelta(days=1)
ALWAYS: Final[Any] = {
    "begin": datetime(2020, 1, 1, tzinfo=UTC),
    "end": datetime(2120, 1, 1, tzinfo=UTC),
}
"""Whatever the machine's clock says."""
SERVER_URI = "urn:plc:press-01"


_generate = rsa.generate_private_key  # what tests put in its place uses `key`


@cache
def key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    return _generate(65537, bits)


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def server(
    issuer: Pair | None = None,
    number: int = 1,
    *,
    name: str = "press-01",
    uri: str = SERVER_URI,
    host: str = "127.0.0.1",
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 300 * DAY,
    bits: int = 2048,
    is_for_server: bool = True,
    signed_with: hashes.HashAlgorithm | None = None,
) -> Pair:
    """The certificate of a server or a user, self-signed without an issuer."""
    roles = [ExtendedKeyUsageOID.SERVER_AUTH if is_for_server else ExtendedKeyUsageOID.CLIENT_AUTH]
    extensions: list[x509.ExtensionType] = [
        x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(uri),
                x509.IPAddress(ipaddress.ip_address(host)),
            ]
        ),
        x509.ExtendedKeyUsage(roles),
    ]
    return _signed(name, key(number, bits), issuer, begin, end, extensions, (), signed_with)


def authority(
    issuer: Pair | None = None,
    number: int = 2,
    *,
    name: str = "Plant CA",
    end: datetime = NOW + 3000 * DAY,
    path_length: int | None = None,
    is_authority: bool = True,
    constrained: Sequence[x509.ExtensionType] = (),
) -> Pair:
    """An authority. constrained : extensions that whoever does not understand must refuse."""
    constraints = x509.BasicConstraints(is_authority, path_length if is_authority else None)
    times = NOW - 10 * DAY, end
    return _signed(name, key(number), issuer, *times, [constraints], constrained)


def revocations(
    issuer: Pair, revoked: Sequence[Pair] = (), end: datetime = NOW + 7 * DAY
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(end - 8 * DAY)
        .next_update(end)
    )
    for pair in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(pair.certificate.serial_number)
            .revocation_date(NOW - DAY)
            .build()
        )
    return builder.sign(issuer.key, hashes.SHA256())


def _signed(
    name: str,
    own: rsa.RSAPrivateKey,
    issuer: Pair | None,
    begin: datetime,
    end: datetime,
    extensions: Sequence[x509.ExtensionType],
    critical: Sequence[x509.ExtensionType] = (),
    signed_with: Any = None,
) -> Pair:
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(issuer.certificate.subject if issuer else named(name))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    by = issuer.key if issuer else own
    return Pair(builder.sign(by, signed_with or hashes.SHA256()), own)
