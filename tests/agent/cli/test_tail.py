"""The status socket and `andon tail`: what is told, to whom, and what a slow reader misses."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cli.tail import tell
from agent.errors import ExitCode, SourceRefused
from agent.status import (
    CLIENTS_MAX,
    EVENTS_MAX,
    SOCKET_NAME,
    StatusServer,
    ask_status,
    rejected,
    tail,
)
from tests.agent.config.support import ENVIRON, GOOD

DEADLINE_S = 5.0
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def window(number: int, text: str = "") -> dict[str, Any]:
    return {"type": "window", "time_ns": number, "text": text}


def rejection(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "rejected", "source": "floor", "number": number, "cause": "unreadable",
        "time_ns": 1_800_000_000 * 10**9 + number, "topic": "oven-2/heat", "bytes": 5,
        "payload": f"n{number}", "form": "text", "reason": "not JSON", **more,
    }  # fmt: skip


def kept(*numbers: int) -> dict[str, Any]:
    counts = {"floor": {"unreadable": 1_204, "no_birth": 2}, "yard": {}} if numbers else {}
    return {"rejected": [rejection(number) for number in numbers], "counts": counts}


@asynccontextmanager
async def status_server(folder: Path, **more: Any) -> AsyncIterator[StatusServer]:
    answers = {"status": {"gateway": "gw-1"}, **more}
    server = StatusServer(folder, {what: partial(dict, said) for what, said in answers.items()})
    await server.start()
    yield server
    await server.stop()


async def client(folder: Path, said: bytes) -> Client:
    reader, writer = await asyncio.open_unix_connection(folder / SOCKET_NAME)
    writer.write(said)
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> Any:
    return json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))


async def watchers(server: StatusServer, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while len(server._clients) != count:
            server.publish([])
            await asyncio.sleep(0.005)


def test_the_socket_is_the_users_and_the_groups_alone_and_goes_with_the_service(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        (tmp_path / SOCKET_NAME).touch()  # a crash left it behind
        async with status_server(tmp_path):
            mode = (tmp_path / SOCKET_NAME).stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o660
            assert await asyncio.to_thread(ask_status, tmp_path) == {"gateway": "gw-1"}
        assert not (tmp_path / SOCKET_NAME).exists()

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [b"what?\n", b'{"ask": "more"}\n', b"[]\n", b"\xff\n", b"x" * 9_000, b"[" * 4_000 + b"\n"],
)
def test_nonsense_is_answered_with_an_error(tmp_path: Path, said: bytes) -> None:
    async def run() -> None:
        async with status_server(tmp_path):
            reader, writer = await client(tmp_path, said)
            assert await answer(reader) == {"error": 'ask {"ask": "status"} or {"ask": "tail"}'}
            assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
            writer.close()

    asyncio.run(run())


def test_one_client_too_many_is_refused_and_a_place_is_free_once_somebody_hangs_up(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with status_server(tmp_path) as server:
            clients = [await client(tmp_path, b'{"ask": "tail"}\n') for _ in range(CLIENTS_MAX)]
            await watchers(server, CLIENTS_MAX)
            with pytest.raises(SourceRefused, match="the service refuses: 16 clients tail already"):
                await asyncio.to_thread(next, tail(tmp_path))
            clients[3][1].close()  # and nothing happens on the line meanwhile
            await watchers(server, CLIENTS_MAX - 1)
            reader, _ = await client(tmp_path, b'{"ask": "tail"}\n')
            await watchers(server, CLIENTS_MAX)
            server.publish([window(1)])
            assert await answer(reader) == window(1)

    asyncio.run(run())


def test_a_slow_client_is_told_how_much_it_missed_and_the_others_miss_nothing(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with status_server(tmp_path) as server:
            slow, writer = await client(tmp_path, b'{"ask": "tail"}\n')
            await watchers(server, 1)
            long = "x" * 1_000
            published = 0
            for _ in range(4):  # far more than the sockets hold
                server.publish(window(n, long) for n in range(published, published + EVENTS_MAX))
                published += EVENTS_MAX
                await asyncio.sleep(0)
            got = missed = 0
            async with asyncio.timeout(4 * DEADLINE_S):
                while got + missed < published:
                    event = json.loads(await slow.readline())
                    if event["type"] == "missed":
                        missed += event["events"]
                    else:
                        got += 1
            writer.close()
            assert missed > 0
            assert got + missed == published

    asyncio.run(run())


def test_rejected_payloads_are_those_that_are_kept_and_then_each_new_one_once(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with status_server(tmp_path, rejected=kept(1, 2)) as server:
            told = rejected(tmp_path)
            assert [(await asyncio.to_thread(next, told)).get("number") for _ in range(2)] == [1, 2]
            assert (await asyncio.to_thread(next, told))["type"] == "counts"
            await watchers(server, 1)
            server.publish([rejection(2), window(1), rejection(3)])
            assert await asyncio.to_thread(next, told) == rejection(3)

    asyncio.run(run())


def test_a_service_that_knows_nothing_of_rejected_payloads_refuses_in_words(tmp_path: Path) -> None:
    async def run() -> None:
        async with status_server(tmp_path):
            with pytest.raises(SourceRefused, match="the service refuses: ask"):
                await asyncio.to_thread(next, rejected(tmp_path))

    asyncio.run(run())


def configured(folder: Path) -> str:
    config = folder / "agent.toml"
    config.write_text(GOOD.replace('name = "gw-1"', f'name = "gw-1"\ndata = "{folder}/data"', 1))
    (folder / "data").mkdir()
    return str(config)


def rejected_by_command(folder: Path, *options: str, publish: bool) -> Result:
    """What `andon tail --rejected` prints of three that are kept, and of one that comes then."""
    config = configured(folder)

    async def run() -> Result:
        async with status_server(folder / "data", rejected=kept(1, 2, 3)) as server:
            command = ["tail", config, "--rejected", *options]
            task = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, app, command))
            if publish:
                await watchers(server, 1)
                reason = {"reason": "no field 'v'", "payload": "\x1b[2J\n" + "x" * 300}
                server.publish([window(1), rejection(4, cause="other_cause", **reason)])
            return await asyncio.wait_for(task, DEADLINE_S)

    return asyncio.run(run())


def test_rejected_payloads_are_shown_with_what_to_do_and_end_after_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", ENVIRON)
    done = rejected_by_command(tmp_path, "-n", "4", publish=True)
    assert done.exit_code == 0
    blocks = done.stdout.split("2027-01-15 08:00:00.000  ")[1:]
    assert len(blocks) == 4
    assert blocks[0] == (
        "floor  oven-2/heat\n"
        "  cannot be read: not JSON\n"
        "  payload, 5 bytes: n1\n"
        "  compare it with `payload` of this topic in the configuration, or mend what sends it\n"
    )
    assert blocks[3].splitlines()[1:] == [
        "  other cause: no field 'v'",
        "  payload, 5 bytes: \\x1b[2J\\n" + "x" * 191 + " ...",
    ]
    assert "rejected since the start: 1,204 unreadable from floor, 2 no birth from floor" in (
        done.stderr
    )


def test_a_broken_payload_of_sparkplug_is_its_nodes_to_mend() -> None:
    said = tell(rejection(1, topic="spBv1.0/acme/NDATA/cell-4"))
    assert said.endswith("\n  mend what sends it: this is not Sparkplug B")


def test_of_the_kept_the_newest_are_shown_and_as_json_one_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", ENVIRON)
    done = rejected_by_command(tmp_path, "-n", "2", "--json", publish=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [rejection(2), rejection(3)]


def test_a_tail_of_what_is_made_shows_nothing_that_was_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", ENVIRON)
    config = configured(tmp_path)

    async def run() -> Result:
        async with status_server(tmp_path / "data") as server:
            command = ["tail", config, "--json", "-n", "1"]
            task = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, app, command))
            await watchers(server, 1)
            server.publish([rejection(1), window(7)])
            return await asyncio.wait_for(task, DEADLINE_S)

    assert json.loads(asyncio.run(run()).stdout) == window(7)


def test_rejected_payloads_are_of_no_machine_or_signal(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["tail", "x.toml", "--rejected", "--machine", "press-01"])
    assert done.exit_code == 2
    assert "--lines and --json" in done.stderr


@pytest.mark.parametrize("options", [(), ("--rejected",)])
def test_tailing_without_a_service_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr("os.environ", ENVIRON)
    done = CliRunner().invoke(app, ["tail", configured(tmp_path), *options])
    assert done.exit_code == ExitCode.UNREACHABLE
    assert done.stdout == ""
    assert f"error: no service answers at {tmp_path}/data: No such file" in done.stderr
    assert "hint: start it with `andon run`" in done.stderr
    assert "Traceback" not in done.stderr


def test_events_are_told_in_one_line_each() -> None:
    where_and_when = {"machine": "press-01", "signal": "force", "time_ns": 1_800_000_000 * 10**9}
    base: dict[str, Any] = {**where_and_when, "unit": "kN"}
    told = [
        tell({**base, "type": "window", "every": "1s", "n": 10, "good": 1.0, "mean": 2.5,
              "min": 1.0, "max": 4.0}),
        tell({**base, "type": "window", "every": "1s", "n": 0, "good": 0.0}),
        tell({**base, "type": "sample", "value": None, "status": 0x808C_0000}),
        tell({**base, "type": "sample", "value": 1.5, "status": 0x4000_0000}),
        tell({**base, "type": "state", "state": "Held", "reason": "no bins", "ended_ns": None}),
        tell({**base, "type": "state", "state": "Execute", "reason": "", "ended_ns": None}),
        tell({**base, "type": "state", "state": "Held", "reason": "no bins",
              "ended_ns": base["time_ns"] + 10**9}),
        tell({**base, "type": "anomaly", "detector": "level", "severity": "alarm",
              "message": "too high", "ended_ns": None}),
        tell({**base, "type": "anomaly", "detector": "level", "ended_ns": base["time_ns"] + 10**9}),
        tell({"type": "missed", "events": 1_234}),
    ]  # fmt: skip
    where = f"{'08:00:00.000  press-01/force':<46}  "
    assert told == [
        f"{where} 1s  n 10    good 100%  mean 2.5, min 1, max 4 kN",
        f"{where} 1s  n 0     good   0%  nothing",
        f"{where}no value  BadSensorFailure (0x808C0000)",
        f"{where}1.5 kN  Uncertain (0x40000000)",
        f"{where}now Held, no bins",
        f"{where}now Execute",
        f"{where}Held: over after 1.0 s",
        f"{where}ALARM level: too high",
        f"{where}level: over after 1.0 s",
        "... 1,234 more that this terminal was too slow for",
    ]
