"""A running service follows its configuration, between real servers, and no sample is missed."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import pipeline
from agent.cli.check.difference import Change, Difference, Items
from agent.cli.check.preview import preview
from agent.cli.service import Files, Service
from agent.config import load
from hardware.line.broker import start_broker
from hardware.line.opcua import Variable
from tests.agent.cli.service.living import until
from tests.agent.cli.test_run import configuration, holds, running, wait_for
from tests.agent.sources.opcua.machine import Machine
from tests.write_server import Answer, WriteServer

FORCE = 'name = "ram_force"\nnode = "nsu=urn:andon:line;s=press-01.ram_force"\n'
OIL = '[[opcua.signals]]\nname = "oil"\nnode = "nsu=urn:andon:line;s=press-01.oil"\n'
HEALTHY_S = 1.5


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine([Variable("press-01", "ram_force"), Variable("press-01", "oil")])
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def mqtt_port() -> Iterator[int]:
    broker = start_broker("mosquitto")
    yield broker.port
    broker.stop()


@contextmanager
def strokes(machine: Machine) -> Iterator[list[int]]:
    """Both variables count up, twenty times a second: how far each has come."""
    written, over = [0], threading.Event()

    async def write() -> None:
        while not over.is_set():
            await machine.write("ram_force", float(written[0]))
            await machine.write("oil", float(written[0]))
            written[0] += 1
            await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(write()))
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join(5)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def sampled(sink: WriteServer, name: bytes) -> list[int]:
    """The values of a signal's raw samples as they arrived."""
    pattern = re.compile(rb"sample,.*signal=" + name + rb" .*value=([\d.]+)")
    return [int(float(found[1])) for line in sink.taken if (found := pattern.match(line))]


def counted(sink: WriteServer, name: bytes) -> int:
    """How many samples the windows of a signal hold, the newest of each window."""
    pattern = re.compile(rb"window,.*signal=" + name + rb"[ ,].*\bn=(\d+)i.* (\d+)$")
    found = [match for line in sink.taken if (match := pattern.match(line))]
    return sum({match[2]: int(match[1]) for match in found}.values())


def test_signals_come_and_go_by_sighup_while_the_others_miss_no_sample(
    tmp_path: Path, machine: Machine, mqtt_port: int
) -> None:
    with WriteServer() as sink:
        config = configuration(tmp_path, machine.url, mqtt_port, sink.url)
        edit(config, FORCE, f"{FORCE}raw = true\nevery_s = 1\n")
        with (
            strokes(machine) as written,
            running(config) as agent,
            agent.connected("press", "floor"),
        ):
            wait_for(lambda: len(sampled(sink, b"ram_force")) > 20, "samples")
            edit(config, "[[mqtt]]", f"{OIL}raw = true\nevery_s = 1\n[[mqtt]]")
            agent.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(sampled(sink, b"oil")) > 20, "samples of the new signal")
            edit(config, f"{OIL}raw = true\nevery_s = 1\n", "")
            agent.process.send_signal(signal.SIGHUP)
            wait_for(partial(agent._said, "1 signal removed"), "the second reload")
            wait_for(partial(holds, sink, b"signal,", b"signal=oil"), "what is known of it")
            came = written[0]
            wait_for(lambda: max(sampled(sink, b"ram_force")) > came + 20, "more samples")
            code, last = agent.stop()
        assert code == 0
        assert last["ledger"]["balanced"]
        assert last["ledger"]["samples"]["dropped"] == {}
        assert not agent.warnings()
        force, oil = sampled(sink, b"ram_force"), sampled(sink, b"oil")
    assert force == list(range(force[0], force[-1] + 1))
    assert oil == list(range(oil[0], oil[-1] + 1))
    assert oil[-1] < force[-1] - 15
    assert counted(sink, b"oil") == len(oil)  # all its windows were closed


@asynccontextmanager
async def serving(file: Path, healthy_s: float = HEALTHY_S) -> AsyncIterator[Service]:
    """A service in this process, which gives a configuration up sooner."""
    files = Files(file)
    service = Service(load(file), files, healthy_s=healthy_s)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        assert (await task).balanced


def connected(service: Service, *names: str) -> Callable[[], bool]:
    def all_are() -> bool:
        sources = service.status()["sources"]
        return all(sources.get(name, {}).get("state") == "connected" for name in names)

    return all_are


@pytest.fixture
def file(
    tmp_path: Path, machine: Machine, mqtt_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setenv("ANDON_TOKEN", "tok-1")
    with WriteServer() as sink:
        yield configuration(tmp_path, machine.url, mqtt_port, sink.url)


def test_a_broker_that_does_not_exist_is_rolled_back_and_the_press_is_not_disturbed(
    file: Path, mqtt_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "andon")

    async def run() -> None:
        async with serving(file) as service:
            await until(connected(service, "press", "floor"), "both")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
                edit(file, f":{mqtt_port}", f":{port}")
                service.reload()
                await until(lambda: problem(service), "the rollback")
            assert f"mqtt://127.0.0.1:{port} does not answer" in problem(service)
            await until(connected(service, "press", "floor"), "both again")
        assert caplog.text.count("press: connected") == 1
        assert caplog.text.count("floor: connected") == 2

    asyncio.run(run())


def test_a_sink_that_refuses_is_rolled_back_and_its_lines_go_where_they_went(
    file: Path,
) -> None:
    refusing = Answer(401, b'{"code": "unauthorized", "message": "unauthorized access"}')

    async def run(other: WriteServer) -> None:
        async with serving(file) as service:
            await until(connected(service, "press", "floor"), "both")
            url = load(file).influxdb[0].url
            edit(file, url, other.url)
            service.reload()
            await until(lambda: problem(service), "the rollback")
            assert "cloud refuses" in problem(service)
            acknowledged = service.status()["ledger"]["sinks"]["cloud"]["acknowledged"]
            await until(
                lambda: service.status()["ledger"]["sinks"]["cloud"]["acknowledged"] > acknowledged,
                "lines at the old place",
            )

    with WriteServer(lambda request: refusing) as other:
        asyncio.run(run(other))


def test_a_renamed_sink_that_refuses_is_rolled_back_and_the_old_one_is_sent_its_backlog(
    tmp_path: Path, machine: Machine, mqtt_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDON_TOKEN", "tok-1")
    refusing = Answer(401, b'{"code": "unauthorized", "message": "unauthorized access"}')

    async def run(cloud: WriteServer, plant: WriteServer) -> None:
        file = configuration(tmp_path, machine.url, mqtt_port, cloud.url)
        async with serving(file) as service:
            await until(connected(service, "press", "floor"), "both")
            await until(lambda: service.status()["ledger"]["lines"]["waiting"] > 5, "a backlog")
            made = service.status()["ledger"]["lines"]["made"]
            edit(file, 'name = "cloud"', 'name = "plant"')
            edit(file, cloud.url, plant.url)
            service.reload()
            await until(lambda: list(service.status()["sinks"]) == ["plant"], "the plant")
            assert list(service.status()["ledger"]["sinks"]) == ["cloud", "plant"]
            cloud.decide = lambda request: Answer()
            await until(lambda: problem(service), "the rollback")
            await until(lambda: len(cloud.taken) > made, "the backlog and what came since")
            await until(lambda: list(service.status()["ledger"]["sinks"]) == ["cloud"], "its end")
        ledger = service.status()["ledger"]["lines"]
        assert ledger["waiting"] == ledger["dropped"].get("quota", 0) == 0
        assert len(cloud.taken) == ledger["made"] == ledger["acknowledged"]

    with (
        WriteServer(lambda request: Answer(503)) as cloud,
        WriteServer(lambda r: refusing) as plant,
    ):
        asyncio.run(run(cloud, plant))


def test_windows_close_while_a_source_does_not_connect_anew_and_it_is_regained(
    tmp_path: Path, machine: Machine, mqtt_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDON_TOKEN", "tok-1")
    monkeypatch.setattr(pipeline, "OUTAGE_GRACE_NS", 200_000_000)

    async def run(sink: WriteServer, nobody: str) -> None:
        file = configuration(tmp_path, machine.url, mqtt_port, sink.url)
        edit(file, FORCE, f"{FORCE}raw = true\nevery_s = 1\n")
        async with serving(file, healthy_s=60) as service:
            await until(lambda: len(sampled(sink, b"ram_force")) > 10, "samples")
            edit(file, machine.url, nobody)
            service.reload()
            await until(partial(holds, sink, b"anomaly,", b"connects anew"), "what is the matter")
            assert service.status()["ledger"]["samples"]["pending"] > 0
            await until(lambda: not service.status()["ledger"]["samples"]["pending"], "the windows")
            assert service.status()["sources"]["press"]["state"] != "connected"
            await until(
                lambda: counted(sink, b"ram_force") == len(sampled(sink, b"ram_force")), "their n"
            )
            came = len(sampled(sink, b"ram_force"))
            edit(file, nobody, machine.url)
            service.reload()
            await until(lambda: len(sampled(sink, b"ram_force")) > came, "it again")
            await until(partial(holds, sink, b"anomaly,", b"ended"), "the end of the anomaly")

    with socket.socket() as probe, WriteServer() as sink, strokes(machine):
        probe.bind(("127.0.0.1", 0))
        asyncio.run(run(sink, f"opc.tcp://127.0.0.1:{probe.getsockname()[1]}"))


def test_the_service_answers_whatever_a_reload_is_doing(file: Path, mqtt_port: int) -> None:
    """It is asked at every turn of the loop, so between any two steps of a reload."""
    asked = 0

    async def ask(service: Service, over: asyncio.Event) -> None:
        nonlocal asked
        while not over.is_set():
            json.dumps([service.status(), service._reload.in_use()])
            asked += 1
            await asyncio.sleep(0)

    async def run(plant: WriteServer) -> None:
        folder, over = file.parent / "conf.d", asyncio.Event()
        folder.mkdir()
        hall = folder / "hall.toml"
        async with serving(file) as service:
            asking = asyncio.create_task(ask(service, over))
            for turn in range(3):
                hall.write_text(more(mqtt_port, plant.url))
                edit(file, 'name = "floor"', 'name = "hall-2"')
                service.reload()
                await until(connected(service, "press", "hall", "hall-2"), "the hall")
                hall.unlink()
                edit(file, 'name = "hall-2"', f'name = "floor"\nkeepalive_s = {20 + turn}')
                service.reload()
                await until(lambda: "hall" not in service.status()["sources"], "its end")
                await until(connected(service, "press", "floor"), "the floor")
                edit(file, f"\nkeepalive_s = {20 + turn}", "")
            over.set()
            await asking

    with WriteServer() as plant:
        asyncio.run(run(plant))
    assert asked > 100


def test_what_a_draft_would_change_is_seen_beforehand(file: Path, mqtt_port: int) -> None:
    draft = file.parent / "draft.toml"
    draft.write_text(file.read_text() + more(mqtt_port, "http://127.0.0.1:1"))

    async def run() -> None:
        async with serving(file) as service:
            await until(connected(service, "press"), "the press")
            found = await asyncio.to_thread(preview, load(file))
            assert (found.against, found.difference) == ("service", Difference())
            found = await asyncio.to_thread(preview, load(draft))
            assert found.difference == Difference(
                sources=(Change("hall", "added", topics=Items(("hall/{machine}/{signal}",))),),
                sinks=(Change("plant", "added"),),
            )
        stopped = await asyncio.to_thread(preview, load(file))
        assert (stopped.against, stopped.difference.sinks) == ("outbox", ())
        assert [change.name for change in stopped.difference.sources] == ["floor"]

    asyncio.run(run())


def test_a_file_in_conf_d_adds_and_removes_a_source_and_a_sink(file: Path, mqtt_port: int) -> None:
    async def run(plant: WriteServer) -> None:
        folder = file.parent / "conf.d"
        folder.mkdir()
        async with serving(file) as service:
            await until(connected(service, "press", "floor"), "both")
            (folder / "hall.toml").write_text(more(mqtt_port, plant.url))
            await until(connected(service, "hall"), "the hall")
            await until(lambda: holds(plant, b"signal,", b"ram_force"), "all that is known")
            (folder / "hall.toml").unlink()
            await until(lambda: "hall" not in service.status()["sources"], "its end")
            await until(lambda: list(service.status()["sinks"]) == ["cloud"], "the sink's end")
            await until(lambda: list(service.status()["ledger"]["sinks"]) == ["cloud"], "its end")

    with WriteServer() as plant:
        asyncio.run(run(plant))


def more(mqtt_port: int, sink: str) -> str:
    return f"""
[[mqtt]]
name = "hall"
url = "mqtt://127.0.0.1:{mqtt_port}"
topics = [{{ topic = "hall/{{machine}}/{{signal}}", payload = {{ json = {{ value = "v" }} }} }}]
[[influxdb]]
name = "plant"
url = "{sink}"
token = "${{ANDON_TOKEN}}"
"""


def problem(service: Service) -> Any:
    return service.status()["configuration"]["problem"]
