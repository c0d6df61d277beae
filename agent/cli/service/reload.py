"""Reload: a changed configuration is taken over by the running service, or given back.

Enters: SIGHUP (`ask`), or files that changed and stand still. Leaves: the service uses them, or
goes on with what it used before: where they are wrong, where they cannot be applied, and where what
they added or changed is not healthy within `HEALTHY_S`:

    a source  was connected once; one that was not connected before the reload either, a machine
              that is switched off, is not held against the new configuration
    a sink    took something, or at least does not refuse; no answer may have any reason

Until it has proven healthy a configuration is on trial; another reload in that time goes back to
the last healthy one all the same, and the outbox keeps what waits for the sinks of that one. A
reload that cannot be applied leads back to what was used just before, on trial or not. Files that
were given back are read again when they change, or when somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from agent.cli.check.difference import Difference, Option, applied, difference
from agent.cli.check.preview import in_use, tell_difference
from agent.cli.service.apply import Living, apply, let_go
from agent.cli.service.files import Files
from agent.config import Config, config_error, examine
from agent.errors import AndonError

log = logging.getLogger("andon.service")

HEALTHY_S: Final = 60.0
"""After so long without health a configuration is given back."""
LOOK_S: Final = 1.0
"""How often to look at the files, and at how a trial goes."""


@dataclass(slots=True)
class _Trial:
    """A configuration that has yet to prove healthy.

    before, before_ns : the last one that was, and since when it was used
    connected : sources that were connected under it
    sources : those that must be connected once; sinks : those that must not refuse
    """

    before: Config
    before_ns: int
    connected: set[str]
    until_s: float
    sources: set[str]
    sinks: set[str]


class Reload:
    """Keeps one service at what its files say. `living` is changed in place."""

    def __init__(
        self,
        living: Living,
        config: Config,
        files: Files,
        *,
        healthy_s: float = HEALTHY_S,
        look_s: float = LOOK_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._living = living
        self._files = files
        self._healthy_s = healthy_s
        self._look_s = look_s
        self._monotonic_s = monotonic_s
        self._asked = asyncio.Event()
        self._since_ns = living.now_ns()
        self._trial: _Trial | None = None
        self._problem = ""
        self._restart: tuple[Option, ...] = ()

    def ask(self) -> None:
        """Read the files again, soon."""
        self._asked.set()

    def status(self) -> dict[str, Any]:
        """How the configuration stands, as plain values."""
        return {
            "since_ns": self._since_ns,
            "trial": self._trial is not None,
            "problem": self._problem,
            "restart": [option.name for option in self._restart],
        }

    def in_use(self) -> dict[str, Any]:
        """What the service uses, without secrets, for `andon check --diff`."""
        return in_use(self.config, self._since_ns, self._problem, self._waiting())

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            try:
                await self._follow()
            except Exception as error:  # whatever it is, the service goes on
                log.error("unexpected, while reloading: %r", error, exc_info=error)

    async def _follow(self) -> None:
        """One look: at what is asked, at the files, at a trial."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), self._look_s)
        if self._asked.is_set() or await asyncio.to_thread(self._files.have_changed):
            self._asked.clear()
            await self._read()
        if self._trial is not None:
            await self._judge(self._trial)

    async def _read(self) -> None:
        self._files.note_read()
        found = await asyncio.to_thread(examine, self._files.path)
        if isinstance(found, Config):
            await self.load(found)
        else:
            self._refuse(f"the changed one is wrong\nerror: {config_error(found)}")

    async def load(self, found: Config) -> None:
        """Use this configuration, on trial."""
        change = await asyncio.to_thread(difference, self.config, found)
        self._restart = change.restart
        if not change:
            log.info("reload: nothing has changed")
        for line in tell_difference(change, self._waiting()) if change else ():
            log.info("reload:%s", line)
        if not change.applies:
            self._problem = ""
            return
        try:
            self._living.wiring.room_for(found)
        except AndonError as error:
            self._refuse(f"the changed one cannot be used: {error} ({error.hint})")
            return
        used, used_ns, trial = self.config, self._since_ns, self._trial
        before = trial or self._healthy()
        self._trial = None
        try:
            await self._use(change, applied(used, found), self._living.now_ns(), before.before)
        except Exception as error:  # some of it may be applied: all of it is given back
            log.debug("while applying", exc_info=error)
            reason = str(error) or type(error).__name__
            await self._give_back(used, used_ns, [reason], before.before)
            self._trial = trial
            return
        self._problem = ""
        await self._begin(before)

    def _waiting(self) -> dict[str, int]:
        """Lines that wait for each sink."""
        return {name: sink.waiting for name, sink in self._living.outbox.ledger().sinks.items()}

    def _refuse(self, why: str) -> None:
        """What was read is not used."""
        self._problem = why
        log.error("the configuration of %s goes on: %s", _moment(self._since_ns), why)

    def _healthy(self) -> _Trial:
        """What is used now, to go back to."""
        states = self._living.pipeline.states
        connected = {name for name, state in states.items() if state.state == "connected"}
        return _Trial(self.config, self._since_ns, connected, 0, set(), set())

    async def _use(
        self, change: Difference, config: Config, since_ns: int, healthy: Config
    ) -> None:
        """Noted first: what fails in the middle is given back from there.

        healthy : the last one that was; what waits for its sinks is kept
        """
        self.config, self._since_ns = config, since_ns
        await apply(self._living, change, config, _sinks(healthy))

    async def _begin(self, trial: _Trial) -> None:
        """Put what is used now on trial against what was healthy before it."""
        change = await asyncio.to_thread(difference, trial.before, self.config)
        known = {source.name for source in change.sources if source.what != "added"}
        changed = {source.name for source in change.sources if source.what != "removed"}
        trial.sources = changed - (known - trial.connected)
        trial.sinks = {sink.name for sink in change.sinks if sink.what != "removed"}
        trial.until_s = self._monotonic_s() + self._healthy_s
        self._trial = trial
        log.info(
            "the configuration of %s is used, on trial for %.0f s at most: %s",
            _moment(self._since_ns), self._healthy_s,
            ", ".join(sorted(trial.sources | trial.sinks)) or "nothing has to prove itself",
        )  # fmt: skip

    async def _judge(self, trial: _Trial) -> None:
        """Whether it has proven healthy, or will not any more."""
        living = self._living
        for name in tuple(trial.sources):
            state = living.pipeline.states.get(name)
            if state is not None and state.state == "connected":
                trial.sources.discard(name)
        sinks = [forwarder for forwarder in living.forwarders if forwarder.name in trial.sinks]
        proven = not trial.sources and all(sink.last_ok_ns is not None for sink in sinks)
        if not proven and self._monotonic_s() < trial.until_s:
            return
        self._trial = None
        reasons = [_not_connected(name, living) for name in sorted(trial.sources)]
        reasons += [sink.state for sink in sinks if sink.refused and sink.last_ok_ns is None]
        if reasons:
            await self._give_back(trial.before, trial.before_ns, reasons, trial.before)
            return
        log.info("the configuration of %s is healthy", _moment(self._since_ns))
        if set(_sinks(trial.before)) - set(_sinks(self.config)):
            await let_go(living, _sinks(self.config))

    async def _give_back(
        self, config: Config, since_ns: int, reasons: list[str], healthy: Config
    ) -> None:
        """Use this one again, which was used before, and say why."""
        moment, why = _moment(self._since_ns), "; ".join(reasons)
        self._problem = f"the configuration of {moment} was rolled back: {why}"
        log.error(
            "the configuration of %s is not healthy and is rolled back to that of %s: %s; mend the "
            "files, they are read again when they change, or at SIGHUP",
            moment, _moment(since_ns), why,
        )  # fmt: skip
        change = await asyncio.to_thread(difference, self.config, config)
        await self._use(change, config, since_ns, healthy)
        log.info("the configuration of %s is used again", _moment(since_ns))


def _not_connected(name: str, living: Living) -> str:
    state = living.pipeline.states.get(name)
    return (state.reason if state else "") or f"{name} is not connected yet"


def _sinks(config: Config) -> list[str]:
    return [sink.name for sink in config.sinks]


def _moment(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}Z"
