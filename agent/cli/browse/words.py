"""Texts from machines in TOML and in comments, and numbers with what they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from agent.config.explain import toml as value_of

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
