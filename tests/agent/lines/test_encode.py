"""Line protocol: exact floats, the twin line by line, and influxdb-client as a second opinion."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from influxdb_client.client.write.point import Point

from agent.config import Config
from agent.ledger import Ledger, LineLedger, SampleLedger, SinkLedger
from agent.lines import SAMPLE, WINDOW, Lines, Packet
from agent.lines.encode import (
    Encoder,
    Value,
    anomaly_line,
    every_text,
    gateway_line,
    machine_line,
    point,
    signal_line,
    state_line,
)
from agent.lines.report import Reporter
from agent.outbox import Usage
from agent.signals import Path, Signal, SignalTable
from tests.agent.lines import naive_encode

ClientPoint: Any = Point  # it has no types
PATH = Path("acme", "guiyang", "assembly", "line-1")
SIGNALS = {i: Signal(PATH, f"press-{i // 3:02d}", f"signal_{i}", "press") for i in range(8)}
ENCODER = Encoder(SIGNALS)
SEEDED = settings(max_examples=100, deadline=None, derandomize=True)

every_ns = st.sampled_from([1_000_000_000, 10_000_000_000, 60_000_000_000])
time_ns = st.integers(-(2**63), 2**63 - 1)
signal_ids = st.integers(0, len(SIGNALS) - 1)
any_float = st.one_of(
    st.floats(),
    st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
    st.builds(round, st.floats(-1e6, 1e6), st.integers(0, 6)),
    st.integers(-(2**60), 2**60).map(float),
)
windows = st.lists(
    st.tuples(
        signal_ids, st.integers(0, 2**31 - 1), time_ns, every_ns, st.integers(0, 2**62),
        *[any_float] * 8,
    ),
    max_size=12,
).map(lambda rows: np.array(rows, WINDOW))  # fmt: skip
texts = ("", "scrap", 'a "b" \\ c', "two\nlines, a=b", "良品 ✓")
samples = st.lists(
    st.tuples(
        signal_ids, st.integers(0, 2**32 - 1), time_ns, any_float, st.integers(-1, len(texts) - 1)
    ),
    max_size=12,
).map(lambda rows: np.array(rows, SAMPLE))  # fmt: skip


def split(body: bytes, offsets: np.ndarray) -> list[bytes]:
    packet = Packet(((1, len(offsets) - 1),), body, offsets)
    parts = [packet.part(i, i + 1).body for i in range(len(packet))]
    assert all(part.endswith(b"\n") for part in parts)
    return [part[:-1] for part in parts]


def written(values: np.ndarray) -> list[str]:
    """How the encoder writes these floats as values of samples."""
    rows = np.zeros(len(values), SAMPLE)
    rows["value"], rows["text"] = values, -1
    body, _ = ENCODER.encode(Lines(samples=rows))
    return re.findall(r" (?:value=([^,\n]*),)?status", body.decode())


@SEEDED
@given(windows, samples, st.lists(st.sampled_from([b"a b=1 1", b'a b="x\ny" 2'])))
def test_columns_become_the_very_lines_of_the_naive_twin(
    windows: np.ndarray, samples: np.ndarray, ready: list[bytes]
) -> None:
    lines = Lines(windows, samples, texts, tuple(ready))
    assert split(*ENCODER.encode(lines)) == naive_encode.encode(lines, SIGNALS)


@SEEDED
@given(stn.arrays(np.uint64, st.integers(1, 200), elements=st.integers(0, 2**64 - 1)))
def test_any_bit_pattern_is_written_as_repr_writes_it(bits: np.ndarray) -> None:
    values = bits.view(np.float64)
    assert written(values) == [naive_encode.number(value) for value in values]


def test_floats_at_the_edges_of_their_format_are_written_as_repr_writes_them() -> None:
    rng = np.random.default_rng(7)
    decimals = [10.0**i for i in range(-323, 309)] + [float(f"9e{i}") for i in range(-323, 308)]
    powers_of_two = np.ldexp(1.0, np.arange(-1074, 1024))
    neighbours = np.nextafter(powers_of_two, 0.0), np.nextafter(powers_of_two, np.inf)
    values = np.concatenate([
        [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2e23], [2.0**53 + 2],
        decimals, powers_of_two, *neighbours,
        np.round(rng.normal(0, 100, 20_000), 3), rng.normal(0, 1e-5, 20_000),
        rng.integers(0, 2**63, 50_000).view(np.float64),
    ])  # fmt: skip
    for signed in (values, np.negative(values)):
        assert written(signed) == [naive_encode.number(value) for value in signed]


def test_an_empty_window_carries_n_good_and_rev_only() -> None:
    row = np.zeros(1, WINDOW)
    for name in ("mean", "std", "min", "max", "first", "last", "increase"):
        row[name] = np.nan
    row["every_ns"], row["start_ns"] = 1_000_000_000, 17
    body, _ = ENCODER.encode(Lines(row))
    assert body.endswith(b",signal=signal_0,every=1s n=0i,good=0,rev=0i 17\n")


def test_a_signal_learned_later_has_its_tags_and_an_unknown_one_is_refused() -> None:
    encoder, row = Encoder(), np.zeros(1, SAMPLE)
    row["signal"], row["text"] = 1, -1
    encoder.learn({0: SIGNALS[0]})
    with pytest.raises(ValueError, match="head index"):
        encoder.encode(Lines(samples=row))
    with pytest.raises(ValueError, match="hole"):
        encoder.learn({2: SIGNALS[2]})
    encoder.learn({1: SIGNALS[1]})
    assert b"signal=signal_1 value=0," in encoder.encode(Lines(samples=row))[0]


def test_tags_of_signals_are_escaped_in_columns_as_in_points() -> None:
    signal = Signal(Path("a b", "c,d", "e=f", "g\nh"), "m\\", "", "s")
    row = np.zeros(1, SAMPLE)
    row["text"] = -1
    body, _ = Encoder({0: signal}).encode(Lines(samples=row))
    path = rb"sample,enterprise=a\ b,site=c\,d,area=e\=f,line=g\ h,machine=m/"
    assert body == path + b" value=0,status=0i 0\n"


letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\\")
names = st.text(letters, min_size=1)
plain_names = names.filter(lambda name: not name.startswith("#"))
fields = st.dictionaries(
    names,
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), any_float, st.text(), st.none()),
    max_size=6,
).map(lambda fields: {"first": 1} | fields)


@SEEDED
@given(plain_names, st.dictionaries(names, names, max_size=4), fields, time_ns)
def test_a_point_is_what_influxdb_client_would_write(
    measurement: str, tags: dict[str, str], fields: dict[str, Value], time_ns: int
) -> None:
    theirs = ClientPoint(measurement).time(time_ns)
    for name, value in tags.items():
        theirs.tag(name, value)
    for name, field in fields.items():
        theirs.field(name, field)
    ours = point(measurement, dict(sorted(tags.items())), dict(sorted(fields.items())), time_ns)
    assert ours.decode() == theirs.to_line_protocol()


def as_sayable(tag: str) -> str:
    spaced = re.sub(r"[\x00-\x1f\x7f]", " ", tag)
    return re.sub(r"\\+(?=[,= ]|$)", lambda run: "/" * len(run[0]), spaced)


@SEEDED
@given(
    st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"])), max_size=4), fields
)
def test_a_point_reads_back_as_it_was_but_for_what_the_protocol_cannot_say(
    tags: dict[str, str], fields: dict[str, Value]
) -> None:
    read = naive_encode.parse(point("m", tags, fields, 5))
    sayable = {name: as_sayable(value) for name, value in tags.items() if value}
    finite = {
        name: value for name, value in fields.items()
        if value is not None and (not isinstance(value, float) or math.isfinite(value))
    }  # fmt: skip
    assert read == ("m", sayable, finite, 5)


@pytest.mark.parametrize(
    ("measurement", "value"), [("", 1), ("#x", 1), ("m", math.nan), ("m", None), ("m", 2**63)]
)
def test_a_point_that_says_nothing_or_too_much_is_refused(measurement: str, value: Value) -> None:
    with pytest.raises(ValueError, match=r"needs a measurement|does not fit"):
        point(measurement, {}, {"v": value}, 1)


def test_half_a_surrogate_pair_does_not_stop_a_line() -> None:
    assert point("m", {"t": "a\ud800"}, {"v": "b\ud800"}, 1) == b'm,t=a? v="b?" 1'


def test_metadata_lines_carry_what_is_known_and_limits_stay_floats() -> None:
    signal = Signal(PATH, "press-01", "ram_force", "press", unit="kN", high=2400, node="ns=3;s=F")
    assert signal_line(signal, 9) == (
        b"signal,enterprise=acme,site=guiyang,area=assembly,line=line-1,machine=press-01,"
        b'signal=ram_force kind="analog",unit="kN",high=2400,grade="general",node="ns=3;s=F" 9'
    )
    assert machine_line(PATH, "press-01", 9, order_in_line=1, ideal_cycle_s=2) == (
        b"machine,enterprise=acme,site=guiyang,area=assembly,line=line-1,machine=press-01 "
        b"order_in_line=1i,ideal_cycle_s=2 9"
    )
    assert machine_line(PATH, "press-01", 9) is None


def test_an_anomaly_line_keeps_its_start_and_names_its_end() -> None:
    read = naive_encode.parse(
        anomaly_line(
            PATH, "press-01", "ram_force", "level", 100, anomaly_id="x1", severity="alarm", score=1,
            value=2311, expected=2060.5, high=math.inf, ended_ns=200, message='2,311 kN "now"',
            contributors=[{"signal": "oil"}],
        )
    )  # fmt: skip
    assert read[1]["detector"] == "level"
    assert read[2] == {
        "id": "x1", "severity": "alarm", "score": 1.0, "value": 2311.0, "expected": 2060.5,
        "ended_ns": 200, "message": '2,311 kN "now"', "contributors": '[{"signal": "oil"}]',
    }  # fmt: skip
    assert read[3] == 100


def test_a_state_is_a_whole_statement_and_says_once_over_how_long_it_was() -> None:
    line = state_line(PATH, "press-01", 5, "Held", 'bin "3" is empty', None)
    head = b"state,enterprise=acme,site=guiyang,area=assembly,line=line-1,machine=press-01 "
    assert line == head + rb'state="Held",reason="bin \"3\" is empty" 5'
    over = state_line(PATH, "press-01", 5, "Execute", "", 12.0)
    assert over == head + b'state="Execute",reason="",duration_s=12 5'


def test_the_gateway_line_carries_the_ledger_and_stands_for_its_area() -> None:
    ledger = Ledger(SampleLedger(10, 7, pending=2), LineLedger(6, 3, 1))
    ledger.samples.filtered["same_time"] = 1
    ledger.samples.retimed["clock_ahead"] = 4
    ledger.samples.missed.update(outage=2, message=5)
    ledger.samples.recovered["history"] = 6
    ledger.lines.dropped["quota"] = 2
    ledger.sinks = {"a": SinkLedger(withheld=1), "b": SinkLedger(withheld=2)}
    written = gateway_line(
        PATH, "gw-1", 1, ledger, outbox_bytes=5, outbox_bytes_max=9, hours_left=61, oldest_s=2,
        lag_ms=2, clock_steps=1, certificate_days=29, version="0.1", signals=3,
    )  # fmt: skip
    measurement, tags, fields, _ = naive_encode.parse(written)
    assert measurement == "gateway"
    assert tags == {"enterprise": "acme", "site": "guiyang", "area": "assembly", "gateway": "gw-1"}
    assert fields == {
        "received": 10, "derived": 7, "filtered": 1, "dropped": 0, "pending": 2, "made": 6,
        "acknowledged": 3, "waiting": 1, "replaced": 0, "dead_letter": 0, "lines_dropped": 2,
        "retimed": 4, "missed": 7, "recovered": 6, "withheld": 3, "balanced": True,
        "outbox_bytes": 5, "outbox_bytes_max": 9, "hours_left": 61.0, "oldest_s": 2.0,
        "lag_ms": 2.0, "clock_steps": 1, "certificate_days": 29, "version": "0.1", "signals": 3,
    }  # fmt: skip


def test_a_reporter_takes_the_gateways_line_from_ledger_and_usage() -> None:
    gateway = {"name": "gw-1", "path": {"enterprise": "e", "site": "s", "area": "a", "line": "l"}}
    reporter = Reporter(Config.model_validate({"gateway": gateway}), SignalTable(1))
    for usage, told in (
        (Usage(512, 3_600_512, 3, 5 * 10**9, bytes_in_per_s=100.0), {"hours_left": 10.0}),
        (Usage(512, 1024, 0, None), {"oldest_s": 0.0}),
    ):
        fields = naive_encode.parse(reporter.gateway(Ledger(), 7 * 10**9, usage, 1.5, 4))[2]
        expected = {"outbox_bytes": 512, "oldest_s": 2.0, "clock_steps": 4, "lag_ms": 1.5} | told
        assert {name: fields[name] for name in expected} == expected
        assert ("hours_left" in fields) == ("hours_left" in told)  # left out when nothing comes
        assert "certificate_days" not in fields  # nothing here needs a certificate


@pytest.mark.parametrize(
    ("width_ns", "text"), [(10**9, "1s"), (10**10, "10s"), (5 * 10**8, "500ms"), (1500, "1500ns")]
)
def test_a_width_is_written_in_its_largest_whole_unit(width_ns: int, text: str) -> None:
    assert every_text(width_ns) == text
