"""Sinks over TLS with client certificates and WebSockets: the right way works, wrong ones are told.

What is wrong with certificates is told for sources and sinks by the same code; each case of it is
in `tests/agent/sources/mqtt/peers/test_interop_tls.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.sinks import SparkplugSinkConfig, UnsSinkConfig
from agent.errors import SinkError, SinkRefused
from agent.sinks import Sink
from agent.sinks.sparkplug import SparkplugSink
from agent.sinks.uns import UnsSink
from tests.agent.sinks.lines import NOW_NS, PATH, S_NS, live, sample
from tests.agent.sinks.listener import listening
from tests.peers.authority import Authority
from tests.peers.mosquitto import Broker, Scheme, running

LINES = 3_000
"""More than goes into one TLS record, one WebSocket frame, or what a broker takes at once."""

Make = Callable[..., Sink]


def sparkplug(folder: Path, **options: Any) -> Sink:
    config = SparkplugSinkConfig.model_validate({"name": "scada", **options})
    return SparkplugSink(
        config, "andon-to-scada", state=folder / "state", path=PATH, gateway="gw-1",
        now_ns=lambda: NOW_NS,
    )  # fmt: skip


def uns(_folder: Path, **options: Any) -> Sink:
    config = UnsSinkConfig.model_validate({"name": "scada", **options})
    return UnsSink(config, "andon-to-scada", now_ns=lambda: NOW_NS)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker"), tls=True, websockets=True) as it:
        yield it


@pytest.fixture(scope="module")
def secured(broker: Broker) -> dict[str, str]:
    """Options that the broker takes."""
    pair = broker.authority.issue("gateway")
    files = {"ca": broker.authority.ca, "certificate": pair.certificate, "key": pair.key}
    return {name: str(file) for name, file in files.items()}


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
@pytest.mark.parametrize("make", [sparkplug, uns])
def test_thousands_of_lines_arrive_whole(
    tmp_path: Path, broker: Broker, secured: dict[str, str], make: Make, scheme: Scheme,
    version: str,
) -> None:  # fmt: skip
    options = secured if scheme in ("mqtts", "wss") else {}
    sink = make(tmp_path, url=broker.url(scheme), version=version, **options)
    lines = [sample(NOW_NS + n * S_NS, float(n)) for n in range(LINES)]
    filters = "spBv1.0/+/DDATA/#" if make is sparkplug else "acme/#"
    with listening(broker.port, filters) as listener:
        try:
            assert sink.send(live(sample(NOW_NS - S_NS, -1.0))) == 0
            for start in range(0, LINES, 1000):
                assert sink.send(live(*lines[start : start + 1000], first=start + 2)) == 0
        finally:
            sink.close()
        wanted = 3 if make is sparkplug else LINES
        assert listener.wait_until(lambda: len(listener.heard) >= wanted)


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
@pytest.mark.parametrize("make", [sparkplug, uns])
def test_a_broker_of_an_unknown_authority_is_sent_nothing(
    tmp_path: Path, broker: Broker, secured: dict[str, str], make: Make, scheme: Scheme
) -> None:
    wrong = {**secured, "ca": str(Authority(tmp_path).ca)}
    sink = make(tmp_path, url=broker.url(scheme), **wrong)
    with pytest.raises(SinkRefused, match=r"scada: the certificate of .* is not good") as caught:
        sink.send(live(sample(NOW_NS, 1.0)))
    assert "ca = " in (caught.value.hint or "")
    sink.close()


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
@pytest.mark.parametrize("make", [sparkplug, uns])
@pytest.mark.parametrize("what", ["none", "stale"])
def test_a_client_certificate_that_will_not_do_is_what_is_said(
    tmp_path: Path, broker: Broker, make: Make, scheme: Scheme, what: str
) -> None:
    options = {"ca": str(broker.authority.ca)}
    if what == "stale":
        stale = broker.authority.issue("stale", valid_days=-1)
        options |= {"certificate": str(stale.certificate), "key": str(stale.key)}
    sink = make(tmp_path, url=broker.url(scheme), **options)
    with pytest.raises(SinkError) as caught:
        sink.send(live(sample(NOW_NS, 1.0)))
    assert "certificate" in f"{caught.value} {caught.value.hint}", caught.value.hint
    sink.close()
