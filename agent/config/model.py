"""The whole configuration as typed, frozen tables: every option, its default and its limits.

`Config` is what `agent.config.load` returns. What one table can say about itself is checked here;
what spans tables (names given twice, no source at all) in `agent.config.rules`.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Final, Literal

from pydantic import Field

from agent.config.fields import Folder, Name, Table
from agent.config.mqtt import BrokerTable, MqttConfig
from agent.config.mqtt.sparkplug import as_sparkplug_id
from agent.config.opcua import OpcuaConfig
from agent.config.sinks import InfluxdbConfig, SinkConfig, SparkplugSinkConfig, UnsSinkConfig
from agent.signals import Path

PKI: Final = "pki"
"""The folder of certificates, in the data folder."""


class PathConfig(Table):
    """Where the line is, by ISA-95; part of every line that is sent."""

    enterprise: Name = Field(examples=["acme"])
    """The company."""
    site: Name = Field(examples=["guiyang"])
    """The plant."""
    area: Name = Field(examples=["assembly"])
    """The shop or hall."""
    line: Name = Field(examples=["line-1"])
    """The production line."""


class GatewayConfig(Table):
    """The gateway itself."""

    name: Name = Field(examples=["gw-line-1"])
    """The gateway's name; one gateway, one name."""
    path: PathConfig = Field(
        examples=[
            {"enterprise": "acme", "site": "guiyang", "area": "assembly", "line": "line-1"},
        ]
    )
    """Where its line is."""
    data: Folder = Field("/var/lib/andon", validate_default=True)
    """The folder of the outbox and of the certificates."""
    signals_max: int = Field(20_000, ge=1, le=1_000_000)
    """How many distinct signals configuration and topics may create."""
    batches_max: int = Field(1000, ge=1, le=100_000)
    """How many batches may wait for the pipeline before sources are made to wait."""


class OutboxConfig(Table):
    """What is kept until every far side has it, and what that may cost the disk."""

    bytes_max_mb: int = Field(1024, ge=16, le=1_000_000)
    """How large the outbox may grow. When it is full, the oldest raw samples go first, then the
    oldest windows; anomalies and cycles last. Every line that goes is counted."""
    age_max_days: float = Field(90, gt=0, le=3650)
    """Lines that wait longer than this go, counted."""
    commit_interval_ms: int | None = Field(None, ge=10, le=60_000, examples=[1000])
    """How often samples are made durable; without it as often as the write budget allows, at most
    ten times a second and at least every ten seconds."""
    write_gb_per_day: float = Field(1.6, gt=0, le=10_000)
    """What the disk may be asked to write: an 8 GB eMMC lasts ten years at 1.6."""
    journal: Literal["auto", "always", "never"] = "auto"
    """Keep received samples until their windows are closed, so that a crash loses nothing that was
    committed; `auto` does it where the machine side can redeliver and where the budget allows."""


class MachineConfig(Table):
    """One machine of the line. It need not be listed; what is said here is shown on the board."""

    name: Name = Field(examples=["press-01"])
    """The machine, as sources name it."""
    model: str = Field("", max_length=256)
    """Maker and model."""
    order_in_line: int | None = Field(None, ge=1, le=10_000)
    """Its place in the flow, from 1."""
    asset_id: str = Field("", max_length=256)
    """What stays the same when it is renamed or moved."""
    ideal_cycle_s: float | None = Field(None, gt=0, le=86_400)
    """The time one unit takes when nothing is wrong."""


class DetectConfig(Table):
    """Detection of what is wrong."""

    enabled: bool = True
    """Look for anomalies."""
    warmup_s: float = Field(15, ge=1, le=86_400)
    """How long a signal is only learned after it was first seen."""


class Config(Table):
    """The configuration of one gateway."""

    gateway: GatewayConfig
    """This gateway."""
    machines: tuple[MachineConfig, ...] = ()
    """The machines of the line."""
    opcua: tuple[OpcuaConfig, ...] = ()
    """OPC UA servers to read."""
    mqtt: tuple[MqttConfig, ...] = ()
    """MQTT brokers to read."""
    influxdb: tuple[InfluxdbConfig, ...] = ()
    """Far sides that take what was read, over HTTP."""
    sparkplug: tuple[SparkplugSinkConfig, ...] = ()
    """Brokers that take what was read as Sparkplug B."""
    uns: tuple[UnsSinkConfig, ...] = ()
    """Brokers that take what was read as a unified namespace: plain JSON."""
    detect: DetectConfig = DetectConfig()
    """Detection of what is wrong."""
    outbox: OutboxConfig = OutboxConfig()
    """What is kept until every far side has it."""

    @property
    def path(self) -> Path:
        """Where the line is."""
        return Path(**self.gateway.path.model_dump())

    @property
    def pki(self) -> FilePath:
        """The folder of our own certificate and of those that are trusted."""
        return self.gateway.data / PKI

    @property
    def sinks(self) -> tuple[SinkConfig, ...]:
        """Every far side, whatever it speaks."""
        return (*self.influxdb, *self.sparkplug, *self.uns)

    @property
    def brokers(self) -> tuple[MqttConfig, ...]:
        """`mqtt`, less what this gateway sends there as a node: it would come back for ever."""
        return tuple(self._without_own(broker) for broker in self.mqtt)

    def edge_node(self, sink: SparkplugSinkConfig) -> tuple[str, str]:
        """The group and the node that this gateway is in Sparkplug."""
        group, node = sink.group or self.gateway.path.enterprise, sink.node or self.gateway.name
        return as_sparkplug_id(group), as_sparkplug_id(node)

    def _without_own(self, broker: MqttConfig) -> MqttConfig:
        own = tuple(
            "/".join(self.edge_node(sink))
            for sink in self.sparkplug
            if (sink.host, sink.port) == (broker.host, broker.port)
        )
        if broker.sparkplug is None or not own:
            return broker
        host = broker.sparkplug.model_copy(update={"ignore": broker.sparkplug.ignore + own})
        return broker.model_copy(update={"sparkplug": host})

    def client_id(self, broker: BrokerTable) -> str:
        """The name of the session at this broker."""
        way = "" if isinstance(broker, MqttConfig) else "to-"
        return broker.client_id or f"andon-{self.gateway.name}-{way}{broker.name}"


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, for editors."""
    return Config.model_json_schema(by_alias=True)
