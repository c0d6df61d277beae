"""`andon init`: writes a commented configuration that a plant engineer reads without a manual.

Enters: options of the command, or answers where there is a terminal. Leaves: a file that
`andon check` accepts once the variables it refers to are set. What is there already is not touched.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.example import configuration
from agent.cli.terminal import fail, print_data, say
from agent.config.fields import check_name, check_opcua_endpoint
from agent.config.mqtt import check_broker_url
from agent.config.sinks import check_sink_url
from agent.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Question:
    """How one answer is asked for, and what it must be (`check` raises ValueError)."""

    text: str
    check: Callable[[str], str] = check_name


_NAMES: Final = {
    "name": _Question("Name of this gateway"),
    "enterprise": _Question("Company"),
    "site": _Question("Plant"),
    "area": _Question("Shop or hall"),
    "line": _Question("Production line"),
}
_SOURCES: Final = {
    "opcua": _Question("OPC UA server, opc.tcp://host:port", check_opcua_endpoint),
    "mqtt": _Question("MQTT broker, mqtt://host or mqtts://host", check_broker_url),
    "sparkplug": _Question(
        "MQTT broker with Sparkplug B, mqtt://host or mqtts://host", check_broker_url
    ),
}
_CLOUD: Final = _Question("Andon cloud, https://host", check_sink_url)

_SOURCES_MAX: Final = 100
"""How many servers or brokers are asked for."""


def init(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write; - is stdout.")
    ] = CONFIG_PATH,
    name: Annotated[str, typer.Option(help="Name of this gateway.")] = "",
    enterprise: Annotated[str, typer.Option(help="Company.")] = "",
    site: Annotated[str, typer.Option(help="Plant.")] = "",
    area: Annotated[str, typer.Option(help="Shop or hall.")] = "",
    line: Annotated[str, typer.Option(help="Production line.")] = "",
    opcua: Annotated[
        list[str] | None, typer.Option(help="OPC UA server to read; may be given again.")
    ] = None,
    mqtt: Annotated[
        list[str] | None, typer.Option(help="MQTT broker to read; may be given again.")
    ] = None,
    sparkplug: Annotated[
        list[str] | None,
        typer.Option(help="MQTT broker whose nodes speak Sparkplug B; may be given again."),
    ] = None,
    cloud: Annotated[str, typer.Option(help="Where the Andon cloud is.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented configuration to start from.

    What the options leave open is asked for where there is a terminal.
    """
    names = {"name": name, "enterprise": enterprise, "site": site, "area": area, "line": line}
    sources = {"opcua": list(opcua or ()), "mqtt": list(mqtt or ())}
    sources["sparkplug"] = list(sparkplug or ())
    try:
        _refuse_to_replace(output, force)
        _check(names, sources, cloud)
        if not _complete(names, sources):
            if not interactive():
                raise _incomplete(names, sources)
            cloud = _ask(names, sources, cloud)
        text = configuration(names, sources, cloud)
        _write(output, text, force)
    except ConfigError as error:
        fail(error)


def interactive() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _complete(names: dict[str, str], sources: dict[str, list[str]]) -> bool:
    return all(names.values()) and any(sources.values())


def _incomplete(names: dict[str, str], sources: dict[str, list[str]]) -> ConfigError:
    missing = [f"--{option}" for option, value in names.items() if not value]
    if not any(sources.values()):
        missing.append("--opcua, --mqtt or --sparkplug")
    return ConfigError(
        f"there is no terminal to ask at, and not given: {', '.join(missing)}",
        "give them on the command line, or call andon init in a terminal",
    )


def _check(names: dict[str, str], sources: dict[str, list[str]], cloud: str) -> None:
    given = [(option, names[option], question) for option, question in _NAMES.items()]
    given += [
        (option, url, question) for option, question in _SOURCES.items() for url in sources[option]
    ]
    for option, value, question in [*given, ("cloud", cloud, _CLOUD)]:
        try:
            if value:
                question.check(value)
        except ValueError as error:
            raise ConfigError(f"--{option} does not fit: {error}") from error


def _ask(names: dict[str, str], sources: dict[str, list[str]], cloud: str) -> str:
    """Fill in what is missing from the answers of a person; the answer for `cloud`."""
    for option, question in _NAMES.items():
        default = socket.gethostname() if option == "name" else None
        names[option] = names[option] or _answer(question, default)
    while not any(sources.values()):
        for option, question in _SOURCES.items():
            while len(sources[option]) < _SOURCES_MAX and (url := _optional_answer(question)):
                sources[option].append(url)
        if not any(sources.values()):
            say("At least one server or broker is needed.")
    return cloud or _optional_answer(_CLOUD)


def _answer(question: _Question, default: str | None) -> str:
    def checked(text: str) -> str:
        try:
            return question.check(text) if text or default != "" else ""
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    shown = bool(default)
    answer: str = typer.prompt(
        question.text, default=default, value_proc=checked, show_default=shown, err=True
    )
    return answer


def _optional_answer(question: _Question) -> str:
    end = _Question(f"{question.text} (none, or no more: press Enter)", question.check)
    return _answer(end, "")


def _refuse_to_replace(output: Path, force: bool) -> None:
    if str(output) != "-" and output.exists() and not force:
        raise ConfigError(
            f"{output} is there already and was left as it is",
            "write elsewhere with --output PATH, or replace it with --force",
        )


def _write(output: Path, text: str, force: bool) -> None:
    if str(output) == "-":
        print_data(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"{output} cannot be written: {error.strerror}",
            "run as a user who may write there, or write elsewhere with --output PATH",
        ) from error
    token = "set ANDON_TOKEN, " if "\ntoken = " in text else ""
    say(f"wrote {output}\nname its machines and signals, {token}then: andon check {output}")
    if "\n[[opcua]]" in text:
        say(f"what a server has, tells: andon browse opcua-1 --config {output}")
    if broker := re.search(r'\n\[\[mqtt\]\]\nname = "(.*)"', text):
        say(f"what a broker brings, tells: andon browse {broker[1]} --config {output}")
