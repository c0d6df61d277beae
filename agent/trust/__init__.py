"""Whom this gateway trusts, and what it identifies itself with: the folder `pki`.

    own/cert.der, key.pem    this gateway's certificate and private key (`own.py`)
    trusted/                 servers that are trusted, and authorities whose every certificate is
    issuers/                 authorities that only complete chains
    issuers/crl/             revocation lists
    rejected/                servers that were met and are not trusted; a person moves them

Enters: certificates of servers, and commands of a person. Leaves: verdicts (`chain.py`). Folders
are read at every verdict: what `andon trust` changes counts from the next connection on. Any file
with certificates counts, DER or PEM, whatever its name. Fails: ConfigError where a file of ours
cannot be used; a file of others that holds no certificate is said and passed over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args

from cryptography import x509

from agent.errors import ConfigError
from agent.trust.certificate import (
    der,
    full_name,
    is_authority,
    name,
    read_chain,
    read_revocations,
    thumbprint,
)
from agent.trust.chain import Kept, Verdict, judge
from agent.trust.files import files, put, read, remove
from agent.trust.own import BITS, Own, exchange, former, keep_first, load, make, uri_of

__all__ = ["Entry", "Own", "Place", "Trust", "Verdict"]

log = logging.getLogger("andon.trust")

WARN_DAYS: Final = 30
"""Expiry is warned of so long before."""
REJECTED_MAX: Final = 50
"""Files in `rejected`; the oldest goes first, and loses nothing: its server brings it again."""
DIGITS_MIN: Final = 8
"""Of a thumbprint, so many digits at least are typed."""
SAY_AGAIN: Final = timedelta(days=1)
SAID_MAX: Final = 1000
"""Sentences remembered as said; beyond, all may be said again."""

Place = Literal["trusted", "issuers", "rejected"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate in one of the folders."""

    place: Place
    file: Path
    certificate: x509.Certificate


class Trust:
    """The folder of certificates.

    folder : made when something is first kept in it
    gateway : the gateway's name, for its own certificate
    now_ns : the gateway's clock, UTC
    """

    def __init__(
        self, folder: Path, gateway: str = "gateway", now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.folder = folder
        self._gateway = gateway
        self._now_ns = now_ns
        self._said: dict[str, datetime] = {}

    def now(self) -> datetime:
        """The gateway's clock, UTC."""
        return datetime.fromtimestamp(self._now_ns() / 1e9, UTC)

    def uri(self) -> str:
        """The application's name of this gateway, also before it has a certificate."""
        own = load(self._own)
        return own.uri if own is not None else uri_of(self._gateway)

    def own(self) -> Own:
        """What this gateway identifies itself with; made now where there is nothing yet."""
        own = load(self._own)
        return own or keep_first(self._own, make(self._gateway, BITS, self.now()))

    @property
    def own_file(self) -> Path:
        """The own certificate, for servers to take."""
        return self._own / "cert.der"

    def rotate(self, bits: int = BITS) -> Own:
        """Exchange the own certificate for a new one; the former is kept beside it."""
        own = make(self._gateway, bits, self.now())
        exchange(self._own, own, self.now())
        return own

    def rotate_back(self) -> Own:
        """Exchange the own certificate for the one before it."""
        own = former(self._own)
        exchange(self._own, own, self.now())
        return own

    def trusted(self) -> list[Entry]:
        """Servers and authorities that are trusted."""
        return self._entries("trusted")

    def issuers(self) -> list[Entry]:
        """Authorities that only complete chains."""
        return self._entries("issuers")

    def rejected(self) -> list[Entry]:
        """Servers that were met and are not trusted, the last one last."""
        return self._entries("rejected")

    def find(self, digits: str, *places: Place) -> Entry:
        """The certificate whose thumbprint begins so, in these places or all.

        Raises ConfigError where there is none, or more than one.
        """
        wanted = "".join(digits.split()).replace(":", "").upper()
        where = ", ".join(places or get_args(Place))
        if len(wanted) < DIGITS_MIN:
            raise ConfigError(
                f"{digits!r} is too short for a thumbprint",
                f"give {DIGITS_MIN} digits of it or more; `andon trust list` shows them",
            )
        found = {
            entry.certificate: entry
            for place in reversed(places or get_args(Place))
            for entry in self._entries(place)
            if thumbprint(entry.certificate).startswith(wanted)
        }
        if not found:
            raise ConfigError(
                f"no certificate with thumbprint {digits} is in {where}",
                "`andon trust list` shows what is there",
            )
        if len(found) > 1:
            raise ConfigError(f"{len(found)} certificates begin with {digits}", "give more digits")
        return next(iter(found.values()))

    def trust(self, digits: str) -> x509.Certificate:
        """Trust a certificate that was met. Raises ConfigError."""
        entry = self.find(digits, "rejected")
        self.add(entry.certificate)
        return entry.certificate

    def reject(self, digits: str) -> x509.Certificate:
        """Trust a certificate no longer. Raises ConfigError."""
        entry = self.find(digits, "trusted", "issuers")
        self.keep_rejected(entry.certificate)
        self._remove(entry.certificate, "trusted", "issuers")
        return entry.certificate

    def add(self, certificate: x509.Certificate, *, as_issuer: bool = False) -> Path:
        """Trust a certificate, or keep an authority's to complete chains."""
        if as_issuer and not is_authority(certificate):
            raise ConfigError(f"{name(certificate)} is no authority: it may not issue certificates")
        file = self._put("issuers" if as_issuer else "trusted", certificate)
        self._remove(certificate, "rejected")
        return file

    def add_revocations(self, revocations: x509.CertificateRevocationList) -> Path:
        """Keep a revocation list, instead of an older one of the same authority."""
        for file, one in self._revocations():
            if one.issuer == revocations.issuer:
                if one.last_update_utc > revocations.last_update_utc:
                    raise ConfigError(f"{file} is newer than this list", "nothing was changed")
                remove(file)
        title = "".join(c if c.isalnum() else "-" for c in full_name(revocations.issuer))[:80]
        file = self.folder / "issuers" / "crl" / f"{title}.crl"
        put(file, der(revocations))
        return file

    def keep_rejected(self, certificate: x509.Certificate) -> None:
        """Keep what is not trusted, for a person to decide on."""
        self._put("rejected", certificate)
        for file in files(self.folder / "rejected")[:-REJECTED_MAX]:
            remove(file)

    def judge(self, chain: Sequence[x509.Certificate]) -> Verdict:
        """Whether a server's certificate is trusted.

        chain : it, and what the server sent along
        """
        kept = Kept(
            [entry.certificate for entry in self.trusted()],
            [entry.certificate for entry in self.issuers()],
            [one for _, one in self._revocations()],
        )
        return judge(chain, kept, self.now())

    def is_trusted(self, content: bytes) -> bool:
        """Whether this certificate, DER or PEM, is trusted."""
        try:
            return self.judge(read_chain(content)).is_trusted
        except ValueError:
            return False

    def days_left(self) -> int | None:
        """Until the own certificate expires; None where there is none yet."""
        own = load(self._own)
        return None if own is None else (own.certificate.not_valid_after_utc - self.now()).days

    def warnings(self, *others: x509.Certificate) -> list[str]:
        """What expires within WARN_DAYS: own, trusted, issuers, and these."""
        own = load(self._own)
        said = []
        if own is not None and (when := self._expires(own.certificate)):
            said.append(
                f"this gateway's certificate {when}; `andon trust rotate` makes a new one, which "
                "every server must then trust"
            )
        kept = (entry.certificate for entry in (*self.trusted(), *self.issuers()))
        said += [
            f"the certificate of {name(one)} ({thumbprint(one)}) {when}; make a new one there, and "
            "trust it here"
            for one in dict.fromkeys((*kept, *others))
            if (when := self._expires(one))
        ]
        return said

    def say_warnings(self, *others: x509.Certificate) -> None:
        """Log them, each once a day."""
        for text in self.warnings(*others):
            self.say(text)

    def say(self, text: str) -> None:
        """Log a warning, once a day."""
        now = self.now()
        if text in self._said and timedelta() <= now - self._said[text] < SAY_AGAIN:
            return
        if len(self._said) >= SAID_MAX:
            self._said.clear()
        self._said[text] = now
        log.warning("%s", text)

    @property
    def _own(self) -> Path:
        return self.folder / "own"

    def _expires(self, certificate: x509.Certificate) -> str:
        left = certificate.not_valid_after_utc - self.now()
        if left > timedelta(days=WARN_DAYS):
            return ""
        date = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        return f"expired on {date}" if left < timedelta() else f"expires on {date}"

    def _entries(self, place: Place) -> list[Entry]:
        entries = []
        for file in files(self.folder / place):
            try:
                chain = read_chain(read(file) or b"")
            except ValueError as error:
                self.say(f"{file} is passed over: {error}")
                continue
            entries += [Entry(place, file, certificate) for certificate in chain]
        return entries

    def _revocations(self) -> Iterator[tuple[Path, x509.CertificateRevocationList]]:
        for file in files(self.folder / "issuers" / "crl"):
            try:
                yield file, read_revocations(read(file) or b"")
            except ValueError as error:
                self.say(f"{file} is passed over: {error}")

    def _put(self, place: Place, certificate: x509.Certificate) -> Path:
        file = self.folder / place / f"{thumbprint(certificate)}.der"
        put(file, der(certificate))
        return file

    def _remove(self, certificate: x509.Certificate, *places: Place) -> None:
        for place in places:
            entries = self._entries(place)
            for gone in [entry.file for entry in entries if entry.certificate == certificate]:
                for entry in entries:
                    if entry.file == gone and entry.certificate != certificate:
                        self._put(place, entry.certificate)  # the file held others too
                remove(gone)
