"""Where each key of a TOML text stands, which the standard library's reader does not say.

Enters: text that `tomllib` has accepted. Leaves: the line of every table, key and array element.
This only has to follow the structure (TOML 1.0, toml.io); text that is not TOML is the caller's
mistake.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import Final

Step = str | int
KeyPath = tuple[Step, ...]
"""A way into a document: keys, and indices of array elements from 0."""

_SPACE: Final = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?""""{0,2}'''  # several lines, basic; may end on up to two more quotes
    r"""|'''.*?''''{0,2}"""  # several lines, literal
    r'''|"(?:\\.|[^"\\\n])*"'''
    r"""|'[^'\n]*'""",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every path of the document: tables by their header, values by their key.

    An array element stands where its value begins; a table that only deeper headers or dotted keys
    imply stands where the first of them names it.
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


class _Scanner:
    """One pass over a text; `at` is the next character to read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.newlines = [i for i, character in enumerate(text) if character == "\n"]
        self.elements: dict[KeyPath, int] = {}
        """Index of the newest element of each array of tables."""

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_SPACE) < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _header(self) -> KeyPath:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        line = self._line()
        self.at += brackets
        *parents, name = self._key()
        self.at += brackets
        path: KeyPath = ()
        for parent in parents:
            path = (*path, parent)
            self.lines.setdefault(path, line)
            path = self._newest(path)
        path = (*path, name)
        if brackets == 1:
            self.lines[path] = line
            return path
        self.lines.setdefault(path, line)
        self.elements[path] = self.elements.get(path, -1) + 1
        path = self._newest(path)
        self.lines[path] = line
        return path

    def _newest(self, path: KeyPath) -> KeyPath:
        return (*path, self.elements[path]) if path in self.elements else path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        """The parts of a key, dotted or not, and the blanks around it."""
        parts = []
        while True:
            self._skip(_BLANK)
            if self.text[self.at : self.at + 1] in ('"', "'"):
                parts.append(tomllib.loads(f"key = {self._take(_STRING)}")["key"])
            else:
                parts.append(self._take(_BARE_KEY))
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if opening in ('"', "'") else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        index = 0
        while not self._closed("]"):
            self.lines[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while not self._closed("}"):
            self._pair(path)

    def _closed(self, bracket: str) -> bool:
        """Step over the opening bracket or a comma; whether the closing bracket follows."""
        self._skip(_SPACE)
        if not self.text.startswith(bracket, self.at):
            self.at += 1
            self._skip(_SPACE)
        if closed := self.text.startswith(bracket, self.at) or self.at >= len(self.text):
            self.at += 1
        return closed

    def _line(self) -> int:
        return bisect_left(self.newlines, self.at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at + 1
        return match.group() if match else ""
