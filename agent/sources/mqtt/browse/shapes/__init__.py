"""What payloads look like: the table `payload` of a topic that would read them.

Enters: samples of the payloads of one topic. Leaves: a shape, which topics that are written alike
have in common. A shape is offered only where our own decoder reads the samples with it. Nothing
fails: what is not understood says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from agent.config.mqtt import PayloadConfig
from agent.signals import Kind
from agent.sources.mqtt.browse.heard import Sample
from agent.sources.mqtt.browse.shapes import documents, tables
from agent.sources.mqtt.payloads import Read, Reading, Unreadable, reader

READABLE: Final = 0.8
"""A shape must read so many of the samples, as a share."""
LOOKED_AT_MAX: Final = 8
"""Samples that are looked at for it."""
SHAPES_MAX: Final = 1_000
"""Readers that are kept for topics that are written alike."""
RATE_HZ: Final = 25_600
"""Stands in for a rate that nobody said."""
_DECIMAL_COMMA: Final = re.compile(r"\s*[+-]?\d+,\d+\s*")
_WITH_UNIT: Final = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*[^\d\s.,:;/-]\S{0,7}\s*")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FORMATS: Final = {
    b"\x1f\x8b": "gzip", b"\x89PNG": "an image", b"\xff\xd8\xff": "an image",
    b"PK\x03\x04": "a ZIP archive", b"%PDF": "a PDF document",
}  # fmt: skip
"""How files begin that are no measurements."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How payloads are written.

    text : the table `payload`, as JSON
    kind : that it must be of; None where its values tell
    remark : what a person should know of it
    is_sure : it reads the payloads as it stands; else it is only a beginning
    """

    text: str
    kind: Kind | None = None
    remark: str = field(default="", compare=False)
    is_sure: bool = True

    @property
    def table(self) -> dict[str, Any]:
        """The table `payload`."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def config(self) -> PayloadConfig:
        """The same as the configuration has it. Raises ValidationError."""
        return _config(self.text)

    @property
    def names_signals(self) -> bool:
        """Whether the payload says which signals it brings."""
        return self.is_sure and self.config.names_signals

    def read(self, samples: Sequence[Sample]) -> list[list[Reading]]:
        """The readings of those payloads that it can read."""
        read = _reader(self.text, self.kind)
        found = []
        for sample in samples:
            try:
                readings = read(sample.payload, sample.at_ns)
            except Unreadable:
                continue
            if readings.taken and not readings.unreadable:
                found.append(readings.taken)
        return found


def shape_of(samples: Sequence[Sample]) -> Shape:
    """The shape of these payloads, of which there is at least one; a few of them tell it."""
    samples = samples[-LOOKED_AT_MAX:]
    texts = [_text(sample.payload) for sample in samples]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return _binary(samples)
    for shape in _candidates(known):
        if not shape.is_sure or _reads(shape, samples):
            return shape
    remark = ""
    if all(_DECIMAL_COMMA.fullmatch(text) for text in known):
        remark = "numbers with a decimal comma, which can only be read as text"
    elif all(_WITH_UNIT.fullmatch(text) for text in known):
        remark = "numbers with a unit behind them, which can only be read as text"
    return _shape({"text": {}}, "text", remark)


def _candidates(texts: Sequence[str]) -> Iterator[Shape]:
    """What they may be, the simplest first."""
    if not texts[0].lstrip().startswith(("{", "[")):
        yield _shape({"number": {}})
    try:
        found = documents.guess([json.loads(text) for text in texts])
    except (ValueError, RecursionError):
        found = None
    if found is not None:
        yield _shape({"json": found.options}, found.kind, found.remark, is_sure=found.is_sure)
    options = None if all(map(_DECIMAL_COMMA.fullmatch, texts)) else tables.guess(texts)
    if options is not None:
        yield _shape({"csv": options})


def _shape(
    table: dict[str, Any], kind: Kind | None = None, remark: str = "", *, is_sure: bool = True
) -> Shape:
    return Shape(json.dumps(table, ensure_ascii=False), kind, remark, is_sure)


def _reads(shape: Shape, samples: Sequence[Sample]) -> bool:
    try:
        return len(shape.read(samples)) >= READABLE * len(samples)
    except ValidationError:
        return False


def _text(payload: bytes) -> str | None:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


def _binary(samples: Sequence[Sample]) -> Shape:
    """Bytes that are no text: a beginning, where they may be numbers."""
    sizes = sorted({len(sample.payload) for sample in samples})
    of = f"{sizes[0]:,} bytes" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} bytes"
    for beginning, name in _FORMATS.items():
        if all(sample.payload.startswith(beginning) for sample in samples):
            return Shape("", None, f"{name}, {of}: not read", is_sure=False)
    dtype = "int16" if all(size % 2 == 0 for size in sizes) else "int8"
    remark = f"binary, {of}: say what its numbers are with dtype, rate_hz and skip_bytes"
    options = {"dtype": dtype, "rate_hz": RATE_HZ}
    return _shape({"binary": options}, "waveform", remark, is_sure=False)


@lru_cache(SHAPES_MAX)
def _config(text: str) -> PayloadConfig:
    return PayloadConfig.model_validate(_tupled(json.loads(text)))


@lru_cache(SHAPES_MAX)
def _reader(text: str, kind: Kind | None) -> Read:
    return reader(_config(text), kind)


def _tupled(value: Any) -> Any:
    """Lists as tuples, as the configuration's tables want them."""
    if isinstance(value, dict):
        return {key: _tupled(inner) for key, inner in value.items()}
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
