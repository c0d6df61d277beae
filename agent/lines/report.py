"""Ready lines: anomalies, states, what is known of machines and signals, the gateway itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from agent.config import Config
from agent.derive.machine_states import MachineState
from agent.detect.anomaly import Anomaly
from agent.detect.explain import sentence
from agent.ledger import Ledger
from agent.lines import encode
from agent.outbox import Usage
from agent.signals import MACHINE_SIGNAL, Signal, SignalTable


def agent_version() -> str:
    """The installed version, or `unknown` from a bare checkout."""
    try:
        return version("andon")
    except PackageNotFoundError:
        return "unknown"


def anomaly_line(anomaly: Anomaly, signal: Signal) -> bytes:
    """The anomaly as it stands; sent again it replaces what was said under the same start."""
    return encode.anomaly_line(
        signal.path, signal.machine, signal.name, anomaly.detector, anomaly.start_ns,
        anomaly_id=anomaly.id(signal.label),
        severity=anomaly.severity,
        score=anomaly.score,
        message=sentence(anomaly, signal),
        value=anomaly.value,
        expected=anomaly.expected,
        low=anomaly.low,
        high=anomaly.high,
        ended_ns=anomaly.ended_ns,
    )  # fmt: skip


class Reporter:
    """Makes the ready lines of one gateway.

    certificate_days : until its own certificate expires; None where it has none
    """

    def __init__(
        self,
        config: Config,
        table: SignalTable,
        certificate_days: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._config = config
        self._table = table
        self._certificate_days = certificate_days
        self._version = agent_version()

    def machines(self, time_ns: int) -> list[bytes]:
        """What the configuration says of each machine."""
        lines = [
            encode.machine_line(
                self._config.path, machine.name, time_ns,
                model=machine.model,
                order_in_line=machine.order_in_line,
                asset_id=machine.asset_id,
                ideal_cycle_s=machine.ideal_cycle_s,
            )
            for machine in self._config.machines
        ]  # fmt: skip
        return [line for line in lines if line is not None]

    def signals(self, signals: Iterable[Signal], time_ns: int) -> list[bytes]:
        """What is known of these signals."""
        return [
            encode.signal_line(signal, time_ns)
            for signal in signals
            if signal.name != MACHINE_SIGNAL
        ]

    def anomalies(self, anomalies: Iterable[Anomaly]) -> list[bytes]:
        """These anomalies as they stand."""
        return [anomaly_line(anomaly, self._table[anomaly.signal]) for anomaly in anomalies]

    def states(self, states: Iterable[MachineState]) -> list[bytes]:
        """These states of machines as they stand."""
        return [
            encode.state_line(
                self._table[one.signal].path, self._table[one.signal].machine,
                one.start_ns, one.state, one.reason, one.duration_s,
            )
            for one in states
        ]  # fmt: skip

    def gateway(
        self, ledger: Ledger, time_ns: int, usage: Usage, lag_ms: float, clock_steps: int = 0
    ) -> bytes:
        """The gateway's own line; `clock_steps`: how often its clock has jumped since the start."""
        oldest_ns = time_ns if usage.oldest_ns is None else usage.oldest_ns
        return encode.gateway_line(
            self._config.path, self._config.gateway.name, time_ns, ledger,
            outbox_bytes=usage.bytes,
            outbox_bytes_max=usage.bytes_max,
            hours_left=usage.hours_left,
            oldest_s=max(0, time_ns - oldest_ns) / 1e9,
            lag_ms=lag_ms,
            clock_steps=clock_steps,
            certificate_days=self._certificate_days(),
            version=self._version,
            signals=len(self._table),
        )  # fmt: skip
