"""What a session asks of the server beside publishing: just enough for a client to subscribe.

Enters: the body of a request. Leaves: its response. Whatever is not served is answered with a
ServiceFault, as any server answers what it does not know; nothing is kept for republishing.

Nodes are `ns=1;i=<number>`, as many as are asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from agent.cli.bench.opcua.messages import status_of, value_of
from agent.cli.bench.opcua.subscription import Subscription

NAMESPACE: Final = "urn:andon:bench"
TRANSPORT: Final = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"
KEEP_ALIVE_MIN_S: Final = 0.01
SUBSCRIPTIONS_MAX: Final = 100
ITEMS_PER_CALL_MAX: Final = 1000
NODES_PER_READ_MAX: Final = 1000

_VALUES: Final[Mapping[int, Any]] = {
    ua.ObjectIds.Server_NamespaceArray: ua.Variant(["http://opcfoundation.org/UA/", NAMESPACE]),
    ua.ObjectIds.Server_ServerArray: ua.Variant([NAMESPACE]),
    ua.ObjectIds.Server_ServerStatus_State: ua.Variant(0, ua.VariantType.Int32),
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: ua.Variant(
        ITEMS_PER_CALL_MAX, ua.VariantType.UInt32
    ),
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: ua.Variant(
        NODES_PER_READ_MAX, ua.VariantType.UInt32
    ),
}


class _Fault(Exception):
    """What is answered with a ServiceFault."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Services:
    """The services of one connection's session."""

    def __init__(self, url: str, per_message: int) -> None:
        self.token = ua.NodeId.from_string(f"ns=1;i={secrets.randbelow(2**16)}")
        self.subscriptions: dict[int, Subscription] = {}
        self._url = url
        self._per_message = per_message
        self._made = 0

    def answer(self, body: bytes) -> bytes:
        """The response to a request, both from the type id on."""
        buffer = Buffer(body)
        kind: Any = nodeid_from_binary(buffer).Identifier
        header = struct_from_binary(ua.RequestHeader, buffer)
        try:
            if kind not in _SERVED:
                raise _Fault(ua.StatusCodes.BadServiceUnsupported)
            type_, serve = _SERVED[kind]
            response = serve(self, struct_from_binary(type_, Buffer(body)))
        except _Fault as error:
            response = fault(error.code)
        response.ResponseHeader.RequestHandle = header.RequestHandle
        return bytes(struct_to_binary(response))

    def _endpoints(self) -> list[ua.EndpointDescription]:
        server = ua.ApplicationDescription(
            ApplicationUri=NAMESPACE, ApplicationName=ua.LocalizedText("Andon bench"),
            ApplicationType=ua.ApplicationType.Server, DiscoveryUrls=[self._url],
        )  # fmt: skip
        return [
            ua.EndpointDescription(
                EndpointUrl=self._url, Server=server, SecurityMode=ua.MessageSecurityMode.None_,
                SecurityPolicyUri=SecurityPolicyNone.URI, TransportProfileUri=TRANSPORT,
                UserIdentityTokens=[ua.UserTokenPolicy("anonymous", ua.UserTokenType.Anonymous)],
            )
        ]  # fmt: skip

    def _get_endpoints(self, _: Any) -> Any:
        return ua.GetEndpointsResponse(Endpoints=self._endpoints())

    def _create_session(self, request: Any) -> Any:
        response = ua.CreateSessionResponse()
        response.Parameters.SessionId = ua.NodeId.from_string("ns=1;i=1")
        response.Parameters.AuthenticationToken = self.token
        response.Parameters.RevisedSessionTimeout = request.Parameters.RequestedSessionTimeout
        response.Parameters.ServerNonce = secrets.token_bytes(32)
        response.Parameters.ServerEndpoints = self._endpoints()
        return response

    def _activate_session(self, _: Any) -> Any:
        response = ua.ActivateSessionResponse()
        response.Parameters.ServerNonce = secrets.token_bytes(32)
        return response

    def _close_session(self, _: Any) -> Any:
        self.subscriptions.clear()
        return ua.CloseSessionResponse()

    def _read(self, request: Any) -> Any:
        if len(request.Parameters.NodesToRead) > NODES_PER_READ_MAX:
            raise _Fault(ua.StatusCodes.BadTooManyOperations)
        return ua.ReadResponse(Results=[_read_one(node) for node in request.Parameters.NodesToRead])

    def _create_subscription(self, request: Any) -> Any:
        if len(self.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise _Fault(ua.StatusCodes.BadTooManySubscriptions)
        self._made += 1
        asked, response = request.Parameters, ua.CreateSubscriptionResponse()
        response.Parameters.SubscriptionId = ua.UInt32(self._made)
        response.Parameters.RevisedPublishingInterval = asked.RequestedPublishingInterval
        response.Parameters.RevisedLifetimeCount = asked.RequestedLifetimeCount
        response.Parameters.RevisedMaxKeepAliveCount = asked.RequestedMaxKeepAliveCount
        self.subscriptions[self._made] = Subscription(
            self._made, self._per_message, _keep_alive_s(asked)
        )
        return response

    def _modify_subscription(self, request: Any) -> Any:
        asked, response = request.Parameters, ua.ModifySubscriptionResponse()
        self._subscription(asked.SubscriptionId).keep_alive_s = _keep_alive_s(asked)
        response.Parameters.RevisedPublishingInterval = asked.RequestedPublishingInterval
        response.Parameters.RevisedLifetimeCount = asked.RequestedLifetimeCount
        response.Parameters.RevisedMaxKeepAliveCount = asked.RequestedMaxKeepAliveCount
        return response

    def _delete_subscriptions(self, request: Any) -> Any:
        gone = [self.subscriptions.pop(n, None) for n in request.Parameters.SubscriptionIds]
        return ua.DeleteSubscriptionsResponse(
            Results=[_status(ua.StatusCodes.BadSubscriptionIdInvalid, was is None) for was in gone]
        )

    def _create_items(self, request: Any) -> Any:
        asked = request.Parameters
        if len(asked.ItemsToCreate) > ITEMS_PER_CALL_MAX:
            raise _Fault(ua.StatusCodes.BadTooManyOperations)
        subscription = self._subscription(asked.SubscriptionId)
        known = [_is_value(item.ItemToMonitor) for item in asked.ItemsToCreate]
        numbers = iter(
            subscription.add(
                [
                    (item.RequestedParameters.ClientHandle, item.ItemToMonitor.NodeId.Identifier)
                    for item, is_known in zip(asked.ItemsToCreate, known, strict=True)
                    if is_known
                ],
                asked.TimestampsToReturn == ua.TimestampsToReturn.Both,
            )
        )
        results = []
        for item, is_known in zip(asked.ItemsToCreate, known, strict=True):
            result = ua.MonitoredItemCreateResult()
            result.StatusCode = _status(ua.StatusCodes.BadNodeIdUnknown, not is_known)
            result.MonitoredItemId = ua.UInt32(next(numbers) if is_known else 0)
            result.RevisedSamplingInterval = item.RequestedParameters.SamplingInterval
            result.RevisedQueueSize = item.RequestedParameters.QueueSize
            results.append(result)
        return ua.CreateMonitoredItemsResponse(Results=results)

    def _delete_items(self, request: Any) -> Any:
        subscription = self._subscription(request.Parameters.SubscriptionId)
        known = subscription.remove(request.Parameters.MonitoredItemIds)
        return ua.DeleteMonitoredItemsResponse(
            Results=[_status(ua.StatusCodes.BadMonitoredItemIdInvalid, not was) for was in known]
        )

    def _republish(self, _: Any) -> Any:
        raise _Fault(ua.StatusCodes.BadMessageNotAvailable)

    def _subscription(self, number: int) -> Subscription:
        if number not in self.subscriptions:
            raise _Fault(ua.StatusCodes.BadSubscriptionIdInvalid)
        return self.subscriptions[number]


def fault(code: int) -> Any:
    """A ServiceFault."""
    response = ua.ServiceFault()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(code))
    return response


def _status(code: int, is_bad: bool) -> ua.StatusCode:
    return ua.StatusCode(ua.UInt32(code if is_bad else 0))


def _keep_alive_s(asked: Any) -> float:
    interval_s = asked.RequestedPublishingInterval * asked.RequestedMaxKeepAliveCount / 1000
    return max(KEEP_ALIVE_MIN_S, float(interval_s))


def _is_value(read: Any) -> bool:
    """Whether this is the value of a node of ours."""
    node = read.NodeId
    is_ours = node.NamespaceIndex == 1 and isinstance(node.Identifier, int)
    return is_ours and read.AttributeId == ua.AttributeIds.Value


def _read_one(read: Any) -> ua.DataValue:
    now = ua.DateTime.now(UTC)
    if _is_value(read):
        number = read.NodeId.Identifier
        status = ua.StatusCode(ua.UInt32(status_of(number)))
        return ua.DataValue(ua.Variant(value_of(number)), status, now, now)
    is_standard = read.NodeId.NamespaceIndex == 0 and read.AttributeId == ua.AttributeIds.Value
    if is_standard and read.NodeId.Identifier in _VALUES:
        return ua.DataValue(_VALUES[read.NodeId.Identifier], ua.StatusCode(), now, now)
    return ua.DataValue(StatusCode=_status(ua.StatusCodes.BadNodeIdUnknown, True))


_SERVED: Final[Mapping[int, tuple[Any, Callable[[Services, Any], Any]]]] = {
    getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary"): (
        getattr(ua, f"{name}Request"),
        serve,
    )
    for name, serve in {
        "GetEndpoints": Services._get_endpoints,
        "CreateSession": Services._create_session,
        "ActivateSession": Services._activate_session,
        "CloseSession": Services._close_session,
        "Read": Services._read,
        "CreateSubscription": Services._create_subscription,
        "ModifySubscription": Services._modify_subscription,
        "DeleteSubscriptions": Services._delete_subscriptions,
        "CreateMonitoredItems": Services._create_items,
        "DeleteMonitoredItems": Services._delete_items,
        "Republish": Services._republish,
    }.items()
}
