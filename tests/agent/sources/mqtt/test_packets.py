"""Packets of MQTT to columns: what a broker may send is read as its twin reads it, else refused."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.mqtt import packets
from agent.sources.mqtt.packets import Publishes, Splitter, Topics, WireError, publishes
from tests.agent.kernels.mqtt.naive import Message, frame, publish, text, varint

CASES: Final = 2_000
SLOW_S: Final = 2.0

PROPERTIES: Final = {
    1: st.binary(min_size=1, max_size=1),
    2: st.binary(min_size=4, max_size=4),
    3: st.binary(max_size=9).map(text),
    8: st.binary(max_size=9).map(text),
    9: st.binary(max_size=200).map(text),
    11: st.integers(0, 268_435_455).map(varint),
    38: st.tuples(st.binary(max_size=9), st.binary(max_size=9)).map(
        lambda pair: text(pair[0]) + text(pair[1])
    ),
}
MESSAGES: Final = st.builds(
    Message, st.binary(min_size=1, max_size=40), st.binary(max_size=300), st.integers(0, 2),
    st.integers(1, 65_535), st.booleans(), st.booleans(),
)  # fmt: skip
PROPERTY: Final = st.sampled_from(sorted(PROPERTIES)).flatmap(
    lambda number: PROPERTIES[number].map(lambda value: bytes([number]) + value)
)
SENT: Final = st.lists(
    st.tuples(MESSAGES, st.lists(PROPERTY, max_size=4).map(b"".join)), max_size=12
)
OTHERS: Final = st.lists(
    st.tuples(
        st.sampled_from([0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0]),
        st.binary(max_size=300), st.integers(0, 12), st.integers(1, 4),
    ),
    max_size=4,
)  # fmt: skip


def rows(found: Publishes) -> list[Message]:
    """The columns as messages."""
    return [
        Message(
            found.topic(row), found.payload(row), int(found.qos[row]), int(found.packet_id[row]),
            bool(found.dup[row]), bool(found.retain[row]),
        )
        for row in range(len(found))
    ]  # fmt: skip


def fed(splitter: Splitter, data: bytes, sizes: Sequence[int]) -> tuple[list[Any], list[bytes]]:
    """What comes out when so many bytes come in each time, and then the rest."""
    others: list[Any] = []
    chunks: list[bytes] = []
    rest = memoryview(data)
    wanted = iter(sizes)
    while rest:
        room = splitter.room
        size = min(next(wanted, len(room)), len(room), len(rest))
        room[:size] = rest[:size]
        rest = rest[size:]
        more, chunk = splitter.split(size)
        others += more
        chunks += [chunk] if chunk else []
        if splitter.fault is not None:
            break
    return others, chunks


@settings(max_examples=300)
@given(SENT, OTHERS, st.booleans(), st.lists(st.integers(1, 400), max_size=30))
def test_frames_come_out_whole_wherever_the_stream_is_cut(
    sent: list[tuple[Message, bytes]], others: list[Any], v5: bool, sizes: list[int]
) -> None:
    written = [publish(message, properties if v5 else None) for message, properties in sent]
    pieces = list(written)
    for first, rest, at, least in others:
        pieces.insert(at, frame(first, rest, least))
    wanted = [message for message, _ in sent]
    splitter = Splitter(v5)
    came, chunks = fed(splitter, b"".join(pieces), sizes)
    assert splitter.fault is None
    assert sorted(came) == sorted((first, rest) for first, rest, _, _ in others)
    assert b"".join(chunks) == b"".join(written)
    found = publishes(chunks, v5)
    assert [row.digest for row in wanted] == found.digest.tolist()
    no_id = [Message(m.topic, m.payload, 0, 0, m.dup, m.retain) for m in wanted]
    assert rows(found) == [m if m.qos else n for m, n in zip(wanted, no_id, strict=True)]


@pytest.mark.parametrize(
    ("damaged", "v5", "said"),
    [
        (b"\x30\xff\xff\xff\xff\x01", False, "more than four bytes"),
        (frame(0x36, text(b"t") + b"\0\1"), False, "QoS 3"),
        (frame(0x30, b"\0"), False, "ends before"),
        (frame(0x30, b"\0\5abcd"), False, "ends before"),
        (frame(0x32, text(b"t") + b"\0"), False, "ends before"),
        (frame(0x30, text(b"") + b"x"), False, "no topic"),
        (frame(0x32, text(b"t") + b"\0\0"), False, "packet id 0"),
        (frame(0x30, text(b"t")), True, "properties"),
        (frame(0x30, text(b"t") + b"\5\1\1"), True, "properties"),
        (frame(0x30, text(b"t") + b"\2\4\0"), True, "properties"),
        (frame(0x30, text(b"t") + b"\3\3\0\7"), True, "properties"),
        (frame(0x30, text(b"t") + b"\2\3\0"), True, "properties"),
        (frame(0x30, text(b"t") + b"\x05\x26\0\0\0\1"), True, "properties"),
        (frame(0x30, text(b"t") + b"\2\x0b\xff"), True, "properties"),
        (frame(0x30, text(b"") + b"\3\x23\0\1"), True, "alias"),
        (frame(0x30, text(b"") + b"\0x"), True, "no topic"),
    ],
)
def test_a_frame_that_no_broker_may_send_is_named_after_what_came_before_it(
    damaged: bytes, v5: bool, said: str
) -> None:
    good = publish(Message(b"t", b"1", 1, 7), b"" if v5 else None)
    splitter = Splitter(v5)
    others, chunks = fed(splitter, frame(0xD0, b"") + good + damaged + good, [])
    assert (others, chunks) == ([(0xD0, b"")], [good])
    with pytest.raises(WireError, match=said):
        splitter.split(0)
    if damaged[1] != 0xFF:
        with pytest.raises(WireError, match=said):
            publishes([good, damaged], v5)


def test_a_frame_longer_than_the_buffer_is_read_and_the_buffer_shrinks_again() -> None:
    long = publish(Message(b"t", bytes(3 * packets.ROOM_BYTES)))
    short = publish(Message(b"t", b"1"))
    splitter = Splitter(False)
    _, chunks = fed(splitter, short + long + short + long[:-1], [10, 100_000])
    assert b"".join(chunks) == short + long + short
    _, chunks = fed(splitter, long[-1:] + short, [])
    assert b"".join(chunks) == long + short
    assert len(splitter.room) == packets.ROOM_BYTES


@pytest.mark.parametrize("pieces", [[], [1, 2, 3], [70_000, 140_000, 200_000]])
def test_a_message_beyond_the_limit_is_passed_over_and_what_follows_is_read(
    pieces: list[int],
) -> None:
    short = publish(Message(b"t", b"1"))
    long = publish(Message(b"long", b"ab" * (packets.FRAME_BYTES_MAX // 2), 2, 77))
    splitter = Splitter(False)
    _, chunks = fed(splitter, short + long + short + short, pieces)
    assert b"".join(chunks) == 3 * short
    (one,) = splitter.too_long
    assert one.size == len(long)
    beginning = one.beginning
    assert (beginning.topic(0), beginning.payload(0)[:4]) == (b"long", b"abab")
    assert (int(beginning.qos[0]), int(beginning.packet_id[0])) == (2, 77)
    assert len(splitter.room) == packets.ROOM_BYTES


def test_another_packet_beyond_the_limit_ends_the_connection_with_a_sentence() -> None:
    splitter = Splitter(False)
    short = publish(Message(b"t", b"1"))
    _, chunks = fed(splitter, short + b"\x90" + varint(packets.FRAME_BYTES_MAX), [])
    assert chunks == [short]
    assert len(splitter.room) <= packets.ROOM_BYTES
    with pytest.raises(WireError, match=r"16,777,2\d\d bytes; at most 16,777,216 are read"):
        splitter.split(0)


def test_more_other_frames_than_fit_one_walk_all_come_out() -> None:
    ping, message = frame(0xD0, b""), publish(Message(b"t", b"1"))
    many = 3 * packets.OTHERS_MAX
    others, chunks = fed(Splitter(False), (ping + message) * many, [])
    assert len(others) == many
    assert b"".join(chunks) == message * many


def test_bytes_that_no_splitter_made_are_refused() -> None:
    message = publish(Message(b"t", b"1"))
    for wrong in (message[:-1], message + b"\x30", frame(0xD0, b""), b"\x30\x80\x80\x80\x80\x01"):
        with pytest.raises(WireError):
            publishes([message, wrong], False)
    assert len(publishes([], False)) == 0


def read(topics: Sequence[bytes]) -> Publishes:
    return publishes([publish(Message(topic, b"1")) for topic in topics], False)


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=70), unique=True, max_size=60), st.integers(0, 60))
def test_each_known_topic_gets_its_own_route(known: list[bytes], half: int) -> None:
    topics = Topics()
    for route, topic in enumerate(known[:half]):
        assert topics.add(topic, route)
    wanted = [row if row < half else -1 for row in range(len(known))]
    assert topics.routes(read(known)).tolist() == wanted
    topics.clear()
    assert len(topics) == 0
    assert topics.routes(read(known)).tolist() == [-1] * len(known)


def test_topics_that_differ_in_one_byte_are_told_apart_and_thousands_have_room() -> None:
    known = [b"plant/line-%02d/machine-%03d/temperature" % (n % 17, n) for n in range(9_000)]
    topics = Topics()
    assert all(topics.add(topic, route) for route, topic in enumerate(known))
    assert len(topics) == len(known)
    found = read(known + [topic[:-1] + b"f" for topic in known])
    assert topics.routes(found).tolist() == [*range(9_000), *[-1] * 9_000]


def test_topics_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "TOPICS_MAX", 3)
    monkeypatch.setattr(packets, "TOPICS_BYTES_MAX", 100)
    topics = Topics()
    assert [topics.add(name, 0) for name in (b"a", bytes(100), b"b", b"c", b"d")] == [
        True, False, True, True, False,
    ]  # fmt: skip


def damaged(seed: int) -> Iterator[tuple[bytes, bool]]:
    """Streams with a few places changed, for ever."""
    chance = random.Random(seed)  # noqa: S311
    while True:
        v5 = chance.random() < 0.5
        stream = bytearray()
        for _ in range(chance.randint(1, 6)):
            properties = chance.choice((b"", b"\x01\x01", b"\x26\0\1a\0\1b", b"\x0b\x80\x01"))
            message = Message(
                chance.randbytes(chance.randint(1, 9)), chance.randbytes(chance.randint(0, 200)),
                chance.randint(0, 2), chance.randint(1, 65_535),
            )  # fmt: skip
            stream += publish(message, properties if v5 else None)
        for _ in range(chance.randint(0, 4)):
            at = chance.randrange(len(stream) + 1)
            stream[at : at + chance.choice((0, 1, 1, 4))] = chance.choice(
                (b"", b"\0", b"\xff", b"\x80", b"\x7f", b"\x36", b"\xd0\0", chance.randbytes(3))
            )
        yield bytes(stream), v5


@pytest.mark.timeout(0)
def test_thousands_of_damaged_streams_are_read_or_refused() -> None:
    minutes = float(os.environ.get("ANDON_FUZZ_MINUTES", "0"))
    seed = time.time_ns() if minutes else 20_260_801
    until_s = time.monotonic() + 60 * minutes
    topics = Topics()
    count = 0
    topics.routes(publishes(fed(Splitter(False), publish(Message(b"t", b"", 1, 1)), [])[1], False))
    for stream, v5 in damaged(seed):
        started_s = time.monotonic()
        try:
            splitter = Splitter(v5)
            _, chunks = fed(splitter, stream, [7, 50])
            found = publishes(chunks, v5)
            assert (found.payload_at + found.payload_len <= len(found.body)).all()
            assert (found.topic_at + found.topic_len <= found.payload_at).all()
            assert (found.payload_len >= 0).all()
            assert np.array_equal(topics.routes(found), np.full(len(found), -1, np.int32))
        except Exception as error:
            raise AssertionError(f"seed {seed}, stream {count:,}: {stream.hex()}") from error
        assert time.monotonic() - started_s < SLOW_S
        count += 1
        if count >= CASES and time.monotonic() >= until_s:
            break
    print(f"{count:,} damaged streams from seed {seed}")
