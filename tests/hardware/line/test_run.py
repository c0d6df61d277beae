import asyncio
import json
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.client.client import Client

from hardware.line.broker import Broker, running_broker
from hardware.line.faults import Value, plan
from hardware.line.machines import Line
from tests.hardware.line.process import andon_line, mqtt_messages, refused, subscribe, wait_for

WAITING = 0x80320000  # BadWaitingForInitialData


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker("mosquitto") as running:
        yield running


def test_what_it_says_it_sent_is_what_clients_received(broker: Broker, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    with (
        andon_line(
            "run", "--mqtt-url", broker.url, "--seed", "7", "--control", "--truth", str(truth)
        ) as line,
        mqtt_messages(broker.url) as messages,
    ):
        ready = line.event("ready")
        assert ready["mqtt"] == broker.url
        assert ready["pid"] == line.popen.pid

        async def watch() -> None:
            async with Client(ready["opcua"]) as client:
                received = await subscribe(client)
                await until(lambda: received.counts().total() == 11, "the initial values")
                for (initial,) in received.values.values():
                    assert initial.StatusCode is not None
                    assert initial.StatusCode.value == WAITING
                    assert initial.Value is None or initial.Value.Value is None
                assert not messages
                line.say("start")
                started = line.event("started")
                wait = asyncio.to_thread(wait_for, lambda: len(messages) > 100, "100 messages")
                await wait
                line.say("stop")
                stopped = await asyncio.to_thread(line.event, "stopped")
                sent = stopped["sent"]
                await until(lambda: received.counts().total() >= sent["opcua"], "all notified")
                await asyncio.to_thread(
                    wait_for, lambda: len(messages) >= sent["mqtt"], "all published"
                )
                counted = Counter(key for key, _ in messages)
                assert received.counts() + counted == sent["by_signal"]
                assert (sum(received.counts().values()), len(messages)) == (
                    sent["opcua"],
                    sent["mqtt"],
                )
                assert stopped["overflowed"] == stopped["unacknowledged"] == 0
                check_stamps(received.values["press-01/ram_force"], started["start_ns"])
                last_state = received.values["press-01/state"][-1].Value
                assert last_state is not None
                assert last_state.Value == 2, "the press is stopped in the end"

        asyncio.run(watch())
        line.say("quit")
        assert line.end()[:2] == (0, "")
    check_values(messages)
    assert truth.read_text() == ""


def check_stamps(values: list[ua.DataValue], start_ns: int) -> None:
    """The first value after waiting carries the start, the others follow 100 ms apart."""
    stamps = [value.SourceTimestamp for value in values[1:]]
    assert stamps[0] is not None
    first_ns = round(stamps[0].timestamp() * 1e6) * 1000
    offsets = [round((s - stamps[0]).total_seconds() * 1000) for s in stamps if s is not None]
    assert first_ns == start_ns
    assert all(offset % 100 == 0 for offset in offsets)
    assert offsets == sorted(set(offsets))


def check_values(messages: list[tuple[str, dict[str, object]]]) -> None:
    """What arrived by MQTT is what the model makes of the seed, tick by tick."""
    model = Line(7, 17, plan(7, 0, 17))
    expected: list[tuple[str, Value]] = []
    while len(expected) < len(messages):
        readings, _ = model.step()
        expected += [
            (key, value) for key, value in readings.items() if not key.startswith(("press", "oven"))
        ]
    assert [(key, payload["v"]) for key, payload in messages] == expected[: len(messages)]


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_for, condition, what)


def test_it_brings_its_own_broker_ends_after_its_seconds_and_serves_on_until_told() -> None:
    arguments = ("--embedded-broker", "--no-wait", "--seconds", "1.5", "--takt-s", "0.5")
    with andon_line("run", *arguments) as line:
        ready = line.event("ready")
        with mqtt_messages(ready["mqtt"]) as messages:
            line.event("started")
            stopped = line.event("stopped")
            assert stopped["units"] == 3
            assert stopped["sent"]["opcua"] == 0
            assert messages

        async def state() -> object:
            async with Client(ready["opcua"]) as client:
                space = await client.get_namespace_index("urn:andon:line")
                return await client.get_node(f"ns={space};s=press-01.state").read_value()

        assert asyncio.run(state()) == 2
        line.popen.send_signal(signal.SIGINT)
        code, said, took_s = line.end()
        assert (code, said) == (0, "")
        assert took_s < 2
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(ready["mqtt"].rpartition(":")[2])))


def test_it_begins_when_a_client_has_subscribed_and_a_signal_ends_it_with_its_count(
    broker: Broker,
) -> None:
    with andon_line("run", "--mqtt-url", broker.url) as line:
        ready = line.event("ready")

        async def watch() -> None:
            async with Client(ready["opcua"]) as client:
                received = await subscribe(client)
                await asyncio.to_thread(line.event, "started")
                await until(lambda: received.counts()["oven-01/unit"] == 2, "a unit in the oven")

        asyncio.run(watch())
        line.popen.send_signal(signal.SIGTERM)
        stopped = line.event("stopped")
        assert stopped["sent"]["by_signal"]["oven-01/unit"] == 2
        code, said, took_s = line.end()
        assert (code, said) == (0, "")
        assert took_s < 2


def test_the_end_of_stdin_ends_a_controlled_line_that_never_began(broker: Broker) -> None:
    with andon_line("run", "--mqtt-url", broker.url, "--control") as line:
        line.event("ready")
        line.say("faster")
        assert line.popen.stdin is not None
        line.popen.stdin.close()
        code, said, _ = line.end()
        assert code == 0
        assert said == "unknown command 'faster' on stdin; known are start, stop and quit\n"


def test_a_planted_fault_is_written_to_the_truth_as_it_begins(tmp_path: Path) -> None:
    # The records of a whole run, made without waiting for the clock.
    from hardware.line.production import _write_truth

    path = tmp_path / "truth.jsonl"
    with path.open("w") as file:
        for fault in plan(2, 60, 17):
            _write_truth(file, [fault], 10**18, 2)
            record = json.loads(path.read_text().splitlines()[-1])
            assert list(record) == [
                "kind", "machine", "signal", "start_ns", "visible_ns", "end_ns", "size", "seed",
            ]  # fmt: skip
            assert f"{record['machine']}/{record['signal']}" == fault.signal.key
            assert record["start_ns"] == 10**18 + fault.start_tick * 100_000_000
            assert (record["size"] is None) == (record["kind"] not in ("drift", "spike"))


def test_what_cannot_work_is_one_message_and_an_exit_code(broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refused("run", "--mqtt-url", broker.url, "--opcua-port", port)
        assert code == 3
        assert said.count("\n") == 1
        assert f"cannot serve opc.tcp://127.0.0.1:{port}/andon/line" in said
        assert "--opcua-port" in said
    code, said = refused("run", "--mqtt-url", f"mqtt://127.0.0.1:{port}")
    assert code == 3
    assert said.count("\n") == 1
    assert f"cannot reach the MQTT broker at mqtt://127.0.0.1:{port}: Connection refused" in said
    code, said = refused("run", "--takt-s", "1.75")
    assert (code, said.count("\n")) == (2, 1)
    assert "--takt-s is 1.75; it must be a multiple of 0.1" in said
    code, said = refused("run", "--truth", "/nowhere/truth.jsonl")
    assert (code, said.count("\n")) == (2, 1)
    assert "cannot write --truth /nowhere/truth.jsonl: No such file" in said
