"""A whole pipeline over one source, and a note of every sample that the source read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Self

import pytest

from agent.batch import Batch
from agent.cli.service.wiring import Wiring
from agent.config import Config, OpcuaConfig
from agent.derive import DetectSettings
from agent.ledger import SampleLedger
from agent.lines.report import Reporter
from agent.pipeline import Pipeline, PipelineSettings
from agent.pipeline.recover import recover
from agent.signals import SECOND_NS, Path, Signal, SignalTable
from agent.sources import Ack, Source
from agent.sources.opcua import OpcuaSource
from agent.trust import Trust
from tests.agent.pipeline.gateway import CONFIG, Forward, Outbox
from tests.peers.peer import NAMESPACE

PATH: Final = Path("acme", "guiyang", "assembly", "line-1")
DEADLINE_S: Final = 30.0
STOP_S: Final = 20.0
TOPIC: Final = {
    "topic": "line-1/{machine}/{signal}", "payload": {"json": {"value": "v", "time": "ts"}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as the source gave it."""

    time_ns: int
    value: float
    status: int
    text: str | None = None


class Noted:
    """A source, whose samples are noted by signal on their way."""

    def __init__(self, source: Source, table: SignalTable) -> None:
        self.source = source
        self._table = table
        self.samples: dict[int, list[Sample]] = {}
        self.rows = 0
        self.connects_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    async def connect(self) -> None:
        await self.source.connect()
        self.connects_s.append(time.monotonic())

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        async for batch, ack in self.source.batches():
            self._note(batch)
            yield batch, ack

    def _note(self, batch: Batch) -> None:
        self.rows += len(batch)
        columns = (batch.signal, batch.time_ns, batch.value, batch.status)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for number, time_ns, value, status in rows:
            is_text = self._table[number].kind == "text" and value == value
            text = batch.texts[int(value)] if is_text else None
            self.samples.setdefault(number, []).append(Sample(time_ns, value, status, text))


class Gateway:
    """Reads one source into an outbox in memory.

    build : makes the source, over the pipeline's signal table
    """

    def __init__(self, build: Callable[[SignalTable], Source]) -> None:
        self.outbox = Outbox()
        self.table = SignalTable(100_000, self.outbox.signals())
        self.source = Noted(build(self.table), self.table)
        self._numbers: dict[str, int] = {}
        found = recover(self.outbox, self.table, DetectSettings(enabled=False), time.time_ns())
        source: Source = self.source
        self.pipeline = Pipeline(
            self.table, [source], found.derive, self.outbox, [Forward()],
            Reporter(CONFIG, self.table), PipelineSettings(1000, 0.1), packets=found.packets,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run it; when it has stopped, every sample read is accounted for."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.pipeline.run(stop))
        try:
            yield self
        finally:
            stop.set()
            await asyncio.wait_for(running, STOP_S)
        assert self.ledger.balanced, self.ledger
        assert self.ledger.received == self.source.rows + sum(self.source.rejected().values())

    @property
    def ledger(self) -> SampleLedger:
        """The samples' side of what was committed."""
        return self.outbox.ledger().samples

    @property
    def state(self) -> str:
        """How the source is, and why."""
        return "; ".join(f"{one.state} {one.reason}" for one in self.pipeline.states.values())

    def samples(self, name: str) -> list[Sample]:
        """What was read of a signal so far, in the order in which it came.

        name : of the signal, or `machine/signal`
        """
        if name not in self._numbers:
            for number, signal in enumerate(self.table):
                self._numbers |= {signal.name: number, f"{signal.machine}/{signal.name}": number}
        return self.source.samples.get(self._numbers.get(name, -1), [])

    def values(self, name: str) -> list[float]:
        return [sample.value for sample in self.samples(name)]

    def steps(self, name: str) -> list[float]:
        """The same; what was said again, because it still held, once."""
        return [value for value, _ in groupby(self.values(name))]

    def last(self, name: str) -> float:
        return self.values(name)[-1] if self.samples(name) else float("nan")

    async def until(
        self, condition: Callable[[], bool], what: str, within_s: float = DEADLINE_S
    ) -> float:
        """Wait for it; how many seconds it took."""
        began_s = time.monotonic()
        while not condition():
            if time.monotonic() - began_s > within_s:
                pytest.fail(f"{what}: not within {within_s} s; the source is {self.state}")
            await asyncio.sleep(0.01)
        return time.monotonic() - began_s

    async def fresh(self, name: str, within_s: float = DEADLINE_S) -> float:
        """Wait for a sample that is measured from now on; how many seconds it took."""
        now_ns = time.time_ns()
        return await self.until(
            lambda: any(s.time_ns >= now_ns for s in self.samples(name)[-5:]),
            f"a new sample of {name}", within_s,
        )  # fmt: skip


class OpcuaGateway(Gateway):
    """Reads `names` of a peer's variables at `url`.

    options : of the table `[[opcua]]`
    """

    def __init__(
        self, url: str, names: Sequence[str], *, trust: Trust | None = None, **options: Any
    ) -> None:
        signals = [_signal(name) for name in names]
        config = OpcuaConfig.model_validate(
            {
                "name": "peer", "endpoint": url, "machine": "press-01", "security": "none",
                "publishing_interval_ms": 50, "sampling_interval_ms": 10, "queue_size": 1000,
                "connect_timeout_s": 2,
                "signals": tuple({"name": s.name, "node": s.node} for s in signals),
                **options,
            }
        )  # fmt: skip

        def build(table: SignalTable) -> Source:
            given = [(table.add(signal), signal) for signal in signals]
            return OpcuaSource(config, given, trust=trust)

        super().__init__(build)


class MqttGateway(Gateway):
    """Reads the topics `line-1/{machine}/{signal}` of a broker, and what the options say.

    options : of the table `[[mqtt]]`
    """

    def __init__(self, url: str, **options: Any) -> None:
        table = {
            "name": "floor", "url": url, "topics": (TOPIC,), "connect_timeout_s": 2, **options,
        }  # fmt: skip
        said = CONFIG.model_dump(by_alias=True, exclude_unset=True)
        config = Config.model_validate({**said, "mqtt": (table,)})
        super().__init__(lambda signals: Wiring(signals).build(config, "floor"))


def _signal(name: str) -> Signal:
    node = f"nsu={NAMESPACE};s={name}"
    return Signal(PATH, "press-01", name, "peer", node=node, every_ns=SECOND_NS)
