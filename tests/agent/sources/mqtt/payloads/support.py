"""What payload tests share: readers of short tables, and readings as plain values."""

from __future__ import annotations

from typing import Any

from agent.config.mqtt import PayloadConfig
from agent.signals import Kind
from agent.sources.mqtt.payloads import Readings, reader

NOW_NS = 1_800_000_000_123_456_789


def read(table: dict[str, Any], payload: bytes, kind: Kind = "analog") -> Readings:
    """What a payload gives that is written as the table says."""
    return reader(PayloadConfig.model_validate(table), kind)(payload, NOW_NS)


def read_json(payload: bytes, kind: Kind = "analog", **layout: Any) -> Readings:
    """The same of JSON, with `value = "v"` unless `fields` are said."""
    value = {} if "fields" in layout else {"value": "v"}
    return read({"json": {**value, **layout}}, payload, kind)


def values(found: Readings) -> list[Any]:
    """The values alone."""
    return [one.value for one in found.taken]


def times(found: Readings) -> list[int | None]:
    """The times alone."""
    return [one.time_ns for one in found.taken]
