"""Damaged answers: a WireError or columns that asyncua's decoder would give, and nothing else.

`ANDON_FUZZ_MINUTES=5` runs the random part for so long instead of over the suite's few thousand,
each time from another seed, which is said when it fails.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.signals import Kind
from agent.sources.opcua import fallback
from agent.sources.opcua.wire import Decoder, Items, WireError, history, publication, republication
from tests.agent.kernels.opcua import written

TYPE = ua.VariantType
TIME: Any = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
RECEIVED_NS: Final = 1_800_000_000_000_000_000
KINDS: Final[tuple[Kind, ...]] = ("analog", "text", "waveform")
CASES: Final = 3_000
SLOW_S: Final = 2.0
"""No message here is long enough to take a tenth of it, the machine's own pauses included."""

NODE_IDS: Final = ("ns=2;i=1", "ns=3;s=a", f"ns=4;g={UUID(int=1)}")
SCALARS: Final[dict[ua.VariantType, Any]] = {
    TYPE.Boolean: st.booleans(),
    TYPE.SByte: st.integers(-(2**7), 2**7 - 1),
    TYPE.Byte: st.integers(0, 2**8 - 1),
    TYPE.Int16: st.integers(-(2**15), 2**15 - 1),
    TYPE.UInt16: st.integers(0, 2**16 - 1),
    TYPE.Int32: st.integers(-(2**31), 2**31 - 1),
    TYPE.UInt32: st.integers(0, 2**32 - 1),
    TYPE.Int64: st.integers(-(2**63), 2**63 - 1),
    TYPE.UInt64: st.integers(0, 2**64 - 1),
    TYPE.Float: st.floats(width=32),
    TYPE.Double: st.floats(),
    TYPE.String: st.sampled_from(["", "runs", "stopped", "läuft", "单元"]) | st.text(max_size=9),
    TYPE.DateTime: st.datetimes(datetime(1601, 1, 1), datetime(9999, 1, 1)),
    TYPE.Guid: st.uuids(),
    TYPE.ByteString: st.binary(max_size=9),
    TYPE.NodeId: st.sampled_from([ua.NodeId.from_string(text) for text in NODE_IDS]),
    TYPE.StatusCode: st.sampled_from([ua.StatusCode(ua.UInt32(0x808C_0000)), ua.StatusCode()]),
    TYPE.QualifiedName: st.builds(ua.QualifiedName, st.text(max_size=9), st.integers(0, 9)),
    TYPE.LocalizedText: st.builds(
        ua.LocalizedText, st.text(max_size=9) | st.none(), st.sampled_from(["de", None])
    ),
    TYPE.ExtensionObject: st.sampled_from([ua.EUInformation("urn:x", 1), ua.Range(0, 1), None]),
}
VARIANTS: Final = st.one_of(
    st.just(ua.Variant(None, TYPE.Null)),
    *[st.builds(ua.Variant, values, st.just(t)) for t, values in SCALARS.items()],
    *[
        st.builds(ua.Variant, st.lists(values, max_size=4), st.just(t), is_array=st.just(True))
        for t, values in SCALARS.items()
    ],
)
# Not both picoseconds and a server time: asyncua has their order from the bits, not the standard.
VALUES: Final = st.one_of(
    st.builds(
        ua.DataValue, VARIANTS, st.sampled_from([ua.StatusCode(), ua.StatusCode(ua.UInt32(0x480))]),
        st.sampled_from([TIME, None]), st.sampled_from([TIME, None]),
    ),
    st.builds(
        ua.DataValue, VARIANTS, SourceTimestamp=st.just(TIME),
        SourcePicoseconds=st.integers(0, 65_535),
    ),
)  # fmt: skip


def answers(values: list[tuple[int, ua.DataValue]]) -> tuple[bytes, bytes, bytes]:
    """A publication, the same sent again, and a history of these values."""
    change = ua.DataChangeNotification(
        MonitoredItems=[ua.MonitoredItemNotification(*one) for one in values]
    )
    events = ua.EventNotificationList([ua.EventFieldList(3, [value.Value for _, value in values])])
    message = ua.NotificationMessage(9, TIME, [change, events, change])
    result = ua.PublishResult(7, [4, 5], False, message, [ua.StatusCode()])
    data = ua.HistoryData([value for _, value in values])
    return (
        struct_to_binary(ua.PublishResponse(Parameters=result)),
        struct_to_binary(ua.RepublishResponse(NotificationMessage=message)),
        struct_to_binary(ua.HistoryReadResponse(Results=[ua.HistoryReadResult(HistoryData=data)])),
    )


def decoder() -> Decoder:
    made = Decoder()
    made.add(KINDS)
    return made


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=8))
def test_columns_hold_what_asyncuas_decoder_says(values: list[tuple[int, ua.DataValue]]) -> None:
    body = answers(values)[0]
    items = decoder().items([publication(body)], RECEIVED_NS)
    response = struct_from_binary(ua.PublishResponse, Buffer(body))
    sent = [
        item
        for notification in response.Parameters.NotificationMessage.NotificationData
        if isinstance(notification, ua.DataChangeNotification)
        for item in notification.MonitoredItems
    ]
    known = [item for item in sent if item.ClientHandle < len(KINDS)]
    assert items.strangers == len(sent) - len(known)
    assert items.handle.tolist() == [item.ClientHandle for item in known]
    assert items.status.tolist() == [item.Value.StatusCode.value for item in known]
    blocks = dict(items.waveforms)
    for row, item in enumerate(known):
        value = item.Value.Value.Value
        kind = KINDS[item.ClientHandle]
        index = items.value[row]
        if kind == "text":
            said = None if math.isnan(index) else items.texts[int(index)]
            assert said == fallback.text(value)
        elif kind == "waveform":
            wanted, block = fallback.block(value), blocks.get(row)
            assert (wanted is None) == (block is None)
            if block is not None and wanted is not None:
                assert np.array_equal(block, wanted, equal_nan=True)
        else:
            assert np.array_equal(index, fallback.number(value), equal_nan=True)
        assert items.time_ns[row] == time_of(item.Value, response)


def time_of(value: ua.DataValue, response: ua.PublishResponse) -> int:
    """The time of a sample by asyncua's decoder, with the picoseconds of its source."""
    source_ns = fallback.time_ns(value.SourceTimestamp)
    if source_ns is not None:
        return source_ns + min(value.SourcePicoseconds or 0, 9_999) // 100
    server_ns = fallback.time_ns(value.ServerTimestamp)
    return server_ns or fallback.time_ns(response.Parameters.NotificationMessage.PublishTime) or 0


def taken(body: bytes, read: Decoder) -> list[Items]:
    """What any of the readers makes of these bytes; they may only refuse."""
    found = []
    readers: list[Callable[[], list[Items]]] = [
        lambda: [read.items([publication(body)], RECEIVED_NS)],
        lambda: [read.items([republication(body, 1)] * 2, RECEIVED_NS)],
        lambda: [read.values(part, body, 1) for part in history(body)],
    ]
    for one in readers:
        with suppress(WireError):
            found += one()
    return found


def check(body: bytes, read: Decoder) -> None:
    started_s = time.monotonic()
    for items in taken(body, read):
        n = len(items)
        assert n <= 2 * len(body)
        assert (items.handle < len(KINDS)).all()
        assert (items.time_ns > 0).all()
        texts = items.value[items.handle == 1]
        assert (np.isnan(texts) | ((texts >= 0) & (texts < max(len(items.texts), 1)))).all()
        assert sum(len(block) for _, block in items.waveforms) <= 2 * len(body)
    assert time.monotonic() - started_s < SLOW_S


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=5), st.data())
def test_damaged_answers_are_read_or_refused(
    values: list[tuple[int, ua.DataValue]], draw: Any
) -> None:
    read = decoder()
    for body in answers(values):
        check(written.changed(body, draw.draw(written.changes())), read)


HARMFUL: Final = (
    b"", b"\x00", b"\xff", b"\x7f", b"\x80", b"\x16", b"\x17", b"\x18", b"\x98", b"\xc0", b"\xcb",
    b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80",
    b"\x00\x00\x00\x40", b"\x05\x00\x00\x00", b"\x01\x00\x2b\x03\x01\xff\xff\xff\xff",
    b"\x16\x01\x00\x79\x03\x01\xff\xff\xff\xff", b"\x18" * 150, b"\x17\x01" * 80,
)  # fmt: skip


def damaged(seed: int) -> Iterator[bytes]:
    """Bodies of all kinds, with a few places changed, for ever."""
    chance = random.Random(seed)  # noqa: S311
    bodies = [body for size in (1, 4, 30) for body in answers(list(some_values(size)))]
    while True:
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(5):
                case 0:
                    del body[at : at + chance.choice((1, 4, 9, 1_000))]
                case 1:
                    body[at:at] = chance.choice(HARMFUL)
                case 2:
                    other = chance.choice(bodies)
                    start = chance.randrange(len(other))
                    body[at:at] = other[start : start + chance.randint(1, 40)]
                case _:
                    new = chance.choice((*HARMFUL, chance.randbytes(chance.randint(1, 8))))
                    body[at : at + len(new)] = new
        yield bytes(body)


def some_values(size: int) -> Iterator[tuple[int, ua.DataValue]]:
    sent: list[tuple[Any, ua.VariantType]] = [
        (1.5, TYPE.Double), ("runs", TYPE.String), ([1.0, 2.0, 3.0], TYPE.Double),
        (2**60, TYPE.Int64), (ua.LocalizedText("läuft", "de"), TYPE.LocalizedText),
        ([1, 2, 3], TYPE.Int16), (ua.EUInformation("urn:x", 1), TYPE.ExtensionObject),
        (TIME, TYPE.DateTime), (["a", "b"], TYPE.String), (b"abc", TYPE.ByteString),
        ([[1.0, 2.0], [3.0, 4.0]], TYPE.Double), (ua.NodeId.from_string("ns=3;s=a"), TYPE.NodeId),
        ([ua.Variant(1.0), ua.Variant("x")], TYPE.Variant), (True, TYPE.Boolean),
        (ua.DataValue(ua.Variant(2.0)), TYPE.DataValue),
        (ua.QualifiedName("q"), TYPE.QualifiedName),
    ]  # fmt: skip
    for number in range(size):
        value, variant_type = sent[number * 5 % len(sent)]
        yield number % 4, ua.DataValue(ua.Variant(value, variant_type), SourceTimestamp=TIME)


@pytest.mark.timeout(0)
def test_thousands_of_damaged_answers_are_read_or_refused() -> None:
    minutes = float(os.environ.get("ANDON_FUZZ_MINUTES", "0"))
    seed = time.time_ns() if minutes else 20_260_731
    until_s = time.monotonic() + 60 * minutes
    read = decoder()
    count = 0
    for body in damaged(seed):
        try:
            check(body, read)
        except Exception as error:
            raise AssertionError(f"seed {seed}, body {count:,}: {body.hex()}") from error
        count += 1
        if count >= CASES and time.monotonic() >= until_s:
            break
    print(f"{count:,} damaged answers from seed {seed}")
