import asyncio
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.client.client import Client

from hardware.line.recording import read
from tests.hardware.line.process import (
    ROOT,
    Notifications,
    andon_line,
    refused,
    subscribe,
    wait_for,
)

SKAB = ROOT.parent / "shared/data/skab/data/valve1/0.csv"


def play(*arguments: str, each_write: bool = True) -> tuple[Notifications, dict[str, Any]]:
    """Play a file to one subscribed client; what it received and the stopped event."""
    with andon_line("play", *arguments) as line:
        ready = line.event("ready")

        async def watch() -> tuple[Notifications, dict[str, Any]]:
            async with Client(ready["opcua"]) as client:
                received = await subscribe(client, each_write=each_write)
                await asyncio.to_thread(line.event, "started")
                stopped = await asyncio.to_thread(line.event, "stopped")
                sent = stopped["sent"]["opcua"]
                await asyncio.to_thread(
                    wait_for, lambda: received.counts().total() >= sent, "all notified"
                )
                assert received.counts() == stopped["sent"]["by_signal"]
                return received, stopped

        result = asyncio.run(watch())
        line.popen.terminate()
        assert line.end()[:2] == (0, "")
        return result


def stamp_ns(value: ua.DataValue) -> int:
    assert value.SourceTimestamp is not None
    return round(value.SourceTimestamp.timestamp() * 1e6) * 1000


def number(value: ua.DataValue) -> float:
    """The value, NaN where there is none."""
    missing = value.Value is None or value.Value.Value is None
    return math.nan if missing or value.Value is None else float(value.Value.Value)


@pytest.mark.skipif(not SKAB.exists(), reason="the recordings are not here")
def test_a_real_recording_arrives_value_for_value_at_its_own_times() -> None:
    columns = (
        "Accelerometer1RMS,Accelerometer2RMS,Current,Pressure,Temperature,Thermocouple,Voltage,"
        "Volume Flow RateRMS"
    )
    received, stopped = play(
        str(SKAB), "--delimiter", ";", "--time", "datetime", "--columns", columns,
        "--machine", "skab", "--speed", "2000", "--times", "file",
    )  # fmt: skip
    recording = read(SKAB, columns=columns.split(","))
    assert stopped["rows"] == len(recording.time_ns) > 1000
    assert stopped["overflowed"] == 0
    assert len(received.values) == 8
    for place, column in enumerate(columns.split(",")):
        played = received.values[f"skab/{column}"][1:]
        assert [number(value) for value in played] == recording.values[:, place].tolist()
        assert [stamp_ns(value) for value in played] == recording.time_ns.tolist()


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[ua.DataValue]]:
    """When it began, and what came of a short recording at ten times its speed."""
    path = tmp_path_factory.mktemp("play") / "pump.csv"
    path.write_text("t,a\n100,1.5\n101,\n101.5,2.5\n105,4\n")
    before_ns = time.time_ns() // 1000 * 1000
    received, _ = play(str(path), "--speed", "10")
    return before_ns, received.values["pump/a"][1:]


def test_a_missing_value_is_bad_and_empty_and_never_zero(
    shifted: tuple[int, list[ua.DataValue]],
) -> None:
    _, values = shifted
    assert [number(value) for value in values] == pytest.approx(
        [1.5, math.nan, 2.5, 4], nan_ok=True
    )
    statuses = [value.StatusCode.value for value in values if value.StatusCode is not None]
    assert statuses == [0, 0x80000000, 0, 0]


def test_played_times_begin_now_and_keep_the_files_spacing_at_the_speed(
    shifted: tuple[int, list[ua.DataValue]],
) -> None:
    before_ns, values = shifted
    stamps = np.array([stamp_ns(value) for value in values])
    assert before_ns <= stamps[0] <= time.time_ns()
    np.testing.assert_allclose(np.diff(stamps) / 1e6, [100, 50, 350], atol=0.002)


def test_a_client_that_asks_for_changes_gets_only_those_with_the_clocks_time_if_wished(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pump.csv"
    path.write_text("t,a,b\n100,1,1\n101,1,2\n102,1,3\n")
    before_ns = time.time_ns() // 1000 * 1000
    received, stopped = play(str(path), "--speed", "20", "--times", "now", each_write=False)
    assert received.counts() == {"pump/a": 2, "pump/b": 4}
    assert stopped["sent"]["opcua"] == 6
    stamps = np.array([stamp_ns(value) for value in received.values["pump/b"][1:]])
    assert before_ns <= stamps[0]
    assert stamps[-1] <= time.time_ns()
    assert (np.diff(stamps) > 10_000_000).all()


def test_what_cannot_be_played_is_one_message_and_an_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv"
    path.write_text("t,a\n0,1\n1,x\n")
    code, said = refused("play", str(path))
    assert (code, said) == (2, f"error: {path}: row 3, column 'a': 'x' is not a number\n")
    path.write_text("t,a\n0,1\n")
    code, said = refused("play", str(path), "--speed", "0")
    assert (code, said.count("\n")) == (2, 1)
    assert "--speed is 0; it must be above 0" in said
