"""The OPC UA source: one subscription on one server, under asyncua's session.

Enters: PublishResponses. Leaves: a batch for each, vouching for silence up to the server's
publish time less an allowance (`vouch.py`), one sampling interval at least; keep-alives are empty
batches. Fails: SourceUnreachable when nothing answers, or the subscription ends or falls silent,
SourceRefused when the server says no. One node or namespace that the server does not know never
stops the others: it is said. asyncua reconnects by itself only when asked to; here it is not, a
lost connection ends in a new client, made by the pipeline's next `connect`.

The first notification of an item may carry the time of a change long ago. What it says is that the
value holds now, so it is taken no earlier than one publishing and sampling interval before its
publication.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from asyncua import Client, ua

from agent.batch import Batch
from agent.config import OpcuaConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.signals import Signal
from agent.sources import NO_ACK, Ack
from agent.sources.opcua.decode import Decoder

log = logging.getLogger("andon.opcua")

ITEMS_PER_CALL_MAX: Final = 500
RESULTS_MAX: Final = 64
"""Publications that may wait for the pipeline; then the server's queues fill, which it reports."""
KEEP_ALIVE_MS: Final = 250
SILENT_S: Final = 5.0
"""No publication for this long, and three keep-alives, means that the subscription is dead. As
often asyncua reads the server's state: a busy PLC or gateway may well take a second to answer."""
LIFETIME_MS: Final = 60_000
CLOSE_S: Final = 3.0
MISSING_SHOWN_MAX: Final = 5
"""So many signals that are not delivered are named; the others are counted."""

_REFUSALS: Final = (
    ua.uaerrors.BadUserAccessDenied,
    ua.uaerrors.BadIdentityTokenRejected,
    ua.uaerrors.BadIdentityTokenInvalid,
    ua.uaerrors.BadSecurityChecksFailed,
    ua.uaerrors.BadSecurityPolicyRejected,
)
_TRIGGERS: Final = {
    "status_value": ua.DataChangeTrigger.StatusValue,
    "status_value_timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}


class OpcuaSource:
    """One OPC UA server. `signals` are (id, signal) as the signal table has them."""

    def __init__(self, config: OpcuaConfig, signals: Sequence[tuple[int, Signal]]) -> None:
        self._config = config
        self._signals = list(signals)
        self._client: Client | None = None
        self._decoder = Decoder([])
        self._results: asyncio.Queue[ua.PublishResult | None] = asyncio.Queue(RESULTS_MAX)
        self._lost: SourceError | None = None
        self._silent_s = SILENT_S
        self._missing_said: list[str] = []

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    def rejected(self) -> dict[str, int]:
        """Every notification brings a sample; nothing is rejected."""
        return {}

    async def connect(self) -> None:
        """Open session and subscription, within `connect_timeout_s`."""
        config = self._config
        self._lost = None
        self._results = asyncio.Queue(RESULTS_MAX)
        self._client = client = Client(
            config.endpoint, timeout=config.connect_timeout_s, watchdog_intervall=SILENT_S
        )
        client.name = client.description = "Andon agent"
        client.application_uri = "urn:andon:agent"
        client.connection_lost_callback = self._on_lost
        if config.user is not None:
            client.set_user(config.user)
            client.set_password(config.password.get_secret_value() if config.password else "")
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                await client.connect()
                await self._subscribe(client)
        except _REFUSALS as error:
            raise SourceRefused(
                f"{self.name}: {config.endpoint} refuses: {error}",
                "check user, password and the server's trust list",
            ) from error
        except (OSError, TimeoutError, ua.UaError) as error:
            raise SourceUnreachable(
                f"{self.name}: {config.endpoint} does not answer: {_reason(error)}",
                "is the server running, is the port right, does a firewall stand between?",
            ) from error

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """A batch for each publication."""
        client = self._client
        while client is not None and self._client is client:
            if self._lost is not None and self._results.empty():
                raise self._lost
            try:
                result = await asyncio.wait_for(self._results.get(), self._silent_s)
            except TimeoutError:
                raise SourceUnreachable(
                    f"{self.name}: no publication for {self._silent_s:.0f} s",
                    "does the server hang?",
                ) from None
            if result is not None:
                yield self._decoder.batch(result, time.time_ns()), NO_ACK

    async def close(self) -> None:
        """End session and connection; a server that does not answer is left."""
        client, self._client = self._client, None
        if client is None:
            return
        self._wake()
        client.connection_lost_callback = None
        protocol = client.uaclient.protocol
        try:
            await asyncio.wait_for(client.disconnect(), CLOSE_S)
        except (OSError, TimeoutError, ua.UaError, asyncio.InvalidStateError) as error:
            log.debug("%s: while closing: %s", self.name, _reason(error))
            if protocol is not None and protocol.transport is not None:
                protocol.transport.abort()

    async def _subscribe(self, client: Client) -> None:
        config = self._config
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = config.publishing_interval_ms
        keep_alives = max(1, KEEP_ALIVE_MS // config.publishing_interval_ms)
        parameters.RequestedMaxKeepAliveCount = keep_alives
        parameters.RequestedLifetimeCount = max(
            3 * keep_alives, LIFETIME_MS // config.publishing_interval_ms
        )
        parameters.PublishingEnabled = True
        self._decoder = Decoder(self._signals)
        nodes, missing = await self._nodes(client)
        created = await client.uaclient.create_subscription(parameters, self._on_result)
        keep_alive_s = created.RevisedPublishingInterval * created.RevisedMaxKeepAliveCount / 1000
        self._silent_s = max(SILENT_S, 3 * keep_alive_s)
        sampling_ms = 0.0
        for begin in range(0, len(nodes), ITEMS_PER_CALL_MAX):
            group = list(nodes)[begin : begin + ITEMS_PER_CALL_MAX]
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = created.SubscriptionId
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [self._item(handle, nodes[handle]) for handle in group]
            answers = await client.uaclient.create_monitored_items(request)
            for handle, answer in zip(group, answers, strict=True):
                if answer.StatusCode.is_good():
                    sampling_ms = max(sampling_ms, answer.RevisedSamplingInterval)
                else:
                    missing[handle] = answer.StatusCode.name
        self._decoder.set_intervals(created.RevisedPublishingInterval, sampling_ms)
        self._say_missing(missing)

    async def _nodes(self, client: Client) -> tuple[dict[int, ua.NodeId], dict[int, str]]:
        """NodeIds by client handle, and why some have none.

        A namespace given by URI is looked up at the server.
        """
        namespaces = await client.get_namespace_array()
        nodes, missing = {}, {}
        for handle, (_, signal) in enumerate(self._signals):
            text = signal.node
            if text.startswith("nsu="):
                uri, _, rest = text[len("nsu=") :].partition(";")
                if uri not in namespaces:
                    missing[handle] = f"the server has no namespace {uri!r}"
                    continue
                text = f"ns={namespaces.index(uri)};{rest}"
            nodes[handle] = ua.NodeId.from_string(text)
        return nodes, missing

    def _say_missing(self, missing: dict[int, str]) -> None:
        """Name the signals that will not come; the same ones only once."""
        said = []
        for handle, why in sorted(missing.items()):
            _, signal = self._signals[handle]
            said.append(f"{signal.label} ({signal.node}): {why}")
        if said and said != self._missing_said:
            more = len(said) - MISSING_SHOWN_MAX
            log.warning(
                "%s: %d of %d signals are not delivered: %s%s. The others are. Check these nodes "
                "in the configuration.", self.name, len(said), len(self._signals),
                "; ".join(said[:MISSING_SHOWN_MAX]), f"; and {more:,} more" if more > 0 else "",
            )  # fmt: skip
        self._missing_said = said

    def _item(self, handle: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor.NodeId = node
        item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters.ClientHandle = handle
        item.RequestedParameters.SamplingInterval = self._config.sampling_ms
        item.RequestedParameters.QueueSize = self._config.queue_size
        item.RequestedParameters.DiscardOldest = True
        item.RequestedParameters.Filter = ua.DataChangeFilter(
            Trigger=_TRIGGERS[self._config.trigger]
        )
        return item

    async def _on_result(self, result: ua.PublishResult) -> None:
        for notification in result.NotificationMessage.NotificationData or ():
            if isinstance(notification, ua.StatusChangeNotification):
                self._lose(f"the server ended the subscription: {notification.Status.name}")
                return
        await self._results.put(result)

    async def _on_lost(self, error: Exception) -> None:
        self._lose(f"the connection to {self._config.endpoint} is lost: {_reason(error)}")

    def _lose(self, what: str) -> None:
        self._lost = self._lost or SourceUnreachable(f"{self.name}: {what}")
        self._wake()

    def _wake(self) -> None:
        """End the wait for a result; a full queue needs no waking."""
        if self._results.empty():
            self._results.put_nowait(None)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
