"""A running service without its parts: what a reload does to them is noted, in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from agent.cli.check.difference import source_tables
from agent.cli.service.apply import Living
from agent.cli.service.files import Files
from agent.cli.service.reload import Reload
from agent.cli.service.wiring import Wiring
from agent.config import Config, SinkConfig, load
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.lines.report import Reporter
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox
from agent.signals import SignalTable
from agent.sources import Source
from agent.sources.memory import MemorySource
from tests.agent.config.support import ENVIRON, GOOD

DEADLINE_S = 10.0
LOOK_S = 0.01
OVEN = """
[[opcua]]
name = "oven"
endpoint = "opc.tcp://10.0.0.6:4840"
machine = "oven-01"
security = "none"
signals = [{ name = "temperature", node = "i=7" }]
"""


@dataclass
class State:
    """How a source is."""

    state: str = "connecting"
    reason: str = ""


class Pipe:
    """The pipeline."""

    def __init__(self, done: list[str]) -> None:
        self.states: dict[str, State] = {}
        self._done = done

    def add(self, source: Source) -> None:
        assert source.name not in self.states
        self.states[source.name] = State()
        self._done.append(f"add {source.name}")

    async def remove(self, name: str, lost: str = "") -> None:
        del self.states[name]
        await asyncio.sleep(0)
        self._done.append(f"{'lose' if lost else 'remove'} {name}")

    async def drained(self) -> None:
        await asyncio.sleep(0)
        self._done.append("drained")

    def checkpoint_soon(self) -> None:
        self._done.append("checkpoint")

    def use(self, reporter: Reporter, forwarders: Sequence[Any]) -> None:
        assert reporter is not None
        self._done.append(f"use {', '.join(one.name for one in forwarders)}".strip())


class Deriving:
    """Derive; at `reconfigure` it notes which signals belong to which source."""

    def __init__(self, done: list[str], table: SignalTable) -> None:
        self._done = done
        self._table = table

    def reconfigure(self, now_ns: int) -> None:
        assert now_ns
        known = [f"{signal.name}@{signal.source}" for signal in self._table]
        self._done.append(f"reconfigure {' '.join(known)}")


class Plugs(Wiring):
    """The wiring, of sources in memory. `living` says what comes of a change on the connection."""

    def __init__(self, table: SignalTable, done: list[str]) -> None:
        super().__init__(table)
        self.living: bool | Exception = True
        self._done = done

    def warm_up(self, config: Config) -> None:
        """Sources in memory have no kernels."""

    async def apply(self, config: Config, name: str) -> bool:
        self._done.append(f"apply {name}")
        await asyncio.sleep(0)
        if isinstance(self.living, Exception):
            raise self.living
        if self.living:
            self._signals(config, name)
        return self.living

    def _new(self, config: Config, name: str) -> Source:
        self._signals(config, name)
        return MemorySource(name)


@dataclass
class Sends:
    """A forwarder. `ends` says how many stops it takes."""

    table: SinkConfig
    done: list[str]
    last_ok_ns: int | None = None
    refused: bool = False
    ends: int = 1

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def state(self) -> str:
        return f"{self.name} refuses (no)" if self.refused else f"{self.name} unreachable"

    def start(self) -> None:
        self.done.append(f"start {self.name} {self.table.url}")

    def stop(self, drain_s: float) -> bool:
        self.ends -= 1
        self.done.append(f"stop {self.name} {drain_s:g}")
        return self.ends <= 0


class Holding(MemoryOutbox):
    """The outbox."""

    def __init__(self, sinks: Sequence[str], done: list[str]) -> None:
        self._done = done
        super().__init__(sinks)
        done.clear()

    def use_sinks(self, sinks: Sequence[str]) -> None:
        super().use_sinks(sinks)
        self._done.append(f"sinks {' '.join(sinks)}")

    def make(self, lines: int) -> None:
        """Commit so many lines."""
        self.stage(Lines(ready=(b"gateway a=1i 1",) * lines), early=False)
        self.commit(Commit(SampleLedger()))

    def send(self, sink: str, lines: int) -> None:
        """The sink takes so many of those that wait."""
        packet = self.packet(sink, lines, live=False)
        assert packet is not None
        for first, last in packet.runs:
            self.acknowledge(sink, first, last)

    @property
    def waiting(self) -> dict[str, int]:
        return {name: sink.waiting for name, sink in self.ledger().sinks.items()}


@dataclass
class Running:
    """A service that runs with the files in `folder`; all its sources are connected at first."""

    folder: Path
    done: list[str] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.file = self.folder / "agent.toml"
        self.file.write_text(GOOD)
        config = load(self.file, ENVIRON)
        self.table = SignalTable(config.gateway.signals_max)
        self.pipeline = Pipe(self.done)
        self.wiring = Plugs(self.table, self.done)
        self.outbox = Holding([sink.name for sink in config.influxdb], self.done)
        self.sinks = [Sends(sink, self.done, last_ok_ns=1) for sink in config.influxdb]
        for name in source_tables(config):
            self.pipeline.add(self.wiring.build(config, name))
        self.connect(*self.pipeline.states)
        self.done.clear()
        living = Living(
            self.pipeline,
            Deriving(self.done, self.table),
            self.wiring,
            self.sinks,
            lambda config, sink: Sends(sink, self.done),
            self.outbox,
            time.time_ns,
        )
        self.reload = Reload(
            living, config, Files(self.file), look_s=LOOK_S, monotonic_s=lambda: self.now_s
        )

    def connect(self, *names: str) -> None:
        for name in names:
            self.pipeline.states[name].state = "connected"

    def edit(self, old: str, new: str) -> None:
        """Change the file, as an editor does."""
        text = self.file.read_text()
        assert old in text
        draft = self.folder / "agent.toml.draft"
        draft.write_text(text.replace(old, new, 1))
        draft.rename(self.file)

    async def reloads(self, old: str, new: str) -> None:
        """Change the file, and go on when the service has taken it over."""
        before = self.reload.config
        self.edit(old, new)
        self.reload.ask()
        await until(lambda: self.reload.config != before, "the new configuration")
        await self.looks()

    async def looks(self, count: int = 5) -> None:
        """Go on when it has looked at its files and its health so many times."""
        looked = 0

        files, real = self.reload._files, self.reload._files.have_changed

        def have_changed() -> bool:
            nonlocal looked
            looked += 1
            return real()

        files.have_changed = have_changed  # type: ignore[method-assign]
        await until(lambda: looked >= count, "a few looks")
        files.have_changed = real  # type: ignore[method-assign]

    def passes(self, seconds: float) -> None:
        self.now_s += seconds

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reload.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def following(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test of a service that follows its files."""

    @wraps(test)
    def run(service: Running, **fixtures: Any) -> None:
        async def follow() -> None:
            async with service.following():
                await test(service=service, **fixtures)

        asyncio.run(follow())

    return run


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return said(caplog, logging.ERROR)


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What was said at this level or above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


async def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        await asyncio.sleep(0.005)
