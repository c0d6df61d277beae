"""Applies a changed configuration to a running gateway, and touches nothing but what changed.

Enters: what differs, and the configuration that shall be used. Leaves: a service that uses it. What
fails leaves the rest undone; applying the difference back to the old configuration mends it, since
each step bears that a part is not there. The order, so that no sample is derived by the settings of
others:

    1. sources that can be are changed on their living connection
    2. those that go or must connect anew are let go; what they sent is derived
    3. at one moment, between two batches: the signal table changes, windows and anomalies of
       removed signals end, and a checkpoint is asked for, since the journal knows nothing of this
    4. new sources are read; sinks come, go and change, each with its position in the outbox

What waits for a sink that goes is kept until `let_go`: a configuration on trial may bring it back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from agent.cli.check.difference import Difference
from agent.config import Config, SinkConfig
from agent.errors import SinkUnreachable
from agent.ledger import Ledger
from agent.lines.report import Reporter
from agent.signals import SignalTable
from agent.sources import Source

log = logging.getLogger("andon.service")

DRAIN_S: Final = 3.0
"""How long a sink that goes is still sent what waits."""
STOP_MAX_S: Final = 630.0
"""A sink's thread that waits for an answer ends with it: `timeout_s` is 300 at most, to connect and
to be answered."""
STOP_LOOK_S: Final = 1.0
ANEW: Final = "it connects anew, with a changed configuration"


class Running(Protocol):
    """What is needed of the pipeline."""

    @property
    def states(self) -> Mapping[str, Any]:
        """How each source is: `state`, `reason`, `connected_ever`."""

    def add(self, source: Source) -> None:
        """Read this source too."""

    async def remove(self, name: str, lost: str = "") -> None:
        """Let go of a source; returns when all that it sent has been derived.

        lost : why nothing is known of it until it comes back, as it will
        """

    async def drained(self) -> None:
        """Returns when all that sources have sent so far has been derived."""

    def checkpoint_soon(self) -> None:
        """Take a checkpoint with the next commit."""

    def use(self, reporter: Reporter, forwarders: Sequence[Any]) -> None:
        """From now on tell this, and wake these; all that is known is told once more."""


class Deriving(Protocol):
    """What is needed of derive."""

    def reconfigure(self, now_ns: int) -> None:
        """The signal table has changed."""


class Sources(Protocol):
    """What is needed of the wiring."""

    table: SignalTable

    def room_for(self, config: Config) -> None:
        """Raises SignalsFull."""

    def warm_up(self, config: Config) -> None:
        """Compile what its sources need."""

    def build(self, config: Config, name: str) -> Source:
        """The source of this name."""

    async def apply(self, config: Config, name: str) -> bool:
        """Whether it could be changed on its living connection."""

    def forget(self, name: str) -> None:
        """The source of this name is gone."""

    def certificate_days(self) -> int | None:
        """Until the gateway's own certificate expires."""

    def renew(self, config: Config) -> None:
        """Signals that the configuration no longer has belong to no source."""


class Sending(Protocol):
    """What is needed of a forwarder."""

    @property
    def name(self) -> str:
        """The sink's name."""

    @property
    def last_ok_ns(self) -> int | None:
        """When the far side last took something; None where it never did."""

    @property
    def refused(self) -> bool:
        """Whether the far side now says no to whatever it is sent."""

    @property
    def state(self) -> str:
        """How it is, in words."""

    def start(self) -> None:
        """Begin to forward."""

    def stop(self, drain_s: float) -> bool:
        """Send what waits for so long, then stop; whether its thread has ended."""


class Holding(Protocol):
    """What is needed of the outbox."""

    def ledger(self) -> Ledger:
        """Its sinks, with how many lines wait for each."""

    def use_sinks(self, sinks: Sequence[str]) -> None:
        """These are the sinks, and what waits for others is let go."""


@dataclass(frozen=True, slots=True)
class Living:
    """The parts of a running service that a reload changes.

    forwarders : one a sink; the list is changed
    forwarder : makes one for a sink of a configuration
    """

    pipeline: Running
    derive: Deriving
    wiring: Sources
    forwarders: list[Any]
    forwarder: Callable[[Config, SinkConfig], Sending]
    outbox: Holding
    now_ns: Callable[[], int]


async def apply(
    living: Living, change: Difference, config: Config, kept: Iterable[str] = ()
) -> None:
    """Apply what differs, so that the service uses `config`.

    kept : sinks for which the outbox keeps what waits, in `config` or not
    Raises SinkUnreachable where a sink's thread does not end.
    """
    gone = [source.name for source in change.sources if source.what == "removed"]
    anew = [
        source.name
        for source in change.sources
        if source.what in ("added", "reconnects")
        or (source.what == "changed" and not await _in_place(living, config, source.name))
    ]
    if anew:
        await asyncio.to_thread(living.wiring.warm_up, config)
    for name in (*gone, *anew):
        await _let_go(living, name, comes_back=name in anew)
    await living.pipeline.drained()
    built = [living.wiring.build(config, name) for name in anew]
    living.wiring.renew(config)
    living.derive.reconfigure(living.now_ns())
    living.pipeline.checkpoint_soon()
    for new in built:
        living.pipeline.add(new)
    if change.sinks:
        await _change_sinks(living, [sink.name for sink in change.sinks], config, kept)
    if change.sinks or change.machines:
        wiring = living.wiring
        reporter = Reporter(config, wiring.table, wiring.certificate_days)
        living.pipeline.use(reporter, living.forwarders)


async def let_go(living: Living, names: Sequence[str]) -> None:
    """The sinks are these; what waits for others is not sent to them any more, which is said."""
    known = living.outbox.ledger().sinks
    await asyncio.to_thread(living.outbox.use_sinks, names)
    for name, sink in known.items():
        if name not in names:
            log.log(
                logging.WARNING if sink.waiting else logging.INFO,
                "the sink %s is gone for good; lines that waited for it and will not be sent to "
                "it: %s (what waits for other sinks stays)", name, f"{sink.waiting:,}",
            )  # fmt: skip


async def _in_place(living: Living, config: Config, name: str) -> bool:
    """Whether a source could be changed on its living connection."""
    if name not in living.pipeline.states:
        return False
    try:
        return await living.wiring.apply(config, name)
    except Exception as error:  # what a machine side makes of it must not leave the rest undone
        log.warning("%s: cannot be changed on its connection: %s; it connects anew", name, error)
        return False


async def _let_go(living: Living, name: str, *, comes_back: bool) -> None:
    """End a source that is read; until it comes back nobody vouches for its signals."""
    if name in living.pipeline.states:
        await living.pipeline.remove(name, lost=ANEW if comes_back else "")
    living.wiring.forget(name)


async def _change_sinks(
    living: Living, names: Sequence[str], config: Config, kept: Iterable[str]
) -> None:
    """Sinks of these names begin, end, or begin again as the configuration now says."""
    tables = {sink.name: sink for sink in config.sinks}
    stopping = [forwarder for forwarder in living.forwarders if forwarder.name in names]
    await asyncio.gather(
        *(_stop(forwarder, 0 if forwarder.name in tables else DRAIN_S) for forwarder in stopping)
    )
    for forwarder in stopping:
        living.forwarders.remove(forwarder)
    await let_go(living, list(dict.fromkeys([*tables, *kept])))
    for name in names:
        if name in tables:
            forwarder = living.forwarder(config, tables[name])
            living.forwarders.append(forwarder)
            forwarder.start()


async def _stop(forwarder: Sending, drain_s: float) -> None:
    """Two threads of one sink would send the same lines: wait until the old one has ended."""
    ended = await asyncio.to_thread(forwarder.stop, drain_s)
    waited_s = 0.0
    while not ended and waited_s < STOP_MAX_S:
        ended = await asyncio.to_thread(forwarder.stop, STOP_LOOK_S)
        waited_s += STOP_LOOK_S
    if not ended:
        raise SinkUnreachable(f"{forwarder.name} has been waiting for an answer for too long")
