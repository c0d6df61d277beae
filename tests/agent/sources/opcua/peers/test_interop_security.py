"""The OPC UA source over secured sessions with servers that nobody here wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import SourceRefused
from agent.trust import Trust
from agent.trust.certificate import thumbprint
from tests.peers.gateway import OpcuaGateway
from tests.peers.peer import Peer, running
from tests.peers.proxy import proxied


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "gateway", "gw-1")


async def refused(url: str, trust: Trust, **options: Any) -> str:
    """Why a connection is refused."""
    source = OpcuaGateway(url, ["v1"], trust=trust, security="auto", **options).source
    with pytest.raises(SourceRefused) as error:
        await source.connect()
    await source.close()
    return f"{error.value} ({error.value.hint})"


async def introduced(peer: Peer, trust: Trust, **options: Any) -> None:
    """Meet the server once, and trust its certificate from then on."""
    said = await refused(peer.url, trust, **options)
    (entry,) = trust.rejected()
    assert f"andon trust trust {thumbprint(entry.certificate)}" in said
    trust.trust(thumbprint(entry.certificate))


async def reads(url: str, trust: Trust, **options: Any) -> None:
    options = {"security": "auto", **options}
    async with OpcuaGateway(url, ["v1"], trust=trust, **options).running() as gateway:
        await gateway.until(lambda: gateway.values("v1") == [1.0], "its value")


async def user_of(folder: Path) -> dict[str, Any]:
    """A person's certificate and key, made now."""
    key, certificate = folder / "user.pem", folder / "user.der"
    usage, names = [ExtendedKeyUsageOID.CLIENT_AUTH], {"commonName": "operator"}
    await setup_self_signed_certificate(key, certificate, "urn:operator", "here", usage, names)
    return {"user_certificate": str(certificate), "user_key": str(key)}


def test_a_server_is_met_then_trusted_then_read_encrypted(peer: Peer, trust: Trust) -> None:
    async def run() -> None:
        await introduced(peer, trust)
        await reads(peer.url, trust, security="Basic256Sha256")

    asyncio.run(run())


def test_a_user_name_is_taken_and_a_wrong_password_is_refused(peer: Peer, trust: Trust) -> None:
    async def run() -> None:
        await introduced(peer, trust)
        await reads(peer.url, trust, user="operator", password="secret")
        said = await refused(peer.url, trust, user="operator", password="guessed")
        assert "operator" in said
        assert "guessed" not in said

    asyncio.run(run())


def test_a_user_certificate_is_taken(peer: Peer, trust: Trust, tmp_path: Path) -> None:
    async def run() -> None:
        await introduced(peer, trust)
        await reads(peer.url, trust, **await user_of(tmp_path))

    asyncio.run(run())


def test_an_encrypted_session_goes_on_after_a_cut_without_losing_a_sample(
    peer_of: Any, trust: Trust
) -> None:
    peer = peer_of("node-opcua")

    async def run() -> None:
        await introduced(peer, trust)
        async with proxied(peer.port) as proxy:
            url = peer.url_at(proxy.port)
            options = {"user": "operator", "password": "secret", "security": "auto"}
            async with OpcuaGateway(url, ["v2"], trust=trust, **options).running() as gateway:
                await gateway.until(lambda: len(gateway.samples("v2")) == 1, "the first value")
                await peer.ask("count", node="v2", start=1000, every_ms=50)
                await gateway.until(lambda: gateway.last("v2") >= 1010, "ten steps")
                proxy.break_off("reset")
                await gateway.fresh("v2", 10)
                last = (await peer.ask("uncount", node="v2"))["next"] - 1
                await gateway.until(lambda: gateway.last("v2") == last, "the last step")
            assert gateway.steps("v2")[1:] == [float(n) for n in range(1000, last + 1)]

    asyncio.run(run())


def test_a_server_that_does_not_trust_us_says_so_and_reads_on_once_it_does(
    tmp_path: Path, trust: Trust
) -> None:
    async def run(peer: Peer) -> None:
        await introduced(peer, trust)
        assert "andon trust show own --pem" in await refused(peer.url, trust)
        for file in (tmp_path / "pki" / "server" / "rejected").iterdir():
            file.rename(tmp_path / "pki" / "server" / "trusted" / "certs" / file.name)
        await peer.ask("reread")
        await reads(peer.url, trust)

    with running("node-opcua", tmp_path, variables=2, accept=False) as peer:
        asyncio.run(run(peer))
