"""JSON documents: values, fields, samples and blocks; what of a broken one is lost."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.batch import BAD, GOOD
from agent.config.mqtt import PayloadConfig
from agent.sources.mqtt.payloads import Unreadable, as_number, as_text, reader
from agent.sources.mqtt.payloads.document import DOCUMENT_BYTES_MAX, NESTED_MAX
from agent.sources.mqtt.payloads.reading import READINGS_MAX
from tests.agent.sources.mqtt.payloads.support import NOW_NS, read_json, times, values

MS = 1_000_000


def test_a_value_lies_anywhere_in_a_document() -> None:
    assert values(read_json(b'{"v": 21.5}')) == [21.5]
    assert values(read_json(b'{"a": {"r": [0, {"v": 3}]}}', value="a.r[1].v")) == [3]
    assert values(read_json(b'{"a.b": {"c[0]": 4}}', value='["a.b"]["c[0]"]')) == [4]
    assert values(read_json(b" 5 ", value="")) == [5]
    assert values(read_json(b'\xef\xbb\xbf{"v": "\xe5\x8d\x95"}')) == ["单"]


def test_a_time_is_the_payloads_where_one_is_named_and_else_that_of_arrival() -> None:
    assert times(read_json(b'{"v": 1, "ts": 5}', time="ts")) == [5 * MS]
    assert times(read_json(b'{"v": 1, "ts": 5}')) == [None]
    for payload in (b'{"v": 1}', b'{"v": 1, "ts": null}'):
        with pytest.raises(Unreadable, match=r"no field 'ts'|time None is not a number"):
            read_json(payload, time="ts")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"\xff", "not UTF-8"), (b"1", "not an object"),
        (b"[]", "not an object with a field 'v'"), (b'{"w": 1}', "no field 'v'"),
        (b'{"v": NaN}', "NaN is not JSON"), (b'{"v": -Infinity}', "-Infinity is not JSON"),
        (b'{"v": [1]}', "an array is neither a number nor text"), (b'{"v": {}}', "an object is"),
        (b'{"v": 1' + b"0" * 5_000 + b"}", "too many digits"), (b"[" * 100_000, "nested too deep"),
        (b'{"v":' * 10_000, "nested too deep"),
        (b'"' + b" " * DOCUMENT_BYTES_MAX + b'"', "it may have 4,194,304"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_json(payload)


def test_depth_is_refused_before_it_runs_the_interpreter_out_of_stack() -> None:
    flat = b'{"v": 2, "w": [' + b",".join([b"[1]"] * 1_000) + b"]}"
    deepest = b'{"v": 2, "w": ' + b"[" * (NESTED_MAX - 1) + b"]" * (NESTED_MAX - 1) + b"}"
    assert values(read_json(flat)) == values(read_json(deepest)) == [2]
    with pytest.raises(Unreadable, match="nested too deep"):
        read_json(deepest.replace(b"[", b"[[", 1).replace(b"]", b"]]", 1))


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert values(read_json(b'{"v": 1, "v": 2}')) == [2]


def test_samples_have_their_own_value_time_and_quality_or_else_the_documents() -> None:
    found = read_json(
        b'{"ts": 5, "q": "bad", "u": "kN", "d": [{"v": 1, "ts": 7}, {"v": 2, "q": 192}, {"v": 3}]}',
        samples="d", time="ts", quality="q", unit="u",
    )  # fmt: skip
    assert values(found) == [1, 2, 3]
    assert times(found) == [7 * MS, 5 * MS, 5 * MS]
    assert [one.status for one in found.taken] == [BAD, GOOD, BAD]
    assert {one.unit for one in found.taken} == {"kN"}


def test_a_broken_sample_is_counted_and_the_others_are_taken() -> None:
    payload = b'[{"v": 1, "t": 1}, {"w": 2, "t": 2}, 3, {"v": 4, "t": null}, {"v": 5, "t": 5}]'
    found = read_json(payload, samples="", time="t")
    assert values(found) == [1, 5]
    assert (found.unreadable, found.reason) == (3, "sample 2: no field 'v'")


def test_samples_may_be_arrays_themselves() -> None:
    found = read_json(b'{"d": [[7, 1.5], [8, 2.5], [9]]}', samples="d", value="[1]", time="[0]")
    assert (values(found), times(found), found.unreadable) == ([1.5, 2.5], [7 * MS, 8 * MS], 1)


def test_an_empty_array_of_samples_is_nothing_and_no_array_is_unreadable() -> None:
    found = read_json(b'{"d": []}', samples="d")
    assert (found.taken, found.unreadable) == ([], 0)
    for payload in (b'{"d": 5}', b'{"e": []}'):
        with pytest.raises(Unreadable):
            read_json(payload, samples="d")


def test_a_payload_may_name_the_signal_of_each_sample() -> None:
    payload = b"""{"line": "a", "d": [{"id": "heat", "v": 1}, {"id": 40001, "v": 2}, {"v": 3},
        {"id": true, "v": 4}, {"id": null, "v": 5}]}"""
    found = read_json(payload, samples="d", signal="id")
    assert [(one.signal, one.value) for one in found.taken] == [("heat", 1), ("40001", 2)]
    assert found.unreadable == 3
    found = read_json(payload, samples="d", signal="line")
    assert {one.signal for one in found.taken} == {"a"}


def test_listed_fields_are_signals_in_their_order_and_absent_ones_are_passed_over() -> None:
    layout: dict[str, Any] = {"fields": ("b", "a.x", "c", "d"), "time": "ts"}
    found = read_json(b'{"ts": 5, "a": {"x": 1}, "b": null, "d": [1]}', **layout)
    assert [(one.signal, one.value) for one in found.taken] == [("b", None), ("a.x", 1)]
    assert [one.status for one in found.taken] == [BAD, GOOD]
    assert (found.unreadable, found.reason) == (1, "d: an array is neither a number nor text")
    with pytest.raises(Unreadable, match="none of its fields"):
        read_json(b'{"ts": 5, "z": 1}', **layout)


def test_all_fields_are_numbers_and_booleans_depth_first_without_what_says_the_time() -> None:
    payload = b"""{"m": {"on": true, "ts": 5, "d": {"e": 1}}, "name": "x", "q": 192, "n": null,
        "list": [1], "f": 2.5}"""
    found = read_json(payload, fields="*", time="m.ts", quality="q")
    taken = [(one.signal, one.value) for one in found.taken]
    assert taken == [("m.on", True), ("m.d.e", 1), ("f", 2.5)]
    assert set(times(found)) == {5 * MS}
    with pytest.raises(Unreadable, match="not an object with fields"):
        read_json(b"[1]", fields="*")


def test_consecutive_values_are_spaced_backwards_from_the_time() -> None:
    layout: dict[str, Any] = {"value": "", "samples": "d", "rate_hz": 1_000.0}
    found = read_json(b'{"ts": 100, "d": [1, [], null, 4]}', time="ts", **layout)
    assert values(found) == [1, None, 4]
    assert times(found) == [97 * MS, 99 * MS, 100 * MS]
    assert (found.unreadable, found.reason[:10]) == (1, "sample 2: ")
    assert times(read_json(b'{"d": [1, 2]}', **layout)) == [NOW_NS - MS, NOW_NS]
    with pytest.raises(Unreadable, match="before 1970"):
        read_json(b'{"ts": 1, "d": [1, 2]}', time="ts", **layout)


@pytest.mark.parametrize(
    "layout", [{"value": "", "samples": "d"}, {"value": "d"}, {"value": "d", "quality": "q"}]
)
def test_a_waveform_is_one_reading_with_its_root_mean_square(layout: dict[str, Any]) -> None:
    payload = b'{"ts": 100, "d": [3, -4, true, 9007199254740993]}'
    found = read_json(payload, "waveform", time="ts", rate_hz=1_000.0, **layout)
    [one] = found.taken
    assert one.waveform is not None
    assert one.waveform.tolist() == [3.0, -4.0, 1.0, 2.0**53]
    assert one.value == np.sqrt(np.mean(np.square(one.waveform)))
    assert (one.time_ns, one.rate_hz, one.status) == (97 * MS, 1_000.0, GOOD)
    assert found.inexact == 1


def test_a_waveform_with_a_missing_value_is_bad_and_one_with_text_is_unreadable() -> None:
    layout: dict[str, Any] = {"value": "", "samples": "", "rate_hz": 10.0}
    [one] = read_json(b"[1, null]", "waveform", **layout).taken
    assert one.waveform is not None
    assert math.isnan(one.waveform[1])
    assert (one.value, one.status) == (None, BAD)
    assert read_json(b"[]", "waveform", **layout).taken == []
    for payload in (b'[1, "2"]', b"[1, [2]]"):
        with pytest.raises(Unreadable, match="value 2: "):
            read_json(payload, "waveform", **layout)
    for payload in (b"[1, 1e999]", b"[1" + b"0" * 400 + b"]"):
        with pytest.raises(Unreadable, match="a number is too large"):
            read_json(payload, "waveform", **layout)


def test_a_payload_of_too_many_readings_is_set_aside_as_a_whole() -> None:
    many = b"[" + b"1," * READINGS_MAX + b"1]"
    with pytest.raises(Unreadable, match="more than 100,000"):
        read_json(many, samples="", value="", rate_hz=10.0)
    with pytest.raises(Unreadable, match="its 100,001 samples"):
        read_json(many, samples="")
    with pytest.raises(Unreadable, match="its 50,001 samples may have 100,000 fields in all"):
        read_json(many[: 2 * 50_001] + b"]", samples="", fields=("a", "b"))
    with pytest.raises(Unreadable, match="more than 100,000"):
        read_json(b'[%s{"a":1,"b":2}]' % (b'{"a":1,"b":2},' * 50_000), samples="", fields="*")


LAYOUTS = [
    {"value": "v", "time": "t", "time_unit": "auto", "quality": "q", "unit": "u", "signal": "s"},
    {"value": "v[0].v"}, {"value": "v", "samples": "d", "time": "t"}, {"fields": "*", "time": "t"},
    {"fields": ("v", "d.v"), "samples": ""}, {"value": "", "samples": "d", "rate_hz": 0.001},
    {"value": "d", "rate_hz": 5.0},
]  # fmt: skip
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["v", "t", "q", "u", "s", "d"]), inner, max_size=6)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["analog", "waveform"])
def test_any_document_and_any_bytes_are_read_or_refused(layout: Any, kind: Any) -> None:
    take = reader(PayloadConfig.model_validate({"json": layout}), kind)

    @given(DOCUMENTS.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=50))
    def claim(payload: bytes) -> None:
        with suppress(Unreadable):
            found = take(payload, NOW_NS)
            assert (found.unreadable > 0) == bool(found.reason)
            for one in found.taken:
                assert one.time_ns is None or 0 < one.time_ns < 2**63
                assert one.value is not None or one.status >= BAD
                for convert in (as_number, as_text):
                    with suppress(Unreadable):
                        convert(one.value)

    claim()
