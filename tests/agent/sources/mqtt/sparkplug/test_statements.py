"""The README's table of Sparkplug's statements: each is in it once, and its tests are there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[5]
README = ROOT / "agent" / "sources" / "mqtt" / "README.md"
STATEMENTS = Path(__file__).with_name("statements.txt")


def rows() -> list[list[str]]:
    """The cells of each row that says something of statements."""
    lines = (line.strip("| ") for line in README.read_text().splitlines())
    return [line.split(" | ") for line in lines if line.startswith("tck-id-")]


def test_every_statement_of_the_specification_is_in_the_readme_once() -> None:
    wanted = [line for line in STATEMENTS.read_text().splitlines() if not line.startswith("#")]
    said = Counter(name for row in rows() for name in row[0].replace("tck-id-", "").split(", "))
    assert said == Counter(wanted)


def test_every_statement_has_a_test_or_a_reason() -> None:
    assert [row[0] for row in rows() if not all(row[1:]) or len(row) < 2] == []


def test_every_test_that_the_readme_names_exists() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)", sources))
    named = set(re.findall(r"`(test_\w+)`", README.read_text()))
    assert named - there == set()
