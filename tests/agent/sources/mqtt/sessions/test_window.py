"""When a commit is urgent, since the broker may wait for it; and a real mosquitto that does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.sources.mqtt.window import AT_ONCE_S, PROOFS, RECEIVE_MAX, WINDOW_MIN, Window
from tests.agent.sources.mqtt.test_source import publisher, source_of
from tests.conformance.source import Read, connected, values
from tests.peers.mosquitto import running

COMMIT_S = 1.0
"""How often the pipeline of this test commits when nothing is urgent."""


def exchange(
    window: Window, messages: int, *, waits_s: float, answers_s: float, now_s: float
) -> float:
    """Messages come, are acknowledged after a while, and the next comes after another."""
    window.came(messages, now_s)
    window.acknowledged(messages, now_s + waits_s)
    return now_s + waits_s + answers_s


def test_at_first_a_broker_is_believed_to_send_as_many_as_any_does() -> None:
    window = Window()
    window.came(WINDOW_MIN // 2 - 1, 0.0)
    assert not window.urgent
    window.came(1, 0.0)
    assert window.urgent


def test_what_was_once_on_the_way_may_be_again_up_to_what_is_remembered() -> None:
    window = Window()
    window.came(1_000, 0.0)
    window.acknowledged(1_000, 0.01)
    window.came(400, 0.02)
    assert not window.urgent
    window.came(10 * RECEIVE_MAX, 0.03)
    window.acknowledged(10 * RECEIVE_MAX, 0.04)
    window.came(RECEIVE_MAX // 2, 0.05)
    assert window.urgent


@pytest.mark.parametrize("size", [1, 3])
def test_a_broker_that_goes_on_once_it_is_acknowledged_had_waited(size: int) -> None:
    window, now_s = Window(), 0.0
    for _ in range(PROOFS):
        now_s = exchange(window, size, waits_s=1.0, answers_s=AT_ONCE_S / 2, now_s=now_s)
        assert not window.urgent
    window.came(size, now_s)
    assert window.urgent


@pytest.mark.parametrize(("waits_s", "answers_s"), [(1.0, 2 * AT_ONCE_S), (AT_ONCE_S / 2, 0.01)])
def test_a_sensor_that_is_slow_or_never_stops_hurries_nobody(
    waits_s: float, answers_s: float
) -> None:
    window, now_s = Window(), 0.0
    for _ in range(10 * PROOFS):
        now_s = exchange(window, 2, waits_s=waits_s, answers_s=answers_s, now_s=now_s)
    window.came(2, now_s)
    assert not window.urgent


def test_nothing_is_urgent_while_nothing_waits() -> None:
    assert not Window().urgent


def test_a_broker_that_sends_one_ahead_is_not_kept_waiting_for_each_commit(tmp_path: Path) -> None:
    messages = 40

    async def run(port: int) -> None:
        read: Read = []
        source = source_of(port, version="3.1.1")
        with publisher(port) as sensor:
            async with connected(source):
                for number in range(messages):
                    await sensor.say(float(number))
                waiting: Read = []
                due_s = time.monotonic() + COMMIT_S
                async with asyncio.timeout(PROOFS * 4 * COMMIT_S + 5):
                    async for item in source.batches():
                        read.append(item)
                        waiting.append(item)
                        if item[1].urgent or time.monotonic() >= due_s:
                            for _, ack in waiting:
                                ack.call()
                            waiting, due_s = [], time.monotonic() + COMMIT_S
                        if len(values(read)) == messages:
                            break
        assert values(read) == [float(number) for number in range(messages)]

    with running(tmp_path, max_inflight_messages=1) as broker:
        asyncio.run(run(broker.port))
