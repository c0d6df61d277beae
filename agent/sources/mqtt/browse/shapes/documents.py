"""JSON payloads: where in them the value is, or values, and what else is of use.

Enters: documents of one topic. Leaves: the options of `payload = { json = { ... } }` that would
read them, and what a person should know. Nothing fails; None where there is nothing to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.config.fields import check_signal_name
from agent.signals import Kind
from agent.sources.mqtt.browse.shapes import roles

DEPTH_MAX: Final = 8
FIELDS_MAX: Final = 50
"""Of more fields than these, `*` is offered."""
VECTOR_MAX: Final = 8
"""Arrays of numbers up to this length, always the same, are fields; longer ones are waveforms."""
WAVEFORM_MIN: Final = 16
ELEMENTS_MAX: Final = 200
"""Elements of an array that are looked at."""
SHARE_MIN: Final = 0.5
"""A field is one if so many of the documents have it."""
RATE_HZ: Final = 1000
"""Stands in for a rate that the payload does not say."""
NAMED_MAX: Final = 6
"""Fields that are named in a remark."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Guess:
    """How documents would be read.

    options : of `json`
    kind : that they must be of; None where the values tell
    remark : what a person should know
    is_sure : it reads them as it stands; else somebody must fill something in
    """

    options: dict[str, Any]
    kind: Kind | None = None
    remark: str = ""
    is_sure: bool = True


@dataclass(slots=True)
class _Fields:
    """The fields of documents, by path: numbers, texts, arrays; and those with a role."""

    numbers: dict[Path, list[Any]] = field(default_factory=dict)
    texts: dict[Path, list[Any]] = field(default_factory=dict)
    waveforms: dict[Path, list[Any]] = field(default_factory=dict)
    lists: dict[Path, list[Any]] = field(default_factory=dict)
    time: tuple[Path, str] | None = None
    quality: Path | None = None
    unit: Path | None = None


def guess(documents: Sequence[Any]) -> Guess | None:
    """How these documents would be read."""
    if all(isinstance(one, dict) for one in documents):
        return _objects(_fields(documents))
    if all(isinstance(one, list) for one in documents):
        return _array((), documents, _Fields())
    if all(isinstance(one, str) for one in documents):
        return Guess({"value": ""}, "text")
    return None


def _objects(found: _Fields) -> Guess | None:
    named = _named({**found.numbers, **found.texts})
    if len(named) == 1:
        return _value(found, named[0])
    if len(named) > 1:
        return _several(found, named)
    if found.lists:
        path = next(iter(found.lists))
        return _array(path, found.lists[path], found)
    if found.waveforms:
        return _waveform(found, next(iter(found.waveforms)))
    if len(found.numbers) == 1:
        return _value(found, next(iter(found.numbers)))
    if found.numbers:
        return _several(found, list(found.numbers))
    if len(found.texts) == 1:
        return _value(found, next(iter(found.texts)))
    if found.texts:
        first, *others = found.texts
        remark = f"texts only; one can be read, here the first; others: {_listed(others)}"
        return Guess({"value": text_of(first), **_roles(found)}, "text", remark)
    return None


def _named(leaves: dict[Path, list[Any]]) -> list[Path]:
    """The fields that are called as values are: the clearest, or all of that name.

    Of the least deep ones: `{"value": 1, "meta": {"value": 2}}` has one value.
    """
    called = [path for path in leaves if roles.plain(path[-1]) in roles.VALUES]
    if not called:
        return []
    least = min(map(len, called))
    called = [path for path in called if len(path) == least]
    clearest = min(called, key=lambda path: roles.VALUES.index(roles.plain(path[-1])))
    return [path for path in called if path[-1] == clearest[-1]]


def _value(found: _Fields, path: Path) -> Guess:
    others = [other for other in found.numbers if other != path]
    is_text = path in found.texts
    remark = f"it also has {_listed(others)}" if others else ""
    options = {"value": text_of(path), **_roles(found)}
    name = _name_of(found.texts, path)
    if name is not None:
        options["signal"] = text_of(name)
    return Guess(options, "text" if is_text else None, remark)


def _name_of(texts: dict[Path, list[Any]], value: Path) -> Path | None:
    """The field that names the signal: one of that name that does not always say the same."""
    named = [
        path
        for path, said in texts.items()
        if path != value and roles.plain(path[-1]) in roles.NAMES and len(set(said)) > 1
    ]
    return min(named, key=lambda path: roles.NAMES.index(roles.plain(path[-1])), default=None)


def _several(found: _Fields, paths: Sequence[Path]) -> Guess | None:
    paths = [path for path in paths if path in found.numbers and _is_name(text_of(path))]
    if not paths:
        return None
    texts = f"its texts are not read: {_listed(list(found.texts))}" if found.texts else ""
    fields = [text_of(path) for path in paths]
    options = {"fields": fields if len(fields) <= FIELDS_MAX else "*", **_roles(found)}
    options.pop("unit", None)  # one unit is not that of all fields
    return Guess(options, None, texts)


def _array(path: Path, arrays: Sequence[Any], above: _Fields) -> Guess | None:
    """An array of samples; `above` is what stands beside it."""
    elements = [one for array in arrays for one in array][:ELEMENTS_MAX]
    if not elements:
        return None
    if all(_is_number(one) for one in elements):
        remark = "bare numbers: say how many a second they are"
        options = {"samples": text_of(path), "value": "", "rate_hz": RATE_HZ, **_roles(above)}
        return Guess(options, None, remark, is_sure=False)
    if not all(isinstance(one, dict) for one in elements):
        return None
    within = _fields(elements)
    inner = _objects(within)
    if inner is None or "samples" in inner.options or "rate_hz" in inner.options:
        return None
    return Guess(
        {"samples": text_of(path), **_roles(above), **inner.options},
        inner.kind, inner.remark, inner.is_sure,
    )  # fmt: skip


def _waveform(found: _Fields, path: Path) -> Guess:
    said = [values for at, values in found.numbers.items() if roles.plain(at[-1]) in roles.RATES]
    rate = said[0][-1] if said and said[0][-1] > 0 else None
    options = {"value": text_of(path), "rate_hz": rate or RATE_HZ, **_roles(found)}
    remark = "" if rate else "a waveform: say how many values a second it has"
    return Guess(options, "waveform", remark, is_sure=rate is not None)


def _roles(found: _Fields) -> dict[str, str]:
    options = {}
    if found.time is not None:
        options["time"] = text_of(found.time[0])
        if found.time[1] != "ms":
            options["time_unit"] = found.time[1]
    if found.quality is not None:
        options["quality"] = text_of(found.quality)
    if found.unit is not None:
        options["unit"] = text_of(found.unit)
    return options


def _fields(documents: Sequence[Any]) -> _Fields:
    """The fields that most of the documents have, sorted by what they hold."""
    seen: dict[Path, list[Any]] = {}
    for one in documents:
        for path, value in _leaves(one, ()):
            seen.setdefault(path, []).append(value)
    found = _Fields()
    times = []
    for path, values in seen.items():
        said = [value for value in values if value is not None]
        if len(values) < SHARE_MIN * len(documents) or not said:
            continue
        rank, unit = roles.time_rank(path[-1]), roles.time_unit(said)
        if rank is not None and unit is not None:
            times.append((len(path), rank, path, unit))
        elif found.quality is None and roles.is_quality(path[-1], said):
            found.quality = path
        elif found.unit is None and roles.is_unit(path[-1], said):
            found.unit = path
        else:
            _sort(found, path, said)
    if times:
        found.time = min(times)[2:]
    return found


def _sort(found: _Fields, path: Path, values: list[Any]) -> None:
    if all(_is_number(value) for value in values):
        found.numbers[path] = values
    elif all(isinstance(value, str) for value in values):
        found.texts[path] = values
    elif all(isinstance(value, list) for value in values):
        whole = [one for value in values for one in value]
        if all(_is_number(one) for one in whole):
            _numbers(found, path, values)
        elif all(isinstance(one, dict) for one in whole):
            found.lists[path] = values


def _numbers(found: _Fields, path: Path, arrays: list[Any]) -> None:
    """Arrays of numbers: short ones of one length are fields, long ones waveforms."""
    lengths = {len(array) for array in arrays}
    if len(lengths) == 1 and max(lengths) <= VECTOR_MAX:
        for index in range(max(lengths)):
            found.numbers[(*path, index)] = [array[index] for array in arrays]
    elif max(lengths) >= WAVEFORM_MIN:
        found.waveforms[path] = arrays


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and len(path) < DEPTH_MAX:
        for key, inner in value.items():
            if key.isprintable():
                yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_name(text: str) -> bool:
    try:
        check_signal_name(text)
    except ValueError:
        return False
    return True


def text_of(path: Path) -> str:
    """A path as the configuration writes it: `readings[0].v`, `["a.b"].v`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _is_plain(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _is_plain(key: str) -> bool:
    return bool(re.fullmatch(r'(?:(?!\[\d|\[")[^.])+', key))


def _listed(paths: Sequence[Path]) -> str:
    names = [text_of(path) for path in paths[:NAMED_MAX]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
