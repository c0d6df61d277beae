"""What kernels learn to read, and what they must leave to the general decoder."""

from __future__ import annotations

import random
import sys
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kernels.mqtt import layouts as kernel
from agent.sources import TEXT_MAX
from agent.sources.mqtt import layouts as room
from agent.sources.mqtt.layouts import Layouts
from agent.sources.mqtt.payloads import document, reading
from tests.agent.sources.mqtt.layouts.examples import (
    CONFIGS,
    RECEIVED_NS,
    Names,
    check,
    config,
    damaged,
    decoded,
    messages,
)

VALUE: Final = {"value": "v", "time": "ts"}


def done(how: dict[str, Any], taught: bytes, *others: bytes, of_topic: bool = False) -> list[bool]:
    """Learn from one payload; of that and the others, whether the kernel read them, all alike."""
    layouts = Layouts()
    check(layouts, config(**how), of_topic, taught, list(others))
    sent = messages([taught, *others])
    found = layouts.decode(sent, np.arange(len(sent)), np.zeros(len(sent), np.int32), RECEIVED_NS)
    return [row not in found.undone.tolist() for row in range(len(sent))]


@pytest.mark.parametrize(
    ("how", "taught", "other"),
    [
        (VALUE, b'{"v":21.5,"ts":1763859600123}', b'{"v":-3e-2,"ts":1763859600124.5}'),
        (VALUE, b'{"v":21.5,"ts":1763859600123}', b'{"v":37.123456789012345,"ts":1}'),
        (VALUE, b' { "ts" : 1 ,\t"v" : true }\n', b' { "ts" : 2 ,\t"v" : null }\n'),
        (
            {"value": "d.v", "time": "t", "time_unit": "iso"},
            b'{"id":"a-1","d":{"v":1,"x":[1,{"y":null}]},"t":"2026-01-31T06:00:00Z"}',
            b'{"id":"b\\u00e4\\n","d":{"v":2,"x":"\xc3\xa4"},'
            b'"t":"2026-01-31t07:00:00.123456789+01:00"}',
        ),
        (
            {"value": "v", "quality": "q", "time": "t", "time_unit": "auto"},
            b'{"v":1,"q":"GOOD","t":1763859600}',
            b'{"v":null,"q":2156658688,"t":"2026-01-31 06:00:00,5"}',
        ),
        (
            {"samples": "r", "value": "v", "time": "t", "quality": "q"},
            b'{"t":5,"r":[{"v":1},{"v":2}],"q":192}',
            b'{"t":6,"r":[{"v":1},{"v":2},{"v":3},{"v":null}],"q":64}',
        ),
        (
            {"samples": "", "fields": "*", "time": "t"},
            b'[{"t":1,"a":1,"b":{"c":true},"s":"x"}]',
            b'[{"t":1,"a":1,"b":{"c":true},"s":null},{"t":2,"a":2,"b":{"c":1},"s":[]}]',
        ),
        (
            {"samples": "r", "value": "", "rate_hz": 3, "time": "t"},
            b'{"r":[1,2],"t":1763859600123}', b'{"r":[1,2,null,4.5,true],"t":1763859600124}',
        ),
        ({"value": "", "rate_hz": 7.7}, b"[1, 2, 3]", b"[4]"),
        ({"fields": ["a", "m.state", "x"]}, b'{"a":1,"m":{"state":2}}', b'{"a":2,"m":{"state":3}}'),
        ({"value": "v", "signal": "n"}, b'{"n":"temp","v":1}', b'{"n":"temp","v":2}'),
        ({"value": "r[1].v"}, b'{"r":[0,{"v":1}]}', b'{"r":["a",{"v":2}]}'),
    ],
)  # fmt: skip
def test_payloads_of_a_layout_that_was_met_are_read_by_the_kernel(
    how: dict[str, Any], taught: bytes, other: bytes
) -> None:
    assert done({"json": how}, taught, other) == [True, True]


def test_plain_numbers_and_texts_are_read_by_the_kernel() -> None:
    assert done({"number": {}}, b"21.5", b" -3 \r\n\0", b"true", b"false") == [True] * 4
    assert done({"text": {}}, b"runs", "läuft".encode(), b"", of_topic=True) == [True] * 3
    assert done({"json": VALUE}, b'{"v":"on","ts":1}', b'{"v":7,"ts":2}', of_topic=True) == [
        True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"{}", b'{"v":1,"ts":1}x', b'{"v":1,"v":2,"ts":1}', b'{"ts":1,"v":1}', b'{"v":1}',
        b'{"v":01,"ts":1}', b'{"v":+1,"ts":1}', b'{"v":1.,"ts":1}', b'{"v":tru,"ts":1}',
        b'{"v":NaN,"ts":1}', b'{"v":1e999,"ts":1}', b'{"v":2e-310,"ts":1}', b'{"v":"1","ts":1}',
        b'{"v":[],"ts":1}', b'{"v":9007199254740993,"ts":1}', b'{"v":1,"ts":0}', b'{"v":1,"ts":-1}',
        b'{"v":1,"ts":null}', b'{"v":1,"ts":9223372036854775807}', b'\xef\xbb\xbf{"v":1,"ts":1}',
        b'{"v":0.12345678901234567890123,"ts":1}', b'{"v":1,"ts":"2026-01-31T06:00:00Z"}',
    ],
)  # fmt: skip
def test_what_is_odd_is_left_to_the_general_decoder(odd: bytes) -> None:
    assert done({"json": VALUE}, b'{"v":1,"ts":1}', odd, b'{"v":2,"ts":2}') == [True, False, True]


@pytest.mark.parametrize(
    ("how", "taught"),
    [
        ({"value": "v"}, b'{"v":1,"v":2}'),
        ({"value": "v"}, b'{"\\u0076":1}'),
        ({"value": "v", "quality": "q.q"}, b'{"v":1,"q":[{"q":1}]}' * 2),
        ({"fields": "*"}, b'{"a":' * 40 + b"1" + b"}" * 40),
        ({"fields": "*", "time": '["t"]'}, b'{"a":1,"t":5}'),
        ({"fields": ["a.b", 'a["b"]']}, b'{"a":{"b":1}}'),
        ({"samples": "r", "value": "v"}, b'{"r":[{"v":1},{"w":1,"v":2}]}'),
        ({"samples": "r", "value": "v"}, b'{"r":[]}'),
        ({"value": "v"}, b'{"v":' + b"1" * 17 + b"}"),
    ],
)
def test_what_no_program_can_read_safely_is_not_learned(how: dict[str, Any], taught: bytes) -> None:
    assert not Layouts().learn(0, config(json=how), taught, Names(False))


def test_a_field_that_appears_where_there_was_none_is_not_passed_over() -> None:
    fields = {"json": {"fields": ["a", "m.x"]}}
    assert done(fields, b'{"a":1,"m":null}', b'{"a":1,"m":5}', b'{"a":1,"m":{"x":1}}') == [
        True, True, False,
    ]  # fmt: skip
    assert done({"json": {"fields": "*"}}, b'{"a":1,"b":"x"}', b'{"a":1,"b":2}') == [True, False]
    quality = {"json": {"value": "v", "quality": "m.q"}}
    assert done(quality, b'{"v":1,"m":[0]}', b'{"v":1,"m":{"q":0}}') == [True, False]


def test_a_signal_that_cannot_be_resolved_leaves_its_layout_to_the_general_decoder() -> None:
    layouts, how = Layouts(), config(json={"fields": "*"})
    known: dict[str | None, tuple[int, bool]] = {"a": (1, False)}
    assert not layouts.learn(0, how, b'{"a":1,"b":2}', known.get)
    assert layouts.learn(0, how, b'{"a":1}', known.get)


def test_one_program_serves_all_routes_of_its_layout() -> None:
    layouts, how = Layouts(), config(json=VALUE)
    payloads = [b'{"v":%d,"ts":%d}' % (n, n + 1) for n in range(50)]
    for route, payload in enumerate(payloads):
        known: dict[str | None, tuple[int, bool]] = {None: (1_000 + route, False)}
        assert layouts.learn(route, how, payload, known.get)
    assert len(layouts) == 1
    sent = messages(payloads)
    found = layouts.decode(sent, np.arange(0, 50, 2), np.arange(50, dtype=np.int32), RECEIVED_NS)
    assert found.message.tolist() == list(range(0, 50, 2))
    assert found.signal.tolist() == list(range(1_000, 1_050, 2))
    assert found.value.tolist() == list(range(0, 50, 2))
    assert found.time_ns.tolist() == [(n + 1) * 1_000_000 for n in range(0, 50, 2)]
    unknown = layouts.decode(sent, np.arange(50), np.full(50, -1, np.int32), RECEIVED_NS)
    assert unknown.undone.tolist() == list(range(50))
    layouts.clear()
    assert len(layouts.decode(sent, np.arange(50), np.zeros(50, np.int32), 1).undone) == 50


def test_a_route_learns_a_layout_once_and_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    layouts, how, names = Layouts(), config(json={"value": "v"}), Names(False)
    for _ in range(3 * room.TRIES_MAX):
        assert layouts.learn(0, how, b'{"v":1}', names)
    several = [b'{"v":1,"%d":0}' % n for n in range(room.LAYOUTS_MAX)]
    assert [layouts.learn(0, how, one, names) for one in several] == [
        *[True] * (room.LAYOUTS_MAX - 1), False,
    ]  # fmt: skip
    for _ in range(room.TRIES_MAX):
        assert not layouts.learn(1, how, b'{"v":1,"v":1}', names)
    assert not layouts.learn(1, how, b'{"v":1}', names)
    monkeypatch.setattr(room, "LEARN_BYTES_MAX", 5)
    assert not layouts.learn(2, how, b'{"v":3 }', names)


def test_limits_are_those_of_the_general_decoder() -> None:
    assert kernel.TEXT_BYTES_MAX == TEXT_MAX
    assert kernel.PAYLOAD_BYTES_MAX == document.DOCUMENT_BYTES_MAX
    assert kernel.ROWS_MAX == reading.READINGS_MAX
    long = [b'{"v":"%s","ts":1}' % (b"a" * size) for size in (1, TEXT_MAX, TEXT_MAX + 1)]
    assert done({"json": VALUE}, *long, of_topic=True) == [True, True, False]


@settings(max_examples=300)
@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False).map(float),
    st.integers(0, 2**63 // 10**6),
)
def test_numbers_are_read_to_the_last_digit(value: float, time_ms: int) -> None:
    payload = b'{"v":%s,"ts":%d}' % (repr(value).encode(), time_ms)
    layouts, names = Layouts(), Names(False)
    assert layouts.learn(0, config(json=VALUE), b'{"v":1,"ts":1}', names)
    sent = messages([payload])
    found = layouts.decode(sent, np.arange(1), np.zeros(1, np.int32), RECEIVED_NS)
    normal = (value == 0 or abs(value) >= sys.float_info.min) and 0 < time_ms <= (
        2**63 - 1
    ) // 10**6
    assert (len(found) == 1) == normal
    if len(found):
        assert decoded(found, sent, names)[0] == {None: [(time_ms * 10**6, value, 0)]}


@settings(max_examples=200)
@given(st.sampled_from(CONFIGS), st.binary(max_size=60), st.integers(0, 2**32))
def test_random_bytes_are_read_alike_or_left(how: Any, noise: bytes, seed: int) -> None:
    taught = b'{"v":1,"ts":5,"readings":[{"v":1}],"data":{"v":1,"readings":[]},"motor":{"ts":1}}'
    chance = random.Random(seed)  # noqa: S311
    check(Layouts(), how, False, taught, [noise, *(damaged(taught, chance) for _ in range(5))])
