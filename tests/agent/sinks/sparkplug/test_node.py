"""What a host is told of lines: births before data, each value once, the old as historical."""

from __future__ import annotations

import pytest

from agent.lines.parse import parse
from agent.signals import Path
from agent.sinks.sparkplug import node as node_module
from agent.sinks.sparkplug.node import Node
from agent.sinks.sparkplug.points import Points
from tests.agent.sinks.lines import (
    NOW_NS,
    PATH,
    S_NS,
    about,
    anomaly,
    gateway,
    sample,
    signal,
    state,
    window,
)
from tests.agent.sinks.sparkplug.reader import Host, Read, Seen, read

NOW_MS = NOW_NS // 10**6
FORCE = "press-01", "ram_force/mean"


class Bench:
    """A node and a host that hears it."""

    def __init__(self, **options: bool) -> None:
        self.node = Node("acme", "gw-1", {"enterprise": "acme"})
        self.points = Points(self.node, PATH, **options)
        self.host = Host()
        self.bear()

    def bear(self) -> list[Read]:
        return self._hear(list(self.node.births(NOW_MS)))

    def tell(self, *lines: bytes, waited: bool = False) -> list[Read]:
        for line in lines:
            assert self.points.take(parse(line))
        return self._hear(list(self.node.tell(NOW_MS, waited=waited)))

    def told(self, device: str, metric: str) -> list[Seen]:
        return self.host.values[device, metric]

    def _hear(self, messages: list[tuple[bytes, bytes]]) -> list[Read]:
        for topic, payload in messages:
            self.host.take(read(topic.decode(), payload))
        return self.host.messages[-len(messages) :] if messages else []


def kinds(messages: list[Read]) -> list[str]:
    return [f"{one.kind} {one.device}".strip() for one in messages]


def values(told: list[Seen]) -> list[object]:
    return [one.value for one in told]


def test_a_birth_of_the_node_has_its_session_and_the_command_that_asks_for_it_again() -> None:
    birth = Bench().host.messages[0]
    assert (birth.kind, birth.seq, birth.time_ms) == ("NBIRTH", 0, NOW_MS)
    assert (birth["bdSeq"].value, birth["bdSeq"].datatype) == (0, 4)
    rebirth = birth["Node Control/Rebirth"]
    assert (rebirth.value, rebirth.datatype, rebirth.alias) == (False, 11, None)
    assert birth["Properties/enterprise"].value == "acme"


def test_a_new_machine_is_born_with_its_first_values_and_says_the_rest_as_data() -> None:
    bench = Bench()
    told = bench.tell(window(NOW_NS, 21.5), window(NOW_NS + 10 * S_NS, 22.5))
    assert kinds(told) == ["DBIRTH press-01", "DDATA press-01"]
    assert told[0]["Properties/line"].value == "line 1"
    mean = told[0]["ram_force/mean"]
    assert (mean.value, mean.time_ms, mean.datatype) == (21.5, NOW_MS, 10)
    assert told[0]["ram_force/n"].datatype == 4
    assert told[0]["ram_force/n"].value == 10
    assert values(bench.told(*FORCE)) == [21.5, 22.5]
    assert [one.time_ms for one in bench.told(*FORCE)] == [NOW_MS, NOW_MS + 10_000]
    assert kinds(bench.tell(window(NOW_NS + 20 * S_NS, 23.5))) == ["DDATA press-01"]


def test_a_new_metric_of_a_known_machine_makes_it_be_born_again_before() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 21.5))
    told = bench.tell(window(NOW_NS + 10 * S_NS, 22.5), window(NOW_NS, 1.5, "oil_temp"))
    assert kinds(told) == ["DBIRTH press-01", "DDATA press-01"]
    assert told[0]["ram_force/mean"].value == 21.5  # as it was told before
    assert told[0]["oil_temp/mean"].value == 1.5
    assert values(bench.told(*FORCE)) == [21.5, 21.5, 22.5]
    assert values(bench.told("press-01", "oil_temp/mean")) == [1.5]


def test_seq_goes_round_after_255_over_node_and_devices_together() -> None:
    bench = Bench()
    for number in range(300):
        bench.tell(window(NOW_NS + number * S_NS, number, machine=f"press-{number % 3}"))
        bench.tell(gateway(NOW_NS + number * S_NS, number))
    assert max(one.seq or 0 for one in bench.host.messages) == 255


def test_values_are_told_in_the_order_of_their_time() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5), window(NOW_NS, 1.5, "b"))
    lines = [window(NOW_NS + i * S_NS, i, name) for name in ("ram_force", "b") for i in (1, 2, 3)]
    (data,) = bench.tell(*lines)
    times = [one.time_ms for one in data.metrics]
    assert times == sorted(times)  # type: ignore[type-var]
    assert not any(one.historical for one in data.metrics)


def test_what_has_waited_is_historical() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    (data,) = bench.tell(window(NOW_NS - 90 * S_NS, 0.5), waited=True)
    assert all(one.historical for one in data.metrics)
    assert data.metrics[0].time_ms == NOW_MS - 90_000


def test_what_has_waited_is_historical_in_a_birth_too() -> None:
    bench = Bench()
    (birth,) = bench.tell(window(NOW_NS - 90 * S_NS, 0.5), waited=True)
    assert birth["ram_force/mean"].historical
    assert not birth["Properties/line"].historical


def test_a_revised_window_is_historical_since_a_newer_one_was_told() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5), window(NOW_NS + 10 * S_NS, 2.5))
    (data,) = bench.tell(window(NOW_NS, 1.75, rev=1))
    assert all(one.historical for one in data.metrics)
    bench.tell(window(NOW_NS + 20 * S_NS, 3.5))
    assert bench.told(*FORCE)[-1].historical is False


def test_a_line_sent_again_after_a_new_session_tells_nothing_that_the_birth_told() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    line = window(NOW_NS + 10 * S_NS, 2.5)
    bench.tell(line)
    bench.bear()
    assert bench.tell(line) == []
    assert values(bench.told(*FORCE)) == [1.5, 2.5, 2.5]


def test_what_an_empty_window_lacks_is_null_and_stale_once() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    (data,) = bench.tell(window(NOW_NS + 10 * S_NS, None))
    mean = next(one for one in data.metrics if one.name == "ram_force/mean")
    assert (mean.value, mean.null, mean.properties) == (None, True, {"Quality": 500})
    (again,) = bench.tell(window(NOW_NS + 20 * S_NS, None))
    assert [one.name for one in again.metrics] == ["ram_force/n", "ram_force/good"]
    bench.tell(window(NOW_NS + 30 * S_NS, 2.5))
    assert values(bench.told(*FORCE)) == [1.5, None, 2.5]


def test_samples_have_their_quality_and_texts_a_metric_of_their_own() -> None:
    bench = Bench()
    bench.tell(
        sample(NOW_NS, 1.5), sample(NOW_NS + S_NS, 2.5, 0x4000_0000),
        sample(NOW_NS + 2 * S_NS, None, 0x8031_0000), sample(NOW_NS, "on", name="mode"),
    )  # fmt: skip
    speed = bench.told("press-01", "speed/value")
    assert values(speed) == [1.5, 2.5, None]
    assert [one.properties.get("Quality") for one in speed] == [None, 192, 500]
    assert speed[1].properties["status"] == 0x4000_0000
    assert bench.told("press-01", "mode/text")[0].datatype == 12


def test_values_of_one_millisecond_go_in_different_messages() -> None:
    bench = Bench()
    bench.tell(sample(NOW_NS, 0.5))
    told = bench.tell(*(sample(NOW_NS + S_NS + i, i / 2) for i in range(3)))
    assert kinds(told) == ["DDATA press-01"] * 3
    assert values(bench.told("press-01", "speed/value")) == [0.5, 0, 0.5, 1]


def test_an_anomaly_is_active_from_its_start_to_its_end_and_says_what_differs() -> None:
    bench = Bench()
    bench.tell(anomaly(NOW_NS, 0.5), anomaly(NOW_NS, 0.75))
    (ended,) = bench.tell(anomaly(NOW_NS, 0.75, NOW_NS + 60 * S_NS))
    folder = "ram_force/anomaly/level"
    assert [one.name for one in ended.metrics] == [f"{folder}/active"]
    active = bench.told("press-01", f"{folder}/active")
    assert values(active) == [True, False]
    assert [one.time_ms for one in active] == [NOW_MS, NOW_MS + 60_000]
    assert values(bench.told("press-01", f"{folder}/score")) == [0.5, 0.75]
    assert bench.told("press-01", f"{folder}/message")[0].value == 'ram_force is "high", 31 % over'
    bench.tell(anomaly(NOW_NS + 90 * S_NS, 0.75))
    assert values(active) == [True, False, True]


def test_states_are_told_when_they_change_and_their_length_when_they_end() -> None:
    bench = Bench()
    bench.tell(state(NOW_NS - S_NS, "Idle", 1.0))
    bench.tell(state(NOW_NS, "Execute"))
    bench.tell(state(NOW_NS, "Execute", 30.0), state(NOW_NS + 30 * S_NS, "Held"))
    told = bench.told("press-01", "_machine/state")
    assert values(told) == ["Idle", "Execute", "Held"]
    assert values(bench.told("press-01", "_machine/duration_s")) == [1.0, None, 30.0, None]


def test_what_is_known_of_a_signal_stands_in_births_beside_its_values() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    bench.tell(about())
    birth, _ = bench.tell(window(NOW_NS + 10 * S_NS, 2.5))
    mean = birth["ram_force/mean"].properties
    assert mean["engUnit"] == "kN"
    assert (mean["engLow"], mean["engHigh"], mean["every"]) == (0.0, 40.0, "10s")
    assert mean["description"] == "press"
    assert "engUnit" not in birth["ram_force/n"].properties
    bench.tell(about())
    assert kinds(bench.tell(window(NOW_NS + 20 * S_NS, 2.5))) == ["DDATA press-01"]


def test_the_gateways_own_line_is_the_nodes_and_says_what_differs() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    told = bench.tell(gateway(NOW_NS, 5))
    assert kinds(told) == ["NBIRTH", "DBIRTH press-01"]
    assert told[0]["gateway/received"].value == 5
    (data,) = bench.tell(gateway(NOW_NS + S_NS, 6))
    assert (data.kind, [one.name for one in data.metrics]) == ("NDATA", ["gateway/received"])


@pytest.mark.parametrize(
    ("path", "machine", "device"),
    [
        (PATH, "press-01", "press-01"),
        (Path("acme", "guiyang", "assembly", "line 2"), "press-01", "line 2:press-01"),
        (Path("acme", "wuxi", "assembly", "line 1"), "press", "wuxi:assembly:line 1:press"),
        (PATH, "line 2:press-01", "line 2%3Apress-01"),
        (PATH, "a/b+c#d%e", "a%2Fb%2Bc%23d%25e"),
    ],
)
def test_a_device_is_one_machine_wherever_it_is(path: Path, machine: str, device: str) -> None:
    bench = Bench()
    (birth,) = bench.tell(window(NOW_NS, 1.5, machine=machine, path=path))
    assert birth.device == device


def test_lines_that_no_metric_stands_for_are_not_held() -> None:
    bench = Bench(windows=False)
    assert not bench.points.take(parse(b"temperature,room=1 v=1 1"))
    assert not bench.points.take(parse(window(NOW_NS, 1.5)))
    assert bench.points.take(parse(sample(NOW_NS, 1.5)))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"window,machine=m n=1i 1", "without a signal"),
        (b"state,line=l state=\"x\" 1", "without a machine"),
        (b"sample,machine=m,signal=s value=1 -1", "1970"),
    ],
)  # fmt: skip
def test_a_line_without_its_place_is_refused_in_words(line: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Bench().points.take(parse(line))


def test_metrics_are_bounded_and_the_line_beyond_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_module, "METRICS_MAX", 10)
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5))
    with pytest.raises(ValueError, match="10 metrics already"):
        bench.tell(window(NOW_NS, 1.5, "b"), window(NOW_NS, 1.5, "c"))


def test_places_of_series_are_bounded_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sinks.sparkplug.points.ROUTES_MAX", 2)
    bench = Bench()
    for number in range(5):
        bench.tell(window(NOW_NS, number, f"s{number}"))
    told = bench.tell(window(NOW_NS + S_NS, 9, "s0"))
    assert kinds(told) == ["DDATA press-01"]
    assert values(bench.told("press-01", "s0/mean"))[-1] == 9


def test_a_field_that_changes_its_type_makes_its_machine_be_born_again() -> None:
    bench = Bench()
    bench.tell(b"state,line=l,machine=m v=1i 1000000")
    (birth,) = bench.tell(b'state,line=l,machine=m v="x" 2000000')
    assert (birth.kind, birth["_machine/v"].value) == ("DBIRTH", "x")
    assert birth["_machine/v"].datatype == 12


def test_a_machine_signal_of_anomalies_stands_for_the_whole_machine() -> None:
    bench = Bench()
    line = anomaly(NOW_NS, 0.5).replace(b"signal=ram_force", b"signal=_machine")
    bench.tell(line)
    assert ("press-01", "_machine/anomaly/level/active") in bench.host.values


def test_signals_of_other_machines_do_not_share_metrics() -> None:
    bench = Bench()
    bench.tell(window(NOW_NS, 1.5), window(NOW_NS, 2.5, machine="press-02"), about(signal()))
    assert values(bench.told("press-02", "ram_force/mean")) == [2.5]
