"""The walk: all there is, once, within what the server bears, and on from where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua

from agent.errors import ConfigError, SourceUnreachable
from agent.sources.opcua.browse import OBJECTS, AddressSpace, Bounds, browse, connect, load, save
from tests.agent.sources.opcua.browse.plant import (
    FOLDERS,
    TAGS,
    VENDOR,
    Grudging,
    Plant,
    behind,
    build_many,
    config_of,
    plant,
    session,
    walked,
)

NODES = 1 + 1 + FOLDERS * (1 + TAGS)


@pytest.fixture(scope="module")
def many() -> Iterator[Plant]:
    with plant(build_many) as running:
        yield running


@pytest.fixture(scope="module")
def whole(many: Plant) -> Any:
    """What a walk without any trouble finds."""

    async def run() -> AddressSpace:
        async with session(many.url) as opened:
            return await walked(opened)

    return of(asyncio.run(run()))


def of(space: AddressSpace) -> Any:
    """What was found, whatever the order of the calls."""
    return {node.id: asdict(node) for node in space.nodes.values()}, space.types


def test_every_node_is_found_once_although_references_lead_round_in_circles(many: Plant) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            space = await walked(opened)
        assert len(space.nodes) == NODES
        assert not space.failed
        assert all(node.browsed for node in space.nodes.values())
        assert all(n.attributes is not None for n in space.nodes.values() if n.is_variable)
        assert f"nsu={VENDOR};s=85/Hall/Cell 0/Tag7" in space.nodes

    asyncio.run(run())


@pytest.mark.parametrize("limits", [(7, 1, 1000), (20, 3, 1000), (1000, 10, 13), (2, 5, 4)])
def test_a_server_that_gives_little_at_once_is_walked_to_the_same_end(
    many: Plant, whole: Any, limits: tuple[int, int, int]
) -> None:
    references_max, points_max, nodes_max = limits

    async def run() -> None:
        async with session(many.url) as opened:
            services = Grudging(
                opened.client.uaclient.session,
                references_max=references_max,
                points_max=points_max,
                nodes_max=nodes_max,
            )
            space = await walked(behind(opened, services))
        assert of(space) == whole
        assert not space.failed
        assert not services.points, "continuation points are used up"
        assert services.refused <= 10, "a server that finds calls too large is believed"

    asyncio.run(run())


def test_thousands_of_nodes_are_found_as_well() -> None:
    async def build(server: Server) -> None:
        await build_many(server, tags=200)

    async def run(url: str) -> None:
        async with session(url) as opened:
            space = await walked(opened)
        assert len(space.nodes) == 1 + 1 + FOLDERS * 201
        assert not space.unread()

    with plant(build) as running:
        asyncio.run(run(running.url))


def test_no_call_is_larger_than_the_servers_limits(many: Plant) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            services = Grudging(opened.client.uaclient.session)
            await walked(behind(opened, services, nodes_per_read_max=40, nodes_per_browse_max=9))
        assert services.largest == 36, "six attributes of six variables"
        assert services.refused == 0

    asyncio.run(run())


def test_a_node_whose_continuation_point_was_lost_is_browsed_again(many: Plant, whole: Any) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            services = Grudging(
                opened.client.uaclient.session, references_max=30, forget=[0, 1, 5, 9]
            )
            space = await walked(behind(opened, services))
        assert of(space) == whole
        assert not space.failed

    asyncio.run(run())


class Stumbling(Grudging):
    """As asyncua with a value that it cannot decode, or a connection that ends meanwhile."""

    odd = f"85/Hall/Cell 3/Tag{TAGS // 2}"
    error: Exception = ValueError("no such structure")

    async def read(self, request: ua.ReadParameters) -> list[ua.DataValue]:
        values = {item.NodeId.Identifier for item in request.NodesToRead if item.AttributeId == 13}
        if self.odd in values:
            raise self.error
        return await super().read(request)


def test_a_value_that_cannot_be_decoded_is_left_out_and_no_other(many: Plant) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            space = await walked(behind(opened, Stumbling(opened.client.uaclient.session)))
        without = [
            n.name for n in space.nodes.values() if n.attributes and not n.attributes.built_in
        ]
        assert without == [f"Tag{TAGS // 2}"]

    asyncio.run(run())


def test_a_connection_that_ends_is_never_taken_for_a_value_that_cannot_be_decoded(
    many: Plant,
) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            services = Stumbling(opened.client.uaclient.session)
            services.error = asyncio.InvalidStateError()
            with pytest.raises(SourceUnreachable):
                await walked(behind(opened, services))

    asyncio.run(run())


def test_a_node_that_never_gets_a_continuation_point_is_counted_and_stops_no_other(
    many: Plant,
) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            services = Grudging(
                opened.client.uaclient.session, references_max=TAGS - 1, points_max=0
            )
            space = await walked(behind(opened, services))
        assert space.failed == {"BadNoContinuationPoints": FOLDERS}
        assert len(space.nodes) == 2 + FOLDERS

    asyncio.run(run())


def test_bounds_hold_and_what_was_not_looked_into_is_known(many: Plant) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            few = await walked(opened, nodes_max=200)
            shallow = await walked(opened, depth_max=2)
        assert len(few.nodes) == 200
        assert few.counts(30).not_browsed > 0
        assert len(shallow.nodes) == 2 + FOLDERS
        assert shallow.counts(2).not_browsed == FOLDERS

    asyncio.run(run())


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_an_interrupted_walk_goes_on_where_it_stopped_and_finds_the_same(
    many: Plant, whole: Any, tmp_path: Path, steps: int
) -> None:
    file = tmp_path / "walk.json"
    url = many.url

    async def interrupted() -> None:
        left = steps
        space = load(file, url, OBJECTS)
        task = asyncio.current_task()
        assert task is not None

        def step() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                task.cancel()

        async with session(url) as opened:
            try:
                await browse(opened, space, Bounds(), step)
            finally:
                save(space, file)

    async def rest() -> None:
        space = load(file, url, OBJECTS)
        before = sum(node.browsed for node in space.nodes.values())
        assert before > 0
        async with session(url) as opened:
            services = Grudging(opened.client.uaclient.session)
            await browse(behind(opened, services), space, Bounds(), lambda: None)
            everything = Grudging(opened.client.uaclient.session)
            await walked(behind(opened, everything))
        assert of(space) == whole
        assert services.calls < everything.calls, "nothing is asked for twice"
        save(space, file)
        assert of(load(file, url, OBJECTS)) == whole

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    asyncio.run(rest())


def test_a_walk_with_more_room_goes_on_from_one_that_was_full(many: Plant, whole: Any) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            space = await walked(opened, nodes_max=150)
            await browse(opened, space, Bounds(), lambda: None)
        assert of(space) == whole

    asyncio.run(run())


def test_a_file_of_another_walk_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "walk.json"
    save(AddressSpace("opc.tcp://a:4840", OBJECTS), file)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"is of a walk of opc\.tcp://a:4840"):
        load(file, "opc.tcp://b:4840", OBJECTS)
    assert file.read_bytes() == before
    file.write_text("{")
    with pytest.raises(ConfigError, match="is not what a walk has kept"):
        load(file, "opc.tcp://a:4840", OBJECTS)


def test_a_server_that_vanishes_in_the_middle_leaves_what_was_found(tmp_path: Path) -> None:
    async def run(running: Plant) -> None:
        space = AddressSpace(running.url, OBJECTS)
        opened = await connect(config_of(running.url), None)

        def step() -> None:
            running.vanish()

        with pytest.raises(SourceUnreachable, match="no longer answers"):
            async with asyncio.timeout(20):
                await browse(opened, space, Bounds(), step)
        await opened.close(delete_subscriptions=True)
        assert len(space.nodes) > 1
        save(space, tmp_path / "walk.json")
        assert of(load(tmp_path / "walk.json", running.url, OBJECTS)) == of(space)

    with plant(build_many) as running:
        asyncio.run(run(running))


def test_a_start_that_is_in_no_namespace_of_the_server_is_told(many: Plant) -> None:
    async def run() -> None:
        async with session(many.url) as opened:
            with pytest.raises(ConfigError, match="its namespaces are"):
                await walked(opened, "nsu=urn:nobody;i=1")
            cell = await walked(opened, f"nsu={VENDOR};s=85/Hall/Cell 3")
        assert len(cell.nodes) == 1 + TAGS

    asyncio.run(run())
