"""How the commands talk: data goes to stdout, talk to stderr, and an error ends the command.

Legible without colour; colours are used only where stderr is a terminal and NO_COLOR is not set.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from agent.errors import AndonError

_STYLES: Final = {"error:": "bold red", "hint:": "bold cyan"}


def say(text: str) -> None:
    """One or more lines to the person at the terminal."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(_styled(text))


def print_data(text: str) -> None:
    """Text that is the command's data."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def print_json(data: Any) -> None:
    """The command's data as JSON."""
    print_data(json.dumps(data, ensure_ascii=False, indent=2))


def fail(error: AndonError) -> NoReturn:
    """Say what is wrong and what to do, and end the command with the error's exit code."""
    say(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
    raise typer.Exit(error.exit_code)


def _styled(text: str) -> Text:
    styled = Text(text)
    for word, style in _STYLES.items():
        styled.highlight_regex(rf"(?m)^{word}", style)
    return styled
