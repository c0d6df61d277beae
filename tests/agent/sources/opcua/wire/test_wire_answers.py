"""Answers as a whole: what surrounds the items, several together, and what is cut short."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.sources.opcua.wire import (
    Decoder,
    Publication,
    WireError,
    history,
    publication,
    republication,
)
from tests.agent.sources.opcua.wire.sent import (
    RECEIVED_NS,
    TIME,
    TIME_NS,
    TYPE,
    change,
    data_value,
    history_of,
    message,
    published,
)


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
    for other in (b"", body[:-30], b"\x7f" * len(body)):
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
