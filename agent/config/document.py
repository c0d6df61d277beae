"""The configuration as it is written: the file and `conf.d/*.toml` beside it, as one document.

Lists append, in the order of the files' names; tables merge; a value that two files give is a
problem. The document remembers where everything stands. Can fail: a file that cannot be read or is
not TOML.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from agent.config.positions import KeyPath, locate
from agent.config.problems import Place, Problem, dotted, shown

FILE_BYTES_MAX: Final = 16_000_000
"""A file larger than this is no configuration; 20,000 signals are 3 MB."""

FILES_MAX: Final = 1000
"""How many files `conf.d` may hold."""

_HINTS: Final = {
    "Invalid value": 'text stands in quotes: name = "press"',
    "Cannot overwrite a value": "this key stands in its table twice; keep one of them",
    "Cannot declare": "this table is begun twice; a list of tables has two brackets: [[name]]",
    "Unescaped '\\' in a string": "write a backslash as two, or the text in single quotes",
    "Expected '=' after a key": 'an option is key = value, such as name = "press"',
}
"""What usually lies behind tomllib's words."""


class Unreadable(Exception):
    """A file cannot be read or is not TOML; `problem` says so."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass
class File:
    """One file: its text and the tables in it, and where its lists begin in the whole."""

    path: Path
    text: str
    tables: dict[str, Any]
    begins: dict[KeyPath, int] = field(default_factory=dict)

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of every path of this file."""
        return locate(self.text)

    def own(self, path: KeyPath) -> KeyPath:
        """A path of the whole document as this file counts it; shorter where it ends before it."""
        for at, step in enumerate(path):
            if isinstance(step, int):
                index = step - self.begins.get(path[:at], 0)
                return (*path[:at], index, *path[at + 1 :])
        return path


@dataclass
class Document:
    """All files as one tree of tables, lists and values."""

    files: list[File]
    tree: dict[str, Any]
    problems: list[Problem]

    def place(self, path: KeyPath) -> Place:
        """Where a path stands, or the nearest table around it that is written down."""
        for length in range(len(path), 0, -1):
            for file in self.files:
                own = file.own(path[:length])
                if own in file.lines:
                    return Place(file.path, file.lines[own])
        return Place(self.files[0].path)

    def value(self, path: KeyPath) -> Any:
        """What is written at a path. Raises LookupError where nothing is."""
        value: Any = self.tree
        for step in path:
            if not isinstance(value, list if isinstance(step, int) else dict):
                raise KeyError(step)
            value = cast("Any", value)[step]
        return value


def read(path: Path) -> Document:
    """Read a configuration file and `conf.d/*.toml` beside it. Raises Unreadable."""
    try:
        beside = sorted(path.parent.joinpath("conf.d").glob("*.toml"))
    except OSError as error:
        raise Unreadable(_unreadable(path.parent / "conf.d", error)) from error
    if len(beside) > FILES_MAX:
        folder = Place(path.parent / "conf.d")
        raise Unreadable(Problem((), f"conf.d has more than {FILES_MAX:,} files", folder))
    document = Document([], {}, [])
    for file in _parsed([path, *beside]):
        document.files.append(file)
        _merge(document, file, (), document.tree, file.tables)
    return document


def _parsed(paths: list[Path]) -> Iterator[File]:
    for path in paths:
        text = _text(path)
        try:
            yield File(path, text, tomllib.loads(text))
        except (ValueError, RecursionError) as error:
            raise Unreadable(_not_toml(path, error)) from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Unreadable(_unreadable(path, error)) from error
    if len(raw) > FILE_BYTES_MAX:
        sentence = f"the file has more than {FILE_BYTES_MAX:,} bytes; that is no configuration"
        raise Unreadable(Problem((), sentence, Place(path)))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(path, raw.count(b"\n", 0, error.start) + 1)
        hint = "save the file as UTF-8; what editors call ANSI or GBK is not"
        raise Unreadable(Problem((), "the file is not UTF-8 text", place, hint)) from error


def _unreadable(path: Path, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        hint = f"write one with: andon init --output {path}"
        return Problem((), "there is no such configuration", Place(path), hint)
    hint = "run as a user who may read it" if isinstance(error, PermissionError) else ""
    return Problem((), f"the file cannot be read: {error.strerror}", Place(path), hint)


def _not_toml(path: Path, error: ValueError | RecursionError) -> Problem:
    if isinstance(error, RecursionError):
        return Problem((), "the file is not valid TOML: nested too deeply", Place(path))
    words = str(error)
    place = Place(path)
    if at := re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", words):
        words = words[: at.start()]
        line, column = at.groups()
        place = Place(path, int(line), int(column)) if line else place
        words += "" if line else " at the end of the file"
    hint = next((hint for start, hint in _HINTS.items() if words.startswith(start)), "")
    return Problem((), f"the file is not valid TOML: {words[:1].lower()}{words[1:]}", place, hint)


def _merge(
    document: Document, file: File, path: KeyPath, into: dict[str, Any], tables: dict[str, Any]
) -> None:
    for key, value in tables.items():
        here = (*path, key)
        if key not in into:
            into[key] = value
            continue
        present = into[key]
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(document, file, here, present, value)
        elif isinstance(present, list) and isinstance(value, list):
            file.begins[here] = len(present)
            present.extend(value)
        else:
            _said_twice(document, file, here, value)


def _said_twice(document: Document, file: File, path: KeyPath, value: Any) -> None:
    first = document.place(path)
    sentence = f"{dotted(path)} is {shown(path, value)}; it is given already in {first}"
    hint = "keep one of them; conf.d adds to lists and tables, it does not replace values"
    document.problems.append(Problem(path, sentence, Place(file.path, file.lines.get(path)), hint))
