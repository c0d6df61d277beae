"""The service: runs the parts that `assemble` puts together, and follows its configuration.

Everything that can be checked offline has been checked by the configuration; what fails here is the
machine's: a folder that cannot be written, an outbox in use.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any, Final

from agent.cli.service.apply import Living
from agent.cli.service.assemble import assemble, forwarder, warm_up
from agent.cli.service.events import events
from agent.cli.service.files import Files
from agent.cli.service.memory import release_start, share_heaps
from agent.cli.service.reload import HEALTHY_S, Reload
from agent.config import Config
from agent.derive import Derived
from agent.ledger import Ledger
from agent.lines.report import agent_version
from agent.sources import Source
from agent.sources.quarantine import Rejected
from agent.status import StatusServer

__all__ = ["Files", "Service", "release_start", "share_heaps", "warm_up"]

log = logging.getLogger("andon.service")

WARM_UP_SAID_S: Final = 3.0
"""Loading what was compiled takes less."""
DRAIN_S: Final = 3.0
"""How long a stopping service still sends what waits."""


class Service:
    """One gateway's agent, from a checked configuration and the files it stands in."""

    def __init__(self, config: Config, files: Files, *, healthy_s: float = HEALTHY_S) -> None:
        share_heaps()
        folder = Path(config.gateway.data)
        parts = self._parts = assemble(config, self._tell, self._tell_rejected)
        self._reload = Reload(
            Living(
                parts.pipeline,
                parts.derive,
                parts.wiring,
                parts.forwarders,
                partial(forwarder, parts.outbox, now_ns=parts.clock.now_ns),
                parts.outbox,
                parts.clock.now_ns,
            ),
            config,
            files,
            healthy_s=healthy_s,
        )
        answers = {
            "status": self.status,
            "config": self._reload.in_use,
            "rejected": parts.wiring.rejected,
        }
        self._status = StatusServer(folder, answers)
        self._folder = folder
        self._started_ns = parts.clock.now_ns()

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self._reload.config.gateway.name

    def reload(self) -> None:
        """Read the configuration again, soon."""
        self._reload.ask()

    async def run(self, stop: asyncio.Event) -> Ledger:
        """Run until `stop`, drain, and answer the ledger as it was left."""
        parts = self._parts
        try:
            await self._open_status()
            await self._warm_up()
            release_start()
            for one in parts.forwarders:
                one.start()
            await self._run_until(stop)
        finally:
            await asyncio.gather(
                *(asyncio.to_thread(one.stop, DRAIN_S) for one in parts.forwarders)
            )
            await self._status.stop()
            ledger = parts.outbox.ledger()
            parts.outbox.close()
        return ledger

    async def _warm_up(self) -> None:
        """Have the kernels compiled, or loaded, before machines are connected."""
        compiling = asyncio.gather(
            asyncio.to_thread(warm_up),
            asyncio.to_thread(self._parts.wiring.warm_up, self._reload.config),
        )
        done, _ = await asyncio.wait([compiling], timeout=WARM_UP_SAID_S)
        if not done:
            log.info("compiling, as once after each installation; this may take a minute")
        await compiling

    async def _run_until(self, stop: asyncio.Event) -> None:
        """Run the pipeline; nothing is reloaded any more once it stops."""
        halt = asyncio.Event()
        running = asyncio.create_task(self._parts.pipeline.run(halt), name="run")
        reloading = asyncio.create_task(self._reload.run(), name="reload")
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopped, reloading):
                task.cancel()
            await asyncio.gather(stopped, reloading, return_exceptions=True)
            halt.set()
            await running

    def status(self) -> dict[str, Any]:
        """How everything is, as plain values."""
        parts = self._parts
        ledger, usage = parts.outbox.ledger(), parts.outbox.usage()
        return {
            "gateway": self.name,
            "version": agent_version(),
            "started_ns": self._started_ns,
            "configuration": self._reload.status(),
            "signals": len(parts.table),
            "sources": {
                name: {
                    "state": state.state,
                    "reason": state.reason,
                    "samples": state.samples,
                    "held_back": state.held_back,
                    "redelivered": _redelivered(parts.wiring.sources.get(name)),
                    "journaled": name in parts.pipeline.journaled,
                }
                for name, state in parts.pipeline.states.items()
            },
            "sinks": {
                one.name: {"state": one.state, "lag_ms": one.lag_ms} for one in parts.forwarders
            },
            "clock_steps": parts.clock.steps,
            "ledger": ledger.document(),
            "outbox": {
                "bytes": usage.bytes,
                "lines_waiting": usage.lines_waiting,
                "gb_per_day": parts.pipeline.gb_per_day,
                "gb_per_day_max": self._reload.config.outbox.write_gb_per_day,
                "commit_interval_s": parts.pipeline.commit_interval_s,
            },
        }

    def final(self, ledger: Ledger) -> dict[str, Any]:
        """What the stopped service leaves, as plain values."""
        return {"windows": self._parts.pipeline.windows_made, "ledger": ledger.document()}

    async def _open_status(self) -> None:
        try:
            await self._status.start()
        except OSError as error:
            log.warning(
                "the status socket in %s cannot be opened: %s; `andon tail` will not find this "
                "service, all else works", self._folder, error.strerror or error,
            )  # fmt: skip

    def _tell(self, derived: Derived) -> None:
        if self._status.watched:
            self._status.publish(events(derived, self._parts.table))

    def _tell_rejected(self, rejected: Rejected) -> None:
        if self._status.watched:
            self._status.publish([rejected.document()])


def _redelivered(source: Source | None) -> int:
    """While a source is exchanged, none of its name is there."""
    return 0 if source is None else source.redelivered
