"""How payloads are written: the tables `payload = { ... }` of topics, one kind each."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from agent.config.fields import Table, broken, check_signal_name, not_empty

PATH_CHARS_MAX: Final = 256
SIGNALS_MAX: Final = 1000
"""Signals that the payloads of one topic may name: fields or columns."""
TIME: Final = "time"
SKIP: Final = "-"
"""The columns of CSV that are no signals."""

_BRACKETS: Final = r'\[\d{1,6}\]|\["(?:[^"\\]|\\.)*"\]'
_KEY: Final = r'(?:(?!\[\d{1,6}\]|\[")[^.])+'
_PATH: Final = re.compile(rf"(?:{_KEY}|{_BRACKETS})(?:\.{_KEY}|{_BRACKETS})*", re.DOTALL)
_STEP: Final = re.compile(rf"{_BRACKETS}|{_KEY}", re.DOTALL)
_PATH_RULE: Final = 'it must be a path into the payload: v, data.value, readings[0].v or ["a.b"].v'


def path_steps(text: str) -> tuple[str | int, ...]:
    """The keys of objects and indices of arrays that lead to a path; () is the whole payload.

    Raises PydanticCustomError, a ValueError.
    """
    if text and not _PATH.fullmatch(text):
        raise broken(_PATH_RULE)
    return tuple(_step(match.group()) for match in _STEP.finditer(text))


def _step(text: str) -> str | int:
    if not re.fullmatch(_BRACKETS, text, re.DOTALL):
        return text
    try:
        return str(json.loads(text[1:-1])) if text[1] == '"' else int(text[1:-1])
    except ValueError:
        raise broken(_PATH_RULE, "what stands in quotes is written as in JSON") from None


def _whole_or_path(text: str) -> str:
    path_steps(text)
    return text


def _path(text: str) -> str:
    if not text:
        raise broken(_PATH_RULE)
    return _whole_or_path(text)


def _fields(value: Any) -> tuple[str, ...] | Literal["*"]:
    """Paths that are signals' names too, or `*`; told as one problem whatever is wrong."""
    if value == "*":
        return "*"
    rule = 'it must be a list of paths, or "*" for every number and boolean'
    if not isinstance(value, tuple | list) or not all(isinstance(path, str) for path in value):
        raise broken(rule, 'such as fields = ["motor.current", "motor.speed"]')
    if not 1 <= len(value) <= SIGNALS_MAX or len(set(value)) < len(value):
        raise broken(f"it must have 1 to {SIGNALS_MAX:,} paths, each once")
    for path in value:
        check_signal_name(path)
        _path(path)
    return tuple(value)


JsonPath = Annotated[str, Field(max_length=PATH_CHARS_MAX), AfterValidator(_path)]
"""A field of a JSON object, with dots into objects and [n] into arrays inside it."""

JsonValuePath = Annotated[str, Field(max_length=PATH_CHARS_MAX), AfterValidator(_whole_or_path)]
"""The same; empty for the whole payload, or the whole element of `samples`."""

JsonFields = Annotated[
    tuple[str, ...] | Literal["*"],
    PlainValidator(_fields),
    PlainSerializer(lambda fields: fields, return_type=Any),  # pydantic's own doubts a tuple
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "*", "type": "string"},
                {"items": {"type": "string"}, "minItems": 1, "type": "array"},
            ]
        }
    ),
]

TimeUnit = Literal["s", "ms", "us", "ns", "iso", "auto"]
"""What a time counts, from 1970 in UTC; `iso` is text (ISO 8601, RFC 3339); `auto` takes text so,
and numbers by their size: below 1e11 s, 1e14 ms, 1e17 us, else ns."""

RateHz = Annotated[float, Field(gt=0, le=1e9)]
"""How many values a second an array holds."""


class NumberConfig(Table):
    """The payload is one number in text, or `true` or `false`."""


class TextConfig(Table):
    """The payload is the text, in UTF-8."""


class JsonConfig(Table):
    """Where in a JSON payload the value and what belongs to it are."""

    value: JsonValuePath | None = Field(None, examples=["v"])
    """The field with the value; empty where the payload, or the element, is the value."""
    fields: JsonFields | None = Field(
        None, examples=[["motor.current", "motor.speed"]], validate_default=True
    )
    """Instead of `value`: fields that are a signal each, named by their paths; `*` is every number
    and boolean that is not in an array."""
    time: JsonPath | None = None
    """The field with the time; without it the time of arrival is taken."""
    time_unit: TimeUnit = "ms"
    """What the time counts, from 1970 in UTC: `s`, `ms`, `us` or `ns`; `iso` is text such as
    2026-01-31T06:00:00Z; `auto` tells them apart by their looks."""
    quality: JsonPath | None = None
    """The field with the quality: true or false, good, bad or uncertain, an OPC quality (192 is
    good) or an OPC UA status code. Without it what has a value is good."""
    unit: JsonPath | None = None
    """The field with the unit; used where the configuration gives none."""
    samples: JsonValuePath | None = Field(None, examples=["readings"])
    """The array of samples, where a payload brings several; the other paths are then looked up in
    each element, and what is not there in the payload itself."""
    rate_hz: RateHz | None = Field(None, examples=[25_600], validate_default=True)
    """How many values a second an array of bare numbers holds; the time is that of the last."""
    signal: JsonPath | None = None
    """The field that names the signal."""

    @field_validator("fields")
    @classmethod
    def _value_or_fields(
        cls, fields: tuple[str, ...] | Literal["*"] | None, info: ValidationInfo
    ) -> tuple[str, ...] | Literal["*"] | None:
        if "value" in info.data and (fields is None) == (info.data["value"] is None):
            raise broken(
                "a JSON payload must have one of value and fields",
                'such as value = "v", or fields = "*" where each field is a signal',
            )
        return fields

    @field_validator("rate_hz")
    @classmethod
    def _rate_is_of_bare_numbers(cls, rate_hz: float | None, info: ValidationInfo) -> float | None:
        samples, value = info.data.get("samples"), info.data.get("value")
        if rate_hz is None and samples is not None and value == "":
            raise broken(
                "it must be given where the elements of samples are bare numbers",
                "say how many values a second they are, such as rate_hz = 25600",
            )
        if rate_hz is not None and (value is None or (samples is not None and value)):
            raise broken(
                "it must come with an array of bare numbers",
                'say samples = "..." with value = "", or leave it out',
            )
        return rate_hz

    @field_validator("signal")
    @classmethod
    def _fields_have_names(cls, signal: str | None, info: ValidationInfo) -> str | None:
        if signal is not None and info.data.get("fields") is not None:
            raise broken("it must come with value: fields are named by their paths", "leave it out")
        return signal


class CsvConfig(Table):
    """Lines of columns; each line is a sample of each column that is a signal."""

    columns: tuple[str, ...] = Field(
        examples=[["time", "temperature", "-"]],
        json_schema_extra={"minItems": 1, "maxItems": SIGNALS_MAX},
    )
    """The columns in order: `time`, the signal's name, or `-` for one that is skipped."""
    separator: str = ","
    """What stands between columns."""
    time_unit: TimeUnit = "ms"
    """What the time counts, as of JSON."""
    header: bool = False
    """The first line of each payload names the columns and is skipped."""

    @property
    def signals(self) -> tuple[str, ...]:
        """The columns that are signals, in order."""
        return tuple(column for column in self.columns if column not in (TIME, SKIP))

    @field_validator("columns")
    @classmethod
    def _columns_have_names(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        named = [column for column in not_empty(columns) if column != SKIP]
        if len(columns) > SIGNALS_MAX:
            raise broken(f"it must have at most {SIGNALS_MAX:,} columns")
        for column in named:
            check_signal_name(column)
        if len(set(named)) < len(named):
            raise broken("each column must have its own name", 'name those to be skipped "-"')
        if not set(named) - {TIME}:
            raise broken("at least one column must be a signal", "name it as the signal")
        return columns

    @field_validator("separator")
    @classmethod
    def _separator_separates(cls, text: str) -> str:
        if len(text) != 1 or not text.isascii() or text.isalnum() or text in '.-+"\r\n\0':
            raise broken(
                "it must be one character that no number has", 'such as "," or ";" or "\\t"'
            )
        return text


class BinaryConfig(Table):
    """A block of numbers as a waveform; the time of arrival is that of its last value."""

    dtype: Literal[
        "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
        "float64",
    ]  # fmt: skip
    """How each number is written."""
    rate_hz: RateHz = Field(examples=[25_600])
    """How many numbers a second there are."""
    byte_order: Literal["little", "big"] = "little"
    """Which byte of a number comes first: the lowest (`little`) or the highest (`big`)."""
    scale: float = 1.0
    """What a number is multiplied by to be in the unit."""
    offset: float = 0.0
    """What is added then."""
    skip_bytes: int = Field(0, ge=0, le=65_536)
    """How many bytes stand before the first number."""

    @field_validator("scale")
    @classmethod
    def _scale_keeps_values_apart(cls, scale: float) -> float:
        if scale == 0:
            raise broken("it must not be 0: every value would be the same")
        return scale


class PayloadConfig(Table):
    """How the payload is written: one of these."""

    number: NumberConfig | None = Field(None, examples=[{}])
    """One number in text, or `true` or `false`."""
    text: TextConfig | None = Field(None, examples=[{}])
    """The text itself."""
    json_: JsonConfig | None = Field(None, alias="json", examples=[{"value": "v", "time": "ts"}])
    """JSON, as an object, an array or a bare value."""
    csv: CsvConfig | None = Field(None, examples=[{"columns": ["time", "temperature"]}])
    """Lines of columns."""
    binary: BinaryConfig | None = Field(None, examples=[{"dtype": "int16", "rate_hz": 25_600}])
    """A block of numbers as a waveform."""

    @property
    def names_signals(self) -> bool:
        """Whether the payload says which signals it brings, so that the topic does not."""
        in_json = self.json_ is not None and bool(self.json_.fields or self.json_.signal)
        return in_json or self.csv is not None

    def may_name(self, signal: str) -> bool:
        """Whether it can bring a signal of this name, where it names its signals."""
        if self.csv is not None:
            return signal in self.csv.signals
        fields = self.json_.fields if self.json_ is not None else None
        return signal in fields if isinstance(fields, tuple) else self.names_signals

    @property
    def makes_waveforms(self) -> bool:
        """Whether it can bring arrays of numbers that are one reading."""
        return self.binary is not None or (
            self.json_ is not None and self.json_.rate_hz is not None
        )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        said = [self.number, self.text, self.json_, self.csv, self.binary]
        if sum(kind is not None for kind in said) != 1:
            raise broken(
                "it must have one of number, text, json, csv and binary",
                'such as payload = { json = { value = "v", time = "ts" } } or '
                "payload = { number = {} }",
            )
        return self
