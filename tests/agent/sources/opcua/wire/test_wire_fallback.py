"""What the kernels do not know: asyncua is asked, for that one value, and cannot do harm."""

from __future__ import annotations

import math
import struct

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import extensionobject_to_binary

from agent.sources.opcua import fallback
from agent.sources.opcua.wire import WireError, publication
from tests.agent.kernels.opcua.written import string
from tests.agent.sources.opcua.wire.sent import (
    TYPE,
    change,
    data_value,
    of_items,
    published,
    read,
    text_of,
    variant,
)

DOUBLE = b"\x0b" + struct.pack("<d", 2.5)


def test_a_structure_is_no_number_and_disturbs_no_other_item() -> None:
    structure = data_value(ua.EUInformation("urn:x", 1), TYPE.ExtensionObject)
    sent = [(0, data_value(1.0)), (0, structure), (0, data_value(3.0))]
    items = read(published(change(*sent)))
    assert (items.value[[0, 2]].tolist(), math.isnan(items.value[1])) == ([1.0, 3.0], True)
    assert items.fallbacks == 1


@pytest.mark.parametrize("wrap", [b"\x18", b"\x18\x18", b"\x17\x01", b"\x18\x17\x01"])
def test_a_value_in_a_value_is_what_it_holds(wrap: bytes) -> None:
    items = read(of_items(variant(wrap + DOUBLE)))
    assert (items.value.tolist(), items.fallbacks) == ([2.5], 1)
    items = read(of_items(variant(wrap + b"\x0c" + string(b"runs"))), ["text"])
    assert (text_of(items), items.fallbacks) == ("runs", 1)


def test_an_array_of_variants_is_a_waveform_if_all_are_numbers() -> None:
    numbers = b"\x98" + struct.pack("<i", 2) + DOUBLE + b"\x03\x07"
    items = read(of_items(variant(numbers)), ["waveform"])
    assert [block.tolist() for _, block in items.waveforms] == [[2.5, 7.0]]
    mixed = b"\x98" + struct.pack("<i", 2) + DOUBLE + b"\x0c" + string(b"x")
    assert read(of_items(variant(mixed)), ["waveform"]).waveforms == ()


def test_a_type_that_is_not_given_yet_is_stepped_over() -> None:
    items = read(of_items(variant(b"\x1f" + string(b"abc")), variant(DOUBLE)))
    assert (items.value[1], items.fallbacks) == (2.5, 1)


def lengthless(body: bytes) -> bytes:
    """A Variant with an EUInformation that does not say how long it is, as old servers send it."""
    (length,) = struct.unpack_from("<i", body, 5)
    assert body[4] == 1
    assert length == len(body) - 9
    return b"\x16" + body[:5] + b"\xff\xff\xff\xff" + body[9:]


def test_a_structure_that_hides_where_it_ends_is_stepped_over_by_asyncua() -> None:
    unit = lengthless(extensionobject_to_binary(ua.EUInformation("urn:x", 1)))
    good = struct.pack("<I", 0x4094_0000)
    body = of_items(
        variant(DOUBLE), variant(unit, good), variant(DOUBLE), variant(unit), variant(DOUBLE)
    )
    assert len(publication(body).detours) == 2
    items = read(body)
    assert items.value[[0, 2, 4]].tolist() == [2.5, 2.5, 2.5]
    assert (items.status[1], items.fallbacks) == (0x4094_0000, 2)
    strangers = read(body, [])
    assert (strangers.strangers, strangers.fallbacks) == (5, 0)


def test_one_that_nobody_can_step_over_ends_the_message() -> None:
    unknown = b"\x16\x01\x05\xff\x7f\x01\xff\xff\xff\xff" + b"ab"
    with pytest.raises(WireError, match="end in the middle"):
        publication(of_items(variant(unknown, bytes(4)), variant(DOUBLE)))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80" + struct.pack("<i", 2**31 - 1),  # so many nulls
        b"\xc0" + struct.pack("<i", 2**31 - 1),
        b"\x8c" + struct.pack("<i", 2**31 - 1) + struct.pack("<i", -4),  # backwards for ever
        b"\x98" + struct.pack("<i", 2) + b"\x80" + struct.pack("<i", 2**30),
        b"\x18" * 5_000 + b"\x03\x07",
        b"\xcb" + struct.pack("<id", 1, 1.0) + struct.pack("<iii", 2, 2**30, 2**30),
        b"\x16\x01\x00\x79\x03\x01" + string(b"\x01" * 9),  # a structure that is none
    ],
)
def test_asyncua_is_not_led_astray(raw: bytes) -> None:
    with pytest.raises(fallback.Undecodable):
        fallback.decoded(raw, 0, len(raw))


def test_nulls_inside_a_structure_are_not_believed_either() -> None:
    operand = extensionobject_to_binary(ua.LiteralOperand(ua.Variant(7, TYPE.Byte)))
    raw = operand.replace(b"\x03\x07", b"\x80" + struct.pack("<i", 2**31 - 1))
    raw = b"\x16" + raw.replace(struct.pack("<i", 2), struct.pack("<i", 5), 1)
    items = read(of_items(variant(raw), variant(DOUBLE)))
    assert (items.value[1], items.fallbacks) == (2.5, 1)


def test_a_value_too_long_for_asyncua_is_missing() -> None:
    count = fallback.BYTES_MAX // 9 + 1
    raw = b"\x98" + struct.pack("<i", count) + DOUBLE * count
    items = read(of_items(variant(raw)), ["waveform"])
    assert (items.waveforms, items.fallbacks) == ((), 1)
