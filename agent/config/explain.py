"""What the typed tables object to, in words: the rule, and the way out.

Knows the options of every table, so that an unknown one gets the nearest known name and a missing
or wrong one gets its default or an example.
"""

from __future__ import annotations

import difflib
import json
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from agent.config.document import Document
from agent.config.fields import Table
from agent.config.model import Config
from agent.config.positions import KeyPath
from agent.config.problems import Problem, dotted, shown

_RULES: Final = {
    "bool_type": "it must be true or false",
    "finite_number": "it must be a finite number",
    "float_type": "it must be a number",
    "greater_than": "it must be more than {gt:,.15g}",
    "greater_than_equal": "it must be at least {ge:,.15g}",
    "int_type": "it must be a whole number",
    "less_than": "it must be less than {lt:,.15g}",
    "less_than_equal": "it must be at most {le:,.15g}",
    "literal_error": "it must be {expected}",
    "model_type": "it must be a table",
    "rule": "{rule}",
    "string_too_long": "it must have at most {max_length:,} characters",
    "string_too_short": "it must not be empty",
    "string_type": "it must be text in quotes",
    "tuple_type": "it must be a list",
}
"""The rules of `agent.config.model` in words, by pydantic's name of the error."""


def explain(document: Document, details: ErrorDetails) -> Problem:
    """One of pydantic's errors about the document's tree, as a problem."""
    path, kind = details["loc"], details["type"]
    place = document.place(path)
    if kind == "extra_forbidden":
        return Problem(path, f"{dotted(path)} is not a known option", place, _nearest(path))
    field = _field(path)
    if kind == "missing":
        sentence = f"{dotted(path)} is missing; it must be given"
        hint = " ".join(f"{field.description} {_example(path, field)}".split()) if field else ""
        return Problem(path, sentence, place, hint)
    context: dict[str, Any] = details.get("ctx", {})
    rule = _RULES.get(kind, details["msg"]).format(**context).replace("'", '"')
    sentence = f"{dotted(path)} is {_value(document, path, field)}; {rule}"
    hint = context.get("hint") or _way_out(path, kind, details["input"], field)
    return Problem(path, sentence, place, hint)


def _value(document: Document, path: KeyPath, field: FieldInfo | None) -> str:
    try:
        return shown(path, document.value(path))
    except LookupError:
        has_default = field is not None and field.default not in (None, (), PydanticUndefined)
        return f"{shown(path, field.default)} by default" if field and has_default else "missing"


def _way_out(path: KeyPath, kind: str, value: object, field: FieldInfo | None) -> str:
    if kind == "tuple_type" and isinstance(value, dict):
        return f"a list of tables has two brackets: [[{path[-1]}]]"
    if kind == "model_type" and isinstance(value, tuple):
        return f"one table has one pair of brackets: [{path[-1]}]"
    if kind == "literal_error" and (near := _near(value, _words(field))):
        return f'did you mean "{near}"?'
    if field is None or field.default in (None, "", (), PydanticUndefined):
        return _example(path, field)
    if isinstance(field.default, Table):
        return ""
    return f"leave it out for the default, {shown(path, field.default)}"


def _example(path: KeyPath, field: FieldInfo | None) -> str:
    if field is None or not field.examples:
        return ""
    return f"For example {path[-1]} = {toml(field.examples[0])}"


def _nearest(path: KeyPath) -> str:
    """The known option that an unknown one may have been meant to be, or all that are known."""
    table = _table(path[:-1])
    known = list(options(table)) if table else []
    if near := _near(path[-1], known):
        return f"did you mean {near}?"
    if len(elsewhere := _tables_with(path[-1])) == 1:
        return f"it is an option of the table {elsewhere[0]}"
    return f"known here: {', '.join(known)}" if known else "nothing can be set here"


def _tables_with(key: object) -> list[str]:
    """The tables of the configuration that have an option of this name."""
    tables = {name: inner_table(field) for name, field in options(Config).items()}
    return [name for name, table in tables.items() if table and key in options(table)]


def _near(word: object, words: list[str]) -> str:
    close = difflib.get_close_matches(str(word), words, n=1)
    return close[0] if close else ""


def _words(field: FieldInfo | None) -> list[str]:
    """The words that an option may be."""
    words: list[str] = []
    waiting = [field.annotation if field else None]
    while waiting:
        argument = waiting.pop()
        words += [argument] if isinstance(argument, str) else []
        waiting.extend(reversed(get_args(argument)))
    return words


def options(table: type[Table]) -> dict[str, FieldInfo]:
    """The options of a table by the names they have in the file."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def inner_table(field: FieldInfo) -> type[Table] | None:
    """The kind of table, or of tables in a list, that an option holds; None for plain values."""
    waiting = [field.annotation]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, Table):
            return annotation
        waiting.extend(get_args(annotation))
    return None


def _table(path: KeyPath) -> type[Table] | None:
    table: type[Table] | None = Config
    for step in path:
        if isinstance(step, str) and table is not None:
            field = options(table).get(step)
            table = inner_table(field) if field else None
    return table


def _field(path: KeyPath) -> FieldInfo | None:
    table = _table(path[:-1])
    return options(table).get(str(path[-1])) if table and path else None


def toml(value: Any) -> str:
    """A plain value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
