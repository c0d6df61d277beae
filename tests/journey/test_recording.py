"""A recorded machine, played over OPC UA, arrives in the store value for value.

The recording is the SKAB water testbed; where it is not at hand, the test skips.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.server import until
from tests.journey.plant import columns, plant

RECORDING = Path(__file__).parents[3] / "shared/data/skab/data/valve1/0.csv"
SENSORS = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure",
    "Temperature", "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip
SPEED = 100
WIDTH_NS = 1_000_000_000

CONFIG = """
[gateway]
name = "gw-water"
path = { enterprise = "acme", site = "lab", area = "water", line = "testbed" }
data = "${ANDON_DEMO_DATA}"

[outbox]
commit_interval_ms = 100

[[opcua]]
name = "testbed"
endpoint = "${ANDON_DEMO_OPCUA}"
machine = "testbed"
security = "none"
publishing_interval_ms = 100
queue_size = 1000
trigger = "status_value_timestamp"
"""
SIGNAL = """
[[opcua.signals]]
name = "{name}"
node = "nsu=urn:andon:line;s=testbed.{name}"
raw = true
"""
SINK = """
[[influxdb]]
name = "cloud"
url = "${ANDON_DEMO_CLOUD}"
token = "${ANDON_TOKEN}"
"""


def rows() -> list[dict[str, float]]:
    with RECORDING.open(newline="") as file:
        read = csv.DictReader(file, delimiter=";")
        return [{name: float(row[name]) for name in SENSORS} for row in read]


@pytest.mark.timeout(240)
@pytest.mark.skipif(not RECORDING.exists(), reason="the SKAB recording is not at hand")
def test_a_recording_played_over_opc_ua_is_in_the_store_value_for_value(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG + "".join(SIGNAL.format(name=name) for name in SENSORS) + SINK)
    arguments = (
        "play", str(RECORDING), "--machine", "testbed", "--speed", str(SPEED), "--control",
        "--columns", ",".join(SENSORS), "--delimiter", ";",
    )  # fmt: skip
    recorded = rows()
    with plant(tmp_path, line=arguments, config=config) as it:
        it.line.say("start")
        it.line.event("started")
        stopped = it.line.event("stopped")
        sent = stopped["sent"]["opcua"]
        until(lambda: it.received() == sent, 30)
        until(lambda: it.status()["outbox"]["lines_waiting"] == 0, 30)
        it.gateway.stop()
        ledger = it.gateway.wait_for("stopped")["ledger"]
        samples, windows = columns(it.cloud, "samples"), columns(it.cloud, "windows")

    assert stopped["rows"] == len(recorded)
    assert ledger["balanced"]
    assert ledger["samples"]["received"] == sent == (len(recorded) + 1) * len(SENSORS)
    assert ledger["samples"]["filtered"] == {}
    for name in SENSORS:
        stored = of_signal(samples, name, "time_ns", "value", "status")
        good = [(time, value) for time, value, status in stored if status == 0]
        assert [value for _, value in good] == [row[name] for row in recorded]
        compare_windows(of_signal(windows, name, "time_ns", "n", "mean", "good"), good)


def of_signal(table: dict[str, list[Any]], signal: str, *names: str) -> list[tuple[Any, ...]]:
    """The named columns of one signal's rows, in the order of time."""
    picked = zip(table["signal"], *(table[name] for name in names), strict=True)
    return sorted((row[1:] for row in picked if row[0] == signal), key=lambda row: row[0])


def compare_windows(windows: list[tuple[Any, ...]], samples: list[tuple[int, float]]) -> None:
    """Sum and number of the windows' samples are the recording's, and so is each integral."""
    compared = 0
    for start, n, mean, good in windows:
        inside = [(time, value) for time, value in samples if start <= time < start + WIDTH_NS]
        before = [(time, value) for time, value in samples if time < start]
        after = [time for time, _ in samples if time >= start + WIDTH_NS]
        if not before or not after:
            continue  # the recording does not cover it
        steps = [(start, before[-1][1]), *inside, (start + WIDTH_NS, math.nan)]
        integral = math.fsum(
            value * (steps[i + 1][0] - time) for i, (time, value) in enumerate(steps[:-1])
        )
        assert n == len(inside)
        assert good == 1.0
        assert mean * WIDTH_NS == pytest.approx(integral, rel=1e-12)
        compared += 1
    assert compared >= len(samples) // SPEED - 3
