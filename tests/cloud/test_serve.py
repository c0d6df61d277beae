"""The command: it starts with one line, stops within seconds, and fails with one clear message."""

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner, Result

from cloud.cli import app
from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud, until

STOP_S_MAX = 3.0


def andon_cloud(*arguments: str, **environment: str) -> Result:
    """A command that ends by itself, in this process."""
    return CliRunner().invoke(app, arguments, env=environment)


def beside(cloud: RunningCloud, *arguments: str) -> Result:
    """The same on the folder of a running server."""
    return andon_cloud(*arguments, "--data", str(cloud.data))


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key: their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "andon test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    cert_path, key_path = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_path.write_bytes(made.public_bytes(encoding))
    key_path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_path), str(key_path)


def test_it_says_where_it_is_and_who(cloud: RunningCloud) -> None:
    assert cloud.ready["event"] == "ready"
    assert cloud.ready["board_url"].startswith(f"{cloud.url}/login?code=")
    os.kill(cloud.ready["pid"], 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_quietly_with_open_streams(tmp_path: Path, number: signal.Signals) -> None:
    with running_cloud(tmp_path) as cloud:
        headers = {"Authorization": f"Bearer {cloud.read_token}"}
        with (
            httpx.Client() as client,
            client.stream("GET", f"{cloud.url}/v1/stream", headers=headers) as stream,
        ):
            chunks = stream.iter_raw()
            next(chunks)
            started = time.monotonic()
            assert cloud.stop(number) == 0
            assert time.monotonic() - started < STOP_S_MAX
        assert cloud.talk == ""


def test_writes_in_flight_at_a_stop_are_answered_and_kept(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as cloud:
        answered: list[int] = []

        def send() -> None:
            for number in range(10_000):
                try:
                    if cloud.write(lines.window(number)).status_code != 204:
                        return
                except httpx.HTTPError:
                    return
                answered.append(number)

        writer = threading.Thread(target=send)
        writer.start()
        until(lambda: len(answered) > 10)
        assert cloud.stop() == 0
        writer.join(10)
        cloud.restart()
        kept = cloud.get("/v1/windows", limit=10_000)["windows"]["time_ns"]
        assert set(answered) <= set(kept)


def test_a_port_in_use_is_one_message_and_code_3(tmp_path: Path) -> None:
    with taken_port() as port:
        command = [sys.executable, "-m", "cloud.cli", "serve"]
        command += ["--port", str(port), "--data", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"error: 127.0.0.1:{port} cannot be bound: Address already in use"
    )
    assert len(done.stderr.splitlines()) == 1


def test_an_address_of_another_machine_is_code_3(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    tls = ("--tls-cert", certificate[0], "--tls-key", certificate[1])
    done = andon_cloud("serve", "--host", "192.0.2.1", "--data", str(tmp_path), *tls)
    assert done.exit_code == 3
    assert "give an address of this machine with --host" in done.stderr


def test_tls_is_served_with_the_given_certificate(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    with running_cloud(tmp_path, tls_cert=cert, tls_key=key) as cloud:
        assert cloud.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=cert)
        fresh = beside(cloud, "login-url").stdout.strip()
        for link in (cloud.board_url, fresh):
            answer = httpx.get(link, verify=trusted)
            assert answer.status_code == 303
            assert "; Secure" in answer.headers["set-cookie"]


def test_a_data_folder_in_use_names_the_process_and_is_code_4(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as cloud:
        done = andon_cloud("serve", "--port", "0", "--data", str(cloud.data))
        assert done.exit_code == 4
        assert f"in use by process {cloud.ready['pid']}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_data_folder_that_cannot_be_made_is_code_4(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = andon_cloud("serve", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert done.exit_code == 4
    assert "cannot be used" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--host", "0.0.0.0"), "--tls-cert and --tls-key"),  # noqa: S104 - must be refused
        (("--port", "70000"), "port is 70000"),
        (("--tls-cert", "some.pem"), "belong together"),
        (("--tls-cert", "a.pem", "--tls-key", "b.pem"), "--tls-cert a.pem and --tls-key b.pem"),
        (("--write-token-file", "absent"), "--write-token-file absent cannot be read"),
        (("--colour",), "No such option"),
    ],
)
def test_a_wrong_option_is_named_and_is_code_2(
    tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    done = andon_cloud("serve", "--port", "0", "--data", str(tmp_path), *arguments)
    assert done.exit_code == 2
    assert named in done.stderr


def test_a_wrong_environment_variable_is_named(tmp_path: Path) -> None:
    done = andon_cloud("serve", "--data", str(tmp_path), ANDON_CLOUD_QUEUE_WRITES_MAX="many")
    assert done.exit_code == 2
    assert "ANDON_CLOUD_QUEUE_WRITES_MAX" in done.stderr


def test_a_preset_token_is_the_first_write_token(tmp_path: Path) -> None:
    token = "a-token-made-by-the-demo-0123456789"
    with running_cloud(tmp_path, write_token=token) as cloud:
        assert cloud.ready["write_token"] == token
        assert cloud.write("m f=1", token=token).status_code == 204


def test_tokens_are_made_listed_and_revoked_beside_a_running_server(cloud: RunningCloud) -> None:
    token = beside(cloud, "token", "create", "--scope", "write").stdout.strip()
    assert cloud.write("m f=1", token=token).status_code == 204
    listed = beside(cloud, "token", "list", "--json").stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert [row["scope"] for row in rows] == ["write", "read", "write"]
    assert token not in listed
    assert beside(cloud, "token", "revoke", rows[-1]["id"]).exit_code == 0
    assert cloud.write("m f=1", token=token).status_code == 401
    assert beside(cloud, "token", "revoke", rows[-1]["id"]).exit_code == 2


def test_a_fresh_link_can_be_asked_for(cloud: RunningCloud) -> None:
    done = beside(cloud, "login-url")
    assert httpx.get(done.stdout.strip()).status_code == 303
    done = beside(cloud, "login-url", "--url", "https://board.acme.example/")
    assert done.stdout.startswith("https://board.acme.example/login?code=")


def test_a_folder_without_a_server_is_named(tmp_path: Path) -> None:
    done = andon_cloud("token", "list", "--data", str(tmp_path))
    assert done.exit_code == 4
    assert "there is no access.sqlite" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_the_data_folder(cloud: RunningCloud) -> None:
    assert stat.S_IMODE(cloud.data.stat().st_mode) == 0o700
