"""`andon trust`: what is shown, and what a person can change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.errors import ExitCode
from agent.trust import Trust
from agent.trust.certificate import thumbprint
from tests.agent.config.support import GOOD
from tests.agent.trust.certificates import ALWAYS, Pair, authority, revocations, server


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(GOOD.replace("[gateway]", f'[gateway]\ndata = "{tmp_path}"', 1))
    return file


@pytest.fixture
def store(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "pki", "gw-1")


def andon(config: Path, *words: str, code: ExitCode = ExitCode.OK) -> Result:
    result = CliRunner().invoke(app, ["trust", *words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result


def listed(config: Path) -> Any:
    return json.loads(andon(config, "list", "--json").stdout)


def names(config: Path, place: str) -> list[str]:
    return [one["name"] for one in listed(config)[place]]


def mark(pair: Pair) -> str:
    return thumbprint(pair.certificate)


def test_an_empty_folder_is_shown_as_that_and_stays_empty(config: Path, tmp_path: Path) -> None:
    said = andon(config, "list").stdout
    assert "trusted: none" in said
    assert "rejected: none" in said
    assert not (tmp_path / "pki").exists()
    assert CliRunner().invoke(app, ["trust", "-c", str(config)]).stdout == said


def test_it_needs_no_secret_of_the_service(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDON_TOKEN", raising=False)
    andon(config, "list")


def test_a_server_that_was_met_is_listed_and_trusted_by_the_digits_shown(
    config: Path, store: Trust
) -> None:
    pair = server(**ALWAYS)
    store.keep_rejected(pair.certificate)
    said = andon(config, "list").stdout
    assert f"  {mark(pair)}  until 2120-01-01" in said
    assert "  andon trust trust THUMBPRINT" in said
    done = andon(config, "trust", mark(pair)[:8].lower()).stdout
    assert done.startswith(f"trusted: press-01 ({mark(pair)}), until 2120-01-01")
    assert store.is_trusted(pair.der)
    assert (names(config, "trusted"), names(config, "rejected")) == (["press-01"], [])


def test_the_configuration_may_be_named_before_the_command_too(config: Path, store: Trust) -> None:
    store.keep_rejected(server(**ALWAYS).certificate)
    said = CliRunner().invoke(app, ["trust", "--config", str(config), "list"])
    assert said.stdout == andon(config, "list").stdout
    assert said.stdout.endswith(f"  andon trust trust THUMBPRINT --config {config}\n")


def test_the_list_fits_a_terminal_and_its_columns_are_aligned(config: Path, store: Trust) -> None:
    begin = ALWAYS["begin"]
    store.own()
    store.add(server(begin=begin, end=begin.replace(year=2021)).certificate)
    store.keep_rejected(server(**ALWAYS).certificate)
    rows = [line for line in andon(config, "list").stdout.split("\n") if line.startswith("  ")][:3]
    names = ("Andon gw-1", "press-01", "press-01")
    begins = [row.index(name) for row, name in zip(rows, names, strict=True)]
    assert len(set(begins)) == 1
    assert max(map(len, rows)) <= 80


def test_a_server_is_rejected_again(config: Path, store: Trust) -> None:
    pair = server(**ALWAYS)
    store.add(pair.certificate)
    assert "no longer trusted: press-01" in andon(config, "reject", mark(pair)).stdout
    assert not store.is_trusted(pair.der)


def test_a_file_of_an_authority_is_trusted_and_its_list_of_the_revoked_kept(
    config: Path, store: Trust, tmp_path: Path
) -> None:
    root = authority(**{"end": ALWAYS["end"]})
    good, bad = server(root, **ALWAYS), server(root, 3, **ALWAYS)
    file = tmp_path / "plant-ca.pem"
    file.write_bytes(root.pem)
    assert "with every certificate it issues: Plant CA" in andon(config, "trust", str(file)).stdout
    assert store.is_trusted(bad.der)
    file.write_bytes(revocations(root, [bad], ALWAYS["end"]).public_bytes(Encoding.PEM))
    assert "kept as " in andon(config, "trust", str(file)).stderr
    assert (store.is_trusted(good.der), store.is_trusted(bad.der)) == (True, False)


def test_an_issuer_is_kept_without_being_trusted(
    config: Path, store: Trust, tmp_path: Path
) -> None:
    root = authority(**{"end": ALWAYS["end"]})
    file = tmp_path / "ca.der"
    file.write_bytes(root.der)
    assert "kept to complete chains" in andon(config, "trust", str(file), "--issuer").stdout
    assert names(config, "issuers") == ["Plant CA"]
    assert not store.is_trusted(server(root, **ALWAYS).der)


def test_our_own_certificate_is_made_to_be_shown_and_printed_for_the_server(
    config: Path, store: Trust
) -> None:
    said = andon(config, "show", "own").stdout
    own = store.own()
    assert thumbprint(own.certificate) in said
    assert str(store.own_file) in said
    assert f"application  {own.uri}" in said
    printed = andon(config, "show", "own", "--pem").stdout
    assert x509.load_pem_x509_certificate(printed.encode()) == own.certificate
    document = json.loads(andon(config, "show", "own", "--json").stdout)
    assert (document["key_bits"], document["self_signed"]) == (2048, True)


def test_any_certificate_is_shown_by_its_first_digits(config: Path, store: Trust) -> None:
    pair = server(authority(), **ALWAYS)
    store.keep_rejected(pair.certificate)
    said = andon(config, "show", mark(pair)[:10]).stdout
    assert said.startswith("rejected\n")
    assert "  issuer       CN=Plant CA\n" in said
    assert "  hosts        127.0.0.1\n" in said


def test_a_rotated_certificate_is_told_with_what_to_do_and_taken_back(
    config: Path, store: Trust
) -> None:
    first = store.own()
    said = andon(config, "rotate").stdout
    assert store.own().certificate != first.certificate
    assert thumbprint(store.own().certificate) in said
    assert "Have every server trust it" in said
    andon(config, "rotate", "--back")
    assert store.own().certificate == first.certificate


def test_what_expires_is_warned_of_beside_the_list(config: Path, store: Trust) -> None:
    store.add(server(begin=ALWAYS["begin"], end=ALWAYS["begin"].replace(year=2021)).certificate)
    result = andon(config, "list")
    assert "EXPIRED ON 2021-01-01" in result.stdout
    assert "warning: the certificate of press-01 (" in result.stderr


def test_a_name_that_a_server_chose_cannot_move_the_cursor(config: Path, store: Trust) -> None:
    store.keep_rejected(server(name="plc\x1b[2J\n0000  trusted", **ALWAYS).certificate)
    assert "plc?[2J?0000  trusted" in andon(config, "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trust", "ABCDEF0123"], "no certificate with thumbprint ABCDEF0123 is in rejected"),
        (["trust", "ABC"], "too short for a thumbprint"),
        (["reject", "ABCDEF0123"], "is in trusted, issuers"),
        (["show", "ABCDEF0123"], "is in trusted, issuers, rejected"),
        (["trust", "ABCDEF0123", "--issuer"], "is no file"),
        (["rotate", "--back"], "holds no former certificate"),
        (["rotate", "--bits", "1024"], "must be 2048, 3072 or 4096"),
        (["trust", "{config}"], "it is no certificate that can be read"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(
    config: Path, words: list[str], said: str
) -> None:
    words = [word.replace("{config}", str(config)) for word in words]
    assert said in andon(config, *words, code=ExitCode.CONFIG).stderr
