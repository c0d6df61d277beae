"""Problems of a configuration, and how they are told: path, value, rule, place and way out.

error: opcua[0].publishing_interval_ms is 0; it must be at least 10
  in /etc/andon/agent.toml, line 14
hint: leave it out for the default, 250
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, Final

from agent.config.positions import KeyPath
from agent.errors import ConfigError

PROBLEMS_MAX: Final = 50
"""How many problems are told in one go."""

SECRETS: Final = frozenset({("password",), ("token",)})
"""Keys whose values are secrets, wherever they stand."""

WHOLE_REFERENCE: Final = re.compile(r"\$\{(?:credential:[A-Za-z0-9_.-]+|[A-Za-z_][A-Za-z0-9_]*)\}")
"""A string that is one reference, without a default: all that a secret may be in a file."""

VALUE_CHARS_MAX: Final = 80
"""Longer values are cut when they are told."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a configuration file; lines and columns count from 1."""

    file: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        words = [str(self.file)]
        if self.line is not None:
            words.append(f"line {self.line}")
        if self.column is not None:
            words.append(f"column {self.column}")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a sentence with path, value and rule; where; what to do.

    `path` is the option's, () where the whole file is meant.
    """

    path: KeyPath
    sentence: str
    place: Place
    hint: str = ""

    def __str__(self) -> str:
        text = f"error: {self.sentence}\n  in {self.place}"
        return f"{text}\nhint: {self.hint}" if self.hint else text

    def document(self) -> dict[str, Any]:
        """The problem as plain JSON values."""
        return {
            "path": dotted(self.path),
            "message": self.sentence,
            "file": str(self.place.file),
            "line": self.place.line,
            "column": self.place.column,
            "hint": self.hint,
        }


def config_error(problems: Sequence[Problem]) -> ConfigError:
    """All problems as one error.

    Its text leaves out the first `error: `, which the command line writes before every error.
    """
    told = [str(problem) for problem in problems[:PROBLEMS_MAX]]
    if more := len(problems) - len(told):
        told.append(f"error: and {more:,} more problems, told when these are solved")
    return ConfigError("\n\n".join(told).removeprefix("error: "))


def dotted(path: KeyPath) -> str:
    """A path as people write it: `opcua[0].signals[2].name`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f".{_quoted(step)}"
    return text.removeprefix(".")


def shown(path: KeyPath, value: Any) -> str:
    """A value as it is told. Never told are secrets, and what references were filled in with."""
    filled_in = isinstance(value, str) and "${" in value
    return written(path, value) + (" (filled in, not shown)" if filled_in else "")


def written(path: KeyPath, value: Any) -> str:
    """A value as it is written in the file, without secrets and what a URL says before its @."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if path[-1:] in SECRETS and not WHOLE_REFERENCE.fullmatch(str(value)):
        return '"***"'
    if isinstance(value, str):
        return _quoted(re.sub(r"//.*@", "//***@", value, flags=re.DOTALL))
    if isinstance(value, date | time):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    cut = text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}..."
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
