"""Payloads: the ways in which they may be written, and paths into them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.config import PayloadConfig, path_steps

PATHS = [
    ("", ()),
    ("v", ("v",)),
    ("data.v", ("data", "v")),
    ("readings[0].v", ("readings", 0, "v")),
    ("[1][2]", (1, 2)),
    ('["a.b"].c', ("a.b", "c")),
    ('x["a\\"]"][3]', ("x", 'a"]', 3)),
    ("temp[C].v", ("temp[C]", "v")),
    ("a b.c-d", ("a b", "c-d")),
]


@pytest.mark.parametrize(("text", "steps"), PATHS)
def test_a_path_into_a_payload_is_taken_apart(text: str, steps: tuple[str | int, ...]) -> None:
    assert path_steps(text) == steps


@pytest.mark.parametrize("text", [".", "a.", ".a", "a..b", "a[0]b", "a.[0]", 'a["x', '["\\x"]'])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path into the payload"):
        path_steps(text)


GOOD_PAYLOADS: list[dict[str, Any]] = [
    {"number": {}},
    {"json": {"value": ""}},
    {"json": {"value": "", "samples": "xs", "rate_hz": 10}},
    {"json": {"value": "v", "samples": "", "time": "t", "time_unit": "auto"}},
    {"json": {"fields": "*"}},
    {"json": {"fields": ["a.b", "c"]}},
    {"json": {"fields": ("a",), "samples": "xs"}},
    {"json": {"value": "v", "signal": "name"}},
    {"csv": {"columns": ("time", "a", "-", "-"), "separator": "\t"}},
]
BAD_PAYLOADS: list[tuple[dict[str, Any], str]] = [
    ({}, "one of number, text, json, csv and binary"),
    ({"number": {}, "text": {}}, "one of number, text, json, csv and binary"),
    ({"json": {}}, "one of value and fields"),
    ({"json": {"value": "v", "fields": "*"}}, "one of value and fields"),
    ({"json": {"fields": "a"}}, "list of paths"),
    ({"json": {"fields": ()}}, "1 to 1,000 paths"),
    ({"json": {"fields": ("a", "a")}}, "each once"),
    ({"json": {"fields": ("a..b",)}}, "path into the payload"),
    ({"json": {"value": "v", "time": ""}}, "path into the payload"),
    ({"json": {"value": "", "samples": "xs"}}, "elements of samples are bare numbers"),
    ({"json": {"value": "v", "samples": "xs", "rate_hz": 1}}, "array of bare numbers"),
    ({"json": {"fields": ("a",), "rate_hz": 1}}, "array of bare numbers"),
    ({"json": {"fields": ("a",), "signal": "s"}}, "named by their paths"),
    ({"csv": {"columns": ()}}, "at least one"),
    ({"csv": {"columns": ("time", "-")}}, "must be a signal"),
    ({"csv": {"columns": ("a", "a")}}, "its own name"),
    ({"csv": {"columns": ("_machine",)}}, "another name"),
    ({"csv": {"columns": ("a",), "separator": "."}}, "no number has"),
    ({"csv": {"columns": ("a",), "separator": ";;"}}, "one character"),
    ({"binary": {"dtype": "int16", "rate_hz": 1, "scale": 0.0}}, "must not be 0"),
    ({"binary": {"dtype": "int12", "rate_hz": 1}}, "int16"),
]


@pytest.mark.parametrize("payload", GOOD_PAYLOADS, ids=str)
def test_payloads_are_read_in_all_these_ways(payload: dict[str, Any]) -> None:
    PayloadConfig.model_validate(payload)


@pytest.mark.parametrize(("payload", "rule"), BAD_PAYLOADS, ids=lambda value: str(value)[:50])
def test_a_payload_that_cannot_be_meant_is_refused(payload: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        PayloadConfig.model_validate(payload)
