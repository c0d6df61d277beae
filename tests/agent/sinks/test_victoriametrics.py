"""A real VictoriaMetrics holds what was sent, value by value, within its milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import numpy as np
import pytest

from agent.forward import Forwarder
from agent.ledger import SampleLedger
from agent.lines import SAMPLE, WINDOW, Lines, Rows
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox
from agent.signals import Path, Signal
from agent.sinks.influxdb import InfluxdbSink
from tests.agent.forward.support import eventually, waiting
from tests.agent.sinks.victoriametrics import Series, exported, victoriametrics

PATH = Path("acme", "guiyang", "assembly", "line-1")
SIGNALS = {
    0: Signal(PATH, "press-01", "temperature", "press"),
    1: Signal(PATH, "press 2, left", 'level "high"=max', "press"),
    2: Signal(PATH, "press-01", "state", "press"),
}
START_NS = 1_795_000_000_123_456_789
SECOND_NS = 10**9
FIELDS = ("n", "good", "mean", "std", "min", "max", "first", "last", "rev")
COMPUTED = ("window_mean", "window_std")
"""These have all digits of a double. VictoriaMetrics keeps 12 of each value; what was measured, up
to 12 digits long, comes back bit by bit."""
ODD_VALUES = [0.0, -0.0, 0.1, -273.15, 1e-9, 99.99999999, 20.0000000001]


@pytest.fixture
def server(tmp_path: FilePath) -> Iterator[str]:
    with victoriametrics(tmp_path) as url:
        yield url


def windows(count: int) -> Rows:
    """Windows of two signals: measured values of nine digits, computed ones with all of them."""
    random = np.random.default_rng(3)
    rows = np.zeros(count, WINDOW)
    rows["signal"] = np.arange(count) % 2
    rows["start_ns"] = START_NS + np.arange(count) // 2 * SECOND_NS
    rows["every_ns"], rows["n"], rows["good"] = SECOND_NS, random.integers(1, 20, count), 1
    for name in ("mean", "std", "min", "max", "first", "last"):
        digits = 17 if f"window_{name}" in COMPUTED else 7
        rows[name] = np.round(random.normal(20, 5, count), digits)
    rows["min"][: len(ODD_VALUES)] = ODD_VALUES
    rows["increase"] = np.nan
    return rows


def samples(count: int) -> Rows:
    rows = np.zeros(count, SAMPLE)
    rows["signal"], rows["time_ns"] = 0, START_NS + np.arange(count) * 1_234_567
    rows["value"] = np.round(np.random.default_rng(4).normal(20, 5, count), 3)
    rows["text"] = -1
    return rows


def texts(count: int) -> Rows:
    rows = np.zeros(count, SAMPLE)
    rows["signal"], rows["status"], rows["value"] = 2, 7, np.nan
    rows["time_ns"] = START_NS + np.arange(count) * SECOND_NS
    return rows


def series(measurement: str, field: str, signal: Signal, **more: str) -> Series:
    labels = {
        "__name__": f"{measurement}_{field}", "enterprise": "acme", "site": "guiyang",
        "area": "assembly", "line": "line-1", "machine": signal.machine, "signal": signal.name,
    }  # fmt: skip
    return tuple(sorted((labels | more).items()))


def points(rows: Rows, time: str, field: str) -> list[tuple[int, float]]:
    return sorted(
        (int(row[time]) // 1_000_000, float(row[field])) for row in rows if np.isfinite(row[field])
    )


def test_what_was_sent_is_read_back_equal_value_by_value(server: str) -> None:
    outbox = MemoryOutbox(["plant"])
    first, raw, words = windows(4000), samples(500), texts(3)
    revised = first[:5].copy()
    revised["rev"], revised["mean"] = 1, 99
    ready = (
        b'signal,signal=a kind="analog",unit="C" 1795000000000000000',
        b'anomaly,signal=a severity="alarm, rev=1i ",score=0.5,message="\\"x\\", y=3i\nz" '
        b"1795000000000000000",
    )
    outbox.stage(Lines(windows=first, samples=raw), SIGNALS, early=False)
    outbox.stage(Lines(samples=words, texts=('Execute\n"now"',)), early=False)
    outbox.stage(Lines(ready=ready), early=False)
    outbox.commit(Commit(SampleLedger()))
    forwarder = Forwarder(outbox, InfluxdbSink("plant", url=server, token="", outbox=outbox.uuid))
    forwarder.start()
    assert eventually(lambda: waiting(outbox) == 0, 20)
    outbox.stage(Lines(windows=revised), early=False)
    outbox.commit(Commit(SampleLedger()))
    forwarder.wake.set()
    assert eventually(lambda: waiting(outbox) == 0, 20)
    assert forwarder.flavour == "victoriametrics"
    assert "plant (victoriametrics): last write" in forwarder.state
    assert forwarder.stop()

    expected: dict[Series, list[tuple[int, float]]] = {
        tuple(sorted({"__name__": "anomaly_score", "signal": "a"}.items())): [(1795000000000, 0.5)],
        series("sample", "value", SIGNALS[0]): points(raw, "time_ns", "value"),
        series("sample", "status", SIGNALS[0]): points(raw, "time_ns", "status"),
        series("sample", "status", SIGNALS[2]): points(words, "time_ns", "status"),
    }
    for number in (0, 1):
        mine = first[first["signal"] == number]
        for field in FIELDS:
            name = series("window", field, SIGNALS[number], every="1s")
            expected[name] = points(mine, "start_ns", field)
    held = exported(server)
    assert set(held) == set(expected)
    for name, sent in expected.items():
        if dict(name)["__name__"] in COMPUTED:
            assert [at for at, _ in held[name]] == [at for at, _ in sent]
            np.testing.assert_allclose([v for _, v in held[name]], [v for _, v in sent], 1e-12)
        else:
            assert held[name] == sent
    ledger = outbox.ledger()
    assert ledger.sinks["plant"].withheld == 1 + len(revised)  # the metadata has no number
    assert ledger.lines.acknowledged == 4000 + 500 + 3 + 2 + 5
    assert ledger.balanced
