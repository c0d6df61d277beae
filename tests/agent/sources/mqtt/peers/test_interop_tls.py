"""TLS with client certificates, and WebSockets: the right ones work, wrong ones are told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from agent.errors import AndonError, ConfigError, SourceError, SourceRefused, SourceUnreachable
from tests.peers.authority import Authority, Pair
from tests.peers.gateway import MqttGateway
from tests.peers.mosquitto import Broker, Scheme, running
from tests.peers.sensor import counting

STEPS = 200
"""More than a broker sends without an acknowledgement."""
SECURE: list[Scheme] = ["mqtts", "wss"]
VERSIONS = ["3.1.1", "5"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker"), tls=True, websockets=True) as it:
        yield it


@pytest.fixture(scope="module")
def pair(broker: Broker) -> Pair:
    """A certificate that the broker takes."""
    return broker.authority.issue("gateway")


def shown(pair: Pair, authority: Authority) -> dict[str, str]:
    """Options that show this certificate, and believe this authority."""
    said = {"certificate": pair.certificate, "key": pair.key, "ca": authority.ca}
    return {name: str(file) for name, file in said.items()}


def error_of(url: str, **options: Any) -> AndonError:
    """What connecting says."""

    async def run() -> None:
        source = MqttGateway(url, **{"connect_timeout_s": 5, **options}).source
        try:
            await source.connect()
        finally:
            await source.close()

    with pytest.raises((SourceError, ConfigError)) as caught:
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
def test_a_count_arrives_whole(broker: Broker, pair: Pair, scheme: Scheme, version: str) -> None:
    secured = shown(pair, broker.authority) if scheme in SECURE else {}

    async def run() -> None:
        client_id = f"{scheme}-{version}"
        gateway = MqttGateway(broker.url(scheme), version=version, client_id=client_id, **secured)
        async with gateway.running():
            await gateway.until(lambda: "connected" in gateway.state, "a connection")
            with counting(broker.port, f"line-1/{client_id}/force", every_ms=1) as sensor:
                await gateway.until(lambda: len(gateway.samples("force")) >= STEPS, "steps")
                count = await sensor.ends()
            await gateway.until(lambda: len(gateway.samples("force")) >= count, "the last step")
        force = gateway.samples(f"{client_id}/force")
        assert [sample.value for sample in force] == [float(n) for n in range(count)]

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
def test_a_message_of_a_megabyte_arrives_whole(broker: Broker, pair: Pair, scheme: Scheme) -> None:
    secured = shown(pair, broker.authority) if scheme in SECURE else {}
    columns = {"csv": {"columns": ("time", "large")}}
    lines = [f"{1_795_000_000_000 + n},{n}" for n in range(60_000)]

    async def run() -> None:
        topics = ({"topic": "logs/{machine}", "payload": columns},)
        options = {"topics": topics, "client_id": f"large-{scheme}", **secured}
        gateway = MqttGateway(broker.url(scheme), **options)
        async with gateway.running():
            await gateway.until(lambda: "connected" in gateway.state, "a connection")
            await say(broker, f"logs/{scheme}", "\n".join(lines))
            await gateway.until(lambda: len(gateway.samples("large")) > 0, "the message")
        found = [f"{s.time_ns // 10**6},{s.value:.0f}" for s in gateway.samples("large")]
        assert found == lines

    asyncio.run(run())


async def say(broker: Broker, topic: str, payload: str) -> None:
    await asyncio.to_thread(publish.single, topic, payload, qos=1, port=broker.port)


@pytest.mark.parametrize("scheme", SECURE)
def test_a_broker_of_an_unknown_authority_is_not_trusted(
    broker: Broker, pair: Pair, scheme: Scheme, tmp_path: Path
) -> None:
    error = error_of(broker.url(scheme), **shown(pair, Authority(tmp_path)))
    assert isinstance(error, SourceRefused)
    assert f"floor: the certificate of {broker.url(scheme)} is not good: " in str(error)
    assert "ca = " in (error.hint or "")


@pytest.mark.parametrize("scheme", SECURE)
def test_a_missing_client_certificate_is_what_is_said(broker: Broker, scheme: Scheme) -> None:
    error = error_of(broker.url(scheme), ca=str(broker.authority.ca))
    assert "certificate" in f"{error} {error.hint}", (str(error), error.hint)


@pytest.mark.parametrize("scheme", SECURE)
def test_a_client_certificate_of_another_authority_is_refused_and_said(
    broker: Broker, scheme: Scheme, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "Another CA").issue("gateway")
    error = error_of(broker.url(scheme), **shown(stranger, broker.authority))
    assert "certificate" in f"{error} {error.hint}", (str(error), error.hint)


@pytest.mark.parametrize("scheme", SECURE)
def test_an_expired_client_certificate_is_refused_and_said(broker: Broker, scheme: Scheme) -> None:
    stale = broker.authority.issue("stale", valid_days=-1)
    error = error_of(broker.url(scheme), **shown(stale, broker.authority))
    assert "certificate" in f"{error} {error.hint}", (str(error), error.hint)


@pytest.mark.parametrize("scheme", SECURE)
@pytest.mark.parametrize(
    ("wrong", "reason", "hint"),
    [
        ({"valid_days": -1}, "certificate has expired", "renew it at the broker"),
        ({"hosts": ("broker.plant",)}, "127.0.0.1", "verify_name"),
    ],
    ids=["expired", "another host's"],
)
def test_a_brokers_certificate_that_is_not_good_is_told_why(
    tmp_path: Path, scheme: Scheme, wrong: dict[str, Any], reason: str, hint: str
) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.issue("broker", **wrong)
    secured = shown(authority.issue("gateway"), authority)
    with running(
        tmp_path, tls=True, websockets=scheme == "wss", authority=authority, server=server
    ) as broker:
        error = error_of(broker.url(scheme), **secured)
        assert isinstance(error, SourceRefused)
        assert reason in str(error)
        assert hint in (error.hint or "")


def test_without_verify_name_another_hosts_certificate_will_do(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.issue("broker", hosts=("broker.plant",))
    secured = shown(authority.issue("gateway"), authority)

    async def run(broker: Broker) -> None:
        source = MqttGateway(broker.url("mqtts"), verify_name=False, **secured).source
        await source.connect()
        await source.close()

    with running(tmp_path, tls=True, authority=authority, server=server) as broker:
        asyncio.run(run(broker))


def test_tls_where_there_is_none_and_none_where_there_is_are_told(
    broker: Broker, pair: Pair
) -> None:
    secured = shown(pair, broker.authority)
    error = error_of(f"mqtts://127.0.0.1:{broker.port}", **secured)
    assert isinstance(error, SourceUnreachable)
    plain = error_of(f"mqtt://127.0.0.1:{broker.ports['mqtts']}")
    assert isinstance(plain, SourceUnreachable)
    assert "TLS" in f"{plain} {plain.hint}", (str(plain), plain.hint)


@pytest.mark.parametrize("where", ["/elsewhere", "no websockets"])
def test_websockets_where_there_are_none_are_told(broker: Broker, where: str) -> None:
    url = f"ws://127.0.0.1:{broker.ports['ws']}{where}"
    if where == "no websockets":
        url = f"ws://127.0.0.1:{broker.port}/mqtt"
    error = error_of(url)
    assert isinstance(error, SourceUnreachable)
    assert "WebSockets" in str(error), (str(error), error.hint)


def test_a_certificate_file_that_is_none_is_named_and_may_be_mended_while_the_service_runs(
    broker: Broker, pair: Pair, tmp_path: Path
) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    error = error_of(broker.url("mqtts"), **{**shown(pair, broker.authority), "ca": str(broken)})
    assert isinstance(error, SourceRefused)
    assert str(broken) in str(error)
