"""Learning a JSON layout: one payload that the general decoder has read, to a program for kernels.

Enters: a payload and how it is to be read. Leaves: operations (`agent/kernels/mqtt/layouts.py`),
for all payloads that differ from it only in values; or None where such a program could give
anything but what the general decoder gives. What says where things are (keys, brackets, blanks, how
many elements an array has that an index enters) becomes literal bytes; what may be anything is
skipped.

A path that leads to nothing must go on leading to nothing: it is a guard, and wherever it passes,
only kinds of values are let through that it cannot enter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from agent.config.mqtt.payload import JsonConfig, path_steps
from agent.kernels.mqtt import layouts as kernel
from agent.kernels.mqtt import scanning as kinds
from agent.kernels.mqtt import times
from agent.sources.mqtt.payloads.paths import Absent, Steps, at

DEPTH_MAX: Final = 32
"""Of objects and arrays that a path enters."""
_UNITS: Final = {
    "s": times.S, "ms": times.MS, "us": times.US, "ns": times.NS, "iso": times.ISO,
    "auto": times.AUTO,
}  # fmt: skip
_BLANKS: Final = re.compile(rb"[ \t\n\r]*")
_TEXT: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"|[-+.0-9eE]+|true|false|null')
_NOT_A_LIST: Final = kinds.IS_NUMBER | kinds.IS_TEXT | kinds.IS_BOOLEAN | kinds.IS_NULL
_PASSED_OVER: Final = kinds.IS_TEXT | kinds.IS_NULL | kinds.IS_ARRAY
_COUNTED: Final = kinds.IS_NUMBER | kinds.IS_BOOLEAN

Operation = tuple[int, int, int, int, int, int]


class _Unlearnable(Exception):
    """No program could read all payloads like this one."""


@dataclass(frozen=True, slots=True)
class Program:
    """What the kernel runs, and the names of its slots; None is the topic's own signal.

    operations : NEXT goes on with an operation of this program, counted from 0
    """

    operations: tuple[Operation, ...]
    names: tuple[str | None, ...]
    rate_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class _Want:
    """A path that begins here: what lies at its end (`value`, ...), or that nothing does."""

    role: str
    steps: Steps
    name: str | None = None
    of_all: bool = False


@dataclass(frozen=True, slots=True)
class _Every:
    """`fields = "*"`: each number is a signal; the name so far, and the names left out."""

    before: str
    without: frozenset[str]

    def inside(self, key: str) -> _Every:
        return _Every(f"{self.before}{key}.", self.without)


def plain(is_text: bool) -> Program:
    """The program for payloads that are one number, or one text."""
    code = kernel.TEXT if is_text else kernel.NUMBER
    return Program(((code, 0, 0, 0, 0, 0), (kernel.END, 0, 0, 0, 0, 0)), (None,))


def learned(config: JsonConfig, payload: bytes) -> Program | None:
    """The program for payloads like this one; None where there can be none."""
    try:
        document = json.loads(payload.decode())
        return _Learner(config, payload, document).program()
    except (_Unlearnable, ValueError, RecursionError):
        return None


@dataclass
class _Learner:
    config: JsonConfig
    payload: bytes
    document: Any
    _operations: list[Operation] = field(default_factory=list)
    _names: list[str | None] = field(default_factory=list)
    _pending: bytes = b""
    _signal: str | None = None
    _depth: int = 0

    def program(self) -> Program:
        config = self.config
        wants, every = list(self._of_document()), None
        if config.fields == "*" and config.samples is None:
            every = self._every()
        behind = self._value(self._literal(0, self._blanks(0)), wants, every)
        if self._literal(behind, self._blanks(behind)) != len(self.payload):
            raise _Unlearnable
        self._emit(kernel.END)
        if not self._names and config.fields != "*":
            raise _Unlearnable
        names = tuple(self._signal if name is None else name for name in self._names)
        return Program(tuple(self._operations), names, config.rate_hz or 0.0)

    def _of_document(self) -> Iterator[_Want]:
        """What is wanted from the document on."""
        config = self.config
        array = config.samples
        if config.rate_hz is not None and array is None:
            array = config.value
        if array is None:
            yield from self._of_element(self.document, of_all=False)
            return
        yield _Want("samples", path_steps(array))
        for role, path in self._roles():
            if config.rate_hz is not None or not _is_in(self._first_sample(), path):
                yield self._want(role, path, self.document, of_all=True)

    def _of_element(self, element: Any, of_all: bool) -> Iterator[_Want]:
        """What is wanted from an element on, or from the document where that is the only one."""
        config = self.config
        if config.fields is None:
            yield _Want("value", path_steps(config.value or ""))
        elif config.fields != "*":
            for name in config.fields:
                path = path_steps(name)
                yield _Want("value" if _is_in(element, path) else "none", path, name)
        elif not isinstance(element, dict):
            raise _Unlearnable
        for role, path in self._roles():
            yield self._want(role, path, element, of_all)

    def _want(self, role: str, path: Steps, element: Any, of_all: bool) -> _Want:
        is_there = _is_in(element, path)
        if not is_there and role in ("time", "signal") and not _is_in(self.document, path):
            raise _Unlearnable
        return _Want(role if is_there else "none", path, None, of_all)

    def _roles(self) -> Iterator[tuple[str, Steps]]:
        config = self.config
        paths = (config.time, config.quality, config.unit, config.signal)
        for role, path in zip(("time", "quality", "unit", "signal"), paths, strict=True):
            if path is not None:
                yield role, path_steps(path)

    def _every(self) -> _Every:
        config = self.config
        others = (config.time, config.quality, config.unit, config.signal)
        return _Every("", frozenset(path for path in others if path is not None))

    def _first_sample(self) -> Any:
        array = at(self.document, path_steps(self.config.samples or ""))
        if not isinstance(array, list) or not array:
            raise _Unlearnable
        return array[0]

    def _value(self, p: int, wants: list[_Want], every: _Every | None) -> int:
        """Take the value at `p`; the position behind it."""
        here = [want for want in wants if not want.steps]
        first = self.payload[p : p + 1]
        if here:
            if len(wants) > 1 and (here[0].role != "samples" or _enter(wants, int)):
                raise _Unlearnable
            return self._wanted(p, here[0], every)
        if first == b"{" and (every is not None or _enter(wants, str)):
            return self._object(p, wants, every)
        if first == b"[" and _enter(wants, int):
            return self._array(p, wants)
        return self._other(p, wants, every)

    def _wanted(self, p: int, want: _Want, every: _Every | None) -> int:
        """Take what a path leads to."""
        if every is not None and every.before[:-1] not in every.without:
            raise _Unlearnable  # it would be a signal besides
        if want.role == "samples":
            return self._samples(p)
        if want.role == "unit":
            allowed = kinds.IS_ANY if every is None else kinds.IS_ANY & ~kinds.IS_OBJECT
            return self._skip(p, allowed)
        match = _SCALAR.match(self.payload, p)
        if match is None or want.role == "none":
            raise _Unlearnable
        if want.role == "signal":
            self._name(match[0])
        elif want.role == "value":
            self._slot(want.name, _NOT_A_LIST)
        elif want.role == "time":
            self._emit(kernel.TIME, _UNITS[self.config.time_unit], int(want.of_all))
        else:
            self._emit(kernel.QUALITY, 0, int(want.of_all))
        return match.end()

    def _name(self, said: bytes) -> None:
        """The signal's name is literal: another name is another layout."""
        name = json.loads(said)
        if not isinstance(name, str) or b"\\" in said or self._signal is not None:
            raise _Unlearnable
        self._signal = name
        self._pending += said

    def _object(self, p: int, wants: list[_Want], every: _Every | None) -> int:
        self._enter_deeper()
        p = self._literal(p, self._blanks(p + 1))
        known: set[str] = set()
        while self.payload[p : p + 1] != b"}":
            match = _TEXT.match(self.payload, p)
            if match is None or b"\\" in match[0]:
                raise _Unlearnable
            key = match[0][1:-1].decode()
            if key in known:
                raise _Unlearnable
            known.add(key)
            behind = self._blanks(self._blanks(match.end()) + 1)  # behind the colon
            p = self._literal(p, behind)
            p = self._value(p, _inside(wants, key), every and every.inside(key))
            p = self._literal(p, self._behind_comma(p))
        self._depth -= 1
        return self._literal(p, p + 1)

    def _array(self, p: int, wants: list[_Want]) -> int:
        """An array that indices enter: it must always have as many elements."""
        self._enter_deeper()
        p = self._literal(p, self._blanks(p + 1))
        index = 0
        while self.payload[p : p + 1] != b"]":
            p = self._value(p, _inside(wants, index), None)
            p = self._literal(p, self._behind_comma(p))
            index += 1
        self._depth -= 1
        return self._literal(p, p + 1)

    def _samples(self, p: int) -> int:
        """An array of samples: its first element is the program for all."""
        if self.payload[p : p + 1] != b"[":
            raise _Unlearnable
        self._enter_deeper()
        p = self._literal(p, self._blanks(p + 1))
        self._flush()
        again = len(self._operations)
        behind = self._value(p, *self._of_sample())
        self._flush()
        end, next_at = behind, self._behind_comma(behind)
        separator = self.payload[behind:next_at]
        is_last = b"," not in separator
        self._pending = b"," if is_last else separator
        if len(self._pending) > kernel.LITERAL_MAX:
            raise _Unlearnable
        self._emit(kernel.NEXT, 0, 0, again)
        while not is_last:
            end = self._behind(next_at)
            next_at = self._behind_comma(end)
            is_last = b"," not in self.payload[end:next_at]
        self._depth -= 1
        return self._literal(end, self._blanks(end) + 1)

    def _of_sample(self) -> tuple[list[_Want], _Every | None]:
        config = self.config
        if config.rate_hz is not None:
            return [_Want("value", ())], None
        wants = list(self._of_element(self._first_sample(), of_all=False))
        return wants, self._every() if config.fields == "*" else None

    def _other(self, p: int, wants: list[_Want], every: _Every | None) -> int:
        """Take what no path leads to."""
        allowed = kinds.IS_ANY
        for want in wants:
            allowed &= ~(kinds.IS_OBJECT if isinstance(want.steps[0], str) else kinds.IS_ARRAY)
        if every is not None:
            name = every.before[:-1]
            if name in every.without:
                allowed &= ~kinds.IS_OBJECT
            elif self._kind(p) & _COUNTED:
                self._slot(name, _COUNTED)
                return self._behind(p)
            else:
                allowed &= _PASSED_OVER
        return self._skip(p, allowed)

    def _kind(self, p: int) -> int:
        first = self.payload[p : p + 1]
        return (
            kinds.IS_BOOLEAN
            if first in b"tf"
            else kinds.IS_NUMBER
            if first in b"-0123456789"
            else 0
        )

    def _slot(self, name: str | None, allowed: int) -> None:
        self._emit(kernel.VALUE, len(self._names), allowed)
        self._names.append(name)

    def _skip(self, p: int, allowed: int) -> int:
        self._emit(kernel.SKIP, allowed)
        return self._behind(p)

    def _behind(self, p: int) -> int:
        """Behind the value at `p`, of a document that is known to be JSON."""
        depth = 0
        while True:
            first = self.payload[p : p + 1]
            if first in (b"{", b"["):
                depth += 1
                p += 1
            elif first in (b"}", b"]"):
                depth -= 1
                p += 1
            elif first in (b",", b":"):
                p += 1
            else:
                match = _SCALAR.match(self.payload, p)
                if match is None:
                    raise _Unlearnable
                p = match.end()
            if depth == 0:
                return p
            p = self._blanks(p)

    def _behind_comma(self, p: int) -> int:
        """At the next element or the closing bracket."""
        p = self._blanks(p)
        return self._blanks(p + 1) if self.payload[p : p + 1] == b"," else p

    def _blanks(self, p: int) -> int:
        match = _BLANKS.match(self.payload, p)
        assert match is not None
        return match.end()

    def _literal(self, p: int, behind: int) -> int:
        self._pending += self.payload[p:behind]
        return behind

    def _enter_deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Unlearnable

    def _flush(self, keep: int = 0) -> None:
        """Write what is literal as operations of their own, but for the last so many bytes."""
        while len(self._pending) > keep:
            literal = self._pending[: kernel.LITERAL_MAX]
            self._pending = self._pending[len(literal) :]
            self._operations.append((kernel.LITERAL, 0, 0, 0, *_word(literal)))

    def _emit(self, code: int, a: int = 0, b: int = 0, c: int = 0) -> None:
        self._flush(kernel.LITERAL_MAX)
        self._operations.append((code, a, b, c, *_word(self._pending)))
        self._pending = b""


def _word(literal: bytes) -> tuple[int, int]:
    return int.from_bytes(literal, "little"), len(literal)


def _is_in(document: Any, path: Steps) -> bool:
    try:
        at(document, path)
    except Absent:
        return False
    return True


def _enter(wants: list[_Want], step: type) -> bool:
    """Whether a path goes on from here into an object, or into an array."""
    return any(want.steps and isinstance(want.steps[0], step) for want in wants)


def _inside(wants: list[_Want], step: str | int) -> list[_Want]:
    """The paths that go on with this step."""
    return [
        _Want(want.role, want.steps[1:], want.name, want.of_all)
        for want in wants
        if want.steps[0] == step
    ]
