"""A plant's certificate authority, for servers and clients of tests.

    authority = Authority(folder)
    server = authority.issue("broker")                    # 127.0.0.1 and localhost, for a year
    stale = authority.issue("gateway", valid_days=-1)     # expired yesterday

Leaves PEM files in its folder: `ca.pem`, and a certificate and a key for each name issued.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE: Final = ("localhost", "127.0.0.1")
YEAR_DAYS: Final = 365
AGE: Final = datetime.timedelta(days=30)
"""Every certificate has been valid since so long, so that an expired one once was."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """One authority. Two of one name do not know each other: each has a key of its own."""

    def __init__(self, folder: Path, name: str = "Plant CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self._folder = folder
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = _usage(signs=True)
        builder = _builder(self._name, self._name, self._key, self._key, YEAR_DAYS)
        made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(usage, critical=True)
        self.ca.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, *, hosts: Sequence[str] = HERE, valid_days: int = YEAR_DAYS) -> Pair:
        """A certificate of `name` for both roles, and its key.

        hosts : DNS names and addresses that it is for
        valid_days : from now; below 0 it has expired
        """
        key = ec.generate_private_key(ec.SECP256R1())
        roles = x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        builder = _builder(_named(name), self._name, key, self._key, valid_days)
        made = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        made = made.add_extension(_usage(signs=False), critical=True)
        made = made.add_extension(roles, critical=False)
        made = made.add_extension(
            x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed = made.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    valid_days: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    of = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - AGE)
        .not_valid_after(now + datetime.timedelta(days=valid_days))
        .add_extension(by, critical=False)
        .add_extension(of, critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=signs,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
