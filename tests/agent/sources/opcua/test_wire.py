"""Answers of a server, as asyncua encodes them, to what they say and to columns."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.signals import Kind
from agent.sources.opcua.wire import (
    Decoder,
    Items,
    Publication,
    WireError,
    history,
    publication,
    republication,
)
from tests.agent.kernels.opcua.written import string

TYPE = ua.VariantType
TIME = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
TIME_NS = 1_767_323_045_678_901_000
RECEIVED_NS = TIME_NS + 10**9
BAD_SENSOR = 0x808C_0000
LONG_AGO = datetime(1601, 1, 1, tzinfo=UTC)

Sent = tuple[int, ua.DataValue]


def data_value(
    value: Any, variant_type: ua.VariantType = TYPE.Double, **parts: Any
) -> ua.DataValue:
    parts.setdefault("SourceTimestamp", TIME)
    return ua.DataValue(ua.Variant(value, variant_type), **parts)


def change(*sent: Sent) -> ua.DataChangeNotification:
    return ua.DataChangeNotification(
        MonitoredItems=[ua.MonitoredItemNotification(handle, value) for handle, value in sent]
    )


def message(*notifications: Any) -> ua.NotificationMessage:
    return ua.NotificationMessage(9, TIME, list(notifications))


def published(*notifications: Any, **parts: Any) -> bytes:
    parts.setdefault("MoreNotifications", False)
    result = ua.PublishResult(7, NotificationMessage=message(*notifications), **parts)
    body: bytes = struct_to_binary(ua.PublishResponse(Parameters=result))
    return body


def variant(raw: bytes, tail: bytes = b"") -> bytes:
    """An item of handle 0 as its Variant's bytes, and what follows that."""
    mask = 1 | (2 if tail else 0)
    return struct.pack("<IB", 0, mask) + raw + tail


def of_items(*items: bytes) -> bytes:
    """A publication of items as bytes, published at TIME."""
    body = struct.pack("<i", len(items)) + b"".join(items) + b"\xff\xff\xff\xff"
    whole = published(change((0, data_value(1.0))))
    head, _ = whole.split(b"\x01\x00\x2b\x03\x01")
    return head + b"\x01\x00\x2b\x03\x01" + string(body) + bytes(8)


def read(body: bytes, kinds: Sequence[Kind] = ("analog",)) -> Items:
    decoder = Decoder()
    decoder.add(kinds)
    return decoder.items([publication(body)], RECEIVED_NS)


def read_one(value: ua.DataValue, kind: Kind = "analog") -> Items:
    return read(published(change((0, value))), [kind])


def text_of(items: Items) -> str | None:
    (value,) = items.value.tolist()
    return None if math.isnan(value) else items.texts[int(value)]


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
    (TYPE.NodeId, ua.NodeId("a", 2), math.nan),
    (TYPE.ExpandedNodeId, ua.ExpandedNodeId(3, 1, NamespaceUri="urn:x", ServerIndex=2), math.nan),
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
    (TYPE.NodeId, ua.NodeId("a", 2), None),
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
    assert (row, block.tolist(), block.dtype) == (0, [float(one) for one in sent], np.float64)
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


def test_the_envelope_says_what_the_server_said() -> None:
    events = ua.EventNotificationList([ua.EventFieldList(3, [ua.Variant("x")])])
    body = published(
        change((0, data_value(1.0)), (0, data_value(2.0))), events,
        ua.StatusChangeNotification(ua.StatusCode(ua.UInt32(0x800A_0000))),
        ua.EUInformation(), change((0, data_value(3.0))), None,
        AvailableSequenceNumbers=[4, 5, 9], MoreNotifications=True,
        Results=[ua.StatusCode(), ua.StatusCode(ua.UInt32(0x807A_0000))],
    )  # fmt: skip
    one = publication(body)
    assert (one.subscription, one.sequence, one.more) == (7, 9, True)
    assert one.available == (4, 5, 9)
    assert one.results == (0, 0x807A_0000)
    assert (one.published_ns, one.status, one.unknown) == (TIME_NS, 0x800A_0000, 2)
    assert (len(one.data), one.items, one.detours) == (2, 3, ())
    assert [body[start:end] for start, end in one.events] == [struct_to_binary(events)]
    decoder = Decoder()
    decoder.add(["analog"])
    assert decoder.items([one], RECEIVED_NS).value.tolist() == [1.0, 2.0, 3.0]


def test_more_notifications_than_expected_are_all_found() -> None:
    one = publication(published(*[change((0, data_value(float(i)))) for i in range(50)]))
    assert (len(one.data), one.items) == (50, 50)


def test_a_keep_alive_has_no_items() -> None:
    one = publication(published())
    assert (one.data, one.items, one.status) == ((), 0, None)
    assert len(Decoder().items([one], RECEIVED_NS)) == 0


def test_a_message_sent_again_is_read_like_the_first() -> None:
    again = ua.RepublishResponse(NotificationMessage=message(change((0, data_value(4.0)))))
    one = republication(struct_to_binary(again), 7)
    assert (one.subscription, one.sequence, one.published_ns) == (7, 9, TIME_NS)
    decoder = Decoder()
    decoder.add(["analog"])
    assert decoder.items([one], RECEIVED_NS).value.tolist() == [4.0]


def test_several_publications_are_read_in_order_each_with_its_own_time() -> None:
    decoder = Decoder()
    decoder.add(["analog", "text", "waveform"])
    ones: list[Publication] = []
    for number in range(3):
        whole = message(
            change(
                (0, data_value(float(number), SourceTimestamp=None)),
                (1, data_value(f"text {number // 2}", TYPE.String)),
                (2, data_value([float(number)] * 2)),
            )
        )
        whole.PublishTime = TIME + timedelta(seconds=number)
        result = ua.PublishResult(7, NotificationMessage=whole)
        ones.append(publication(struct_to_binary(ua.PublishResponse(Parameters=result))))
    items = decoder.items(ones, RECEIVED_NS)
    assert items.handle.tolist() == [0, 1, 2] * 3
    assert items.value.tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 2.0]
    assert items.time_ns[::3].tolist() == [TIME_NS + i * 10**9 for i in range(3)]
    assert items.texts == ("text 0", "text 1")
    assert [(row, block.tolist()) for row, block in items.waveforms] == [
        (2, [0.0, 0.0]), (5, [1.0, 1.0]), (8, [2.0, 2.0]),
    ]  # fmt: skip
    later = decoder.items(ones[:1], RECEIVED_NS)
    assert len(later) == 3
    assert items.value.tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 2.0]


def test_nothing_to_read_is_nothing_read() -> None:
    assert len(Decoder().items([], RECEIVED_NS)) == 0


def history_of(*results: ua.HistoryReadResult) -> bytes:
    body: bytes = struct_to_binary(ua.HistoryReadResponse(Results=list(results)))
    return body


def test_a_history_is_read_part_by_part() -> None:
    values = [data_value(float(i), SourceTimestamp=TIME + timedelta(seconds=i)) for i in range(3)]
    good = ua.HistoryReadResult(ua.StatusCode(), b"more", ua.HistoryData(values))
    none = ua.HistoryReadResult(ua.StatusCode(ua.UInt32(0x8034_0000)))
    changed = ua.HistoryModifiedData(values[:1], [ua.ModificationInfo()])
    body = history_of(good, none, *[ua.HistoryReadResult(HistoryData=changed)] * 9)
    parts = history(body)
    assert len(parts) == 11
    assert [(part.status, part.continuation) for part in parts[:2]] == [
        (0, b"more"), (0x8034_0000, b""),
    ]  # fmt: skip
    decoder = Decoder()
    decoder.add(["analog", "analog"])
    items = decoder.values(parts[0], body, 1)
    assert items.handle.tolist() == [1, 1, 1]
    assert items.time_ns.tolist() == [TIME_NS + i * 10**9 for i in range(3)]
    assert len(decoder.values(parts[1], body, 1)) == 0
    assert decoder.values(parts[10], body, 0).value.tolist() == [0.0]


def test_a_value_of_a_history_without_a_time_is_left_out_and_counted() -> None:
    values = [data_value(1.0), data_value(2.0, SourceTimestamp=None)]
    body = history_of(ua.HistoryReadResult(HistoryData=ua.HistoryData(values)))
    decoder = Decoder()
    decoder.add(["analog"])
    items = decoder.values(history(body)[0], body, 0)
    assert (items.value.tolist(), items.timeless) == ([1.0], 1)


def test_a_part_of_another_body_is_refused() -> None:
    body = history_of(ua.HistoryReadResult(HistoryData=ua.HistoryData([data_value(1.0)] * 9)))
    (part,) = history(body)
    decoder = Decoder()
    decoder.add(["analog"])
    for other in (b"", body[:-30], b"\xff" * len(body)):
        with pytest.raises(WireError):
            decoder.values(part, other, 0)


@pytest.mark.parametrize("cut", ["publish", "republish", "history"])
def test_whatever_is_cut_short_is_refused_and_said_where(cut: str) -> None:
    items = [
        (0, data_value(1.0)), (1, data_value("text", TYPE.String)), (2, data_value([1.0, 2.0])),
        (0, data_value(ua.EUInformation(), TYPE.ExtensionObject)),
    ]  # fmt: skip
    changes = change(*items)
    events = ua.EventNotificationList([ua.EventFieldList(3, [ua.Variant("x")])])
    results = [ua.HistoryReadResult(HistoryData=ua.HistoryData([value for _, value in items]))]
    body, take = {
        "publish": (published(changes, events, AvailableSequenceNumbers=[1]), publication),
        "republish": (
            struct_to_binary(ua.RepublishResponse(NotificationMessage=message(changes))),
            lambda body: republication(body, 1),
        ),
        "history": (history_of(*results), history),
    }[cut]
    take(body)
    for size in range(len(body)):
        with pytest.raises(WireError, match=r"at byte [\d,]+ of [\d,]+"):
            take(body[:size])


def test_another_answer_than_was_asked_for_is_refused() -> None:
    with pytest.raises(WireError, match="another answer"):
        publication(history_of())
