"""The folder of certificates: what is trusted, what is not and why, and what is said of it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from agent.errors import ConfigError
from agent.trust import REJECTED_MAX, Trust
from agent.trust.certificate import CHAIN_MAX, read_chain, thumbprint
from tests.agent.trust.certificates import DAY, NOW, NOW_NS, Pair, authority, revocations, server


@dataclass
class Clock:
    time_ns: int = NOW_NS

    def __call__(self) -> int:
        return self.time_ns

    def wait(self, span: timedelta) -> None:
        self.time_ns += int(span.total_seconds()) * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trust(tmp_path: Path, clock: Clock) -> Trust:
    return Trust(tmp_path / "pki", "gw-1", clock)


def why(trust: Trust, *chain: Pair) -> str:
    return trust.judge([pair.certificate for pair in chain]).why


def test_a_server_nobody_has_trusted_is_not_trusted(trust: Trust) -> None:
    verdict = trust.judge([server().certificate])
    assert (verdict.is_trusted, verdict.is_unknown) == (False, True)


def test_a_rejected_certificate_is_trusted_by_its_thumbprint_as_people_type_it(
    trust: Trust,
) -> None:
    pair = server()
    trust.keep_rejected(pair.certificate)
    mark = thumbprint(pair.certificate)
    trust.trust(":".join(mark[i : i + 2] for i in range(0, 10, 2)).lower())
    assert trust.is_trusted(pair.der)
    assert trust.judge([pair.certificate]).is_pinned
    assert [entry.certificate for entry in trust.trusted()] == [pair.certificate]
    assert trust.rejected() == []


def test_a_rejected_certificate_is_trusted_no_longer(trust: Trust) -> None:
    pair = server()
    trust.add(pair.certificate)
    trust.reject(thumbprint(pair.certificate))
    assert not trust.is_trusted(pair.der)
    assert [entry.certificate for entry in trust.rejected()] == [pair.certificate]


def test_another_certificate_of_the_same_name_and_key_is_not_the_trusted_one(trust: Trust) -> None:
    trust.add(server().certificate)
    assert why(trust, server(end=NOW + 2 * DAY)) == "is not trusted here"


def test_files_that_a_person_puts_there_count_whatever_their_name(trust: Trust) -> None:
    first, second = server(), server(number=3, name="press-02")
    folder = trust.folder / "trusted"
    folder.mkdir(parents=True)
    (folder / "both machines.crt").write_bytes(b"two of them\n" + first.pem + second.pem)
    assert trust.is_trusted(first.der)
    assert trust.is_trusted(second.pem)
    trust.reject(thumbprint(first.certificate))
    assert not trust.is_trusted(first.der)
    assert trust.is_trusted(second.der)


def test_a_file_that_is_no_certificate_is_said_and_stops_nothing(
    trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    pair = server()
    trust.add(pair.certificate)
    (trust.folder / "trusted" / "notes.txt").write_text("ask Li before you change this")
    assert trust.is_trusted(pair.der)
    assert "notes.txt is passed over" in caplog.text


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (NOW - 9 * DAY, NOW - DAY, "expired on 2026-05-31"),
        (NOW + DAY, NOW + 9 * DAY, "is valid from 2026-06-02 12:00 UTC only, and this gateway's "
                                   "clock says 2026-06-01 12:00"),
    ],
)  # fmt: skip
def test_a_trusted_certificate_out_of_its_time_is_refused_and_says_so(
    trust: Trust, begin: object, end: object, expected: str
) -> None:
    pair = server(begin=begin, end=end)  # type: ignore[arg-type]
    trust.add(pair.certificate)
    verdict = trust.judge([pair.certificate])
    assert (verdict.why, verdict.is_unknown) == (expected, False)


def test_all_that_a_trusted_authority_issues_is_trusted(trust: Trust) -> None:
    root = authority()
    trust.add(root.certificate)
    verdict = trust.judge([server(root).certificate])
    assert verdict.is_trusted
    assert not verdict.is_pinned


def test_an_issuer_completes_a_chain_and_gives_no_trust(trust: Trust) -> None:
    root, between = authority(), authority(authority(), 4, name="Line CA")
    leaf = server(between)
    trust.add(between.certificate, as_issuer=True)
    assert why(trust, leaf) == "is not trusted here"
    trust.add(root.certificate)
    assert why(trust, leaf) == ""


def test_the_server_may_send_the_chain_along(trust: Trust) -> None:
    root, between = authority(), authority(authority(), 4, name="Line CA")
    trust.add(root.certificate)
    leaf = server(between)
    assert why(trust, leaf) == "is not trusted here"
    assert why(trust, leaf, between) == ""
    assert trust.is_trusted(leaf.der + between.der)


def test_what_is_no_authority_vouches_for_nobody(trust: Trust) -> None:
    impostor = authority(is_authority=False)
    trust.add(impostor.certificate)
    assert why(trust, server(impostor)) == "is not trusted here"


def test_a_name_alone_makes_no_issuer(trust: Trust) -> None:
    trust.add(authority().certificate)
    other = authority(number=5)  # the same name, another key
    assert why(trust, server(other)) == "is not trusted here"


def test_an_authority_that_may_have_none_below_itself_has_none(trust: Trust) -> None:
    root = authority(path_length=0)
    between = authority(root, 4, name="Line CA")
    trust.add(root.certificate)
    assert why(trust, server(root)) == ""
    assert why(trust, server(between), between) == "is not trusted here"


def test_a_signature_weaker_than_sha_256_vouches_for_nobody(trust: Trust) -> None:
    root = authority()
    trust.add(root.certificate)
    weak = server(root, signed_with=hashes.SHA224())
    assert why(trust, weak) == "is not trusted here"


def test_an_authority_with_limits_that_are_not_understood_vouches_for_nobody(trust: Trust) -> None:
    limits = x509.NameConstraints([x509.DNSName("acme.example")], None)
    root = authority(constrained=[limits])
    trust.add(root.certificate)
    assert why(trust, server(root)) == "is not trusted here"


def test_a_chain_with_an_expired_issuer_is_refused(trust: Trust) -> None:
    root = authority(end=NOW - DAY)
    trust.add(root.certificate)
    assert why(trust, server(root)) == "has an issuer that expired on 2026-05-31: Plant CA"


def test_what_was_issued_for_clients_is_no_server(trust: Trust) -> None:
    root = authority()
    trust.add(root.certificate)
    leaf = server(root, is_for_server=False)
    assert why(trust, leaf) == "was not issued for a server (key usage)"


def test_what_its_authority_revoked_is_refused_pinned_or_not(trust: Trust) -> None:
    root = authority()
    good, bad = server(root), server(root, number=3, name="press-02")
    trust.add(root.certificate)
    trust.add(bad.certificate)
    trust.add_revocations(revocations(root, [bad]))
    assert why(trust, good) == ""
    assert why(trust, bad) == "was revoked by Plant CA"


def test_an_issuer_that_was_revoked_ends_the_chain(trust: Trust) -> None:
    root = authority()
    between = authority(root, 4, name="Line CA")
    trust.add(root.certificate)
    trust.add_revocations(revocations(root, [between]))
    assert why(trust, server(between), between) == "has an issuer, Line CA, revoked by Plant CA"


def test_a_list_that_the_authority_did_not_sign_revokes_nothing(trust: Trust) -> None:
    root, other = authority(), authority(number=5)
    leaf = server(root)
    trust.add(root.certificate)
    trust.add_revocations(revocations(other, [leaf]))
    assert why(trust, leaf) == ""


def test_a_list_out_of_date_still_counts_and_is_said(trust: Trust) -> None:
    root = authority()
    good, bad = server(root), server(root, number=3)
    trust.add(root.certificate)
    trust.add_revocations(revocations(root, [bad], end=NOW - DAY))
    assert why(trust, bad) == "was revoked by Plant CA"
    assert "out of date since 2026-05-31" in trust.judge([good.certificate]).notes[0]


def test_a_newer_list_takes_the_place_of_the_older_and_never_the_other_way(trust: Trust) -> None:
    root = authority()
    trust.add_revocations(revocations(root))
    file = trust.add_revocations(revocations(root, end=NOW + 9 * DAY))
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(ConfigError, match="newer"):
        trust.add_revocations(revocations(root))


def test_no_more_than_so_many_rejected_certificates_are_kept_the_newest(trust: Trust) -> None:
    pairs = [server(name=f"scan-{number}") for number in range(REJECTED_MAX + 3)]
    for pair in pairs:
        trust.keep_rejected(pair.certificate)
    kept = {entry.certificate for entry in trust.rejected()}
    assert kept == {pair.certificate for pair in pairs[3:]}


def test_a_thumbprint_must_mean_one_certificate(trust: Trust) -> None:
    with pytest.raises(ConfigError, match="too short"):
        trust.trust("AB12")
    with pytest.raises(ConfigError, match="no certificate with thumbprint ABCD1234 is in rejected"):
        trust.trust("ABCD1234")


def test_only_an_authority_is_kept_as_issuer(trust: Trust) -> None:
    with pytest.raises(ConfigError, match="no authority"):
        trust.add(server().certificate, as_issuer=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x30",
        b"\x30\x82",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80" * 50,
        b"x" * 99,
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_bytes_that_are_no_certificate_are_a_value_error(content: bytes, trust: Trust) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        read_chain(content)
    assert not trust.is_trusted(content)


def test_a_cut_or_spoilt_certificate_is_a_value_error_or_another_certificate() -> None:
    der = server().der
    for position in range(0, len(der), 7):
        with pytest.raises(ValueError, match="no certificate"):
            read_chain(der[:position])
        spoilt = der[:position] + bytes([der[position] ^ 0xFF]) + der[position + 1 :]
        try:
            assert thumbprint(read_chain(spoilt)[0]) != thumbprint(server().certificate)
        except ValueError:
            continue


def test_a_chain_without_end_is_not_read() -> None:
    with pytest.raises(ValueError, match=f"at most {CHAIN_MAX}"):
        read_chain(server().der * (CHAIN_MAX + 1))


def test_what_expires_soon_is_told_for_all_certificates(trust: Trust, clock: Clock) -> None:
    trust.own()
    trust.add(server(end=NOW + 31 * DAY).certificate)
    trust.add(authority(end=NOW - DAY).certificate)
    (told,) = trust.warnings()
    assert told.startswith("the certificate of Plant CA (")
    assert ") expired on 2026-05-31; " in told
    clock.wait(2 * DAY)
    assert len(trust.warnings()) == 2
    clock.wait(timedelta(days=3640))
    own = trust.warnings()[0]
    assert own.startswith("this gateway's certificate expires on ")
    assert "andon trust rotate" in own
    assert trust.days_left() == 8


def test_a_warning_is_said_once_a_day(
    trust: Trust, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    trust.add(server(end=NOW + 9 * DAY).certificate)
    with caplog.at_level(logging.WARNING, "andon.trust"):
        for _ in range(3):
            trust.say_warnings()
        assert len(caplog.records) == 1
        clock.wait(DAY)
        trust.say_warnings()
        assert len(caplog.records) == 2


def test_a_folder_that_may_not_be_read_is_an_error_with_a_way_out(
    trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "pki/trusted")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigError, match="permission denied") as caught:
        trust.trusted()
    assert "service's user" in caught.value.hint


def test_all_files_are_the_users_alone(trust: Trust) -> None:
    trust.own()
    trust.add(server().certificate)
    trust.add_revocations(revocations(authority()))
    for folder, _, names in os.walk(trust.folder):
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        assert {(Path(folder) / one).stat().st_mode & 0o777 for one in names} <= {0o600}
