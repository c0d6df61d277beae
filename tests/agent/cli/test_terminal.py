"""How the commands talk."""

from __future__ import annotations

import json

import pytest
import typer

from agent.cli.terminal import fail, print_json, say
from agent.errors import ConfigError, ExitCode, SinkRefused


def test_an_error_is_told_on_stderr_with_its_hint_and_ends_with_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as caught:
        fail(SinkRefused("cloud refuses the token", "make a new one"))
    assert caught.value.exit_code == ExitCode.REFUSED
    assert capsys.readouterr() == ("", "error: cloud refuses the token\nhint: make a new one\n")


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail(ConfigError("no"))
    assert capsys.readouterr().err == "error: no\n"


def test_talk_is_neither_wrapped_nor_read_as_markup_nor_coloured_in_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "error: opcua[0].name [red] " + "long " * 100
    say(text)
    assert capsys.readouterr() == ("", f"{text}\n")


def test_data_is_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"machine": "冲压机", "n": 1})
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"machine": "冲压机", "n": 1}, "")
    assert "冲压机" in out
