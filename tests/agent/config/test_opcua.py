"""What the tables of OPC UA servers become, and the syntax of NodeIds."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config, examine, signals
from agent.signals import HOLD_FOREVER, SECOND_NS, Signal
from tests.agent.config.support import GATEWAY, LINE, OPCUA, config_of


@pytest.fixture
def environ() -> dict[str, str]:
    return {"OPCUA_PASSWORD": "pass-1"}


@pytest.fixture
def config(tmp_path: Path, environ: dict[str, str]) -> Config:
    return config_of(tmp_path, GATEWAY + OPCUA, environ)


def test_opcua_signals_come_in_order_with_their_machine_and_hold_forever(config: Config) -> None:
    assert signals(config) == [
        Signal(
            path=LINE,
            machine="press-01",
            name="ram_force",
            source="press",
            unit="kN",
            high=2400,
            node="ns=2;s=press-01.ram_force; peak=1",
            every_ns=SECOND_NS,
            hold_ns=HOLD_FOREVER,
        ),
        Signal(
            path=LINE,
            machine="feeder-01",
            name="state",
            source="press",
            kind="discrete",
            node="nsu=urn:andon:line;i=7",
            every_ns=60 * SECOND_NS,
        ),
    ]


def test_events_and_the_state_they_tell_are_text_signals_after_the_variables(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    events = """
[[opcua.events]]
name = "alarms"
severity_min = 500
state = "Aborted"
state_clear = "Execute"
[[opcua.events]]
name = "events"
node = "i=2253"
machine = "feeder-01"
alarms = false
"""
    config = config_of(tmp_path, GATEWAY + OPCUA + events, environ)
    told = signals(config)[2:]
    assert [(s.label, s.kind, s.state, s.node, s.source) for s in told] == [
        ("press-01/alarms", "text", False, "i=2253", "press"),
        ("press-01/state", "text", True, "i=2253", "press"),
        ("feeder-01/events", "text", False, "i=2253", "press"),
    ]
    assert {s.hold_ns for s in told} == {HOLD_FOREVER}


def test_a_variable_is_read_as_it_says_itself_else_as_its_server_says(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    own = "sampling_interval_ms = 10\nqueue_size = 50\ndeadband = { percent = 1 }\n"
    text = OPCUA.replace('unit = "kN"\n', own)
    opcua = config_of(tmp_path, GATEWAY + text, environ).opcua[0]
    ram, state = opcua.variables["press-01", "ram_force"], opcua.variables["feeder-01", "state"]
    assert (opcua.sampling_ms_of(ram), opcua.queue_size_of(ram)) == (10, 50)
    assert (opcua.sampling_ms_of(state), opcua.queue_size_of(state)) == (250, 100)
    assert ram.deadband is not None
    assert (ram.deadband.absolute, ram.deadband.percent) == (None, 1)
    assert state.deadband is None


@pytest.mark.parametrize(("sampling_ms", "every_s"), [(100, 1), (499, 1), (500, 10), (5000, 10)])
def test_windows_are_narrow_where_sampling_is_faster_than_2_hz(
    tmp_path: Path, environ: dict[str, str], sampling_ms: int, every_s: int
) -> None:
    text = OPCUA.replace("user =", f"sampling_interval_ms = {sampling_ms}\nuser =")
    config = config_of(tmp_path, GATEWAY + text, environ)
    assert signals(config)[0].every_ns == every_s * SECOND_NS


NODE_IDS = {
    "i=2259": True,
    "ns=2;i=4294967295": True,
    "ns=65535;s=a;b=c": True,
    "nsu=http://plant.example/UA/;s=Ram": True,
    "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a": True,
    "ns=1;b=M/RbKBsRVkePCePcx24oRA==": True,
    "": False,
    "Ram.Force": False,
    "ns=2": False,
    "s=": False,
    "ns=65536;i=1": False,
    "ns=-1;i=1": False,
    "i=4294967296": False,
    "i=1.5": False,
    "i=" + "9" * 5000: False,
    "g=123": False,
    "b=***": False,
    "s=" + "x" * 4097: False,
    "svr=1;i=1": False,
}


@pytest.mark.parametrize(("node", "good"), NODE_IDS.items(), ids=[n[:20] for n in NODE_IDS])
def test_the_syntax_of_node_ids_is_checked(
    tmp_path: Path, environ: dict[str, str], node: str, good: bool
) -> None:
    text = GATEWAY + OPCUA.replace("nsu=urn:andon:line;i=7", node)
    (tmp_path / "agent.toml").write_text(text)
    assert isinstance(examine(tmp_path / "agent.toml", environ), Config) is good
