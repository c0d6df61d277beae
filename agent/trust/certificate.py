"""What a certificate says, for people and for checks.

Enters: bytes from files and from servers, which may be anything. Leaves: X.509 certificates and
revocation lists every part of which can be read. Fails: ValueError for all that is neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CHAIN_MAX: Final = 8
"""Certificates of one chain; a server that sends more is not read."""

_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def read_chain(content: bytes) -> list[x509.Certificate]:
    """The certificates of a file or of a server, the leaf first.

    content : PEM, or DER one after another (OPC 10000-6, 6.2.6)
    Raises ValueError where there is none, more than CHAIN_MAX, or one that cannot be read.
    """
    try:
        if _is_der(content):
            pieces = islice(_split(content), CHAIN_MAX + 1)
            chain = [x509.load_der_x509_certificate(piece) for piece in pieces]
        else:
            chain = x509.load_pem_x509_certificates(content)
        for certificate in chain:
            # All of it is parsed lazily: what is broken must show here.
            _ = certificate.extensions, certificate.public_key(), certificate.not_valid_after_utc
            _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc
    except _UNREADABLE as error:
        raise ValueError(f"it is no certificate that can be read: {error}") from None
    if len(chain) > CHAIN_MAX:
        raise ValueError(f"it must hold at most {CHAIN_MAX} certificates")
    return chain


def read_revocations(content: bytes) -> x509.CertificateRevocationList:
    """The revocation list of a file, DER or PEM. Raises ValueError."""
    load = x509.load_der_x509_crl if _is_der(content) else x509.load_pem_x509_crl
    try:
        revocations = load(content)
        _ = revocations.issuer, revocations.extensions, revocations.last_update_utc
    except _UNREADABLE as error:
        raise ValueError(f"it is no revocation list that can be read: {error}") from None
    return revocations


def der(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    """It as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 of it in 40 hexadecimal digits: what OPC UA servers show (OPC 10000-6, 6.2.2).

    A name only: trust compares whole certificates.
    """
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303


def name(certificate: x509.Certificate) -> str:
    """What to call it: its common name, else its whole subject."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(str(common[0].value) if common else full_name(certificate.subject))


def full_name(name: x509.Name) -> str:
    """A subject or issuer."""
    return printable(name.rfc4514_string()) or "(no name)"


def application_uri(certificate: x509.Certificate) -> str:
    """The application it was made for; empty where it does not say."""
    alternatives = _alternatives(certificate)
    uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier) if alternatives else []
    return uris[0] if uris else ""


def hosts(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses it was made for."""
    alternatives = _alternatives(certificate)
    if alternatives is None:
        return []
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return [*alternatives.get_values_for_type(x509.DNSName), *map(str, addresses)]


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates (RFC 5280, 4.2.1.3 and 4.2.1.9)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    usage = key_usage(certificate)
    return constraints.ca and (usage is None or usage.key_cert_sign)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether nobody but itself vouches for it."""
    return certificate.subject == certificate.issuer


def is_for_server(certificate: x509.Certificate) -> bool:
    """Whether its issuer meant it for a server, or did not say (OPC 10000-6, 6.2.2)."""
    usage = key_usage(certificate)
    if usage is not None and not usage.digital_signature:
        return False
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    accepted = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    return not accepted.isdisjoint(extended)


def key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """What its key may be used for; None where it does not say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def key_bits(certificate: x509.Certificate) -> int:
    """Length of its RSA key; 0 for keys of other kinds, which no policy here can use."""
    key = certificate.public_key()
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else 0


def untimely(certificate: x509.Certificate, now: datetime) -> str:
    """Why it is not valid now, as the end of a sentence; empty where it is."""
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        return (
            f"is valid from {begins} UTC only, and this gateway's clock says {now:%Y-%m-%d %H:%M}"
        )
    return ""


def printable(text: str) -> str:
    """What a server wrote, without what would move a terminal's cursor or break a line."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _is_der(content: bytes) -> bool:
    """Whether it begins as a certificate in DER does, which no text does."""
    return content[:1] == b"\x30" and content[1:2] >= b"\x80"


def _split(content: bytes) -> Iterator[bytes]:
    """DER values one after another (ITU-T X.690, 8.1.3)."""
    while content:
        head, length = 2, content[1] if len(content) > 1 else 0
        if length & 0x80:
            head += length & 0x7F
            length = int.from_bytes(content[2:head], "big")
        yield content[: head + length]
        content = content[head + length :]
