"""`andon check --diff`: beside a running service, and what a start would do without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from agent.cli.check.preview import ITEMS_SHOWN_MAX, in_use, preview
from agent.config import Config, load, signals
from agent.errors import ExitCode, SourceUnreachable
from agent.ledger import Ledger, SinkLedger
from agent.signals import MACHINE_SIGNAL, Signal
from agent.status import StatusServer
from tests.agent.cli.check.test_check import run
from tests.agent.config.support import ENVIRON, GOOD

SINCE_NS = 1_769_839_200_000_000_000
SIGNALS = "".join(
    f'[[opcua.signals]]\nname = "s{number}"\nnode = "i={number}"\n'
    for number in range(ITEMS_SHOWN_MAX + 2)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, GOOD)


def write(folder: Path, text: str) -> Path:
    file = folder / "agent.toml"
    file.write_text(text.replace('name = "gw-1"', f'name = "gw-1"\ndata = "{folder}"'))
    return file


def beside(
    folder: Path, answers: Mapping[str, Callable[[], Any]], file: Path, *more: str
) -> Result:
    """The command, beside a service that answers so."""

    async def both() -> Result:
        server = StatusServer(folder, dict(answers))
        await server.start()
        try:
            return await asyncio.to_thread(run, file, "--diff", *more)
        finally:
            await server.stop()

    return asyncio.run(both())


def using(file: Path) -> dict[str, Callable[[], Any]]:
    config = load(file, ENVIRON)
    return {"config": lambda: in_use(config, SINCE_NS, "", {"cloud": 1234})}


def test_beside_a_service_it_says_what_a_reload_would_do(file: Path, tmp_path: Path) -> None:
    answers = using(file)
    draft = GOOD.replace("floor/{machine}", "hall/{machine}").replace('"press-01"', '"press-02"')
    draft = draft.replace("[[mqtt]]", SIGNALS + "[[mqtt]]").replace("andon.acme", "andon.plant")
    draft = draft.replace('"gw-1"', '"gw-1"\nsignals_max = 500')
    result = beside(tmp_path, answers, write(tmp_path, draft))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        f"{file} is valid", "",
        "against what the running service uses since 2026-01-31 06:00:00Z:",
    ]  # fmt: skip
    assert lines[3:7] == [
        "",
        "  source     press: changed on the living connection, 23 signals added, 1 signal removed",
        '               machine "press-01" -> "press-02"',
        "               + press-02/ram_force",
    ]
    assert lines[-7:] == [
        "               and 4 more",
        "  source     floor: changed on the living connection, 1 topic added, 1 topic removed",
        "               + hall/{machine}/{signal}",
        "               - floor/{machine}/{signal}",
        "  sink       cloud: changed",
        '               url "https://andon.acme.example" -> "https://andon.plant.example"',
        "  restart    gateway.signals_max 20000 -> 500; only a restart changes this",
    ]


def test_it_says_what_waits_for_a_sink_that_goes_and_that_the_last_reload_failed(
    file: Path, tmp_path: Path
) -> None:
    answers = using(file)
    used = {**answers["config"](), "problem": "the configuration of today was rolled back: why"}
    draft = write(tmp_path, GOOD.replace('name = "cloud"', 'name = "plant"'))
    lines = beside(tmp_path, {"config": lambda: used}, draft).stdout.splitlines()
    assert lines[2] == "the last reload failed: the configuration of today was rolled back: why"
    assert lines[-3:] == [
        "  sink       plant: added",
        "  sink       cloud: removed",
        "               lines that wait for it, and will not be sent to it: 1,234",
    ]


def test_a_source_that_was_renamed_while_no_service_ran_removes_no_signal(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored(list(signals(load(file, ENVIRON))), "cloud")
    (tmp_path / "outbox.db").touch()
    monkeypatch.setattr("agent.outbox.reader.open_readonly", lambda path: stored)
    draft = write(tmp_path, GOOD.replace('name = "press"', 'name = "press-2"'))
    lines = run(draft, "--diff").stdout.splitlines()
    assert lines[4:6] == [
        "  source     press-2: added, 1 signal changed",
        "               ~ press-01/ram_force",
    ]
    assert lines[-1] == "  source     press: removed"


def test_secrets_are_neither_asked_nor_answered(file: Path, tmp_path: Path) -> None:
    answers = using(file)
    assert "tok-1" not in json.dumps(answers["config"]())
    result = beside(tmp_path, answers, file)
    assert result.stdout.endswith("\n  nothing would change\n")


def test_as_json_it_is_the_difference_itself(file: Path, tmp_path: Path) -> None:
    answers = using(file)
    draft = write(tmp_path, GOOD.replace('name = "floor"', 'name = "hall"'))
    document = json.loads(beside(tmp_path, answers, draft, "--json").stdout)
    found = document["difference"]
    assert (document["valid"], found["against"], found["since_ns"]) == (True, "service", SINCE_NS)
    assert [(change["name"], change["what"]) for change in found["sources"]] == [
        ("hall", "added"), ("floor", "removed"),
    ]  # fmt: skip
    assert (found["sinks"], found["machines"], found["restart"]) == ([], [], [])


def test_a_service_of_another_version_is_said(file: Path, tmp_path: Path) -> None:
    result = beside(tmp_path, {"status": dict}, file)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert result.stderr.startswith("error: the running service does not say what it uses")
    assert "hint: it is of another version" in result.stderr


def test_a_service_that_hangs_up_is_said(file: Path, tmp_path: Path) -> None:
    def no_answer() -> Any:
        raise ValueError

    result = beside(tmp_path, {"config": no_answer}, file)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "does not answer" in result.stderr


def test_without_a_service_and_an_outbox_a_start_begins_with_everything(file: Path) -> None:
    result = run(file, "--diff")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{file} is valid\n"
        "\n"
        "no service runs and there is no outbox; a start would begin with all of this:\n"
        "\n"
        "  source     press: added, 1 signal added\n"
        "               + press-01/ram_force\n"
        "  source     floor: added\n"
        "  sink       cloud: added\n"
    )


class Stored:
    """An outbox to look into."""

    def __init__(self, known: list[Signal], *sinks: str) -> None:
        self._known = dict(enumerate(known))
        self._ledger = Ledger(sinks={name: SinkLedger() for name in sinks})

    def __enter__(self) -> Stored:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def signals(self) -> dict[int, Signal]:
        return self._known

    def ledger(self) -> Ledger:
        return self._ledger


def test_without_a_service_a_start_is_compared_with_what_the_outbox_knows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(file, ENVIRON)
    learned = Signal(before.path, "conveyor-01", "speed", "floor", hold_ns=10)
    retired = Signal(before.path, "press-01", "old", "")
    of_gone = Signal(before.path, "oven-01", "temperature", "oven")
    machine = Signal(before.path, "oven-01", MACHINE_SIGNAL, "oven")
    stored = Stored([*signals(before), learned, retired, of_gone, machine], "cloud", "old")
    (tmp_path / "outbox.db").touch()
    monkeypatch.setattr("agent.outbox.reader.open_readonly", lambda path: stored)
    draft = GOOD.replace('"ram_force"', '"oil"') + '[[influxdb]]\nname = "plant"\n'
    draft += 'url = "http://127.0.0.1:8086"\ntoken = "${ANDON_TOKEN}"\n'
    assert run(write(tmp_path, draft), "--diff").stdout.splitlines()[2:] == [
        "no service runs; a start would do this to what the outbox knows:",
        "",
        "  source     press: changed, 1 signal added, 1 signal removed",
        "               + press-01/oil",
        "               - press-01/ram_force",
        "  source     oven: removed, 1 signal removed",
        "               - oven-01/temperature",
        "  sink       plant: added",
        "  sink       old: removed",
    ]


def test_a_socket_that_may_not_be_asked_is_not_taken_for_a_stopped_service(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, what: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("agent.status.ask", refuse)
    config: Config = load(file, ENVIRON)
    with pytest.raises(SourceUnreachable, match="Permission denied"):
        preview(config)
