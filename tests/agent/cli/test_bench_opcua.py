"""`andon bench opcua`: any client understands its server, and it says what it measured."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final

import pytest
from asyncua import Client, ua
from asyncua.ua.ua_binary import struct_to_binary
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cli.bench import client, opcua
from agent.cli.bench.opcua import messages, server
from agent.errors import AndonError

DEADLINE_S: Final = 20.0
CREATE_MAX: Final = 1000


class Handler:
    """Keeps the newest notification of each node."""

    def __init__(self) -> None:
        self.newest: dict[int, ua.DataValue] = {}
        self.count = 0

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.newest[node.nodeid.Identifier] = data.monitored_item.Value
        self.count += 1


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(per_message: int, rate_hz: float = 0) -> AsyncIterator[Client]:
    """asyncua's own client, on a server of the benchmark."""
    listening, url = await server.listen(per_message, rate_hz)
    async with listening, Client(url) as connected:
        yield connected


def results_of(session: Client) -> tuple[list[ua.PublishResult], Any]:
    """What is published, and the creation of a subscription without items."""
    results: list[ua.PublishResult] = []
    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=ua.Duration(10), RequestedMaxKeepAliveCount=ua.Counter(2)
    )
    return results, session.uaclient.create_subscription(parameters, results.append)


async def monitor(session: Client, subscription: int, count: int) -> list[Any]:
    """Monitor nodes 0, 1, ... under the handles 0, 1, ..."""
    answers = []
    for begin in range(0, count, CREATE_MAX):
        items = []
        for number in range(begin, min(begin + CREATE_MAX, count)):
            item = ua.MonitoredItemCreateRequest()
            item.ItemToMonitor.NodeId = ua.NodeId.from_string(f"ns=1;i={number}")
            item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
            item.RequestedParameters.ClientHandle = ua.IntegerId(number)
            items.append(item)
        answers += await session.uaclient.create_monitored_items(
            ua.CreateMonitoredItemsParameters(
                ua.IntegerId(subscription), ua.TimestampsToReturn.Source, items
            )
        )
    return answers


def test_the_servers_bytes_are_those_of_asyncuas_encoder() -> None:
    messages.check(250)


def test_a_server_whose_bytes_are_others_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_DOUBLE", 10)
    with pytest.raises(AndonError, match="not those of asyncua"):
        messages.check(1)


@in_a_loop
async def test_a_plain_asyncua_client_reads_values_statuses_and_times() -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with connected(100) as session:
        handler = Handler()
        subscription = await session.create_subscription(50, handler)
        nodes = [session.get_node(f"ns=1;i={number}") for number in range(250)]
        await subscription.subscribe_data_change(nodes)
        await until(lambda: len(handler.newest) == 250 and handler.count > 2000)
        await subscription.delete()
        read = await nodes[99].read_data_value(raise_on_bad_status=False)
    for number, data in handler.newest.items():
        assert data.Value is not None
        assert data.Value.VariantType == ua.VariantType.Double
        assert data.Value.Value == number * messages.VALUE_STEP
        assert data.StatusCode is not None
        assert data.StatusCode.value == (messages.UNCERTAIN if number % 100 == 99 else 0)
        assert data.SourceTimestamp is not None
        assert data.ServerTimestamp is not None
        assert began < data.SourceTimestamp < data.ServerTimestamp < datetime.now(UTC)
    assert read.Value is not None
    assert read.StatusCode is not None
    assert (read.Value.Value, read.StatusCode.value) == (99 * 0.25, messages.UNCERTAIN)


@in_a_loop
async def test_a_message_of_several_chunks_arrives_whole_and_in_sequence() -> None:
    async with connected(5000) as session:
        results, created = results_of(session)
        subscription = await created
        await monitor(session, subscription.SubscriptionId, 5000)
        await until(lambda: results and len(_items(results[-1])) == 5000 and len(results) > 8)
    items = _items(results[-1])
    assert [item.ClientHandle for item in items] == list(range(5000))
    assert [item.Value.Value.Value for item in items] == [n * 0.25 for n in range(5000)]
    assert all(item.Value.ServerTimestamp is None for item in items)  # nobody asked for it
    times = [item.Value.SourceTimestamp for item in items]
    assert times == sorted(times)
    numbers = [r.NotificationMessage.SequenceNumber for r in results if _items(r)]
    assert numbers == list(range(1, len(numbers) + 1))


def _items(result: ua.PublishResult) -> list[Any]:
    data: Any = result.NotificationMessage.NotificationData
    return data[0].MonitoredItems if data else []


@in_a_loop
async def test_a_subscription_without_items_says_that_it_lives() -> None:
    async with connected(10) as session:
        results, created = results_of(session)
        await created
        await until(lambda: len(results) > 3)
    assert {r.NotificationMessage.SequenceNumber for r in results} == {1}
    assert not any(map(_items, results))


@in_a_loop
async def test_a_deleted_item_is_not_sent_and_an_unknown_node_stops_no_other() -> None:
    async with connected(10) as session:
        handler = Handler()
        subscription = await session.create_subscription(50, handler)
        nodes = [session.get_node(node) for node in ("ns=1;i=1", "ns=2;s=none", "ns=1;i=3")]
        numbers: Any = await subscription.subscribe_data_change(nodes)
        assert numbers[1] == ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNodeIdUnknown))
        await until(lambda: set(handler.newest) == {1, 3})
        await subscription.unsubscribe(numbers[0])
        handler.newest.clear()
        before = handler.count
        await until(lambda: handler.count > before + 50)
    assert set(handler.newest) == {3}


@in_a_loop
async def test_nothing_is_republished_and_no_subscription_is_transferred() -> None:
    async with connected(10) as session:
        with pytest.raises(ua.uaerrors.BadMessageNotAvailable):
            await session.uaclient.session.republish(1, 1)
        with pytest.raises(ua.uaerrors.BadServiceUnsupported):
            await session.uaclient.session.transfer_subscriptions(
                ua.TransferSubscriptionsParameters([ua.IntegerId(1)], True)
            )


@in_a_loop
async def test_at_a_fixed_rate_no_more_comes_than_time_has_passed() -> None:
    began_s = time.monotonic()
    async with connected(10, rate_hz=1000) as session:
        results, created = results_of(session)
        subscription = await created
        await monitor(session, subscription.SubscriptionId, 100)
        await until(lambda: sum(len(_items(result)) for result in results) > 300)
        taken = sum(len(_items(result)) for result in results)
        assert taken <= 1000 * (time.monotonic() - began_s) + 10


@in_a_loop
async def test_a_client_that_asks_for_security_is_let_go() -> None:
    listening, url = await server.listen(10, 0)
    host, port = url.removeprefix("opc.tcp://").split(":")
    async with listening:
        reader, writer = await asyncio.open_connection(host, int(port))
        policy = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
        body = b"".join(
            struct_to_binary(part)
            for part in (
                ua.AsymmetricAlgorithmHeader(SecurityPolicyURI=ua.String(policy)),
                ua.SequenceHeader(ua.UInt32(1), ua.UInt32(1)),
                ua.OpenSecureChannelRequest(),
            )
        )
        writer.write(struct.pack("<4sII", b"OPNF", 12 + len(body), 0) + body)
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
        writer.close()


def test_the_server_ends_with_the_process_that_started_it() -> None:
    command = [sys.executable, "-m", "agent.cli.bench.opcua.server", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"opc.tcp://127.0.0.1:")
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUNS": 1, "WARM_S": 0.05, "SOAK_WARM_S": 0.05}.items():
        monkeypatch.setattr(opcua, name, value)


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", "opcua", *map(str, words)], env={"NO_COLOR": "1"})


@pytest.mark.usefixtures("_small")
def test_every_way_is_measured_and_the_memory_watched() -> None:
    result = bench("--seconds", 0.3, "--soak-minutes", 0.01, "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert set(figures) == set(opcua.FIGURES)
    for name in ("client", "asyncua"):
        assert 0.01 < figures[f"{name}_us_per_notification"] < 1000
    assert figures["ratio_asyncua"] == pytest.approx(
        figures["asyncua_us_per_notification"] / figures["client_us_per_notification"]
    )
    assert figures["server_notifications_per_s"] > figures["asyncua_notifications_per_s"]
    assert figures["soak_notifications_per_s"] > 0
    assert 20 < figures["rss_mb_start"] < 2000


@pytest.mark.usefixtures("_small")
def test_a_profile_shows_how_often_a_function_is_called() -> None:
    result = bench("--profile", "--seconds", 0.3)
    assert result.exit_code == 0, result.stderr
    _, titles, *rows = result.stdout.splitlines()
    assert titles.split() == ["us", "calls", "function"]
    costs = [float(row.split()[0].replace(",", "")) for row in rows]
    assert len(costs) == client.PROFILED
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] > 0


def test_a_person_reads_a_figure_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcua, "measure", lambda _: {"client_us_per_notification": 0.2512})
    result = bench()
    title = "client's processor, 1,000 notifications a message"
    assert result.stdout == f"{title:<54}{'0.251':>12} us each\n"


@pytest.mark.usefixtures("_small")
def test_a_client_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcua, "PER_MESSAGE", {0: ""})
    result = bench("--seconds", 0.1)
    assert result.exit_code == 1
    assert "error: the bench's server does not start" in result.stderr
