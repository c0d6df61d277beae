"""What becomes of an address space: machines, names, kinds, units, states."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config.fields import check_name, check_signal_name
from agent.errors import ConfigError
from agent.sources.opcua.browse import AddressSpace, Offer, Proposal, load_map, propose
from agent.sources.opcua.browse.companions import PACKML
from agent.sources.opcua.browse.names import legal, plain, unique
from agent.sources.opcua.browse.units import UNECE, unit_of
from agent.sources.words import words
from tests.agent.sources.opcua.browse.plant import (
    VENDOR,
    Plant,
    build_machines,
    plant,
    session,
    walked,
)


@pytest.fixture(scope="module")
def machines() -> Iterator[Plant]:
    with plant(build_machines) as running:
        yield running


@pytest.fixture(scope="module")
def space(machines: Plant) -> AddressSpace:
    async def run() -> AddressSpace:
        async with session(machines.url) as opened:
            return await walked(opened)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def found(space: AddressSpace) -> Proposal:
    return propose(space)


def offer(found: Proposal, machine: str, name: str) -> Offer:
    (one,) = [o for o in found.signals if (o.machine, o.name) == (machine, name)]
    return one


def test_companion_specifications_are_recognised_by_their_namespaces(found: Proposal) -> None:
    assert found.specifications == (
        "OPC 10000-100 Devices",
        "OPC 40001-1 Machinery",
        "OPC 30050 PackML",
        "OPC 34100 Energy Consumption Management",
        "OPC 40083 Plastics and Rubber Machinery",
    )


def test_a_machine_has_what_its_identification_says(found: Proposal) -> None:
    filler = next(machine for machine in found.machines if machine.name == "Filler 1")
    assert (filler.model, filler.serial) == ("Acme F 200", "4711")
    assert filler.product_uri == "urn:acme:filler:4711"
    assert {machine.name for machine in found.machines} == {"Filler 1", "Press", "Meter", "Hall 2"}


def test_packmls_innermost_state_machine_is_the_machines_state_and_machinerys_then_is_not(
    found: Proposal,
) -> None:
    states = [o.name for o in found.signals if o.machine == "Filler 1" and o.state]
    assert states == ["execute_state"]
    assert offer(found, "Filler 1", "base_state_machine").kind == "text"
    item = offer(found, "Filler 1", "machinery_item_state")
    assert (item.kind, item.state) == ("text", False)
    assert offer(found, "Filler 1", "execute_state").kind == "text", "although it is not active"


def test_the_machinery_item_state_is_the_state_of_a_machine_without_packml(
    found: Proposal,
) -> None:
    state = offer(found, "Press", "machinery_item_state")
    assert (state.kind, state.state, state.reason) == ("text", True, "OPC 40001-1, 12.2")
    mode = offer(found, "Filler 1", "machinery_operation_mode")
    assert (mode.kind, mode.state) == ("text", False)


def test_units_and_ranges_come_from_the_servers_properties(found: Proposal) -> None:
    speed = offer(found, "Filler 1", "cur_mach_speed")
    assert (speed.kind, speed.unit) == ("analog", "rpm")
    assert speed.eu_range == (0.0, 3000.0)
    assert speed.instrument_range == (-10.0, 4000.0)
    assert offer(found, "Meter", "ac_active_power_total").unit == "W"


def test_kinds_come_from_types_and_guesses_are_told(found: Proposal) -> None:
    kinds = {(o.machine, o.name): (o.kind, o.reason) for o in found.signals}
    guessed, typed = "guessed from its name", "by its data type"
    assert kinds["Press", "job_cycle_counter"] == ("counter", "OPC 40083, 18.4.7")
    assert kinds["Press", "last_cycle_time"] == ("analog", "OPC 40083, 18.4.7")
    assert kinds["Meter", "ac_active_energy_total_import_lp"] == ("counter", "OPC 34100, 7.1.3")
    assert kinds["Meter", "gas_energy"] == ("counter", guessed)
    assert kinds["Meter", "ac_active_power_total"] == ("analog", typed)
    assert kinds["Filler 1", "equipment_blocked"] == ("discrete", typed)
    assert kinds["Filler 1", "power_on_duration"] == ("counter", "OPC 10000-100, 4.5.5")
    assert kinds["Hall 2", "recipe"] == ("text", typed)
    assert kinds["Hall 2", "when"] == ("text", typed)
    assert kinds["Hall 2", "error_code"] == ("discrete", guessed)
    assert kinds["Hall 2", "parts_total"] == ("counter", guessed)
    assert kinds["Hall 2", "light"] == ("discrete", typed)
    assert kinds["Hall 2", "spectrum"] == ("waveform", "by its length")


def test_the_rate_of_a_waveform_comes_from_its_axis_or_is_left_open(found: Proposal) -> None:
    assert offer(found, "Hall 2", "vibration").rate_hz == pytest.approx(1000)
    assert offer(found, "Hall 2", "spectrum").rate_hz is None


def test_an_enumeration_says_what_its_values_mean(found: Proposal) -> None:
    assert offer(found, "Hall 2", "light").enumeration == ("0 off", "1 yellow", "2 red")


def test_what_cannot_be_a_signal_is_counted_by_cause(found: Proposal) -> None:
    assert found.left_out == {"structure": 1, "array": 1, "not readable": 1}
    assert not any(o.name in ("image", "gains", "hidden") for o in found.signals)


def test_properties_that_describe_are_no_signals(found: Proposal) -> None:
    leaves = {o.path.rpartition("/")[2] for o in found.signals}
    assert not leaves & {"EURange", "EngineeringUnits", "SerialNumber", "Id", "EnumStrings"}


def test_nodes_are_named_by_the_uri_of_their_namespace_whatever_they_contain(
    found: Proposal,
) -> None:
    odd = offer(found, "Hall 2", "temp_zone_1")
    assert odd.node == f"nsu={VENDOR};s=85/Hall 2/Temp;Zone=1"
    assert offer(found, "Hall 2", "温度").node == f"nsu={VENDOR};s=85/Hall 2/温度"
    assert all(o.node.startswith("nsu=") for o in found.signals)


def test_names_are_legal_and_unique_on_each_machine(found: Proposal) -> None:
    names = [(o.machine, o.name) for o in found.signals]
    assert len(set(names)) == len(names)
    for machine, name in names:
        check_name(machine)
        check_signal_name(name)


def test_what_may_be_written_and_what_has_a_history_is_told(found: Proposal) -> None:
    assert offer(found, "Hall 2", "setpoint").traits == ("writable",)
    assert offer(found, "Hall 2", "recipe").traits == ()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/Speed", "b/Speed", "c/Force"], ["a.speed", "b.speed", "force"]),
        (["x/a/Speed", "y/a/Speed"], ["x.a.speed", "y.a.speed"]),
        (["Spindle/CurrentState", "Value"], ["spindle", "value"]),
        (["a/Temp C", "a/Temp-C", "a/temp_c"], ["a.temp_c", "a.temp_c_2", "a.temp_c_3"]),
        (["_machine"], ["machine"]),
        (["%"], ["unnamed"]),
    ],
)
def test_a_name_is_the_shortest_end_of_the_path_that_no_other_has(
    paths: list[str], names: list[str]
) -> None:
    assert unique([[plain(part) for part in path.split("/")] for path in paths]) == names


def test_long_names_stay_legal_and_differ() -> None:
    names = unique([["x" * 300, "y" * 200], ["z" * 300, "y" * 200]])
    assert len(set(names)) == 2
    assert all(check_signal_name(name) for name in names)
    assert check_name(legal("\x00 " + "m" * 400 + "\n"))
    assert legal("\n") == "machine"


def test_words_of_a_name_are_split_as_people_write_them() -> None:
    assert words("JobGoodPartsCounter") == ["job", "good", "parts", "counter"]
    assert words("IMMState_2-CNCMode") == ["imm", "state", "2", "cnc", "mode"]


def test_a_unit_is_written_as_people_write_it() -> None:
    def unit(number: int, name: str, namespace: str = UNECE) -> str:
        return unit_of({"namespace": namespace, "id": number, "name": name})

    assert unit(5720146, "W·h") == "Wh"
    assert unit(4408652, "degree Celsius") == "°C"
    assert unit(-1, "strokes / min") == "strokes / min"
    assert unit(5720146, "furlong", "urn:acme") == "furlong"
    assert unit(0, "x" * 100) == "x" * 32
    assert unit_of(None) == ""


MAP = f"""\
machine = "filler"
sources = ["a document"]
tested = "in a test"
type = {{ namespace = "{PACKML}", name = "PackMLBaseObjectType" }}

[[signals]]
name = "speed"
path = "Status/CurMachSpeed"
kind = "analog"
unit = "bottles/min"
source = "table 4"

[[signals]]
name = "blocked"
path = "*/EquipmentBlocked"
kind = "discrete"
source = "table 4"

[[signals]]
name = "starved"
path = "Status/EquipmentStarved"
kind = "discrete"
source = "table 4"

[[signals]]
name = "recipe"
node = "nsu={VENDOR};s=85/Hall 2/Recipe"
kind = "text"
source = "the maker"
"""


def test_a_map_names_what_it_knows_on_objects_of_its_type_and_their_subtypes(
    space: AddressSpace, tmp_path: Path
) -> None:
    file = tmp_path / "map.toml"
    file.write_text(MAP)
    found = propose(space, load_map(file))
    said = [(o.machine, o.name, o.kind, o.unit, o.reason) for o in found.signals]
    assert said == [
        ("Filler 1", "speed", "analog", "rpm", "table 4"),
        ("Filler 1", "status.blocked", "discrete", "", "table 4"),
        ("Hall 2", "recipe", "text", "", "the maker"),
    ]
    assert found.missing == ("starved",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "text"', 'kind = "number"', "signals.3.kind"),
        ('source = "the maker"', "", "signals.3.source"),
        ('node = "nsu=', 'path = "a"\nnode = "nsu=', "one of path and node"),
        ("machine =", "machine", "is not TOML"),
    ],
)
def test_a_wrong_map_is_refused_with_what_is_wrong(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = tmp_path / "map.toml"
    file.write_text(MAP.replace(old, new, 1))
    with pytest.raises(ConfigError, match=said):
        load_map(file)
