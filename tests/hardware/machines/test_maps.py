"""The maps of machines: their form, their words, and their paths in the published NodeSets."""

from __future__ import annotations

from pathlib import Path

import pytest

import hardware
from agent.config import OpcuaSignalConfig
from agent.sources.opcua.browse import MachineMap, load_map
from tests.hardware.machines.nodesets import has_path, namespaces

FOLDER = Path(hardware.__file__).parent / "machines"
FILES = sorted(FOLDER.glob("*.toml"))
MAPS = {file.name: load_map(file) for file in FILES}


@pytest.fixture(params=MAPS, ids=list(MAPS))
def known(request: pytest.FixtureRequest) -> MachineMap:
    return MAPS[request.param]


def test_there_are_maps_and_the_readme_lists_each() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert len(MAPS) >= 7
    assert [name for name in MAPS if f"`{name}`" not in readme] == []


def test_every_signal_is_one_that_a_configuration_can_hold(known: MachineMap) -> None:
    for signal in known.signals:
        OpcuaSignalConfig.model_validate(
            {
                "name": signal.name,
                "node": signal.node or "i=1",
                "kind": signal.kind,
                "unit": signal.unit,
                "state": signal.state,
                "description": signal.description,
            }
        )
        assert signal.unit == "" or signal.kind in ("analog", "counter")


def test_every_map_says_what_it_was_made_from_and_that_no_machine_was_tried(
    known: MachineMap,
) -> None:
    assert all(source for source in known.sources)
    assert "not tried on a real" in known.tested.lower()


def test_no_path_or_node_is_named_twice(known: MachineMap) -> None:
    places = [(signal.type or known.type, signal.path, signal.node) for signal in known.signals]
    assert len(set(places)) == len(places)


def test_paths_are_there_in_the_published_nodesets(known: MachineMap) -> None:
    checked = "published NodeSet" in known.tested
    types = [signal.type or known.type for signal in known.signals]
    uris = {type_.namespace for type_ in types if type_ is not None}
    assert checked == bool(uris and uris <= namespaces()), "`tested` tells how it is"
    for signal in known.signals if checked else ():
        type_ = signal.type or known.type
        assert type_ is not None
        assert has_path(type_.namespace, type_.name, signal.path), signal.path
        assert not has_path(type_.namespace, type_.name, f"{signal.path}X")
