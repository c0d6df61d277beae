"""`andon browse`: TOML that `andon check` accepts, JSON, filters, maps, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.__main__ import INTERRUPTED
from agent.cli import app
from agent.config import load
from agent.errors import ExitCode
from tests.agent.sources.opcua.browse.plant import (
    VENDOR,
    Plant,
    build_machines,
    build_many,
    plant,
)

DEADLINE_S = 30.0
METER = f"nsu={VENDOR};s=85/Machines/Meter"
GATEWAY = """\
[gateway]
name = "gw-1"
path = { enterprise = "acme", site = "guiyang", area = "filling", line = "line-1" }

"""


@pytest.fixture(scope="module")
def machines() -> Iterator[Plant]:
    with plant(build_machines) as running:
        yield running


def run(*arguments: str, exit_code: int = ExitCode.OK) -> Any:
    result = CliRunner().invoke(app, ["browse", *arguments, "--security", "none"])
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


def test_what_it_prints_is_a_configuration_that_check_accepts(
    machines: Plant, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    printed = run(machines.url, "--user", "operator").stdout
    file.write_text(GATEWAY + printed, encoding="utf-8")
    config = load(file, {"OPCUA_PASSWORD": "secret"})
    (server,) = config.opcua
    assert (server.endpoint, server.security, server.user) == (machines.url, "none", "operator")
    assert {s.machine or server.machine for s in server.signals} == {
        "Filler 1", "Press", "Meter", "Hall 2",
    }  # fmt: skip
    (filler,) = config.machines
    assert (filler.model, filler.asset_id) == ("Acme F 200", "urn:acme:filler:4711")
    state = server.variables["Press", "machinery_item_state"]
    assert (state.kind, state.state) == ("text", True)
    assert server.variables["Hall 2", "vibration"].rate_hz == 1000
    assert ("Hall 2", "spectrum") not in server.variables, "its rate is not known"
    check = CliRunner().invoke(app, ["check", str(file)], env={"OPCUA_PASSWORD": "secret"})
    assert check.exit_code == ExitCode.OK, check.output


def test_ranges_and_guesses_stand_beside_their_signal_and_never_as_limits(
    machines: Plant,
) -> None:
    printed = run(machines.url).stdout
    block = printed[: printed.index('name = "cur_mach_speed"')].rpartition("\n\n")[2]
    assert "# EURange 0 to 3000 rpm" in block
    assert "# InstrumentRange -10 to 4000 rpm" in block
    assert 'kind = "counter"  # guessed from its name' in printed
    assert 'kind = "counter"  # OPC 40083, 18.4.7' in printed
    assert "# 0 off, 1 yellow, 2 red" in printed
    assert '# kind = "waveform"' in printed, "one without a rate is a comment"
    assert "limits =" not in printed


def test_json_holds_the_same(machines: Plant) -> None:
    result = run(machines.url, "--json")
    found = json.loads(result.stdout)
    assert found["endpoint"] == machines.url
    assert "OPC 30050 PackML" in found["specifications"]
    assert found["left_out"]["structure"] == 1
    (speed,) = [s for s in found["signals"] if s["name"] == "cur_mach_speed"]
    assert (speed["unit"], speed["eu_range"]) == ("rpm", [0.0, 3000.0])
    assert "variables" in result.stderr


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["--match", "*/curmach*"], {"Machines/Filler 1/Status/CurMachSpeed"}),
        (
            ["--match", "*/meter/ac*", "--only", "counter"],
            {"Machines/Meter/AcActiveEnergyTotalImportLp"},
        ),
        (["--machine", "Meter", "--only", "analog"], {"Machines/Meter/AcActivePowerTotal"}),
        (["--only", "writable"], {"Hall 2/Setpoint"}),
        (["--from", METER, "--only", "analog"], {"AcActivePowerTotal"}),
    ],
)
def test_filters_leave_what_is_asked_for(
    machines: Plant, options: list[str], paths: set[str]
) -> None:
    found = json.loads(run(machines.url, "--json", *options).stdout)
    assert {s["path"] for s in found["signals"]} == paths


def test_nothing_found_is_valid_toml_and_told(machines: Plant) -> None:
    result = run(machines.url, "--match", "nothing")
    assert tomllib.loads(result.stdout) == {}
    assert "(0 shown)" in result.stderr
    assert "andon check" not in result.stderr, "there is nothing to check"


def test_of_a_machine_that_is_not_there_the_others_are_named(machines: Plant) -> None:
    result = run(machines.url, "--machine", "nobody", exit_code=ExitCode.CONFIG)
    assert result.stdout == ""
    assert "they are of " in result.stderr
    assert "Filler 1" in result.stderr


def test_a_start_that_the_server_does_not_have_ends_with_exit_code_2(machines: Plant) -> None:
    result = run(machines.url, "--from", f"nsu={VENDOR};s=no", exit_code=ExitCode.CONFIG)
    assert result.stdout == ""
    assert "be browsed: BadNodeId" in result.stderr


def test_every_variable_is_accounted_for_and_what_comes_next_is_said(machines: Plant) -> None:
    said = run(machines.url, "--user", "operator").stderr
    sentence = re.search(r"([0-9]+) variables: ([0-9]+) signals, ([0-9]+) that only", said)
    assert sentence is not None
    variables, signals, others = map(int, sentence.groups())
    left_out = json.loads(run(machines.url, "--json").stdout)["left_out"]
    assert variables == signals + others + sum(left_out.values())
    assert "keep this as /etc/andon/conf.d/127.0.0.1.toml, set OPCUA_PASSWORD, then: andon" in said


def test_a_server_of_the_configuration_is_browsed_by_its_name(
    machines: Plant, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    table = run(machines.url, "--match", "*/curmach*").stdout
    file.write_text(GATEWAY + table.replace('name = "127.0.0.1"', 'name = "filler"'))
    result = CliRunner().invoke(app, ["browse", "filler", "--config", str(file)])
    assert result.exit_code == ExitCode.OK, result.output
    assert "belong below the [[opcua]] table named filler" in result.stdout
    assert "[[opcua]]\n" not in result.stdout
    assert f"put them below filler in the configuration, then: andon check {file}" in result.stderr
    unknown = CliRunner().invoke(app, ["browse", "press", "--config", str(file)])
    assert unknown.exit_code == ExitCode.CONFIG
    assert "hint: it has filler; as an address it would be opc.tcp://press:4840" in unknown.stderr
    told = CliRunner().invoke(app, ["browse", "filler", "--user", "me", "--config", str(file)])
    assert told.exit_code == ExitCode.CONFIG


def test_a_password_is_asked_for_at_a_terminal_and_missed_elsewhere(
    machines: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPCUA_PASSWORD", raising=False)
    secrets: list[str] = []
    assert (
        "OPCUA_PASSWORD is not set: me logs in without" in run(machines.url, "--user", "me").stderr
    )
    monkeypatch.setattr("agent.cli.browse.password.interactive", lambda: True)

    def prompt(text: str, *_: Any, **how: Any) -> str:
        assert how["hide_input"]
        secrets.append(text)
        return "secret"

    monkeypatch.setattr("typer.prompt", prompt)
    result = run(machines.url, "--user", "me")
    assert secrets == ["Password of me"]
    assert "secret" not in result.output


def test_warnings_are_said_without_the_clothes_of_a_log(machines: Plant) -> None:
    said = run(machines.url).stderr.splitlines()
    assert said[0].startswith(f"warning: {machines.url}: the session is not secured")


def test_the_command_line_loads_no_client_before_it_is_needed() -> None:
    code = "import sys, agent.cli; sys.exit('asyncua' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_map_is_applied_and_what_the_server_lacks_is_named(
    machines: Plant, tmp_path: Path
) -> None:
    file = tmp_path / "map.toml"
    file.write_text(
        'machine = "hall"\nsources = ["none"]\ntested = "no"\n'
        '[[signals]]\nname = "recipe"\npath = "Hall 2/Recipe"\nkind = "text"\nsource = "x"\n'
        '[[signals]]\nname = "state"\nnode = "i=2259"\nkind = "discrete"\nsource = "Part 5"\n'
        '[[signals]]\nname = "gone"\nnode = "nsu=urn:no;i=1"\nkind = "text"\nsource = "x"\n'
    )
    result = run(machines.url, "--map", str(file))
    server = tomllib.loads(result.stdout)["opcua"][0]
    assert [(s["name"], s["kind"]) for s in server["signals"]] == [
        ("recipe", "text"),
        ("state", "discrete"),
    ]
    assert "not on this server: gone" in result.stderr


def test_a_server_that_is_not_there_ends_with_exit_code_3() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"opc.tcp://127.0.0.1:{free.getsockname()[1]}"
        result = run(url, exit_code=ExitCode.UNREACHABLE)
    assert f"error: {url}" in result.stderr
    assert "hint:" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://plant"], "opc.tcp://"),
        (["opc.tcp://127.0.0.1:4840", "--only", "large"], "none of writable"),
        (["opc.tcp://127.0.0.1:4840", "--map", "no.toml"], "cannot be read"),
        (["opc.tcp://127.0.0.1:4840", "--from", "85"], "it must be a NodeId"),
    ],
)
def test_what_cannot_be_meant_ends_with_exit_code_2(arguments: list[str], said: str) -> None:
    assert said in run(*arguments, exit_code=ExitCode.CONFIG).output.replace("\n", " ")


def test_a_secured_session_without_a_gateways_certificates_says_what_to_do(
    tmp_path: Path,
) -> None:
    missing = str(tmp_path / "agent.toml")
    result = CliRunner().invoke(app, ["browse", "opc.tcp://127.0.0.1:4840", "--config", missing])
    assert result.exit_code == ExitCode.CONFIG
    assert "--security none does without" in result.stderr.replace("\n", " ")


def test_ctrl_c_keeps_what_was_found_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """With stderr on a terminal, so that the bar is drawn too."""
    file = tmp_path / "walk.json"
    with plant(build_many) as running:
        command = [sys.executable, "-m", "agent", "browse", running.url, "--security", "none"]
        command += ["--json", "--resume", str(file)]
        whole = subprocess.run(command[:-2], capture_output=True, check=True)
        master, slave = pty.openpty()
        first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        deadline = time.monotonic() + DEADLINE_S
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=DEADLINE_S)
        assert b"nodes" in os.read(master, 1 << 16), "the bar is drawn"
        os.close(master)
        assert first.returncode == INTERRUPTED
        second = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(second.stdout) == json.loads(whole.stdout)
