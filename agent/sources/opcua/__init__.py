"""The OPC UA source: one subscription on one server, under asyncua's session.

Enters: PublishResponses. Leaves: a batch for each, vouching for silence up to the server's publish time
less one sampling interval; keep-alives are empty batches. Fails: SourceUnreachable when nothing answers
or the subscription falls silent, SourceRefused when the server says no. One NodeId that the server does
not know never stops the others: it is counted and said. asyncua reconnects by itself only when asked
to; here it is not, a lost connection ends in a new client, made by the pipeline's next `connect`.

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
"""No publication for this long, and three keep-alives, means that the subscription is dead."""
LIFETIME_MS: Final = 60_000
CLOSE_S: Final = 3.0

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
        self._rejected: dict[str, int] = {}

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    def rejected(self) -> dict[str, int]:
        """Every notification brings a sample; nothing is rejected."""
        return self._rejected

    async def connect(self) -> None:
        """Open session and subscription, within `connect_timeout_s`."""
        config = self._config
        self._lost = None
        self._results = asyncio.Queue(RESULTS_MAX)
        self._client = client = Client(config.endpoint, timeout=config.connect_timeout_s)
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
        interval_s = max(KEEP_ALIVE_MS, self._config.publishing_interval_ms) / 1000
        silent_s = max(SILENT_S, 3 * interval_s)
        while True:
            try:
                result = await asyncio.wait_for(self._results.get(), silent_s)
            except TimeoutError:
                raise SourceUnreachable(
                    f"{self.name}: no publication for {silent_s:.0f} s", "the server hangs?"
                ) from None
            if result is None:
                if self._lost is not None:
                    raise self._lost
                return
            yield self._decoder.batch(result, time.time_ns()), NO_ACK
            if self._lost is not None and self._results.empty():
                raise self._lost

    async def close(self) -> None:
        """End session and connection; a server that does not answer is left."""
        client, self._client = self._client, None
        if client is None:
            return
        client.connection_lost_callback = None
        try:
            await asyncio.wait_for(client.disconnect(), CLOSE_S)
        except (OSError, TimeoutError, ua.UaError, asyncio.InvalidStateError) as error:
            log.debug("%s: while closing: %s", self.name, _reason(error))
        self._wake()

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
        nodes = await self._nodes(client)
        self._decoder = Decoder(self._signals)
        created = await client.uaclient.create_subscription(parameters, self._on_result)
        sampling_ms = 0.0
        for begin in range(0, len(nodes), ITEMS_PER_CALL_MAX):
            group = range(begin, min(begin + ITEMS_PER_CALL_MAX, len(nodes)))
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = created.SubscriptionId
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [self._item(handle, nodes[handle]) for handle in group]
            answers = await client.uaclient.create_monitored_items(request)
            for handle, answer in zip(group, answers, strict=True):
                sampling_ms = max(sampling_ms, self._sampling_ms(handle, answer))
        self._decoder.set_intervals(created.RevisedPublishingInterval, sampling_ms)

    async def _nodes(self, client: Client) -> list[ua.NodeId]:
        """NodeIds, with namespaces given by URI looked up at the server."""
        namespaces = await client.get_namespace_array()
        nodes = []
        for _, signal in self._signals:
            text = signal.node
            if text.startswith("nsu="):
                uri, _, rest = text[len("nsu=") :].partition(";")
                if uri not in namespaces:
                    raise SourceRefused(
                        f"{self.name}: {signal.label}: the server has no namespace {uri!r}",
                        f"it has {', '.join(repr(known) for known in namespaces)}",
                    )
                text = f"ns={namespaces.index(uri)};{rest}"
            nodes.append(ua.NodeId.from_string(text))
        return nodes

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

    def _sampling_ms(self, handle: int, answer: ua.MonitoredItemCreateResult) -> float:
        if answer.StatusCode.is_good():
            return float(answer.RevisedSamplingInterval)
        _, signal = self._signals[handle]
        log.warning(
            "%s: %s (%s) is not delivered: %s. The other signals are. Check the node in the "
            "configuration.", self.name, signal.label, signal.node, answer.StatusCode.name,
        )  # fmt: skip
        return 0.0

    async def _on_result(self, result: ua.PublishResult) -> None:
        await self._results.put(result)

    async def _on_lost(self, error: Exception) -> None:
        self._lost = SourceUnreachable(
            f"{self.name}: the connection to {self._config.endpoint} is lost: {_reason(error)}"
        )
        self._wake()

    def _wake(self) -> None:
        """End the wait for a result; a full queue needs no waking."""
        if self._results.empty():
            self._results.put_nowait(None)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
