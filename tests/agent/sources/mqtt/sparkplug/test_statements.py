"""The README's table of Sparkplug's statements names tests: there must be such tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[5]
README = ROOT / "agent" / "sources" / "mqtt" / "README.md"


def test_every_test_that_the_readme_names_exists() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)", sources))
    named = set(re.findall(r"`(test_\w+)`", README.read_text()))
    assert named - there == set()
