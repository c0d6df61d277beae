"""asyncua's client, guarded: nothing that changes anything is sent; PublishRequests are right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from agent.sources.opcua import client as guarded
from agent.sources.opcua.client import GuardedClient, NotWritable, publish_request
from agent.sources.opcua.session import Session, open_session
from hardware.line.opcua import NAMESPACE, Variable
from tests.agent.sources.opcua.machine import Machine, config_of, signal_of

PUBLISH = ua.ObjectIds.PublishRequest_Encoding_DefaultBinary
NODE = f"nsu={NAMESPACE};s=press-01.ram_force"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine([Variable("press-01", "ram_force"), Variable("press-01", "other")])
    yield machine
    machine.stop()


def node_of(session: Session, text: str = NODE) -> Any:
    node = session.node(text)
    assert node is not None
    return session.client.get_node(node)


async def session_of(machine: Machine, *writable: str) -> Session:
    config = config_of(machine.url, [signal_of("ram_force")], writable=tuple(writable))
    return await open_session(config, None)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("token", ["i=0", "ns=1;i=7", "ns=2;i=70000", "ns=2;b=AQI="])
def test_a_publish_request_is_what_asyncua_reads(token: str, count: int) -> None:
    node = ua.NodeId.from_string(token)
    pairs = [(7, number) for number in range(1, count + 1)]
    buffer = Buffer(publish_request(node, 42, pairs))
    assert nodeid_from_binary(buffer).Identifier == PUBLISH
    header = struct_from_binary(ua.RequestHeader, buffer)
    assert (header.AuthenticationToken, header.RequestHandle, header.TimeoutHint) == (node, 42, 0)
    parameters = struct_from_binary(ua.PublishParameters, buffer)
    acknowledged = parameters.SubscriptionAcknowledgements or []
    assert [(a.SubscriptionId, a.SequenceNumber) for a in acknowledged] == pairs
    assert len(buffer) == 0


def test_a_publish_request_is_as_long_as_asyncuas() -> None:
    request = ua.PublishRequest()
    request.RequestHeader.AuthenticationToken = ua.NodeId.from_string("ns=1;i=7")
    request.Parameters.SubscriptionAcknowledgements = [ua.SubscriptionAcknowledgement(7, 1)]
    ours = publish_request(ua.NodeId.from_string("ns=1;i=7"), 1, [(7, 1)])
    assert len(ours) == len(struct_to_binary(request))


def test_a_node_that_is_not_listed_is_neither_written_nor_called(machine: Machine) -> None:
    async def run() -> None:
        await machine.write("ram_force", 5.0)
        session = await session_of(machine)
        node = node_of(session)
        with pytest.raises(NotWritable, match="does not list it as writable"):
            await node.write_value(6.0)
        with pytest.raises(NotWritable):
            await session.client.nodes.server.call_method("0:GetMonitoredItems", ua.UInt32(1))
        assert await node.read_value() == 5.0
        await session.close(delete_subscriptions=True)

    asyncio.run(run())


def test_a_listed_node_is_written_and_no_other_with_it(machine: Machine) -> None:
    async def run() -> None:
        session = await session_of(machine, NODE)
        node = node_of(session)
        other = node_of(session, NODE.replace("ram_force", "other"))
        value = ua.DataValue(ua.Variant(7.0))
        (answer,) = await session.client.uaclient.session.write_attributes([node.nodeid], [value])
        assert answer.name in ("Good", "BadNotWritable", "BadUserAccessDenied")  # the server's say
        with pytest.raises(NotWritable):
            await session.client.write_values([node, other], [8.0, 8.0])
        await session.close(delete_subscriptions=True)

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_",
    [ua.AddNodesRequest(), ua.DeleteNodesRequest(), ua.HistoryUpdateRequest()],
    ids=lambda request: type(request).__name__,
)
def test_services_that_change_the_server_are_never_sent(machine: Machine, request_: Any) -> None:
    async def run() -> None:
        session = await session_of(machine, NODE)
        with pytest.raises(NotWritable, match="is never sent"):
            await session.request(request_)
        await session.close(delete_subscriptions=True)

    asyncio.run(run())


def test_the_refresh_of_conditions_passes() -> None:
    call = ua.CallMethodRequest()
    call.MethodId = ua.NodeId.from_string("i=3875")
    request = ua.CallRequest()
    request.Parameters.MethodsToCall = [call]
    assert guarded._changed_by(request) == []
    call.MethodId = ua.NodeId.from_string("ns=2;i=3875")
    assert guarded._changed_by(request) == [call.MethodId]


def test_a_client_that_never_connected_is_dropped_without_a_word() -> None:
    GuardedClient("opc.tcp://127.0.0.1:1", 1.0).abort()
