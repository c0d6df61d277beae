"""Values, times and statuses of items, by what their signals are."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.sources.opcua.wire import Decoder, publication
from tests.agent.kernels.opcua.written import string
from tests.agent.sources.opcua.wire.sent import (
    BAD_SENSOR,
    LONG_AGO,
    RECEIVED_NS,
    TIME,
    TIME_NS,
    TYPE,
    change,
    data_value,
    message,
    of_items,
    published,
    read,
    read_one,
    text_of,
    variant,
)

EXPANDED: Any = ua.ExpandedNodeId(
    ua.Int32(3), ua.Int16(1), NamespaceUri=ua.String("urn:x"), ServerIndex=ua.Int32(2)
)
NUMBERS: list[tuple[ua.VariantType, Any, float]] = [
    (TYPE.Boolean, True, 1.0),
    (TYPE.Boolean, False, 0.0),
    (TYPE.SByte, -7, -7.0),
    (TYPE.Byte, 200, 200.0),
    (TYPE.Int16, -300, -300.0),
    (TYPE.UInt16, 60_000, 60_000.0),
    (TYPE.Int32, -70_000, -70_000.0),
    (TYPE.UInt32, 4_000_000_000, 4e9),
    (TYPE.Int64, -(2**53), -(2.0**53)),
    (TYPE.UInt64, 2**64 - 1, float(2**64 - 1)),
    (TYPE.Float, 0.5, 0.5),
    (TYPE.Float, -math.inf, -math.inf),
    (TYPE.Double, 0.1, 0.1),
    (TYPE.Double, math.nan, math.nan),
    (TYPE.StatusCode, ua.StatusCode(ua.UInt32(BAD_SENSOR)), float(BAD_SENSOR)),
    (TYPE.DateTime, TIME, TIME_NS / 1e9),
    (TYPE.DateTime, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), -1.0),
    (TYPE.DateTime, LONG_AGO, math.nan),
    (TYPE.DateTime, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), math.nan),
    (TYPE.String, "12", math.nan),
    (TYPE.String, None, math.nan),
    (TYPE.Double, [1.0, 2.0], math.nan),
    (TYPE.ByteString, b"ab", math.nan),
    (TYPE.Guid, UUID(int=1), math.nan),
    (TYPE.NodeId, ua.NodeId.from_string("ns=2;s=a"), math.nan),
    (TYPE.ExpandedNodeId, EXPANDED, math.nan),
    (TYPE.QualifiedName, ua.QualifiedName("x", 1), math.nan),
    (TYPE.LocalizedText, ua.LocalizedText("x"), math.nan),
    (TYPE.DiagnosticInfo, ua.DiagnosticInfo(), math.nan),
    (TYPE.Null, None, math.nan),
]


@pytest.mark.parametrize(("variant_type", "sent", "value"), NUMBERS)
def test_a_number_signal_gets_numbers_and_nothing_else(
    variant_type: ua.VariantType, sent: Any, value: float
) -> None:
    items = read_one(data_value(sent, variant_type))
    assert items.value.tolist() == pytest.approx([value], rel=0, abs=0, nan_ok=True)
    assert (items.texts, items.waveforms, items.fallbacks) == ((), (), 0)


TEXTS: list[tuple[ua.VariantType, Any, str | None]] = [
    (TYPE.String, "unit 7 \u5355\u5143", "unit 7 \u5355\u5143"),
    (TYPE.String, "", ""),
    (TYPE.String, None, None),
    (TYPE.String, "x" * 10_000, "x" * 10_000),
    (TYPE.String, "x" * 10_001, None),
    (TYPE.String, b"\xe4\xff".decode(errors="surrogateescape"), "\ufffd\ufffd"),
    (TYPE.String, ["a", "b"], None),
    (TYPE.LocalizedText, ua.LocalizedText("l\u00e4uft", "de"), "l\u00e4uft"),
    (TYPE.LocalizedText, ua.LocalizedText("runs"), "runs"),
    (TYPE.LocalizedText, ua.LocalizedText(None, "de"), None),
    (TYPE.LocalizedText, ua.LocalizedText(None), None),
    (TYPE.QualifiedName, ua.QualifiedName("name", 3), "name"),
    (TYPE.Guid, UUID(int=0x1234), str(UUID(int=0x1234))),
    (TYPE.DateTime, TIME, "2026-01-02T03:04:05.678901Z"),
    (TYPE.DateTime, TIME.replace(microsecond=0), "2026-01-02T03:04:05Z"),
    (TYPE.DateTime, LONG_AGO, None),
    (TYPE.StatusCode, ua.StatusCode(ua.UInt32(BAD_SENSOR)), "BadSensorFailure (0x808C0000)"),
    (TYPE.Int32, 7, "7"),
    (TYPE.UInt64, 2**64 - 1, str(2**64 - 1)),
    (TYPE.Boolean, True, "true"),
    (TYPE.Boolean, False, "false"),
    (TYPE.Double, 0.1, "0.1"),
    (TYPE.ByteString, b"ab", None),
    (TYPE.NodeId, ua.NodeId.from_string("ns=2;s=a"), None),
    (TYPE.Null, None, None),
]


@pytest.mark.parametrize(("variant_type", "sent", "text"), TEXTS)
def test_a_text_signal_gets_what_can_be_said_in_words(
    variant_type: ua.VariantType, sent: Any, text: str | None
) -> None:
    items = read_one(data_value(sent, variant_type), "text")
    assert text_of(items) == text
    assert items.fallbacks == 0


def test_an_xml_element_is_its_text() -> None:
    items = read(of_items(variant(b"\x10" + string(b"<a/>"))), ["text"])
    assert text_of(items) == "<a/>"


def test_a_text_is_made_once_however_often_it_was_sent() -> None:
    sent = [(i % 3, data_value(f"state {i % 2}", TYPE.String)) for i in range(300)]
    items = read(published(change(*sent)), ["text"] * 3)
    assert items.texts == ("state 0", "state 1")
    assert [items.texts[int(i)] for i in items.value] == [f"state {i % 2}" for i in range(300)]


def test_a_text_that_is_too_long_leaves_the_others_as_they_are() -> None:
    sent = ["a", "x" * 20_000, "b", "x" * 20_000]
    body = published(change(*[(0, data_value(text, TYPE.String)) for text in sent]))
    items = read(body, ["text"])
    said = [None if math.isnan(i) else items.texts[int(i)] for i in items.value]
    assert said == ["a", None, "b", None]


BLOCKS: list[tuple[ua.VariantType, list[Any]]] = [
    (TYPE.Boolean, [True, False]),
    (TYPE.SByte, [-1, 2]),
    (TYPE.UInt16, [1, 65_535]),
    (TYPE.Int64, [-(2**62), 3]),
    (TYPE.UInt64, [2**63, 3]),
    (TYPE.Float, [0.5, -2.0]),
    (TYPE.Double, [3.0, -4.0]),
]


@pytest.mark.parametrize(("variant_type", "sent"), BLOCKS)
def test_a_waveform_signal_gets_the_block_and_its_root_mean_square(
    variant_type: ua.VariantType, sent: list[Any]
) -> None:
    items = read_one(data_value(sent, variant_type), "waveform")
    ((row, block),) = items.waveforms
    assert (row, block.tolist()) == (0, [float(one) for one in sent])
    assert block.dtype == np.float64
    wanted = math.sqrt(sum(float(one) ** 2 for one in sent) / len(sent))
    assert items.value.tolist() == pytest.approx([wanted])
    assert items.inexact == sum(isinstance(one, int) and abs(one) > 2**53 for one in sent)


@pytest.mark.parametrize(
    "value",
    [
        ua.Variant(1.0, TYPE.Double),
        ua.Variant([], TYPE.Double),
        ua.Variant(None, TYPE.Double, is_array=True),
        ua.Variant(["a"], TYPE.String),
        ua.Variant([[1.0, 2.0], [3.0, 4.0]], TYPE.Double),
    ],
)
def test_what_is_no_block_of_numbers_is_no_waveform(value: ua.Variant) -> None:
    items = read_one(ua.DataValue(value, SourceTimestamp=TIME), "waveform")
    assert math.isnan(items.value[0])
    assert items.waveforms == ()


def test_an_array_whose_one_dimension_is_told_is_a_waveform() -> None:
    raw = b"\xcb" + struct.pack("<idd", 2, 1.0, 1.0) + struct.pack("<ii", 1, 2)
    items = read(of_items(variant(raw)), ["waveform"])
    assert [block.tolist() for _, block in items.waveforms] == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("parts", "time_ns"),
    [
        ({"SourceTimestamp": TIME}, TIME_NS),
        ({"SourceTimestamp": TIME, "ServerTimestamp": LONG_AGO}, TIME_NS),
        ({"SourceTimestamp": None, "ServerTimestamp": TIME}, TIME_NS),
        ({"SourceTimestamp": LONG_AGO, "ServerTimestamp": TIME}, TIME_NS),
        ({"SourceTimestamp": TIME, "SourcePicoseconds": ua.UInt16(9_900)}, TIME_NS + 99),
        ({"SourceTimestamp": TIME, "SourcePicoseconds": ua.UInt16(60_000)}, TIME_NS + 99),
        ({"SourceTimestamp": None}, TIME_NS + 1_000_000_000),
    ],
)
def test_the_time_is_the_sources_else_the_servers_else_the_publications(
    parts: dict[str, Any], time_ns: int
) -> None:
    whole = message(change((0, data_value(1.0, **parts))))
    whole.PublishTime = TIME + timedelta(seconds=1)
    result = ua.PublishResult(7, NotificationMessage=whole)
    items = read(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert items.time_ns.tolist() == [time_ns]


def test_what_has_no_time_at_all_has_that_of_its_reception() -> None:
    whole = message(change((0, data_value(1.0, SourceTimestamp=None))))
    whole.PublishTime = LONG_AGO
    result = ua.PublishResult(7, NotificationMessage=whole)
    one = publication(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert one.published_ns == 0
    decoder = Decoder()
    decoder.add(["analog"])
    assert decoder.items([one], RECEIVED_NS).time_ns.tolist() == [RECEIVED_NS]


def test_picoseconds_lie_behind_their_own_time_as_the_standard_says() -> None:
    ticks = TIME_NS // 100 + 116_444_736_000_000_000
    tail = struct.pack("<QHQH", ticks, 100, ticks + 70, 200)
    items = read(of_items(struct.pack("<IB", 0, 0x3D) + b"\x03\x07" + tail))
    assert (items.value.tolist(), items.time_ns.tolist()) == ([7.0], [TIME_NS + 1])


@pytest.mark.parametrize("code", [0, BAD_SENSOR, 0x4094_0000, 0xFFFF_FFFF])
def test_a_status_travels_unchanged_beside_its_value(code: int) -> None:
    items = read_one(ua.DataValue(ua.Variant(1.0), ua.StatusCode(ua.UInt32(code))))
    assert (items.status.tolist(), items.value.tolist()) == ([code], [1.0])


def test_a_status_without_a_value_is_nan() -> None:
    items = read(of_items(struct.pack("<IBI", 0, 2, BAD_SENSOR)))
    assert (items.status.tolist(), math.isnan(items.value[0])) == ([BAD_SENSOR], True)


def test_only_the_overflow_bit_of_a_data_value_counts_as_overflow() -> None:
    codes = [0x480, 0x4094_0480, 0x80, 0x400, 0x880, 0xC80]
    sent = [(0, ua.DataValue(ua.Variant(1.0), ua.StatusCode(ua.UInt32(code)))) for code in codes]
    assert read(published(change(*sent))).overflowed == 2


def test_integers_that_a_float_may_not_hold_are_counted() -> None:
    sent = [2**53, -(2**53), 2**53 + 1, -(2**53) - 1]
    body = published(
        change(*[(0, data_value(value, TYPE.Int64)) for value in sent]),
        change((0, data_value(2**64 - 1, TYPE.UInt64))),
    )
    assert read(body).inexact == 3


def test_a_handle_that_was_never_given_is_left_out_and_counted() -> None:
    sent = [(handle, data_value(float(handle))) for handle in (0, 5, 1, 2**32 - 1)]
    items = read(published(change(*sent)), ["analog", "analog"])
    assert (items.handle.tolist(), items.strangers) == ([0, 1], 2)
