"""Words that all browsing has: texts from machines, counts of things, what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.cli.check import CONFIG_PATH
from agent.config.explain import toml as value_of

if TYPE_CHECKING:
    from agent.config import MqttConfig, OpcuaConfig

COMMENT_CHARS_MAX: Final = 96
NAMES_MAX: Final = 6
"""Names of a list that are told; of the others it says how many."""


def one_line(text: str) -> str:
    """A text for a comment, shortened."""
    kept = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return kept if len(kept) <= COMMENT_CHARS_MAX else f"{kept[: COMMENT_CHARS_MAX - 3]}..."


def text_of(text: str) -> str:
    """Text as TOML; characters that cannot be printed become spaces, but for line breaks."""
    return value_of("".join(c if c.isprintable() or c == "\n" else " " for c in text))


def counted(causes: Counter[str]) -> str:
    """What was counted, the most first."""
    return ", ".join(f"{cause} {number:,}" for cause, number in causes.most_common())


def count(number: int, noun: str) -> str:
    """A number with what it counts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more:,} more" if more > 0 else "")


def what_next(source: OpcuaConfig | MqttConfig, config: Path, password_env: str | None) -> str:
    """What a person does with tables that were printed for this source.

    password_env : where the password is; None where the source's own table is there already
    """
    check = "andon check" if config == CONFIG_PATH else f"andon check {shlex.quote(str(config))}"
    if password_env is None:
        return f"put them below {source.name} in the configuration, then: {check}"
    file = config.parent / "conf.d" / f"{source.name}.toml"
    password = f"set {password_env}, " if source.user else ""
    return f"keep this as {file}, {password}then: {check}"
