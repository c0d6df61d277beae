"""Assembly: the parts of one gateway, from a checked configuration and what earlier runs left.

The outbox says which signals are known and how far derivation had come; on that the configuration
of today is laid, as a reload would: what it no longer has is closed, what is new begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final

import numpy as np

from agent.batch import Batch
from agent.cli.check.difference import source_tables
from agent.cli.service.sinks import new_sink
from agent.cli.service.wiring import Wiring
from agent.config import Config, SinkConfig
from agent.derive import NO_CHECKPOINT, Derive, Derived, DetectSettings
from agent.errors import OutboxError
from agent.forward import Forwarder, Limits
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.lines.encode import Encoder
from agent.lines.report import Reporter
from agent.outbox import FILE_NAME
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.pipeline import Clock, Pipeline, PipelineSettings
from agent.pipeline.recover import recover
from agent.signals import SECOND_NS, Path, Signal, SignalTable
from agent.sources.quarantine import Rejected

MEGABYTE: Final = 1 << 20
DAY_NS: Final = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of."""

    outbox: SqliteOutbox
    table: SignalTable
    derive: Derive
    wiring: Wiring
    pipeline: Pipeline
    forwarders: list[Forwarder]
    clock: Clock


def assemble(
    config: Config,
    publish: Callable[[Derived], None],
    tell_rejected: Callable[[Rejected], None] = lambda rejected: None,
) -> Parts:
    """All parts, none of them running. Raises OutboxError, SignalsFull.

    publish : told of what is derived; tell_rejected : of payloads that could not be read
    """
    clock = Clock()
    outbox = _open(config, clock)
    table = SignalTable(config.gateway.signals_max, outbox.signals())
    recovered = recover(outbox, table, detect_settings(config), clock.now_ns())
    wiring = Wiring(table, clock.now_ns, tell_rejected)
    sources = [wiring.build(config, name) for name in source_tables(config)]
    wiring.renew(config)
    recovered.derive.reconfigure(clock.now_ns())
    forwarders = [forwarder(outbox, config, sink, now_ns=clock.now_ns) for sink in config.sinks]
    pipeline = Pipeline(
        table,
        sources,
        recovered.derive,
        outbox,
        forwarders,
        Reporter(config, table, wiring.certificate_days),
        pipeline_settings(config),
        clock=clock,
        packets=recovered.packets,
        publish=publish,
    )
    return Parts(outbox, table, recovered.derive, wiring, pipeline, forwarders, clock)


def forwarder(
    outbox: SqliteOutbox,
    config: Config,
    sink: SinkConfig,
    *,
    backlog_lines_per_s: int | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Forwarder:
    """What takes the outbox's lines to this sink of the configuration; not started.

    backlog_lines_per_s : instead of what the sink's table says
    """
    limits = Limits(
        lines_max=sink.lines_max,
        backlog_lines_per_s=backlog_lines_per_s or sink.backlog_lines_per_s,
    )
    return Forwarder(
        outbox,
        new_sink(config, sink, outbox.uuid, now_ns),
        limits=limits,
        now_ns=now_ns,
    )


def detect_settings(config: Config) -> DetectSettings:
    """How the detectors are set."""
    return DetectSettings(config.detect.enabled, round(config.detect.warmup_s * SECOND_NS))


def pipeline_settings(config: Config) -> PipelineSettings:
    """How the pipeline works."""
    outbox = config.outbox
    interval_ms = outbox.commit_interval_ms
    return PipelineSettings(
        batches_max=config.gateway.batches_max,
        commit_interval_s=None if interval_ms is None else interval_ms / 1000,
        write_bytes_per_day=outbox.write_gb_per_day * 1e9,
        journal=outbox.journal,
    )


def warm_up() -> None:
    """Compile the kernels, or load them, before machines are connected and wait for answers."""
    table = SignalTable(2)
    signal = Signal(Path("e", "s", "a", "l"), "machine", "signal", "source", raw=True)
    number = table.add(signal)
    derive = Derive(table, DetectSettings(), SampleLedger(), NO_CHECKPOINT, time.time_ns())
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
    derive.revise()
    Encoder({number: signal}).encode(Lines(derived.windows, derived.samples))


def _open(config: Config, clock: Clock) -> SqliteOutbox:
    folder = FilePath(config.gateway.data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutboxError(
            f"the data folder {folder} cannot be made: {error.strerror}",
            "set gateway.data to a folder that this user may write",
        ) from error
    return open_outbox(
        folder / FILE_NAME,
        [sink.name for sink in config.sinks],
        bytes_max=config.outbox.bytes_max_mb * MEGABYTE,
        age_max_ns=round(config.outbox.age_max_days * DAY_NS),
        now_ns=clock.now_ns,
    )
