"""The stream: every change once, in order, and a way back after a break."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest

from cloud.access.credentials import Credentials
from cloud.errors import Refusal
from cloud.live.snapshot import Event
from cloud.live.stream import Consumer, Hub
from cloud.settings import load
from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud, until

Message = dict[str, str]
SECOND_NS = lines.SECOND_NS


@contextmanager
def listening(cloud: RunningCloud, last_id: str | None = None) -> Iterator["Queue[Message]"]:
    """Messages of the stream as they come; the first in the queue is the server's `retry`."""
    messages: Queue[Message] = Queue()
    headers = {"Authorization": f"Bearer {cloud.read_token}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    client = httpx.Client(timeout=20)

    def listen(response: httpx.Response) -> None:
        message: Message = {}
        try:
            for line in response.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    message[name] = value
                else:
                    messages.put(message)
                    message = {}
        except httpx.HTTPError:
            pass
        messages.put({"event": "over"})

    with client, client.stream("GET", f"{cloud.url}/v1/stream", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        thread = threading.Thread(target=listen, args=(response,), daemon=True)
        thread.start()
        assert messages.get(timeout=10) == {"retry": "1000"}
        yield messages


def take(messages: "Queue[Message]", event: str) -> tuple[str, Any]:
    message = messages.get(timeout=10)
    assert message["event"] == event
    return message["id"], json.loads(message["data"])


def test_what_is_written_is_told_in_order_and_once(cloud: RunningCloud) -> None:
    now_ns = time.time_ns()
    cloud.write(lines.window(now_ns, line="told"))
    cloud.write(lines.text(now_ns, "unit 1", line="told"))
    with listening(cloud) as messages:
        new = lines.window(now_ns + SECOND_NS, 7.5, line="told")
        cloud.write(f"{new}\n{lines.window(now_ns, line='told')}")
        cloud.write(new)
        cloud.write(lines.text(now_ns + 1, "unit 2", line="told"))
        cloud.write(lines.anomaly(now_ns, 'id="a",severity="alarm",message="high"', line="told"))
        cloud.write(lines.gateway(now_ns, 12))
        cloud.write(f'machine,{lines.path("told")} model="M" {now_ns}')
        first, windows = take(messages, "windows")
        assert [(one["signal"], one["every"], one["window"]["mean"]) for one in windows] == [
            ("ram_force", "1s", 7.5)
        ]
        assert windows[0]["path"]["line"] == "told"
        second, text = take(messages, "text")
        assert text["text"] == {"time_ns": now_ns + 1, "text": "unit 2"}
        _, anomaly = take(messages, "anomaly")
        assert (anomaly["path"]["line"], anomaly["anomaly"]["id"]) == ("told", "a")
        _, gateway = take(messages, "gateway")
        assert (gateway["gateway"], gateway["received"]) == ("gw-1", 12)
        assert take(messages, "board")[1] == {}
        assert first != second


def test_a_consumer_that_comes_back_gets_what_it_missed(cloud: RunningCloud) -> None:
    now_ns = time.time_ns()
    cloud.write(lines.window(now_ns, line="resume"))
    with listening(cloud) as messages:
        cloud.write(lines.window(now_ns + 1, 1.0, line="resume"))
        last, _ = take(messages, "windows")
    cloud.write(lines.window(now_ns + 2, 2.0, line="resume"))
    cloud.write(lines.window(now_ns + 3, 3.0, line="resume"))
    with listening(cloud, last) as messages:
        found = [take(messages, "windows")[1][0]["window"]["mean"] for _ in range(2)]
    assert found == [2.0, 3.0]


@pytest.mark.parametrize("last_id", ["from-another-start-7", "nonsense", "-"])
def test_a_consumer_that_cannot_be_resumed_is_told(cloud: RunningCloud, last_id: str) -> None:
    with listening(cloud, last_id) as messages:
        take(messages, "missed")


def test_quiet_times_carry_heartbeats(tmp_path: Path) -> None:
    with running_cloud(tmp_path, heartbeat_s="0.05") as cloud, listening(cloud) as messages:
        assert messages.get(timeout=10) == {"": "heartbeat"}
        assert messages.get(timeout=10) == {"": "heartbeat"}


def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    with running_cloud(tmp_path, heartbeat_s="0.05") as cloud, listening(cloud) as messages:
        assert messages.get(timeout=10) == {"": "heartbeat"}
        credentials = Credentials(load(data=cloud.data))
        [mine] = [token.id for token in credentials.tokens() if token.scope == "read"]
        assert credentials.revoke(mine)
        credentials.close()
        until(lambda: messages.get(timeout=10) == {"event": "over"})


def event(number: int) -> Event:
    return Event("text", {"number": number})


async def collect(consumer: Consumer) -> list[str]:
    return [chunk.decode() async for chunk in consumer.read()]


def drain(hub: Hub, consumer: Consumer) -> list[str]:
    hub.close()
    return asyncio.run(collect(consumer))[1:]


def test_a_slow_consumer_loses_its_queue_and_is_told() -> None:
    hub = Hub(load(consumer_messages_max=5))
    consumer = hub.join(None)
    hub.publish([event(number) for number in range(7)])
    chunks = drain(hub, consumer)
    assert [chunk.split("\n")[0] for chunk in chunks] == ["event: missed", "event: text"]
    assert '{"number":6}' in chunks[-1]


def test_what_is_kept_for_resuming_is_bounded() -> None:
    hub = Hub(load(ring_messages_max=3))
    watcher = hub.join(None)
    hub.publish([event(number) for number in range(6)])
    start = f"{hub.missed().decode().split('id: ')[1].rpartition('-')[0]}"
    kept, lost = hub.join(f"{start}-3"), hub.join(f"{start}-2")
    assert len(drain(hub, watcher)) == 6
    assert len(drain(hub, kept)) == 3
    assert [chunk.split("\n")[0] for chunk in drain(hub, lost)] == ["event: missed"]


def test_consumers_are_bounded_and_leave_room_when_they_go() -> None:
    hub = Hub(load(consumers_max=1))
    consumer = hub.join(None)
    with pytest.raises(Refusal) as caught:
        hub.join(None)
    assert caught.value.status_code == 503
    hub.leave(consumer)
    hub.join(None)
