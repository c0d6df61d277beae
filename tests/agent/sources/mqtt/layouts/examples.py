"""How payloads may be laid out, and payloads that are and are not: what kernels are tried with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.config.mqtt.payload import PayloadConfig
from agent.sources.mqtt.layouts import Decoded, Layouts
from agent.sources.mqtt.packets import Publishes, publishes
from agent.sources.mqtt.payloads import Unreadable, as_number, as_text, is_inexact, reader
from tests.agent.kernels.mqtt.naive import Message, publish

RECEIVED_NS: Final = 1_800_000_000_000_000_000
TEXT_SIGNALS: Final = frozenset({"state", "motor.state", "text"})

Sample = tuple[int, float | str, int]
"""Time (0: of arrival), value (NaN as None's), status."""


def config(**payload: Any) -> PayloadConfig:
    """A payload's table, as the configuration has it."""
    return PayloadConfig.model_validate(payload)


JSON: Final[tuple[dict[str, Any], ...]] = (
    {"value": "v"},
    {"value": "v", "time": "ts"},
    {"value": "v", "time": "ts", "time_unit": "auto"},
    {"value": "v", "time": "ts", "time_unit": "s", "quality": "q"},
    {"value": "v", "time": "ts", "time_unit": "iso", "quality": "q", "unit": "u"},
    {"value": "data.v", "time": "meta.ts", "time_unit": "us", "quality": "data.q"},
    {"value": "readings[0].v", "time": "ts", "time_unit": "ns"},
    {"value": ""},
    {"value": "v", "signal": "n", "time": "ts"},
    {"fields": ["v", "motor.current", "motor.state", "missing"], "time": "ts"},
    {"fields": "*", "time": "ts", "quality": "q", "unit": "u"},
    {"fields": "*", "time": "motor.ts", "time_unit": "auto"},
    {"samples": "readings", "value": "v", "time": "ts"},
    {"samples": "data.readings", "value": "v", "time": "ts", "quality": "q", "time_unit": "auto"},
    {"samples": "", "value": "v", "time": "ts"},
    {"samples": "readings", "fields": "*", "time": "ts", "quality": "q"},
    {"samples": "readings", "fields": ["v", "state"], "time": "ts"},
    {"samples": "readings", "value": "", "rate_hz": 1000, "time": "ts"},
    {"value": "readings", "rate_hz": 3, "time": "ts", "quality": "q"},
    {"value": "", "rate_hz": 7.7},
)
CONFIGS: Final = (config(number={}), config(text={}), *(config(json=one) for one in JSON))


def is_text(name: str | None, of_topic: bool) -> bool:
    """Whether the signal of a name holds text."""
    return of_topic if name is None else name in TEXT_SIGNALS


@dataclass
class Names:
    """Signals by name, as a decoder's resolver gives them."""

    of_topic: bool

    def __post_init__(self) -> None:
        self.numbers: dict[str | None, int] = {}

    def __call__(self, name: str | None) -> tuple[int, bool] | None:
        number = self.numbers.setdefault(name, len(self.numbers))
        return number, is_text(name, self.of_topic)


def messages(payloads: list[bytes]) -> Publishes:
    """These as messages of one topic."""
    return publishes([publish(Message(b"t", payload)) for payload in payloads], False)


def said(payload: bytes, how: PayloadConfig, of_topic: bool) -> dict[str | None, list[Sample]]:
    """What the general decoder reads, by signal. Raises Unreadable where it is not all in order.

    That is also where the caller would have to count digits that were lost.
    """
    found = reader(how, "text" if of_topic else "analog")(payload, RECEIVED_NS)
    if found.unreadable or found.inexact:
        raise Unreadable(found.reason)
    samples: dict[str | None, list[Sample]] = {}
    for one in found.taken:
        value: float | str | None
        if is_text(one.signal, of_topic):
            value = as_text(one.value)
        else:
            value = as_number(one.value)
            if is_inexact(one.value):
                raise Unreadable("digits are lost")
        if value is None or value != value:
            value = "missing"
        samples.setdefault(one.signal, []).append((one.time_ns or 0, value, one.status))
    return samples


def decoded(found: Decoded, sent: Publishes, names: Names) -> list[dict[str | None, list[Sample]]]:
    """What the kernel gave, by message and signal."""
    by_number = {number: name for name, number in names.numbers.items()}
    samples: list[dict[str | None, list[Sample]]] = [{} for _ in range(len(sent))]
    for row in range(len(found)):
        value: float | str = float(found.value[row])
        at = int(found.text_at[row])
        name = by_number[int(found.signal[row])]
        if at >= 0:
            value = sent.body[at : at + int(found.text_len[row])].decode()
            assert found.value[row] == 0
        elif value != value:
            value = "missing"
        samples[int(found.message[row])].setdefault(name, []).append(
            (int(found.time_ns[row]), value, int(found.status[row]))
        )
    return samples


def check(
    layouts: Layouts, how: PayloadConfig, of_topic: bool, taught: bytes, others: list[bytes]
) -> tuple[int, int]:
    """Learn from one, decode all, and compare; how many layouts and messages were done."""
    names = Names(of_topic)
    try:
        said(taught, how, of_topic)
    except Unreadable:
        return 0, 0
    learned = layouts.learn(0, how, taught, names)
    sent = messages([taught, *others])
    rows, routes = np.arange(len(sent)), np.zeros(len(sent), np.int32)
    found = layouts.decode(sent, rows, routes, RECEIVED_NS)
    undone = set(found.undone.tolist())
    assert not (learned and 0 in undone)
    for row, samples in enumerate(decoded(found, sent, names)):
        if row in undone:
            assert samples == {}
            continue
        wanted = said(sent.payload(row), how, of_topic)
        same = repr(sorted(samples.items(), key=repr)) == repr(sorted(wanted.items(), key=repr))
        assert same, (sent.payload(row), samples, wanted)
    return int(learned), len(sent) - len(undone)


VALUES: Final[tuple[Any, ...]] = (
    21.5, -3, 0, 1e300, 0.1, -0.0, 2**53, 2**53 + 1, 10**25, True, False, None, "runs", "läuft",
    "", [], {}, 1e-7, 123456789.123456789, -0.000123,
)  # fmt: skip
TIMES: Final[tuple[Any, ...]] = (
    1_763_859_600, 1_763_859_600_123, 1_763_859_600_123_456, 1_763_859_600_123_456_789,
    1_763_859_600.25, 1.7638596e9, 0, -5, None, 2**63, 99_999_999_999_999_999,
    "2026-01-31T06:00:00Z", "2026-02-30", "2026-01-31T06:00:00.123456789+01:00",
    "2026-01-31 23:59:59,5", "20260131T060000Z", "2024-02-29T00:00:00.1234567-23:59",
)  # fmt: skip
QUALITIES: Final[tuple[Any, ...]] = (
    True, False, None, "good", "BAD_x", " Uncertain", "?", 192, 64, 0, 192.0, 0x808C_0000, -1,
)  # fmt: skip


def some_value(chance: random.Random) -> Any:
    """A value, odd ones among them."""
    if chance.random() < 0.7:
        return chance.choice(VALUES)
    return chance.uniform(-1, 1) * 10 ** chance.randint(-30, 30)


def some_json(chance: random.Random) -> Any:
    """A document such as devices send, more or less as one of JSON wants it."""
    element = {
        "v": some_value(chance), "ts": chance.choice(TIMES), "q": chance.choice(QUALITIES),
        "u": "°C", "state": "on", "x": [1, {}],
    }  # fmt: skip
    for key in list(element):
        if chance.random() < 0.3:
            del element[key]
    size = chance.randint(0, 3)
    several = [element | {"v": some_value(chance)} for _ in range(size)]
    bare = [some_value(chance) for _ in range(size)]
    document: Any = dict(element)
    document["data"] = dict(element, readings=several)
    document["readings"] = chance.choice((several, bare, several[:1]))
    document["motor"] = {
        "current": some_value(chance), "state": chance.choice(("on", "off", None, 1)),
        "ts": chance.choice(TIMES),
    }  # fmt: skip
    document["meta"] = {"ts": chance.choice(TIMES), "deep": {"a": [[1, 2], {"b": None}]}}
    document["n"] = chance.choice(("temp", "speed", 7))
    for key in list(document):
        if chance.random() < 0.3:
            del document[key]
    kind = chance.random()
    if kind < 0.08:
        return some_value(chance)
    return several if kind < 0.13 else bare if kind < 0.18 else document


STYLES: Final[tuple[dict[str, Any], ...]] = (
    {}, {"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False},
)  # fmt: skip
"""The ways that libraries write JSON."""


def written(document: Any, style: dict[str, Any]) -> bytes:
    """As JSON."""
    return json.dumps(document, **style).encode()


def changed(document: Any, chance: random.Random) -> Any:
    """The same document with other values in it."""
    if isinstance(document, dict):
        return {key: changed(value, chance) for key, value in document.items()}
    if isinstance(document, list):
        return [changed(value, chance) for value in document]
    if chance.random() < 0.5:
        return document
    if isinstance(document, bool) or chance.random() < 0.1:
        return chance.choice((True, False, None, 5, "text", [], {"a": 1}))
    if isinstance(document, int | float):
        return chance.choice((document + 1, document * 1.7, -document, 3.25, 0, "7"))
    return chance.choice((document, "good", "a b", "ü", "[{", 'q"uote'))


HARMFUL: Final = (
    b"", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-", b"0", b"e9", b".", b" ",
    b"\n", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"\xff", b"\xed\xa0\x80", b"\xc0\x80",
    b'"v":1,', b"99999999999999999999", b"\xef\xbb\xbf", b"[" * 40, b"\\u12", b"1" * 25, b"T",
    b'"ts":0', b"+", b"00",
)  # fmt: skip


def damaged(payload: bytes, chance: random.Random) -> bytes:
    """With a few places changed."""
    body = bytearray(payload)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(body) + 1)
        size = chance.choice((0, 1, 1, 3))
        body[at : at + size] = chance.choice((*HARMFUL, chance.randbytes(chance.randint(1, 3))))
    return bytes(body)


def cases(seed: int) -> Iterator[tuple[PayloadConfig, bool, bytes, list[bytes]]]:
    """Layouts, what to learn from, and what to decode then, for ever."""
    chance = random.Random(seed)  # noqa: S311
    while True:
        how = chance.choice(CONFIGS)
        of_topic = chance.random() < 0.2
        document = some_json(chance)
        if how.json_ is None and chance.random() < 0.8:
            document = chance.choice((1, 2.5, -7, True, 10**17))
        style = chance.choice(STYLES)
        taught = written(document, style)
        others = [damaged(taught, chance) for _ in range(6)]
        others += [written(changed(document, chance), style) for _ in range(6)]
        yield how, of_topic, taught, others
