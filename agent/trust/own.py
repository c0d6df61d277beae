"""The gateway's own certificate: made once, kept, exchanged for a new one by hand.

Enters: the folder `own`. Leaves: certificate and private key, of which `key.pem` (mode 0600) holds
both, so that the pair changes in one rename; `cert.der` is the certificate for others to take. A
`cert.der` that belongs to the key wins, so that a plant's authority may issue it. Pairs that were
exchanged stay as `key-<when>.pem`. Fails: ConfigError where the files cannot be used.

Made for 10 years: servers know it by trust lists that people keep by hand, and all of them would
refuse it on the same day. 2048 bits: the one length that all policies take, deprecated ones too
(OPC 10000-7, 6.6); `rotate --bits` makes longer ones. It is no authority: some servers refuse
application certificates that say so.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ConfigError
from agent.trust.certificate import application_uri, der, pem, read_chain
from agent.trust.files import fill, make_folder, put, read

BITS: Final = 2048
BITS_MAX: Final = 4096
VALID_DAYS: Final = 3650
EARLY: Final = timedelta(days=1)
"""Valid from so long ago: the clocks of machines are late."""
CLOCK_BEGINS: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A clock before this is not set yet, and nothing is made by it."""
FORMER_MAX: Final = 10
COMMON_NAME_MAX: Final = 64
"""RFC 5280, A.1: ub-common-name."""

_ROTATE: Final = "`andon trust rotate` makes a new one"


@dataclass(frozen=True, slots=True)
class Own:
    """What this gateway identifies itself with.

    chain : the certificates of its issuers, to be sent along
    """

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def uri(self) -> str:
        """The application's name, which its sessions must give too."""
        return application_uri(self.certificate)


def uri_of(gateway: str) -> str:
    """What a gateway of this name calls itself."""
    return f"urn:{quote(socket.gethostname())}:andon:{quote(gateway)}"


def make(gateway: str, bits: int, now: datetime) -> Own:
    """A new pair. Takes 0.1 s, on a small gateway some seconds.

    Raises ConfigError where the clock cannot be right.
    """
    if now < CLOCK_BEGINS:
        raise ConfigError(
            f"no certificate can be made while this gateway's clock says {now:%Y-%m-%d}",
            "set the clock: see `timedatectl`",
        )
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"Andon {gateway}"[:COMMON_NAME_MAX]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Andon"),
        ]
    )
    number = x509.random_serial_number()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = x509.AuthorityKeyIdentifier(identifier.digest, [x509.DirectoryName(subject)], number)
    roles = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - EARLY)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(roles), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(gateway)), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(issuer, critical=False)
    )
    return Own(builder.sign(key, hashes.SHA256()), key)


def load(folder: Path) -> Own | None:
    """The pair that is kept; None where there is none yet. Raises ConfigError."""
    content = read(folder / "key.pem")
    if content is None:
        return None
    key = _key(folder / "key.pem", content)
    with suppress(ValueError):
        if (own := _own(key, read(folder / "cert.der") or b"")) is not None:
            return own
    with suppress(ValueError):
        if (own := _own(key, content)) is not None:
            put(folder / "cert.der", der(own.certificate))
            return own
    raise ConfigError(f"{folder / 'cert.der'} is not the certificate of key.pem beside it", _ROTATE)


def keep_first(folder: Path, own: Own) -> Own:
    """Keep the first pair; where another process was faster, its pair is the one."""
    make_folder(folder)
    if fill(folder / "key.pem", _content(own)):
        put(folder / "cert.der", der(own.certificate))
    kept = load(folder)
    assert kept is not None, "it was there a moment ago"
    return kept


def exchange(folder: Path, own: Own, now: datetime) -> None:
    """Keep this pair instead of the former, which stays beside it."""
    make_folder(folder)
    kept = read(folder / "key.pem")
    if kept is not None:
        with suppress(ConfigError):  # what is broken stays as it is
            kept = _content(load(folder) or own)
        put(folder / f"key-{now:%Y%m%dT%H%M%S%fZ}.pem", kept)
    put(folder / "key.pem", _content(own))
    put(folder / "cert.der", b"".join(der(one) for one in (own.certificate, *own.chain)))
    for old in formers(folder)[:-FORMER_MAX]:
        old.unlink(missing_ok=True)


def former(folder: Path) -> Own:
    """The pair before the present one. Raises ConfigError where there is none."""
    files = formers(folder)
    if not files:
        raise ConfigError(f"{folder} holds no former certificate", "nothing was rotated yet")
    content = files[-1].read_bytes()
    own = _own(_key(files[-1], content), content)
    if own is None:
        raise ConfigError(f"{files[-1]} holds no certificate of its key")
    return own


def formers(folder: Path) -> list[Path]:
    """The files of former pairs, the last one last."""
    return sorted(folder.glob("key-*.pem"))


def _own(key: rsa.RSAPrivateKey, content: bytes) -> Own | None:
    """The pair, where these certificates are of this key. Raises ValueError."""
    leaf, *chain = read_chain(content)
    is_pair = leaf.public_key() == key.public_key()
    return Own(leaf, key, tuple(chain)) if is_pair else None


def _key(file: Path, content: bytes) -> rsa.RSAPrivateKey:
    try:
        # Proving its primes takes 0.1 s at every connection; it is compared with its certificate.
        key = load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file} is no private key without passphrase: {error}", _ROTATE
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(f"{file} is no RSA key, which OPC UA's policies need", _ROTATE)
    return key


def _content(own: Own) -> bytes:
    key = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key + "".join(pem(one) for one in (own.certificate, *own.chain)).encode()


def _usage() -> x509.KeyUsage:
    """OPC 10000-6, 6.2.2: these four, and signing itself."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(gateway: str) -> Sequence[x509.GeneralName]:
    """The URI first: some servers read no further."""
    host = socket.gethostname()
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri_of(gateway))]
    if host.isascii() and host:
        names.append(x509.DNSName(host))
    return [*names, *(x509.IPAddress(address) for address in _addresses())]


def _addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses this gateway would be seen with. Nothing is sent: no datagram has a body."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.append(ipaddress.ip_address(probe.getsockname()[0]))
    return found
