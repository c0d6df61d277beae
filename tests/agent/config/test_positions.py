"""Where keys stand in a TOML text, compared with what the standard library reads out of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from agent.config.positions import KeyPath, locate

EVERYTHING = '''\
# a comment with [brackets] = and "quotes"
title = "a \\" quote # no comment"
"dotted.key" . 'literal' = 'C:\\\\'
text = """
[not.a.table]
no = "key" \\\\
"""""
raw = \'\'\'
[[nor.this]] \'\'\'
when = 1979-05-27 07:32:00 # a date with a space

[ a . b ]   # an implied table before it
numbers = [ 1,
  2, # two, ] }
  [ 3, [ 4 ] ],
]
inline = { x = 1, y.z = { w = [ ] }, "q}" = "}" }

[[lines]]
name = "first"
[lines.inner]
deep = 1
[[lines.list]]
value = 1
[[lines.list]]
value = 2

[[lines]]
name = "second"
[[lines.list]]
value = 3
[a]
late = true'''


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path of a document that tomllib has read."""
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else []
    for step, inner in enumerate(value) if isinstance(value, list) else steps:
        yield from paths(inner, (*path, step))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("dotted.key",), 3),
        (("dotted.key", "literal"), 3),
        (("text",), 4),
        (("raw",), 8),
        (("when",), 10),
        (("a", "b"), 12),
        (("a", "b", "numbers"), 13),
        (("a", "b", "numbers", 1), 14),
        (("a", "b", "numbers", 2), 15),
        (("a", "b", "numbers", 2, 1, 0), 15),
        (("a", "b", "inline", "y", "z", "w"), 17),
        (("a", "b", "inline", "q}"), 17),
        (("lines",), 19),
        (("lines", 0), 19),
        (("lines", 0, "inner"), 21),
        (("lines", 0, "inner", "deep"), 22),
        (("lines", 0, "list", 1), 25),
        (("lines", 0, "list", 1, "value"), 26),
        (("lines", 1), 28),
        (("lines", 1, "list", 0, "value"), 31),
        (("a",), 32),
        (("a", "late"), 33),
    ],
)
def test_every_kind_of_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    assert locate(EVERYTHING)[path] == line


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_exactly_the_paths_that_the_reader_sees_are_found(newline: str) -> None:
    text = EVERYTHING.replace("\n", newline)
    assert set(locate(text)) == set(paths(tomllib.loads(text)))
    assert locate(text) == locate(EVERYTHING)


class Writer:
    """Writes a tree as TOML, in styles that are drawn, and notes on which line each path is."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.expected: dict[KeyPath, int] = {}

    def table(self, tree: dict[str, Any], path: KeyPath, keys: tuple[str, ...]) -> None:
        """Options first, then the tables that get headers, as TOML wants it."""
        with_header = {
            key
            for key, value in tree.items()
            if (isinstance(value, dict) or _is_list_of_tables(value)) and self.draw(st.booleans())
        }
        for key, value in tree.items():
            if key not in with_header:
                self.pair(key, value, path)
        for key in with_header:
            self.headed(tree[key], (*path, key), (*keys, key))

    def headed(self, value: Any, path: KeyPath, keys: tuple[str, ...]) -> None:
        name = ".".join(self.key(key) for key in keys)
        self.filler()
        if isinstance(value, dict):
            self.note(path, f"[{name}]")
            self.table(value, path, keys)
            return
        for index, inner in enumerate(value):
            if index == 0:
                self.expected[path] = len(self.lines) + 1
            self.note((*path, index), f"[[ {name} ]]")
            self.table(inner, (*path, index), keys)

    def pair(self, key: str, value: Any, path: KeyPath) -> None:
        self.filler()
        self.note((*path, key), f"{self.key(key)} = ")
        self.value(value, (*path, key), inline=False)

    def value(self, value: Any, path: KeyPath, inline: bool) -> None:
        if isinstance(value, list):
            self.array(value, path, inline)
        elif isinstance(value, dict):
            self.append("{ ")
            for number, (key, inner) in enumerate(value.items()):
                self.append(", " if number else "")
                self.expected[(*path, key)] = len(self.lines)
                self.append(f"{self.key(key)} = ")
                self.value(inner, (*path, key), inline=True)
            self.append(" }")
        else:
            self.scalar(value, inline)

    def array(self, value: list[Any], path: KeyPath, inline: bool) -> None:
        self.append("[")
        for index, inner in enumerate(value):
            if not inline and self.draw(st.booleans()):
                self.append(" # ] , } a comment")
                self.lines.append("  ")
            self.expected[(*path, index)] = len(self.lines)
            self.value(inner, (*path, index), inline)
            self.append(", " if index + 1 < len(value) or not inline else "")
        self.append("]")

    def scalar(self, text: str, inline: bool) -> None:
        style = self.draw(st.sampled_from(["basic", "literal", "number", "long", "raw"]))
        if style == "number":
            self.append(self.draw(st.sampled_from(["1", "-0.5e3", "true", "1979-05-27 07:32:00Z"])))
        elif style == "basic":
            self.append('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
        elif style == "literal" or inline:
            self.append("'" + text.replace("'", "") + "'")
        else:
            quotes = '"""' if style == "long" else "'''"
            body = text.replace("\\", "").replace(quotes[0], "")
            self.append(quotes)
            self.lines += [f"[{body}]", f"key = {body} #", f"{body}{quotes}"]

    def key(self, key: str) -> str:
        if key.isascii() and key.isalnum() and self.draw(st.booleans()):
            return key
        return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def filler(self) -> None:
        self.lines += self.draw(st.lists(st.sampled_from(["", "# [x]", "  # a = '"]), max_size=2))

    def note(self, path: KeyPath, text: str) -> None:
        self.lines.append(text)
        self.expected[path] = len(self.lines)

    def append(self, text: str) -> None:
        self.lines[-1] += text


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


TEXTS = st.text(alphabet="ab.#[]{}=,'\"\\ 中", max_size=6)
KEYS = st.text(alphabet="ab1.#]}='\"\\", min_size=1, max_size=4)
TREES = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.table(draw(st.dictionaries(KEYS, TREES, max_size=4)), (), ())
    return "\n".join(writer.lines), writer.expected


@seed(20260131)
@settings(max_examples=100, deadline=None, database=None)
@given(documents())
def test_whatever_style_a_document_is_written_in_each_key_is_found_on_its_line(
    document: tuple[str, dict[KeyPath, int]],
) -> None:
    text, expected = document
    assert set(expected) == set(paths(tomllib.loads(text)))
    assert locate(text) == expected


@seed(20260131)
@settings(max_examples=500, deadline=None, database=None)
@given(st.text(alphabet="a1=[]\n.,{}'\"", max_size=12))
def test_short_texts_of_all_kinds_are_followed_as_the_reader_does(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    assert set(locate(text)) == set(paths(document))
