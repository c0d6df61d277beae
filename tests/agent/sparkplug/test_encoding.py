"""Payloads as bytes. What the kernels make of them is tested with the kernels."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given

from agent.sparkplug import (
    DataSet,
    DataType,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
    encode,
)
from agent.sparkplug.datatypes import ARRAY_ITEMS
from tests.agent.kernels.sparkplug import naive
from tests.agent.kernels.sparkplug.made import payloads

D = DataType


def metric_fields(metric: Metric, datatypes: bool = True) -> dict[int, Any]:
    """The fields of a metric by their numbers."""
    fields = naive.read_fields(encode(Payload(None, (metric,)), datatypes=datatypes))
    assert [tag for tag, _ in fields] == [(2, 2)]
    return {number: content for (number, _), content in naive.read_fields(fields[0][1])}


def value(datatype: D, content: Any) -> Any:
    fields = metric_fields(Metric("A", datatype, content))
    return fields[max(fields)]


def test_a_payload_is_these_bytes() -> None:
    metric = Metric("A", D.INT32, -1, 300, alias=5)
    assert encode(Payload(150, (metric,), 7)) == bytes.fromhex(
        "08 96 01"  # timestamp
        "12 10"  # a metric
        "0a 01 41"  # name
        "10 05"  # alias
        "18 ac 02"  # timestamp
        "20 03"  # datatype
        "50 ff ff ff ff 0f"  # int_value
        "18 07"  # seq
    )


def test_what_is_not_there_is_not_written() -> None:
    assert encode(Payload(None)) == b""
    assert (
        encode(Payload(None, (Metric(None, D.INT8, None),)), datatypes=False) == b"\x12\x02\x38\1"
    )


@given(payloads())
def test_metrics_are_written_in_order_and_whole(payload: Payload) -> None:
    message = naive.read(encode(payload))
    assert message.metrics is not None
    assert message.timestamp_ms == (payload.timestamp_ms or 0)
    assert message.seq == (-1 if payload.seq is None else payload.seq)
    for found, metric in zip(message.metrics, payload.metrics, strict=True):
        assert found.name == (None if metric.name is None else metric.name.encode())
        assert (found.alias, found.time_ms) == (metric.alias, metric.timestamp_ms or 0)
        assert found.is_historical == metric.is_historical
        assert found.is_transient == metric.is_transient
        assert found.is_null == (metric.value is None) == (found.value is None)


def test_data_leave_the_data_type_out_if_asked_to() -> None:
    metric = Metric("A", D.DOUBLE, 1.0)
    assert metric_fields(metric)[4] == D.DOUBLE
    assert 4 not in metric_fields(metric, datatypes=False)


@pytest.mark.parametrize(
    ("datatype", "content", "field"),
    [(D.INT8, -1, (10, 2**32 - 1)), (D.UINT32, 2**32 - 1, (10, 2**32 - 1)),
     (D.INT64, -1, (11, 2**64 - 1)), (D.UINT64, 2**64 - 1, (11, 2**64 - 1)),
     (D.DATE_TIME, 5, (11, 5)), (D.FLOAT, 1.5, (12, 1.5)), (D.DOUBLE, 0.1, (13, 0.1)),
     (D.BOOLEAN, True, (14, 1)), (D.STRING, "é", (15, "é".encode())), (D.TEXT, "", (15, b"")),
     (D.UUID, "u", (15, b"u")), (D.BYTES, b"\0", (16, b"\0")), (D.FILE, b"f", (16, b"f"))],
)  # fmt: skip
def test_each_type_has_its_field(datatype: D, content: Any, field: tuple[int, Any]) -> None:
    fields = metric_fields(Metric("A", datatype, content))
    assert max(fields.items()) == field


@pytest.mark.parametrize(
    ("datatype", "content"),
    [(D.INT8, 128), (D.INT16, -32_769), (D.UINT8, -1), (D.UINT64, 2**64), (D.INT32, 1.5),
     (D.BYTES, "text"), (D.INT8_ARRAY, [128]), (D.UNKNOWN, 1), (D.PROPERTY_SET, 1)],
)  # fmt: skip
def test_a_value_that_its_type_cannot_hold_is_refused(datatype: D, content: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        value(datatype, content)


@pytest.mark.parametrize("datatype", ARRAY_ITEMS)
def test_arrays_of_numbers_are_packed_little_endian(datatype: D) -> None:
    assert value(datatype, [1, 2]) == struct.pack(f"<2{ARRAY_ITEMS[datatype]}", 1, 2)


def test_arrays_of_booleans_are_a_count_and_bits_and_of_strings_end_each_with_a_zero() -> None:
    ten = [False, False, True, True, False, True, False, False, True, True]
    assert value(D.BOOLEAN_ARRAY, ten) == b"\x0a\0\0\0\x34\xc0"
    assert value(D.STRING_ARRAY, ["ABC", "hello"]) == b"ABC\0hello\0"


def test_a_property_set_has_as_many_values_as_keys() -> None:
    inner = {"k": Property(D.STRING, "v")}
    given = {
        "Quality": Property(D.INT32, 192),
        "null": Property(D.INT8, None),
        "set": Property(D.PROPERTY_SET, inner),
        "list": Property(D.PROPERTY_SET_LIST, [inner, {}]),
    }
    fields = naive.read_fields(metric_fields(Metric("A", D.INT8, 1, properties=given))[9])
    assert [content for tag, content in fields if tag == (1, 2)] == [key.encode() for key in given]
    quality, null, nested, several = (
        naive.read_fields(content) for tag, content in fields if tag == (2, 2)
    )
    assert quality == [((1, 0), D.INT32), ((3, 0), 192)]
    assert null == [((1, 0), D.INT8), ((2, 0), 1)]
    assert [tag for tag, _ in nested] == [(1, 0), (9, 2)]
    assert [tag for tag, _ in naive.read_fields(several[1][1])] == [(1, 2), (1, 2)]


def test_a_data_set_says_its_columns_types_and_rows() -> None:
    table = DataSet({"a": D.INT16, "b": D.STRING}, [(-1, "x"), (2, None)])
    fields = naive.read_fields(value(D.DATA_SET, table))
    assert fields[:5] == [
        ((1, 0), 2), ((2, 2), b"a"), ((2, 2), b"b"), ((3, 0), D.INT16), ((3, 0), D.STRING),
    ]  # fmt: skip
    rows = [naive.read_fields(content) for tag, content in fields if tag == (4, 2)]
    assert naive.read_fields(rows[0][0][1]) == [((1, 0), 2**32 - 1)]
    assert naive.read_fields(rows[0][1][1]) == [((6, 2), b"x")]
    assert rows[1][1][1] == b""
    with pytest.raises(ValueError, match="shorter"):
        value(D.DATA_SET, DataSet({"a": D.INT8, "b": D.INT8}, [(1,)]))


def test_a_template_is_a_definition_or_an_instance_of_one() -> None:
    member = Metric("m", D.INT8, 1)
    definition = Template([member], [Parameter("p", D.INT8, 1)], None, True, "1.0")
    fields = dict(naive.read_fields(value(D.TEMPLATE, definition)))
    assert fields[1, 2] == b"1.0"
    assert fields[5, 0] == 1
    assert (4, 2) not in fields
    assert naive.read_fields(fields[3, 2]) == [((1, 2), b"p"), ((2, 0), D.INT8), ((3, 0), 1)]
    fields = dict(naive.read_fields(value(D.TEMPLATE, Template([member], (), "kind"))))
    assert fields[4, 2] == b"kind"
    assert fields[5, 0] == 0
