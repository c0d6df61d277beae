"""Certificates in words: for a person who compares them with what a server shows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from agent.cli.check import CONFIG_PATH
from agent.trust import Trust
from agent.trust.certificate import (
    application_uri,
    full_name,
    hosts,
    is_authority,
    is_self_signed,
    key_bits,
    name,
    printable,
    thumbprint,
    untimely,
)

DAYS_TOLD_MAX: Final = 366
"""What is valid for longer says only until when."""
_PLACES: Final = {
    "trusted": "trusted",
    "issuers": "issuers, which only complete chains",
    "rejected": "rejected: met, and not trusted",
}

Document = dict[str, Any]


def documents(trust: Trust) -> Document:
    """All certificates, as plain JSON values."""
    entries = [*trust.trusted(), *trust.issuers(), *trust.rejected()]
    said: Document = {"folder": str(trust.folder), "own": None}
    if trust.days_left() is not None:
        said["own"] = document(trust, trust.own().certificate, "own", trust.own_file)
    for place in _PLACES:
        said[place] = [
            document(trust, entry.certificate, place, entry.file)
            for entry in entries
            if entry.place == place
        ]
    return said


def document(
    trust: Trust, certificate: x509.Certificate, place: str, file: Path | None = None
) -> Document:
    """One certificate, as plain JSON values."""
    return {
        "thumbprint": thumbprint(certificate),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex().upper(),
        "place": place,
        "file": None if file is None else str(file),
        "name": name(certificate),
        "subject": full_name(certificate.subject),
        "issuer": full_name(certificate.issuer),
        "self_signed": is_self_signed(certificate),
        "authority": is_authority(certificate),
        "application_uri": printable(application_uri(certificate)),
        "hosts": [printable(host) for host in hosts(certificate)],
        "serial": f"{certificate.serial_number:X}",
        "key_bits": key_bits(certificate),
        "valid_from": _moment(certificate.not_valid_before_utc),
        "valid_until": _moment(certificate.not_valid_after_utc),
        "days_left": (certificate.not_valid_after_utc - trust.now()).days,
        "problem": untimely(certificate, trust.now()),
    }


def option(config: Path) -> str:
    """What a command needs to find this configuration again."""
    return "" if config == CONFIG_PATH else f" --config {shlex.quote(str(config))}"


def tell(said: Mapping[str, Any], config_option: str = "") -> Iterator[str]:
    """All certificates, a line each; `documents` gives them."""
    own = said["own"]
    everyone = [one for place in _PLACES for one in said[place]] + ([own] if own else [])
    wide = max((len(_left(one)) for one in everyone), default=0)
    yield "own"
    yield (
        _row(own, wide)
        if own
        else "  none yet: the first secured session makes it, or `andon trust show own`"
    )
    for place, title in _PLACES.items():
        entries = said[place]
        yield ""
        yield title if entries else f"{place}: none"
        yield from (_row(one, wide) for one in entries)
    if said["rejected"]:
        yield ""
        yield "To trust one, compare its thumbprint with what the server itself shows, then:"
        yield f"  andon trust trust THUMBPRINT{config_option}"


def tell_one(said: Mapping[str, Any]) -> Iterator[str]:
    """One certificate, a line for each thing it says; `document` gives it."""
    valid = f"{said['valid_from'][:10]} to {said['valid_until'][:10]}"
    rows = [
        ("name", said["name"]),
        ("thumbprint", said["thumbprint"]),
        ("SHA-256", said["sha256"]),
        ("subject", said["subject"]),
        ("issuer", "itself" if said["self_signed"] else said["issuer"]),
        ("application", said["application_uri"] or "not said"),
        ("hosts", ", ".join(said["hosts"]) or "not said"),
        ("valid", f"{valid} ({said['problem'] or _days(said)})"),
        ("key", f"RSA, {said['key_bits']} bits" if said["key_bits"] else "not RSA"),
        ("role", "authority: may issue certificates" if said["authority"] else "application"),
        ("file", said["file"] or "none"),
    ]
    yield {"own": "this gateway's own"}.get(said["place"], said["place"])
    for title, text in rows:
        yield f"  {title:<11}  {text}"


def changed(said: Mapping[str, Any]) -> Iterator[str]:
    """What was done with a certificate, and what a person does next."""
    what = f"{said['name']} ({said['thumbprint']}), {_left(said)}"
    if said["place"] == "own":
        yield f"this gateway now is {what}"
        yield "Have every server trust it: `andon trust show own` has file and thumbprint."
        yield "They refuse the gateway's next connection until they do; `--back` takes the former."
    elif said["place"] == "rejected":
        yield f"no longer trusted: {what}"
        yield "An open session goes on; restart the service to end it now."
    elif said["place"] == "issuers":
        yield f"kept to complete chains: {what}"
    elif said["authority"] and not said["application_uri"]:
        yield f"trusted, with every certificate it issues: {what}"
    else:
        yield f"trusted: {what}"
        if said["problem"]:
            yield "It is refused all the same until the server has a new one."
        else:
            yield "A running service takes it at its next try, within seconds."


def _row(said: Mapping[str, Any], wide: int) -> str:
    role = " (authority)" if said["authority"] and not said["application_uri"] else ""
    return f"  {said['thumbprint']}  {_left(said):<{wide}}  {said['name']}{role}"


def _left(said: Mapping[str, Any]) -> str:
    """How long it is valid; in days where they can be counted."""
    if said["problem"]:
        return str(said["problem"]).partition(" only")[0].upper()
    until = f"until {said['valid_until'][:10]}"
    return f"{until} ({_days(said)})" if said["days_left"] < DAYS_TOLD_MAX else until


def _days(said: Mapping[str, Any]) -> str:
    return "1 day" if said["days_left"] == 1 else f"{said['days_left']:,} days"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
