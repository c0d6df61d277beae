"""`andon check`: what it says about a good configuration and about a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.check import check
from agent.errors import ExitCode
from tests.agent.config.support import ENVIRON, GOOD

app = typer.Typer()
app.command()(check)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=ENVIRON)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(GOOD)
    return file


def test_a_good_configuration_is_summed_up_with_real_values_on_stdout(file: Path) -> None:
    result = run(file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{file} is valid\n"
        "\n"
        "  gateway    gw-1, acme/guiyang/assembly/line-1\n"
        "  data       /var/lib/andon\n"
        "  outbox     at most 1,024 MB and 90 days, 1.6 GB a day to the disk, journal auto\n"
        "  source     press, opc.tcp://10.0.0.5:4840: 1 signal, sent every 250 ms, in the "
        "clear\n"
        "  source     floor, mqtt://10.0.0.9:1883: floor/+/+\n"
        "  signals    1 named, 20,000 at most\n"
        "  sink       cloud, https://andon.acme.example, bucket andon\n"
        "  detection  on, after 15 s of learning\n"
    )


def test_what_is_not_there_or_off_is_said_too(file: Path) -> None:
    text = GOOD[: GOOD.index("[[influxdb]]")].replace(
        "[[mqtt]]", "[detect]\nenabled = false\n[[machines]]\nname = 'press-01'\n[[mqtt]]"
    )
    file.write_text(text)
    result = run(file)
    assert result.exit_code == 0
    assert "  machines   press-01\n" in result.stdout
    assert "  sink       none: what is read goes nowhere\n" in result.stdout
    assert "  detection  off\n" in result.stdout


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ('security = "auto"', "1 signal and 1 kind of events, sent every 250 ms\n"),
        ('security = "Basic256"', "250 ms, secured by Basic256, which is deprecated\n"),
    ],
)
def test_events_and_what_is_not_safe_are_said(file: Path, security: str, said: str) -> None:
    text = GOOD.replace('security = "none"', security)
    file.write_text(text.replace("[[mqtt]]", "[[opcua.events]]\nname = 'alarms'\n[[mqtt]]"))
    assert said in run(file).stdout


def test_brokers_are_said_with_what_is_read_and_sent_and_what_is_not_safe(file: Path) -> None:
    text = GOOD.replace('url = "mqtt://10.0.0.9:1883"', 'url = "mqtts://b"\nverify_name = false')
    text = text.replace("[[mqtt.topics]]", "[mqtt.sparkplug]\n[[mqtt.topics]]")
    text += '[[sparkplug]]\nname = "scada"\nurl = "mqtt://b"\nnode = "n"\n'
    text += '[[uns]]\nname = "plant"\nurl = "mqtt://b"\nprefix = "uns"\n'
    file.write_text(text)
    result = run(file)
    assert result.exit_code == 0, result.stderr
    name = ", the name in its certificate not looked at"
    assert f"source     floor, mqtts://b: floor/+/+, spBv1.0/+/#{name}\n" in result.stdout
    assert "sink       scada, mqtt://b, Sparkplug B as acme/n\n" in result.stdout
    assert "sink       plant, mqtt://b, unified namespace below uns\n" in result.stdout
    sinks = json.loads(run(file, "--json").stdout)["sinks"]
    assert [sink["kind"] for sink in sinks] == ["influxdb", "sparkplug", "uns"]


@pytest.mark.parametrize(
    ("url", "is_said"), [("mqtt://b", True), ("mqtts://b", False), ("mqtt://127.0.0.1", False)]
)
def test_a_password_in_clear_text_is_said(file: Path, url: str, is_said: bool) -> None:
    login = f'url = "{url}"\nuser = "u"\npassword = "${{ANDON_TOKEN}}"'
    file.write_text(GOOD.replace('url = "mqtt://10.0.0.9:1883"', login))
    result = run(file)
    assert result.exit_code == 0, result.stderr
    assert (", the password in clear text" in result.stdout) == is_said


def test_a_bad_configuration_is_told_on_stderr_and_the_exit_code_says_so(file: Path) -> None:
    file.write_text(GOOD.replace("opc.tcp", "opc").replace('"floor"', '""'))
    result = run(file)
    assert (result.exit_code, result.stdout) == (ExitCode.CONFIG, "")
    assert result.stderr == (
        'error: opcua[0].endpoint is "opc://10.0.0.5:4840"; it must be opc.tcp://host:port or '
        "opc.tcp://host:port/path\n"
        f"  in {file}, line 7\n"
        'hint: For example endpoint = "opc.tcp://10.0.0.5:4840"\n'
        "\n"
        'error: mqtt[0].name is ""; it must not be empty\n'
        f"  in {file}, line 16\n"
        'hint: For example name = "floor"\n'
    )


def test_json_gives_the_summary_or_the_problems_on_stdout(file: Path) -> None:
    good = json.loads(run(file, "--json").stdout)
    assert (good["valid"], good["gateway"], good["signals"]) == (True, "gw-1", 1)
    assert [source["name"] for source in good["sources"]] == ["press", "floor"]
    file.write_text(GOOD.replace("security", "securty").replace("node =", "knot ="))
    result = run(file, "--json")
    bad = json.loads(result.stdout)
    assert result.exit_code == ExitCode.CONFIG
    assert bad["valid"] is False
    assert [(p["path"], p["line"]) for p in bad["problems"]] == [
        ("opcua[0].securty", 9),
        ("opcua[0].signals[0].node", 11),
        ("opcua[0].signals[0].knot", 13),
    ]


def test_a_missing_file_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    result = run(tmp_path / "none.toml")
    assert result.exit_code == ExitCode.CONFIG
    assert result.stderr.startswith("error: there is no such configuration\n")


def test_the_schema_is_printed_without_reading_a_configuration() -> None:
    schema = json.loads(run("--schema").stdout)
    assert set(schema["properties"]) >= {"gateway", "opcua", "mqtt", "influxdb"}
    assert schema["additionalProperties"] is False
