"""The sample configurations show every option with the default it really has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from agent.config import Config, load
from agent.config.explain import inner_table, options
from agent.config.fields import Table
from agent.config.positions import KeyPath, locate

AGENT = Path(__file__).parents[3] / "agent"
GATEWAY = """
[gateway]
name = "gw-1"
path = { enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }
"""
SOURCE = """
[[mqtt]]
name = "any"
url = "mqtt://127.0.0.1:1883"
[[mqtt.topics]]
topic = "{machine}/{signal}"
payload = { json = { value = "v" } }
"""
OPTION = re.compile(r"(?m)^# ?(?=\[|[a-z0-9_]+ = )")
"""A line that is commented out: one #, then an option or the head of a table."""

SAMPLES = {
    "opcua": AGENT / "sources" / "opcua" / "sample.toml",
    "mqtt": AGENT / "sources" / "mqtt" / "sample.toml",
    "influxdb": AGENT / "sinks" / "influxdb" / "sample.toml",
    "sparkplug": AGENT / "sinks" / "sparkplug" / "sample.toml",
    "uns": AGENT / "sinks" / "uns" / "sample.toml",
}
pytestmark = pytest.mark.parametrize("kind", SAMPLES)


@pytest.fixture
def text(kind: str) -> str:
    return SAMPLES[kind].read_text(encoding="utf-8")


@pytest.fixture
def uncommented(text: str) -> str:
    return OPTION.sub("", text)


def table_of(kind: str) -> type[Table]:
    table = inner_table(options(Config)[kind])
    assert table is not None
    return table


def shown(tree: Any, table: type[Table], path: KeyPath = ()) -> set[tuple[str, str]]:
    """The options that a tree gives, as (table, option)."""
    if isinstance(tree, list):
        return set().union(*(shown(inner, table, path) for inner in tree))
    found = set()
    for key, value in tree.items():
        found.add((table.__name__, key))
        if inner := inner_table(options(table)[key]):
            found |= shown(value, inner)
    return found


def every_option(table: type[Table]) -> set[tuple[str, str]]:
    found = {(table.__name__, key) for key in options(table)}
    for field in options(table).values():
        if inner := inner_table(field):
            found |= every_option(inner)
    return found


def test_every_option_is_in_the_sample(kind: str, uncommented: str) -> None:
    tree = tomllib.loads(uncommented)[kind]
    assert shown(tree, table_of(kind)) == every_option(table_of(kind))


def test_the_sample_loads_as_it_is_and_with_everything_uncommented(
    kind: str, text: str, uncommented: str, tmp_path: Path
) -> None:
    environ = dict.fromkeys(re.findall(r"\$\{([A-Z0-9_]+)\}", text), "value")
    source = "" if kind in ("opcua", "mqtt") else SOURCE
    for sample in (text, uncommented):
        (tmp_path / "agent.toml").write_text(GATEWAY + source + sample)
        load(tmp_path / "agent.toml", environ)


def test_what_is_commented_out_shows_the_default(kind: str, text: str, uncommented: str) -> None:
    """An option without a default says so in the comment above it; further tables are examples."""
    lines = text.splitlines()
    document = tomllib.loads(uncommented)
    checked = 0
    for path, number in locate(uncommented).items():
        field = options_at(kind, path)
        if field is None or not lines[number - 1].startswith("#") or is_further(path):
            continue
        value: Any = document
        for step in path:
            value = value[step]
        default = field.get_default(call_default_factory=True)
        if default in (None, (), PydanticUndefined) or isinstance(default, Table):
            assert "No default" in comment_above(lines, number), path
        else:
            assert value == default, path
        checked += 1
    assert checked >= 4


def is_further(path: KeyPath) -> bool:
    """Whether a path leads into another table of a list than the first."""
    return any(isinstance(step, int) and step > 0 for step in path)


def options_at(kind: str, path: KeyPath) -> Any:
    table: type[Table] | None = Config
    field = None
    for step in path:
        if isinstance(step, str) and table is not None:
            field = options(table).get(step)
            table = inner_table(field) if field else None
    return field if isinstance(path[-1], str) else None


def comment_above(lines: list[str], number: int) -> str:
    """The explanation of the block of options that a line is in."""
    block = number - 1
    while block > 0 and lines[block - 1].strip():
        block -= 1
    return " ".join(lines[block:number])
