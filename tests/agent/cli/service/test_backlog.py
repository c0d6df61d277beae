"""What waits for a sink that a reload removes is kept until the configuration is healthy."""

from __future__ import annotations

import logging

import pytest

from agent.cli.service.reload import HEALTHY_S
from tests.agent.cli.service.living import OVEN, Running, errors, following, said, until

CLOUD = 'name = "cloud"'
PLANT = 'name = "plant"'
HALL = 'name = "hall"'


def waits(service: Running, sink: str) -> list[tuple[int, int]]:
    """The ids of the lines that it would be sent."""
    packet = service.outbox.packet(sink, 1000, live=False)
    return list(packet.runs) if packet else []


def sends(service: Running) -> list[str]:
    return [sink.name for sink in service.sinks]


@pytest.fixture
def backlog(service: Running) -> Running:
    """A hundred lines, of which the cloud has forty."""
    service.outbox.make(100)
    service.outbox.send("cloud", 40)
    return service


@pytest.mark.usefixtures("backlog")
@following
async def test_a_renamed_sink_that_is_rolled_back_is_sent_all_that_waited_for_it(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await service.reloads(CLOUD, PLANT)
    assert service.outbox.waiting == {"cloud": 60, "plant": 60}
    assert sends(service) == ["plant"]
    service.outbox.make(10)
    service.outbox.send("plant", 5)
    service.sinks[0].refused = True
    service.done.clear()
    service.passes(HEALTHY_S)
    await until(lambda: sends(service) == ["cloud"], "the cloud")
    await until(lambda: "use cloud" in service.done, "the end of the rollback")
    assert "start cloud https://andon.acme.example" in service.done
    assert service.outbox.waiting == {"cloud": 70}
    assert waits(service, "cloud") == [(41, 110)]
    assert len(errors(caplog)) == 1
    assert (
        "the sink plant is gone for good; lines that waited for it and will not be sent to it: 65 "
        "(what waits for other sinks stays)" in said(caplog, logging.WARNING)
    )
    assert "is used again" in said(caplog, logging.INFO)[-1]


@pytest.mark.usefixtures("backlog")
@following
async def test_what_waited_is_let_go_and_counted_once_the_configuration_is_healthy(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await service.reloads(CLOUD, PLANT)
    service.outbox.send("plant", 60)
    assert service.outbox.waiting == {"cloud": 60, "plant": 0}
    assert said(caplog, logging.WARNING) == []
    service.sinks[0].last_ok_ns = 1
    await until(lambda: said(caplog, logging.WARNING), "the end of the cloud")
    assert list(service.outbox.waiting) == ["plant"]
    assert service.outbox.ledger().lines.waiting == 0
    (let_go,) = said(caplog, logging.WARNING)
    assert "the sink cloud is gone for good; lines that waited for it" in let_go
    assert "to it: 60 (" in let_go


@pytest.mark.usefixtures("backlog")
@following
async def test_a_second_reload_on_trial_keeps_what_waited_before_the_first(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await service.reloads(CLOUD, PLANT)
    await service.reloads(PLANT, HALL)
    assert service.outbox.waiting == {"hall": 60, "cloud": 60}
    (let_go,) = said(caplog, logging.WARNING)
    assert let_go.startswith("the sink plant is gone for good")
    await service.reloads("[[mqtt]]", OVEN + "[[mqtt]]")
    assert service.outbox.waiting == {"hall": 60, "cloud": 60}
    service.passes(HEALTHY_S)
    await until(lambda: sends(service) == ["cloud"], "the cloud")
    assert service.outbox.waiting == {"cloud": 60}
    assert waits(service, "cloud") == [(41, 100)]


@pytest.mark.usefixtures("backlog")
@following
async def test_a_sink_that_comes_back_on_trial_goes_on_where_it_was(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.reload.config
    await service.reloads(CLOUD, PLANT)
    await service.reloads(PLANT, CLOUD)
    assert service.reload.config == before
    assert sends(service) == ["cloud"]
    assert waits(service, "cloud") == [(41, 100)]
    await until(lambda: not service.reload.status()["trial"], "health")
    assert service.outbox.waiting == {"cloud": 60}
    assert errors(caplog) == []


@pytest.mark.usefixtures("backlog")
@following
async def test_a_reload_that_cannot_be_applied_on_trial_lets_nothing_go(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await service.reloads(CLOUD, PLANT)
    use = service.pipeline.use

    def fail_once(*_: object) -> None:
        monkeypatch.setattr(service.pipeline, "use", use)
        raise RuntimeError("no more files")

    monkeypatch.setattr(service.pipeline, "use", fail_once)
    service.edit(PLANT, HALL)
    await until(lambda: errors(caplog), "an error")
    await until(lambda: sends(service) == ["plant"], "the plant")
    await service.looks()
    assert service.outbox.waiting == {"cloud": 60, "plant": 60}
    service.sinks[0].refused = True
    service.passes(HEALTHY_S)
    await until(lambda: sends(service) == ["cloud"], "the cloud")
    assert waits(service, "cloud") == [(41, 100)]
