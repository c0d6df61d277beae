"""Payloads: the table that would read them, and only where our own decoder does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.mqtt.browse.heard import Sample
from agent.sources.mqtt.browse.shapes import Shape, shape_of

AT_NS: Final = 1_763_859_600_123_000_000
MS: Final = AT_NS // 1_000_000


def seen(payloads: Sequence[bytes | str]) -> Shape:
    raw = [one if isinstance(one, bytes) else one.encode() for one in payloads]
    return shape_of([Sample(payload, AT_NS, False) for payload in raw])


def of(*documents: Any) -> dict[str, Any]:
    """The options of `json` for these documents."""
    shape = seen([json.dumps(one) for one in documents])
    assert shape.is_sure
    found: dict[str, Any] = shape.table["json"]
    return found


@pytest.mark.parametrize("text", ["21.5", " -3 ", "1e-3", "true", "false"])
def test_a_bare_number_or_boolean_is_a_number(text: str) -> None:
    assert seen([text, "0"]).table == {"number": {}}


def test_texts_are_texts_and_numbers_that_nothing_reads_say_so() -> None:
    assert seen(["Execute", "Idle"]) == Shape('{"text": {}}', "text")
    assert "decimal comma" in seen(["21,5", "7,25"]).remark
    assert "unit behind" in seen(["21.5 °C", "7 °C"]).remark
    assert not seen(["2026-01-31", "ok then"]).remark


@pytest.mark.parametrize(
    ("document", "options"),
    [
        ({"v": 21.5, "ts": MS}, {"value": "v", "time": "ts"}),
        ({"pv": 1, "time": MS // 1000}, {"value": "pv", "time": "time", "time_unit": "s"}),
        ({"val": 1, "t": MS * 1000}, {"value": "val", "time": "t", "time_unit": "us"}),
        ({"val": 1, "ts": AT_NS}, {"value": "val", "time": "ts", "time_unit": "ns"}),
        ({"d": {"v": 1}, "at": "2026-01-31"}, {"value": "d.v", "time": "at", "time_unit": "iso"}),
        ({"v": 1, "q": "good", "uom": "bar"}, {"value": "v", "quality": "q", "unit": "uom"}),
        ({"v": 1, "quality": 192}, {"value": "v", "quality": "quality"}),
        ({"rpm": 1480}, {"value": "rpm"}),
        ({"a.b": {"v": 3}}, {"value": '["a.b"].v'}),
        ({"v": True, "id": 17}, {"value": "v"}),
    ],
)  # fmt: skip
def test_value_time_quality_and_unit_are_found_by_name_and_look(
    document: dict[str, Any], options: dict[str, Any]
) -> None:
    assert of(document, document) == options


def test_t_is_a_temperature_where_it_cannot_be_a_time_and_a_status_of_0_no_quality() -> None:
    assert of({"t": 21.5, "p": 3.1}) == {"fields": ["t", "p"]}
    assert of({"v": 1, "quality": 0}) == {"value": "v"}


def test_several_numbers_are_fields_and_texts_beside_them_are_told() -> None:
    document = {"motor": {"current": 3.1, "on": True}, "recipe": "A", "ts": MS}
    shape = seen([json.dumps(document)])
    assert shape.table == {"json": {"fields": ["motor.current", "motor.on"], "time": "ts"}}
    assert shape.remark == "its texts are not read: recipe"
    assert shape.names_signals
    values = {"temp": {"value": 1}, "press": {"value": 2, "unit": "bar"}}
    assert of(values) == {"fields": ["temp.value", "press.value"]}
    many = {f"n{number}": number for number in range(60)}
    assert of(many) == {"fields": "*"}
    assert of({"acc": [0.1, 0.2, 9.8]}) == {"fields": ["acc[0]", "acc[1]", "acc[2]"]}


def test_arrays_of_samples_are_read_with_what_stands_beside_them() -> None:
    readings = [{"v": 1.5, "t": MS}, {"v": 2.5, "t": MS + 1}]
    assert of({"seq": 7, "readings": readings}) == {
        "samples": "readings", "value": "v", "time": "t",
    }  # fmt: skip
    assert of(readings) == {"samples": "", "value": "v", "time": "t"}
    named = [{"name": "x", "value": 1}, {"name": "y", "value": 2}]
    assert of({"ts": MS, "data": named}) == {
        "samples": "data", "time": "ts", "value": "value", "signal": "name",
    }  # fmt: skip


def test_a_payload_names_its_signal_only_where_that_varies() -> None:
    a, b = {"tag": "speed", "value": 1}, {"tag": "load", "value": 2}
    assert of(a, b) == {"value": "value", "signal": "tag"}
    assert of(a, a) == {"value": "value"}


def test_arrays_of_numbers_are_waveforms_that_need_a_rate() -> None:
    wave = {"rate": 25600, "data": [0.5] * 32}
    shape = seen([json.dumps(wave)])
    assert shape.table == {"json": {"value": "data", "rate_hz": 25600}}
    assert (shape.kind, shape.is_sure) == ("waveform", True)
    assert not seen([json.dumps({"data": [0.5] * 32})]).is_sure
    assert not seen([json.dumps([0.5] * 32)]).is_sure


def test_lines_of_columns_are_csv_with_time_titles_and_separator() -> None:
    assert seen([f"{MS},20.5,OK,3", f"{MS},21,OK,"]).table == {
        "csv": {"columns": ["time", "column_2", "-", "column_4"]}
    }
    assert seen(["temp;zeit;ts\n1.5;x;2026-01-31T06:00:00Z\n2;y;2026-01-31T06:00:01Z"]).table == {
        "csv": {
            "columns": ["temp", "-", "time"], "separator": ";", "time_unit": "iso", "header": True,
        }
    }  # fmt: skip
    assert seen(["hello, world"]).kind == "text"


def test_bytes_are_only_a_beginning() -> None:
    shape = seen([bytes(range(256)), bytes(512)])
    assert (shape.kind, shape.is_sure) == ("waveform", False)
    assert "256 to 512 bytes" in shape.remark
    assert seen([b"\x1f\x8b\x08\x00", b"\x1f\x8b\xff"]).text == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.lists(st.binary(max_size=40) | JSON.map(lambda one: json.dumps(one).encode()), min_size=1)
)
def test_of_any_payloads_a_shape_is_made_that_reads_most_of_them(payloads: list[bytes]) -> None:
    shape = seen(payloads)
    if shape.is_sure:
        assert len(shape.read([Sample(one, AT_NS, False) for one in payloads[-8:]])) > 0
