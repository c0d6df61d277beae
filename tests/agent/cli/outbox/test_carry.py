"""`andon outbox export` and `import`: a backlog carried out by hand arrives whole."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.outbox.sql import connect
from agent.outbox.sqlite import SqliteOutbox
from agent.sinks.influxdb import InfluxdbSink
from tests.agent.cli.outbox.gateway import ENVIRON, Gateway, acknowledge, ids, make, waiting
from tests.cloud.lines import window
from tests.cloud.server import RunningCloud, running_cloud, until
from tests.write_server import Answer, Request, WriteServer, lines_of

ROOT = Path(__file__).parents[4]


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder / "backlog.db"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A far side is given up soon."""
    monkeypatch.setattr("agent.cli.outbox.carry.PATIENCE_S", 0.3)
    monkeypatch.setattr("agent.cli.outbox.carry.REFUSED_S", 0.1)


@contextmanager
def far_side(gateway: Gateway, decide: Callable[[Request], Answer] | None = None) -> Iterator[Any]:
    with WriteServer() if decide is None else WriteServer(decide) as server:
        gateway.sink(server.url)
        yield server


def test_what_was_exported_beside_a_writer_arrives_and_so_does_what_it_makes_later(
    gateway: Gateway, stick: Path
) -> None:
    with far_side(gateway) as server, gateway.writing() as outbox:
        make(outbox, 1, 250)
        acknowledge(outbox, 20)
        exported = gateway.run("export", stick)
        assert exported.exit_code == 0
        assert exported.stdout.startswith("230 lines, ")
        assert "sent twice they change nothing" in exported.stderr
        make(outbox, 251, 260)
        assert outbox.ledger().lines.waiting == 240
        imported = gateway.run("import", stick)
        assert (imported.exit_code, imported.stdout) == (0, "230 lines were sent to cloud\n")
        assert {request.headers["x-andon-outbox"] for request in server.requests} == {outbox.uuid}
        assert sorted(map(ids, server.requests)) == [(21, 120), (121, 220), (221, 250)]
        assert server.taken == [window(n * 10**9).encode() for n in range(21, 251)]
        again = gateway.run("import", stick, "--json")
        assert json.loads(again.stdout)["acknowledged"] == 0
        assert len(server.requests) == 3


def test_the_cloud_has_no_hole_after_an_import_and_the_gateways_later_lines(
    gateway: Gateway, stick: Path, tmp_path: Path
) -> None:
    with running_cloud(tmp_path / "cloud") as cloud, gateway.writing() as outbox:
        gateway.sink(cloud.url)
        make(outbox, 1, 120)
        assert gateway.run("export", stick).exit_code == 0
        acknowledge(outbox, 120)  # as if they had gone another way; the cloud has none of them
        make(outbox, 121, 150)
        send_live(outbox, cloud)
        assert account(cloud)["received"] == [[121, 150]]
        done = gateway.run("import", stick, ANDON_TOKEN=cloud.write_token)
        assert (done.exit_code, done.stdout) == (0, "120 lines were sent to cloud\n")
        held = until(lambda: account(cloud)["received"] == [[1, 150]] and account(cloud))
        assert (held["outbox"], held["void"], held["repeats"]) == (outbox.uuid, [], 0)


def send_live(outbox: SqliteOutbox, cloud: RunningCloud) -> None:
    sink = InfluxdbSink("cloud", url=cloud.url, token=cloud.write_token, outbox=outbox.uuid)
    while packet := outbox.packet("cloud", 1000, live=False):
        sink.send(packet)
        outbox.acknowledge("cloud", packet.first, packet.last, void=packet.void)
    sink.close()


def account(cloud: RunningCloud) -> Any:
    (account,) = cloud.get("/v1/gateways")["gateways"]
    return account


def test_an_import_that_was_killed_sends_the_rest_and_claims_no_id_of_the_gateway(
    gateway: Gateway, stick: Path
) -> None:
    stuck = threading.Event()

    def decide(request: Request) -> Answer:
        first, _ = ids(request)
        return Answer(hole=True) if first > 200 and not stuck.is_set() else Answer()

    with far_side(gateway, decide) as server:
        with gateway.writing() as outbox:
            make(outbox, 1, 500)
            assert gateway.run("export", stick).exit_code == 0
        with gateway.process("outbox", "import", stick, "--config", gateway.config) as running:
            until(lambda: waiting(stick) == 300, 20)
            running.kill()
            running.wait()
        stuck.set()
        done = gateway.run("import", stick, "--json")
        assert (done.exit_code, json.loads(done.stdout)["acknowledged"]) == (0, 300)
        assert [ids(one) for one in server.requests[-3:]] == [(201, 300), (301, 400), (401, 500)]
        assert not any("x-andon-void" in request.headers for request in server.requests)


@pytest.mark.usefixtures("patient")
def test_a_far_side_that_is_away_leaves_everything_in_the_file(
    gateway: Gateway, stick: Path
) -> None:
    with WriteServer() as away:
        gateway.sink(away.url)
    with gateway.writing() as outbox:
        make(outbox, 1, 5)
    assert gateway.run("export", stick).exit_code == 0
    result = gateway.run("import", stick)
    assert result.exit_code == 3
    assert result.stdout == (f"no lines were sent to cloud\n5 lines still wait in {stick}\n")
    assert "error: cloud has not answered" in result.stderr
    assert "the same command sends the rest" in result.stderr
    assert waiting(stick) == 5


@pytest.mark.usefixtures("patient")
def test_a_far_side_that_refuses_leaves_everything_in_the_file(
    gateway: Gateway, stick: Path
) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 5)
    assert gateway.run("export", stick).exit_code == 0
    with far_side(gateway, lambda request: Answer(401)):
        result = gateway.run("import", stick, "--json")
    assert result.exit_code == 4
    document = json.loads(result.stdout)
    assert (document["acknowledged"], document["waiting"]) == (0, 5)
    assert document["error"] == "cloud does not take them"
    assert waiting(stick) == 5


def test_a_line_that_is_rejected_is_named_and_the_rest_arrives(
    gateway: Gateway, stick: Path
) -> None:
    wrong = window(3 * 10**9).encode()

    def decide(request: Request) -> Answer:
        return Answer(400, b"no") if wrong in lines_of(request.body) else Answer()

    with gateway.writing() as outbox:
        make(outbox, 1, 5)
    assert gateway.run("export", stick).exit_code == 0
    with far_side(gateway, decide):
        result = gateway.run("import", stick)
    assert result.stdout == (
        f"4 lines were sent to cloud\n1 line was rejected: see `andon outbox dead --file {stick}`\n"
    )
    assert result.exit_code == 0
    assert gateway.run("dead", "--file", stick).stdout.startswith("line 3 to cloud, rejected\n")
    assert gateway.run("dead").stdout == "no dead letters\n"


def test_a_backlog_of_another_year_is_sent_whole(gateway: Gateway, stick: Path) -> None:
    last_year = time.time_ns() - 366 * 86_400 * 10**9
    with gateway.writing(lambda: last_year) as outbox:
        make(outbox, 1, 250)
    assert gateway.run("export", stick).exit_code == 0
    with far_side(gateway) as server:
        assert gateway.run("import", stick).stdout == "250 lines were sent to cloud\n"
        assert len(server.taken) == 250


def test_lines_that_are_taken_are_counted_as_exported_once_the_service_is_stopped(
    gateway: Gateway, stick: Path
) -> None:
    with far_side(gateway) as server:
        with gateway.writing() as outbox:
            make(outbox, 1, 7)
            refused = gateway.run("export", stick, "--take")
            assert refused.exit_code == 5
            assert f"in use by another agent (process {os.getpid()})" in refused.stderr
            assert not stick.exists()
            assert outbox.ledger().lines.waiting == 7
        taken = gateway.run("export", stick, "--take")
        assert (taken.exit_code, taken.stderr) == (0, "")
        told = gateway.run().stdout
        assert "  waiting   nothing\n" in told
        assert "7 lines: carried out with `andon outbox export --take`" in told
        with gateway.writing() as outbox:
            ledger = outbox.ledger()
            assert (ledger.lines.dropped, ledger.balanced) == (Counter(exported=7), True)
        assert gateway.run("import", stick).stdout == "7 lines were sent to cloud\n"
        assert len(server.taken) == 7


def test_nothing_that_is_there_is_written_over(gateway: Gateway, stick: Path) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 5)
    stick.write_text("holiday pictures")
    for words in ([], ["--take"]):
        result = gateway.run("export", stick, *words)
        assert result.exit_code == 5
        assert f"error: {stick} exists already\nhint: choose another name" in result.stderr
    assert stick.read_text() == "holiday pictures"
    assert waiting(gateway.file) == 5
    folder = gateway.run("export", stick.parent)
    assert folder.exit_code == 2
    assert f"hint: name a new file in it, such as {stick}" in folder.stderr
    assert gateway.run("export", stick.parent / "none" / "file.db").exit_code == 5


def test_an_outbox_with_nothing_to_send_is_said_to_be_that(gateway: Gateway, stick: Path) -> None:
    with gateway.writing():
        pass
    result = gateway.run("export", stick)
    assert result.stdout == f"nothing waits to be sent; {stick} holds no lines\n"
    assert result.stderr == ""


def test_what_is_no_outbox_is_refused_and_left_as_it_is(gateway: Gateway, stick: Path) -> None:
    gateway.sink("http://127.0.0.1:9")
    for content in (b"holiday pictures " * 500, b""):
        stick.write_bytes(content)
        result = gateway.run("import", stick)
        assert result.exit_code == 5
        assert "hint: give what `andon outbox export` wrote" in result.stderr
        assert stick.read_bytes() == content
        assert [file.name for file in stick.parent.iterdir()] == [stick.name]
    missing = gateway.run("import", stick.with_name("none.db"))
    assert missing.exit_code == 5
    assert "error: there is no file" in missing.stderr


def test_an_outbox_that_was_damaged_on_the_way_is_refused_and_left_as_it_is(
    gateway: Gateway, stick: Path
) -> None:
    gateway.sink("http://127.0.0.1:9")
    with gateway.writing() as outbox:
        make(outbox, 1, 5000)
    assert gateway.run("export", stick).exit_code == 0
    content = stick.read_bytes()
    damaged = content[:8192] + bytes(4096) + content[12_288:]
    stick.write_bytes(damaged)
    result = gateway.run("import", stick)
    assert result.exit_code == 5
    assert "error: " in result.stderr
    assert stick.read_bytes() == damaged


def test_lines_that_cannot_be_read_are_said_and_the_others_arrive(
    gateway: Gateway, stick: Path
) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 5)
        make(outbox, 6, 9)
    assert gateway.run("export", stick).exit_code == 0
    with closing(connect(stick)) as write:
        write.execute("UPDATE block SET crc = crc + 1 WHERE first = 1")
    with far_side(gateway) as server:
        result = gateway.run("import", stick)
    assert result.stdout == (
        "4 lines were sent to cloud\n5 lines were damaged on the way and cannot be sent\n"
    )
    assert result.exit_code == 5
    assert "hint: export it once more" in result.stderr
    assert len(server.taken) == 4


def test_the_gateways_own_outbox_is_its_services_to_send(gateway: Gateway) -> None:
    gateway.sink("http://127.0.0.1:9")
    result = gateway.run("import", gateway.file)
    assert result.exit_code == 2
    assert "is this gateway's own outbox" in result.stderr


def test_with_several_sinks_one_must_be_named(gateway: Gateway, stick: Path) -> None:
    with far_side(gateway) as server, gateway.writing() as outbox:
        gateway.sink("http://127.0.0.1:9", "other")
        make(outbox, 1, 5)
        assert gateway.run("export", stick).exit_code == 0
        unnamed = gateway.run("import", stick)
        assert unnamed.exit_code == 2
        assert "hint: say which one with --sink" in unnamed.stderr
        assert gateway.run("import", stick, "--sink", "clod").exit_code == 2
        assert gateway.run("import", stick, "--sink", "cloud").exit_code == 0
        assert len(server.taken) == 5


def test_lines_that_were_carried_out_are_not_sent_to_a_broker(
    gateway: Gateway, stick: Path
) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 5)
        assert gateway.run("export", stick).exit_code == 0
        with gateway.config.open("a") as file:
            file.write('[[uns]]\nname = "plant"\nurl = "mqtt://127.0.0.1"\n')
        refused = gateway.run("import", stick, "--sink", "plant")
    assert refused.exit_code == 2
    assert "the sink plant speaks MQTT" in refused.stderr


def test_a_stick_that_is_full_is_said_and_holds_no_half_file(gateway: Gateway, stick: Path) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 20_000)
        command = [sys.executable, "-m", "agent", "outbox", "export", str(stick)]
        command += ["--config", str(gateway.config)]
        result = subprocess.run(
            command, cwd=ROOT, env=os.environ | ENVIRON | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False, timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
        )  # fmt: skip
        assert outbox.ledger().lines.waiting == 20_000
    assert result.returncode == 5
    assert f"cannot write outbox {stick}" in result.stderr
    assert "hint: make room on the disk" in result.stderr
    assert list(stick.parent.iterdir()) == []
