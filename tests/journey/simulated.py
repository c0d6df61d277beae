"""The simulated line fed to the real detectors tick by tick, without clock, wire or process.

What a source would make of the readings is made here: an OPC UA variable is a sample when it
changed, an MQTT reading always is; both sides vouch for all but the last 250 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.batch import GOOD, Batch
from agent.cli.demo.verdict import DETECTOR_OF
from agent.derive import Derive, DetectSettings
from agent.detect.anomaly import Anomaly
from agent.ledger import SampleLedger
from agent.signals import SECOND_NS, Kind, Path, Signal, SignalTable
from hardware.line.faults import CAUGHT_WITHIN_S, Bad, Fault, Value, plan
from hardware.line.machines import Line
from hardware.line.signals import OPCUA_MACHINES, TICK_NS, TICKS_PER_S

TAKT_TICKS = 17
START_NS = 1_800_000_000 * SECOND_NS
LATENESS_NS = 250_000_000
AFTERMATH_NS = 5 * SECOND_NS
PATH = Path("acme", "guiyang", "assembly", "line-1")
KINDS: dict[str, Kind] = {"strokes": "counter", "energy": "counter", "state": "discrete"}
TEXTS = {"unit", "verdict"}


@dataclass(frozen=True)
class Run:
    """What was planted and what was noticed, each anomaly as it opened."""

    faults: list[Fault]
    labels: list[str]
    anomalies: list[Anomaly]

    def at_ns(self, tick: int) -> int:
        return START_NS + tick * TICK_NS

    def explains(self, fault: Fault, anomaly: Anomaly) -> bool:
        """Whether the anomaly is the fault's doing; its aftermath is."""
        return (
            self.labels[anomaly.signal] == fault.signal.key
            and anomaly.noticed_ns >= self.at_ns(fault.start_tick)
            and anomaly.start_ns <= self.at_ns(fault.end_tick) + AFTERMATH_NS
        )

    def missed(self) -> list[Fault]:
        """Faults without an anomaly within the time that their kind allows."""
        return [
            fault
            for fault in self.faults
            if not any(
                self.explains(fault, anomaly)
                and anomaly.detector == DETECTOR_OF[fault.kind]
                and anomaly.noticed_ns
                <= self.at_ns(fault.visible_tick) + CAUGHT_WITHIN_S[fault.kind] * SECOND_NS
                for anomaly in self.anomalies
            )
        ]

    def false_alarms(self) -> list[Anomaly]:
        """Anomalies that no fault explains."""
        return [
            anomaly
            for anomaly in self.anomalies
            if not any(self.explains(fault, anomaly) for fault in self.faults)
        ]


def play(seed: int, seconds: int, *, faults: bool = True) -> Run:
    """Run the line for so long and notice what the detectors do."""
    planted = list(plan(seed, float(seconds), TAKT_TICKS)) if faults else []
    line = Line(seed, TAKT_TICKS, iter(planted))
    table = SignalTable(100)
    derive = Derive(table, DetectSettings(), SampleLedger(), b"")
    feed = _Feed(table)
    anomalies: list[Anomaly] = []
    for tick in range(seconds * TICKS_PER_S):
        readings, _ = line.step()
        time_ns = START_NS + tick * TICK_NS
        for source, batch in feed.batches(readings, time_ns):
            derive.take(source, batch)
        anomalies += [one for one in derive.collect().anomalies if one.ended_ns is None]
    first = {(one.signal, one.detector, one.start_ns): one for one in reversed(anomalies)}
    return Run(planted, [signal.label for signal in table], list(first.values()))


class _Feed:
    """Makes batches of readings, as the sources would."""

    def __init__(self, table: SignalTable) -> None:
        self._table = table
        self._held: dict[str, Value] = {}

    def batches(self, readings: dict[str, Value], time_ns: int) -> list[tuple[str, Batch]]:
        opcua = {
            key: value
            for key, value in readings.items()
            if key.split("/")[0] in OPCUA_MACHINES and self._held.get(key) != value
        }
        self._held.update(opcua)
        mqtt = {k: v for k, v in readings.items() if k.split("/")[0] not in OPCUA_MACHINES}
        return [
            ("opcua", self._batch("opcua", opcua, time_ns)),
            ("mqtt", self._batch("mqtt", mqtt, time_ns)),
        ]

    def _batch(self, source: str, readings: dict[str, Value], time_ns: int) -> Batch:
        texts = tuple(value for value in readings.values() if isinstance(value, str))
        numbers = iter(range(len(texts)))
        return Batch(
            np.array([self._id(source, key) for key in readings], np.int32),
            np.full(len(readings), time_ns, np.int64),
            np.array(
                [
                    float(next(numbers))
                    if isinstance(value, str)
                    else np.nan
                    if isinstance(value, Bad)
                    else float(value)
                    for value in readings.values()
                ]
            ),
            np.array(
                [value.status if isinstance(value, Bad) else GOOD for value in readings.values()],
                np.uint32,
            ),
            time_ns,
            time_ns - LATENESS_NS,
            texts,
        )

    def _id(self, source: str, key: str) -> int:
        machine, name = key.split("/")
        kind: Kind = "text" if name in TEXTS else KINDS.get(name, "analog")
        hold_ns = 2 * SECOND_NS if source == "mqtt" else 0
        return self._table.add(
            Signal(
                PATH,
                machine,
                name,
                source,
                kind=kind,
                every_ns=SECOND_NS,
                hold_ns=hold_ns,
            )
        )
