"""`andon init`: writes a configuration that loads, asks for what is missing, replaces nothing."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.init import init
from agent.config import load
from agent.errors import ExitCode
from agent.signals import Path as LinePath

app = typer.Typer()
app.command()(init)

NAMES = ["--name", "gw-1", "--enterprise", "acme", "--site", "guiyang", "--area", "As 1"]
PLACE = [*NAMES, "--line", 'line "1"']
SOURCES = ["--opcua", "opc.tcp://a:4840", "--opcua", "opc.tcp://b:4840", "--mqtt", "mqtt://c:1883"]
SOURCES += ["--mqtt", "mqtts://d", "--sparkplug", "wss://e/mqtt"]
FULL = [*PLACE, *SOURCES, "--cloud", "https://andon.acme.example"]
ENVIRON = dict.fromkeys(
    ("ANDON_TOKEN", "OPCUA_USER", "OPCUA_PASSWORD", "MQTT_USER", "MQTT_PASSWORD"), "value"
)


def run(*arguments: str | Path, answers: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "andon" / "agent.toml"


def test_what_it_writes_loads_once_the_token_is_set(file: Path) -> None:
    result = run("--output", file, *FULL)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"wrote {file}\nname its machines and signals, set ANDON_TOKEN, then: andon check {file}\n"
        f"what a server has, tells: andon browse opcua-1 --config {file}\n"
        f"what a broker brings, tells: andon browse mqtt-1 --config {file}\n"
    )
    config = load(file, {"ANDON_TOKEN": "tok-1"})
    assert config.gateway.name == "gw-1"
    assert config.path == LinePath("acme", "guiyang", "As 1", 'line "1"')
    assert [o.endpoint for o in config.opcua] == ["opc.tcp://a:4840", "opc.tcp://b:4840"]
    assert [m.url for m in config.mqtt] == ["mqtt://c:1883", "mqtts://d", "wss://e/mqtt"]
    assert [bool(m.sparkplug) for m in config.mqtt] == [False, False, True]
    assert [i.url for i in config.influxdb] == ["https://andon.acme.example"]


@pytest.mark.parametrize("cloud", [True, False])
def test_every_option_that_it_shows_commented_out_can_be_uncommented(
    file: Path, cloud: bool
) -> None:
    run("--output", file, *(FULL if cloud else FULL[:-2]))
    text = file.read_text()
    uncommented = re.sub(r"(?m)^# ", "", text)
    assert uncommented.count("\n[[opcua.signals]]") == 4
    file.write_text(uncommented)
    config = load(file, ENVIRON)
    assert config.machines[0].name == "machine-1"
    assert [sink.name for sink in config.sinks] == ["cloud", "scada", "uns"]
    assert [bool(broker.certificate) for broker in config.mqtt] == [False, True, True]


def test_its_lines_fit_a_terminal_and_explain_themselves() -> None:
    text = run("--output", "-", *FULL).stdout
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("## ") > 15
    assert "\n\n\n\n" not in text


def test_without_a_cloud_it_needs_no_token(file: Path) -> None:
    result = run("--output", file, *FULL[:-2])
    assert "ANDON_TOKEN" not in result.stderr
    assert load(file, {}).influxdb == ()


def test_a_file_that_is_there_is_left_alone_unless_forced(file: Path) -> None:
    run("--output", file, *FULL)
    file.write_text("mine")
    result = run("--output", file, *FULL)
    assert result.exit_code == ExitCode.CONFIG
    assert result.stderr == (
        f"error: {file} is there already and was left as it is\n"
        "hint: write elsewhere with --output PATH, or replace it with --force\n"
    )
    assert file.read_text() == "mine"
    assert run("--output", file, *FULL, "--force").exit_code == 0
    assert "gw-1" in file.read_text()


def test_without_a_terminal_it_says_what_is_missing(file: Path) -> None:
    result = run("--output", file, *NAMES)
    assert result.exit_code == ExitCode.CONFIG
    assert result.stderr == (
        "error: there is no terminal to ask at, and not given: --line, --opcua, --mqtt or "
        "--sparkplug\n"
        "hint: give them on the command line, or call andon init in a terminal\n"
    )
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--opcua", "http://a"], "--opcua does not fit: it must be opc.tcp://host:port or"),
        (["--mqtt", "tcp://a:1"], "--mqtt does not fit: it must be mqtt://host, mqtts://host,"),
        (["--sparkplug", "mqtts://a/b"], "--sparkplug does not fit: it must be mqtts://host:port"),
        (["--cloud", "http://a"], "--cloud does not fit: it must be https:// unless"),
        (["--site", "a\nb"], "--site does not fit: it must have only characters"),
    ],
)
def test_an_option_that_does_not_fit_is_named(file: Path, options: list[str], message: str) -> None:
    result = run("--output", file, *FULL, *options)
    assert result.exit_code == ExitCode.CONFIG
    assert result.stderr.startswith(f"error: {message}")
    assert not file.exists()


def test_a_folder_that_cannot_be_written_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("--output", tmp_path / "file" / "agent.toml", *FULL)
    assert result.exit_code == ExitCode.CONFIG
    assert "cannot be written" in result.stderr


def test_at_a_terminal_it_asks_for_what_is_missing_until_the_answer_fits(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("agent.cli.init"), "interactive", lambda: True)
    answers = ["", "acme", "guiyang", "assembly", "line-1"]
    answers += ["", "", "", "10.0.0.5", "opc.tcp://10.0.0.5:4840", "", "", ""]
    answers += ["https://andon.acme.example"]
    monkeypatch.setattr("socket.gethostname", lambda: "gw-7")
    result = run("--output", file, answers="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.stderr
    assert "Company:" in result.stderr
    assert "At least one server or broker is needed." in result.stderr
    assert "it must be opc.tcp://host:port" in result.stderr
    config = load(file, {"ANDON_TOKEN": "tok-1"})
    assert (config.gateway.name, config.gateway.path.area) == ("gw-7", "assembly")
    assert (len(config.opcua), len(config.mqtt), len(config.influxdb)) == (1, 0, 1)
