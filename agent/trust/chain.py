"""Whether a certificate is trusted, and if not, why.

Enters: a certificate with what its server sent along, the certificates and revocation lists that
are kept here. Leaves: a verdict. Nothing raises; nothing is read or written.

Somebody's hand must be behind it (OPC 10000-4, 6.1.3): the certificate itself is trusted, or an
authority in its chain is. Issuers are kept to build chains and give no trust. Signatures count with
SHA-256 or better only. A chain ends at the first trusted authority; validity, path length and
revocation are checked for all of it. Without a revocation list nothing counts as revoked; one that
is out of date still counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from agent.trust.certificate import CHAIN_MAX, is_authority, is_for_server, name, untimely

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD: Final = (
    x509.BasicConstraints,
    x509.ExtendedKeyUsage,
    x509.KeyUsage,
    x509.SubjectAlternativeName,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one certificate.

    why : what is wrong with it, as the end of a sentence; empty where it is trusted
    is_unknown : nothing is wrong with it but that nobody has trusted it
    is_pinned : it is trusted itself, not for its issuer
    notes : what somebody should look after, in sentences
    """

    why: str = ""
    is_unknown: bool = False
    is_pinned: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_trusted(self) -> bool:
        """Whether a session may be opened."""
        return not self.why


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept here to judge by."""

    trusted: Sequence[x509.Certificate]
    issuers: Sequence[x509.Certificate]
    revoked: Sequence[x509.CertificateRevocationList]


def judge(chain: Sequence[x509.Certificate], kept: Kept, now: datetime) -> Verdict:
    """Of a server's certificate.

    chain : it, and what the server sent along
    """
    leaf, is_pinned = chain[0], chain[0] in kept.trusted
    known = (*kept.trusted, *kept.issuers, *chain[1:])
    path = _path((leaf,), known, kept.trusted) if not is_pinned else (leaf,)
    if path is None:
        return Verdict("is not trusted here", is_unknown=True)
    for one in path:
        if reason := untimely(one, now):
            return Verdict(reason if one is leaf else f"has an issuer that {reason}: {name(one)}")
    if not is_pinned and not is_for_server(leaf):
        return Verdict("was not issued for a server (key usage)")
    # A pinned one has no path, but may have an issuer whose revocations are known.
    steps = list(pairwise(path)) or [(leaf, one) for one in known if _issued(leaf, one)]
    notes: list[str] = []
    for one, issuer in steps:
        for revocations in _of(issuer, kept.revoked):
            if revocations.get_revoked_certificate_by_serial_number(one.serial_number) is not None:
                what = "was revoked" if one is leaf else f"has an issuer, {name(one)}, revoked"
                return Verdict(f"{what} by {name(issuer)}")
            until = revocations.next_update_utc
            if until is not None and until < now:
                notes.append(
                    f"the revocation list of {name(issuer)} is out of date since {until:%Y-%m-%d}: "
                    "put a new one into issuers/crl"
                )
    return Verdict(is_pinned=is_pinned, notes=tuple(notes))


def _path(
    path: tuple[x509.Certificate, ...],
    known: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
) -> tuple[x509.Certificate, ...] | None:
    """The path on to a trusted authority; None where there is none."""
    if len(path) >= CHAIN_MAX:
        return None
    for issuer in known:
        if issuer in path or not _issued(path[-1], issuer) or not _spans(issuer, len(path) - 1):
            continue
        longer = (*path, issuer)
        found = longer if issuer in trusted else _path(longer, known, trusted)
        if found is not None:
            return found
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether this one, an authority, signed that one."""
    if certificate.issuer != issuer.subject or not is_authority(issuer) or certificate == issuer:
        return False
    if any(one.critical and not isinstance(one.value, _UNDERSTOOD) for one in issuer.extensions):
        return False  # such as name constraints: RFC 5280, 4.2, has it refused
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _spans(issuer: x509.Certificate, below: int) -> bool:
    """Whether it may have so many authorities below itself (RFC 5280, 4.2.1.9)."""
    longest = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    return longest is None or below <= longest


def _of(
    issuer: x509.Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> Iterator[x509.CertificateRevocationList]:
    """The lists that this authority signed."""
    for one in lists:
        if one.issuer == issuer.subject:
            try:
                if one.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
                    yield one
            except (TypeError, ValueError, UnsupportedAlgorithm):
                continue
