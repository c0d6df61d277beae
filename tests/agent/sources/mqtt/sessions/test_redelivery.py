"""What the broker sends again is recognised: message by message, and over a real mosquitto."""

from __future__ import annotations

import asyncio
import logging
import signal
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import SourceUnreachable
from agent.sources import REDELIVERED_MAX, Packets, Source
from agent.sources.mqtt.redelivery import Owed, Redelivery, Sorted
from hardware.line.broker import start_broker
from tests.agent.sources.mqtt.test_source import clients, commit, publisher, source_of
from tests.agent.sources.mqtt.wire import frame, messages
from tests.conformance.source import Read, alive, connected, read_until, values
from tests.peers.proxy import proxied

TOPIC = "line-1/press-01/force"


TIMELESS = {"topic": "line-1/{machine}/{signal}", "payload": {"json": {"value": "v"}}}


def acknowledge(read: Read) -> None:
    for _, ack in read:
        ack.call()


def packets(read: Read) -> list[Packets]:
    return [ack.packets for _, ack in read if ack.packets is not None]


async def silence(source: Source) -> Read:
    """All that comes until time goes on: the session's backlog, and some heartbeats."""
    return await read_until(source, lambda read: len(alive(read)) > 1)


def test_a_reconnect_while_batches_wait_for_their_commit_counts_nothing_twice(port: int) -> None:
    async def run() -> None:
        source = source_of(port)
        with publisher(port) as sensor:
            async with connected(source):
                await sensor.say(1.0)
                old = await read_until(source, lambda read: 1.0 in values(read))
            async with connected(source):
                await sensor.say(2.0)
                new = await read_until(source, lambda read: 2.0 in values(read))
                assert values(old + new) == [1.0, 2.0]
                assert source.redelivered == 1

    asyncio.run(run())


def test_a_redelivery_is_acknowledged_only_by_a_commit_after_that_of_its_original(
    port: int,
) -> None:
    async def run() -> None:
        source = source_of(port)
        with publisher(port) as sensor:
            async with connected(source):
                await sensor.say(1.0)
                old = await read_until(source, lambda read: 1.0 in values(read))
            async with connected(source):
                again = await read_until(source, lambda _: source.redelivered == 1)
                acknowledge(old)  # in the old connection: nothing is sent
            async with connected(source):
                await commit(source, again)
                await read_until(source, lambda _: source.redelivered == 2)
                await commit(source, [])  # it was acknowledged at once
            async with connected(source):
                assert values(await silence(source)) == []
                assert source.redelivered == 2
            assert values(again) == []

    asyncio.run(run())


def test_a_redelivery_goes_with_the_next_commit_even_if_its_batch_is_empty(port: int) -> None:
    async def run() -> None:
        source = source_of(port)
        with publisher(port) as sensor:
            async with connected(source):
                await sensor.say(1.0)
                old = await read_until(source, lambda read: 1.0 in values(read))
            async with connected(source):
                again = await read_until(source, lambda _: source.redelivered == 1)
                assert len(again[-1][0]) == 0
                await commit(source, old + again)
            async with connected(source):
                await silence(source)
                assert source.redelivered == 1

    asyncio.run(run())


def test_an_acknowledgement_that_never_arrived_is_given_again_at_once(port: int) -> None:
    async def run() -> None:
        async with proxied(port) as proxy:
            source = source_of(proxy.port)
            with publisher(port) as sensor:
                async with connected(source):
                    await sensor.say(1.0)
                    read = await read_until(source, lambda read: 1.0 in values(read))
                    proxy.become("deaf")
                    acknowledge(read)
                    proxy.break_off()
                    with pytest.raises(SourceUnreachable):
                        await read_until(source, lambda _: False)
                async with connected(source):
                    await sensor.say(2.0)
                    read += await read_until(source, lambda read: 2.0 in values(read))
                    assert values(read) == [1.0, 2.0]
                    await commit(source, read)
                async with connected(source):
                    assert values(await silence(source)) == []
            assert source.redelivered == 1

    asyncio.run(run())


def test_after_a_restart_what_was_committed_is_not_counted_and_the_rest_is(port: int) -> None:
    async def run() -> None:
        client_id = next(clients)
        async with proxied(port) as proxy:
            with publisher(port) as sensor:
                async with connected(source_of(proxy.port, client_id)) as source:
                    await sensor.say(1.0)
                    await sensor.send(TOPIC, "{")
                    await sensor.say(2.0)
                    journal = await read_until(source, lambda read: 2.0 in values(read))
                    proxy.become("deaf")
                    acknowledge(journal)  # kill -9 in the moment after
                    await sensor.say(3.0)
                    await read_until(source, lambda read: 3.0 in values(read))
                    proxy.break_off()
            restarted = source_of(port, client_id)
            restarted.remember(packets(journal))
            async with connected(restarted):
                read = await read_until(restarted, lambda read: 3.0 in values(read))
                assert values(read) == [3.0]
                assert restarted.redelivered == 3
                assert restarted.rejected() == {}
                await commit(restarted, read)
            async with connected(source_of(port, client_id)) as source:
                assert values(await silence(source)) == []

    asyncio.run(run())


def test_a_restarted_broker_that_kept_its_sessions_is_recognised(tmp_path: Path) -> None:
    async def run() -> None:
        broker = start_broker("mosquitto", kept=tmp_path)
        source = source_of(broker.port)
        with publisher(broker.port) as sensor:
            async with connected(source):
                for number in range(5):
                    await sensor.say(float(number))
                read = await read_until(source, lambda read: len(values(read)) == 5)
        broker.stop()
        broker = start_broker("mosquitto", port=broker.port, kept=tmp_path)
        async with connected(source):
            read += await read_until(source, lambda _: source.redelivered == 5)
            assert values(read) == [0.0, 1.0, 2.0, 3.0, 4.0]
        broker.stop()

    asyncio.run(run())


def test_a_broker_killed_back_to_an_older_state_sends_some_as_new_and_those_count_again(
    tmp_path: Path,
) -> None:
    """No client can tell: what waited when the broker last saved has no DUP flag (README)."""
    in_flight, waiting = 20, 15

    async def run() -> None:
        broker = start_broker("mosquitto", kept=tmp_path)
        source = source_of(broker.port, version="3.1.1")
        with publisher(broker.port) as sensor:
            async with connected(source):
                for number in range(in_flight + waiting):
                    await sensor.say(float(number))
                read = await read_until(source, lambda read: len(values(read)) == in_flight)
                broker.process.send_signal(signal.SIGUSR1)
                saved = tmp_path / "mosquitto.db"
                await read_until(source, lambda _: saved.exists())
                acknowledge(read)
                rest = await read_until(source, lambda read: len(values(read)) == waiting)
                await commit(source, rest)
        broker.process.kill()
        broker.process.wait()
        broker = start_broker("mosquitto", port=broker.port, kept=tmp_path)
        async with connected(source):
            again = await read_until(source, lambda read: len(values(read)) == waiting)
            assert source.redelivered == in_flight
            assert values(again) == values(rest)
        broker.stop()

    asyncio.run(run())


def test_a_lost_session_is_said_and_its_packet_ids_mean_nothing_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        broker = start_broker("mosquitto")
        client_id = next(clients)
        source = source_of(broker.port, client_id, topics=(TIMELESS,))
        with publisher(broker.port) as sensor:
            async with connected(source):
                await sensor.send(TOPIC, '{"v": 1}')
                await read_until(source, lambda read: 1.0 in values(read))
        broker.process.kill()
        broker.process.wait()
        broker = start_broker("mosquitto", port=broker.port)
        async with connected(source):
            pass
        async with connected(source):
            pass
        with publisher(broker.port) as sensor:  # while it is away: the same id, the same contents
            await sensor.send(TOPIC, '{"v": 1}')
        async with connected(source_of(broker.port, client_id, topics=(TIMELESS,))) as killed:
            await read_until(killed, lambda read: 1.0 in values(read))
        async with connected(source):  # now with its DUP flag
            await read_until(source, lambda read: 1.0 in values(read))
            assert source.redelivered == 0
        broker.stop()

    with caplog.at_level(logging.WARNING, "andon"):
        asyncio.run(run())
    (said,) = [record for record in caplog.records if "session" in record.getMessage()]
    assert said.levelno == logging.ERROR
    assert "floor: the broker lost this client's session: what it held is gone" in said.getMessage()


@pytest.mark.parametrize(
    ("options", "redelivers"),
    [({}, True), ({"qos": 0}, False), ({"clean_start": True}, False)],
)
def test_a_broker_redelivers_at_qos_1_in_a_kept_session(
    options: dict[str, Any], redelivers: bool
) -> None:
    assert source_of(1883, **options).redelivers == redelivers


def again(mid: int, payload: bytes = b"1", topic: bytes = b"a") -> bytes:
    return frame(topic, payload, mid=mid, dup=True, qos=1)


def first(mid: int, payload: bytes = b"1", topic: bytes = b"a", qos: int = 1) -> bytes:
    return frame(topic, payload, mid=mid, qos=qos)


def sort(memory: Redelivery, frames: list[bytes], connection: int, batch: int) -> Sorted:
    return memory.sort(messages(*frames), connection, batch)


def pairs(owed: Owed) -> list[tuple[int, int]]:
    """(packet id, QoS) of each."""
    return list(zip(owed.ids.tolist(), owed.qos.tolist(), strict=True))


def test_without_its_flag_a_packet_is_new_whatever_it_carries() -> None:
    memory = Redelivery()
    assert sort(memory, [first(7)], 1, 1).fresh.tolist() == [True]
    assert sort(memory, [first(7)], 2, 2).fresh.tolist() == [True]
    assert memory.redelivered == 0


@pytest.mark.parametrize("other", [again(7, b"2"), again(7, topic=b"b"), again(8)])
def test_with_the_flag_but_another_id_topic_or_payload_it_is_new(other: bytes) -> None:
    memory = Redelivery()
    sort(memory, [first(7)], 1, 1)
    assert sort(memory, [other], 2, 2).fresh.tolist() == [True]
    assert memory.redelivered == 0


def test_an_id_that_was_used_again_belongs_to_its_newest_message() -> None:
    memory = Redelivery()
    sort(memory, [first(7, b"1"), first(7, b"2")], 1, 1)
    assert sort(memory, [again(7, b"1")], 2, 2).fresh.tolist() == [True]
    assert sort(memory, [again(7, b"1")], 3, 3).fresh.tolist() == [False]


def test_it_is_acknowledged_once_a_connection_since_the_id_may_belong_to_the_next() -> None:
    memory = Redelivery()
    assert pairs(sort(memory, [first(7), again(7)], 1, 1).owed) == [(7, 1)]
    nothing = sort(memory, [again(7)], 1, 2)
    assert nothing.owed.size == nothing.committed.size == 0
    assert pairs(sort(memory, [again(7), again(7)], 2, 3).owed) == [(7, 1)]
    memory.commit(1)
    nothing = sort(memory, [again(7)], 2, 4)
    assert nothing.owed.size == nothing.committed.size == 0
    assert pairs(sort(memory, [again(7)], 3, 5).committed) == [(7, 1)]
    assert memory.redelivered == 6


def test_qos_2_is_known_again_as_qos_1_is() -> None:
    memory = Redelivery()
    assert pairs(sort(memory, [first(7, qos=2)], 1, 1).owed) == [(7, 2)]
    memory.commit(1)
    found = sort(memory, [frame(mid=7, qos=2, dup=True)], 2, 2)
    assert found.fresh.tolist() == [False]
    assert pairs(found.committed) == [(7, 2)]


def test_only_the_newest_are_remembered_those_of_before_a_restart_too() -> None:
    memory = Redelivery()
    ids = np.arange(1, REDELIVERED_MAX + 1, dtype=np.uint16)
    digests = np.full(REDELIVERED_MAX, zlib.crc32(b"a\0" + b"1"), np.uint32)
    memory.remember([Packets(ids[:4], digests[:4]), Packets(ids[4:], digests[4:])])
    sort(memory, [first(60_000)], 1, 1)
    assert len(memory) == REDELIVERED_MAX
    found = sort(memory, [again(2), again(1)], 2, 2)
    assert found.fresh.tolist() == [False, True]
    assert pairs(found.committed) == [(2, 1)]


def test_qos_0_is_neither_remembered_nor_acknowledged() -> None:
    memory = Redelivery()
    found = sort(memory, [frame(), frame()], 1, 1)
    assert found.fresh.tolist() == [True, True]
    assert found.packets is None
    assert pairs(found.owed) == []


def test_qos_0_between_others_keeps_its_place() -> None:
    memory = Redelivery()
    sort(memory, [first(7)], 1, 1)
    found = sort(memory, [frame(), again(7), frame(), first(8)], 2, 2)
    assert found.fresh.tolist() == [True, False, True, True]
    assert found.packets is not None
    assert found.packets.ids.tolist() == [7, 8]


def test_a_topic_that_is_not_utf_8_stops_nothing() -> None:
    memory = Redelivery()
    sort(memory, [first(7, topic=b"\xff")], 1, 1)
    assert sort(memory, [again(7, topic=b"\xff")], 2, 2).fresh.tolist() == [False]
