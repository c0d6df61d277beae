"""The service: puts signal table, sources, pipeline, outbox and sinks together and runs them.

Everything that can be checked offline has been checked by the configuration; what fails here is the
machine's: a folder that cannot be written, an outbox in use.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, Final

import numpy as np

from agent.batch import Batch
from agent.config import Config, MqttConfig, TopicConfig, signals, topic_signal
from agent.derive import MACHINE_SIGNAL, NO_CHECKPOINT, Derive, Derived, DetectSettings
from agent.detect.explain import sentence
from agent.errors import OutboxError
from agent.forward import Forwarder, Limits
from agent.ledger import Ledger, SampleLedger
from agent.lines import Lines
from agent.lines.encode import Encoder, every_text
from agent.lines.report import Reporter, agent_version
from agent.outbox import FILE_NAME
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline import Pipeline
from agent.signals import HOLD_FOREVER, SECOND_NS, Path, Signal, SignalTable
from agent.sinks.influxdb import InfluxdbSink
from agent.sources import Source
from agent.sources.mqtt import MqttSource
from agent.sources.mqtt.decode import Resolve
from agent.sources.opcua import OpcuaSource
from agent.status import StatusServer

log = logging.getLogger("andon.service")

DRAIN_S: Final = 3.0
"""How long a stopping service still sends what waits."""


class Service:
    """One gateway's agent, from a checked configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = FilePath(config.gateway.data)
        self._outbox = _open(self._folder, [sink.name for sink in config.influxdb])
        self._table = SignalTable(config.gateway.signals_max, self._outbox.signals())
        sources = _sources(config, self._table)
        self._forwarders = [
            Forwarder(
                self._outbox,
                InfluxdbSink(
                    sink.name,
                    url=sink.url,
                    token=sink.token.get_secret_value(),
                    outbox=self._outbox.uuid,
                    org=sink.org,
                    bucket=sink.bucket,
                    timeout_s=sink.timeout_s,
                ),
                limits=Limits(lines_max=sink.lines_max),
            )
            for sink in config.influxdb
        ]
        self._pipeline = Pipeline(
            self._table,
            sources,
            Derive(
                self._table,
                DetectSettings(config.detect.enabled, round(config.detect.warmup_s * SECOND_NS)),
                self._outbox.ledger().samples,
                self._outbox.checkpoint(),
                time.time_ns(),
            ),
            self._outbox,
            self._forwarders,
            Reporter(config, self._table),
            config.gateway.commit_interval_ms / 1000,
            config.gateway.batches_max,
            self._tell,
        )
        self._status = StatusServer(self._folder, self.status)
        self._started_ns = time.time_ns()

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self._config.gateway.name

    async def run(self, stop: asyncio.Event) -> Ledger:
        """Run until `stop`, drain, and answer the ledger as it was left."""
        try:
            await self._open_status()
            await asyncio.to_thread(warm_up)
            for forwarder in self._forwarders:
                forwarder.start()
            await self._pipeline.run(stop)
        finally:
            await asyncio.gather(
                *(asyncio.to_thread(forwarder.stop, DRAIN_S) for forwarder in self._forwarders)
            )
            await self._status.stop()
            ledger = self._outbox.ledger()
            self._outbox.close()
        return ledger

    def status(self) -> dict[str, Any]:
        """How everything is, as plain values."""
        ledger, usage = self._outbox.ledger(), self._outbox.usage()
        return {
            "gateway": self._config.gateway.name,
            "version": agent_version(),
            "started_ns": self._started_ns,
            "signals": len(self._table),
            "sources": {
                name: {"state": state.state, "reason": state.reason, "samples": state.samples}
                for name, state in self._pipeline.states.items()
            },
            "sinks": {
                forwarder.name: {"state": forwarder.state, "lag_ms": forwarder.lag_ms}
                for forwarder in self._forwarders
            },
            "ledger": ledger.document(),
            "outbox": {"bytes": usage.bytes, "lines_waiting": usage.lines_waiting},
        }

    def final(self, ledger: Ledger) -> dict[str, Any]:
        """What the stopped service leaves, as plain values."""
        return {"windows": self._pipeline.windows_made, "ledger": ledger.document()}

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
            self._status.publish(_events(derived, self._table))


def warm_up() -> None:
    """Compile the kernels, or load them, before machines are connected and wait for answers."""
    table = SignalTable(2)
    signal = Signal(Path("e", "s", "a", "l"), "machine", "signal", "source", raw=True)
    number = table.add(signal)
    derive = Derive(table, DetectSettings(), SampleLedger(), NO_CHECKPOINT)
    for second in (1, 2):
        one = Batch(
            np.array([number], np.int32),
            np.array([second * SECOND_NS], np.int64),
            np.zeros(1),
            np.zeros(1, np.uint32),
            received_ns=second * SECOND_NS,
            alive_until_ns=20 * second * SECOND_NS,
        )
        derive.take(signal.source, one)
    derive.lose(signal.source, "", 0)
    derived = derive.collect()
    Encoder({number: signal}).encode(Lines(derived.windows, derived.samples))


def _open(folder: FilePath, sinks: Sequence[str]) -> SqliteOutbox:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutboxError(
            f"the data folder {folder} cannot be made: {error.strerror}",
            "set gateway.data to a folder that this user may write",
        ) from error
    return open_outbox(folder / FILE_NAME, sinks)


def _sources(config: Config, table: SignalTable) -> list[Source]:
    by_source: dict[str, list[tuple[int, Signal]]] = {}
    for signal in signals(config):
        by_source.setdefault(signal.source, []).append((table.add(signal), signal))
    brokers = {
        broker.name: MqttSource(broker, config.client_id(broker), _resolver(config, broker, table))
        for broker in config.mqtt
    }
    _renew(config, table, brokers)
    opcua = [OpcuaSource(server, by_source[server.name]) for server in config.opcua]
    return [*opcua, *brokers.values()]


def _renew(config: Config, table: SignalTable, brokers: Mapping[str, MqttSource]) -> None:
    """Bring what earlier runs learned of topics up to the configuration of today.

    A signal that it no longer has belongs to no source, so that nobody vouches for it.
    """
    configured = {signal.key for signal in signals(config)}
    names = {*brokers, *(server.name for server in config.opcua)}
    for number, signal in enumerate(list(table)):
        if signal.key in configured or (signal.name == MACHINE_SIGNAL and signal.source in names):
            continue
        known, by_topic = brokers.get(signal.source), signal.hold_ns != HOLD_FOREVER
        candidates = [known] if known else list(brokers.values()) if by_topic else []
        if not any(broker.signal_of(signal.node) == number for broker in candidates):
            table.add(replace(signal, source=""))


def _resolver(config: Config, broker: MqttConfig, table: SignalTable) -> Resolve:
    servers = {signal.key: signal.source for signal in signals(config)}

    def resolve(topic: TopicConfig, machine: str, name: str) -> tuple[int, bool]:
        signal = topic_signal(config, broker, topic, machine, name)
        if signal.key in servers:
            raise ValueError(f"{signal.label} is read from {servers[signal.key]} already")
        return table.add(signal), signal.kind == "text"

    return resolve


def _events(derived: Derived, table: SignalTable) -> Iterator[dict[str, Any]]:
    """What `andon tail` shows of a commit."""
    for row in derived.windows:
        signal = table[row["signal"]]
        fields = {
            name: float(row[name])
            for name in ("good", "mean", "min", "max", "last", "increase")
            if not math.isnan(row[name])
        }
        yield {
            "type": "window", "machine": signal.machine, "signal": signal.name,
            "unit": signal.unit, "every": every_text(int(row["every_ns"])),
            "time_ns": int(row["start_ns"]), "n": int(row["n"]), **fields,
        }  # fmt: skip
    for row in derived.samples:
        signal = table[row["signal"]]
        said = derived.texts[row["text"]] if row["text"] >= 0 else _finite(row["value"])
        yield {
            "type": "sample", "machine": signal.machine, "signal": signal.name,
            "unit": signal.unit, "time_ns": int(row["time_ns"]),
            "value": said, "status": int(row["status"]),
        }  # fmt: skip
    for anomaly in derived.anomalies:
        signal = table[anomaly.signal]
        yield {
            "type": "anomaly", "machine": signal.machine, "signal": signal.name,
            "detector": anomaly.detector, "severity": anomaly.severity,
            "score": round(anomaly.score, 4), "time_ns": anomaly.start_ns,
            "noticed_ns": anomaly.noticed_ns, "ended_ns": anomaly.ended_ns,
            "message": sentence(anomaly, signal),
        }  # fmt: skip


def _finite(value: float) -> float | None:
    """The value as JSON can say it."""
    return float(value) if math.isfinite(value) else None
