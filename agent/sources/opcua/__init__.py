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
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from asyncua import Client, ua

from agent.batch import Batch
from agent.config import OpcuaConfig
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.signals import Signal
from agent.sources import NO_ACK, Ack, Packets
from agent.sources.drain import Taken
from agent.sources.opcua.subscription import Subscription

log = logging.getLogger("andon.opcua")

RESULTS_MAX: Final = 64
"""Publications that may wait for the pipeline; then the server's queues fill, which it reports."""
SILENT_S: Final = 5.0
"""No publication for this long, and three keep-alives, means that the subscription is dead. As
often asyncua reads the server's state: a busy PLC or gateway may well take a second to answer."""
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


class OpcuaSource:
    """One OPC UA server.

    signals : (id, signal) as the signal table has them
    now_ns : the gateway's clock, UTC
    """

    redelivers = False
    redelivered = 0

    def __init__(
        self,
        config: OpcuaConfig,
        signals: Sequence[tuple[int, Signal]],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._signals = list(signals)
        self._now_ns = now_ns
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._changing = asyncio.Lock()
        self._results: asyncio.Queue[ua.PublishResult | None] = asyncio.Queue(RESULTS_MAX)
        self._taken = Taken()
        self._lost: SourceError | None = None
        self._early = 0
        self._missing_said: list[str] = []

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    def rejected(self) -> dict[str, int]:
        """Every notification brings a sample; nothing is rejected."""
        return {}

    def remember(self, packets: Sequence[Packets]) -> None:
        """Nothing is redelivered."""

    async def connect(self) -> None:
        """Open session and subscription, within `connect_timeout_s`."""
        async with self._changing:
            config = self._config
            self._lost = self._subscription = None
            self._results, self._taken = asyncio.Queue(RESULTS_MAX), Taken()
            self._client = client = self._new_client()
            subscription = Subscription(client, config)
            try:
                async with asyncio.timeout(config.connect_timeout_s):
                    await client.connect()
                    await subscription.open(self._on_result)
                    self._say_missing(await subscription.follow(self._signals))
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
            self._early = self._results.qsize()
            if self._client is client:
                self._subscription = subscription

    async def apply(self, config: OpcuaConfig, signals: Sequence[tuple[int, Signal]]) -> bool:
        """Take a changed configuration; False where it needs a new source.

        Signals are added to and removed from the living subscription; what the server sent of
        removed ones is read first. Without a connection, the next one brings it all.
        """
        async with self._changing:
            subscription, missing = self._living(), None
            if subscription is not None:
                same = _of_connection(config) == _of_connection(self._config)
                if not same or not subscription.has_room(signals):
                    return False
                try:
                    await subscription.look_up()
                    missing = await subscription.follow(signals)
                except (OSError, TimeoutError, ua.UaError) as error:
                    if subscription is self._living():
                        log.warning("%s: signals cannot be changed: %s", self.name, _reason(error))
                        return False
            self._config, self._signals = config, list(signals)
            if missing is not None:
                self._say_missing(missing)
                # And one more: a publication may have been on its way.
                await self._taken.reach(self._taken.count + self._results.qsize() + 1)
            return True

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """A batch for each publication."""
        subscription = self._subscription
        if subscription is None:
            return
        silent_s = max(SILENT_S, 3 * subscription.keep_alive_s)
        while self._subscription is subscription:
            if self._lost is not None and self._results.empty():
                raise self._lost
            try:
                result = await asyncio.wait_for(self._results.get(), silent_s)
            except TimeoutError:
                raise SourceUnreachable(
                    f"{self.name}: no publication for {silent_s:.0f} s",
                    "does the server hang?",
                ) from None
            self._taken.add(1)
            if result is not None:
                # Not all signals were subscribed yet when the early ones were published.
                is_early = self._taken.count <= self._early
                yield subscription.decoder.batch(result, self._now_ns(), is_early), NO_ACK

    async def close(self) -> None:
        """End session and connection; a server that does not answer is left."""
        client, self._client, self._subscription = self._client, None, None
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

    def _new_client(self) -> Client:
        config = self._config
        client = Client(
            config.endpoint, timeout=config.connect_timeout_s, watchdog_intervall=SILENT_S
        )
        client.name = client.description = "Andon agent"
        client.application_uri = "urn:andon:agent"
        client.connection_lost_callback = self._on_lost
        if config.user is not None:
            client.set_user(config.user)
            client.set_password(config.password.get_secret_value() if config.password else "")
        return client

    def _living(self) -> Subscription | None:
        """The subscription, while its connection lives."""
        return self._subscription if self._lost is None else None

    def _say_missing(self, missing: dict[int, str]) -> None:
        """Name the signals that will not come; the same ones only once."""
        said = [
            f"{signal.label} ({signal.node}): {missing[number]}"
            for number, signal in self._signals
            if number in missing
        ]
        if said and said != self._missing_said:
            more = len(said) - MISSING_SHOWN_MAX
            log.warning(
                "%s: %d of %d signals are not delivered: %s%s. The others are. Check these nodes "
                "in the configuration.", self.name, len(said), len(self._signals),
                "; ".join(said[:MISSING_SHOWN_MAX]), f"; and {more:,} more" if more > 0 else "",
            )  # fmt: skip
        self._missing_said = said

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


def _of_connection(config: OpcuaConfig) -> dict[str, Any]:
    """The settings that need a new connection, or a new subscription."""
    return config.model_dump(exclude={"machine", "signals", "connect_timeout_s"})
