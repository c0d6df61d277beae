"""The tables of sinks: far sides that take what was read, each kind with its own way to speak."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.config.fields import Name, Secret, Table, broken, is_loopback, split_url
from agent.config.mqtt import BrokerTable
from agent.config.mqtt.sparkplug import SparkplugGroup, SparkplugId

BacklogLines = Annotated[int, Field(ge=1, le=10_000_000)]
"""How fast what has waited is sent beside the live lines, in lines a second."""

Flavour = Literal[
    "auto", "andon", "influxdb2", "influxdb-cloud", "influxdb3", "victoriametrics", "questdb"
]


class InfluxdbConfig(Table):
    """One far side that speaks the InfluxDB v2 write API, such as the Andon cloud."""

    name: Name = Field(examples=["cloud"])
    """What this sink is called here, in the ledger and in messages."""
    insecure: bool = False
    """Allow http:// to another machine: the token then crosses the network in clear text."""
    url: Annotated[str, Field(max_length=2048)] = Field(examples=["https://andon.acme.example"])
    """Where it is; `/api/v2/write` is added."""
    token: Secret = Field(examples=["${ANDON_TOKEN}"])
    """The token that may write, as a reference."""
    org: Name = "andon"
    """The organisation at the far side."""
    bucket: Name = "andon"
    """The bucket at the far side."""
    timeout_s: float = Field(10, gt=0, le=300)
    """How long one write may take."""
    lines_max: int = Field(5000, ge=1, le=100_000)
    """How many lines one write carries at most."""
    backlog_lines_per_s: BacklogLines = 20_000
    """How fast what has waited is sent beside the live lines."""
    flavour: Flavour = "auto"
    """Which server it is, since they differ in what they hold; `auto` asks it."""

    @field_validator("url")
    @classmethod
    def _url_is_safe(cls, text: str, info: ValidationInfo) -> str:
        return check_sink_url(text, insecure=info.data.get("insecure", True))


def check_sink_url(text: str, *, insecure: bool = False) -> str:
    """Return the address of a far side. Raises PydanticCustomError, a ValueError."""
    url = split_url(text, ("http", "https"), "https://host or https://host:port/path")
    if url.scheme == "http" and not is_loopback(url.hostname or "") and not insecure:
        raise broken(
            "it must be https:// unless it is on this machine, "
            "since the token would cross the network in clear text",
            "on a network you trust, say insecure = true",
        )
    return text


class SparkplugSinkConfig(BrokerTable):
    """One broker that is told everything as a Sparkplug B 3.0 edge node: machines are devices."""

    group: SparkplugGroup | None = None
    """The group that the node belongs to; without it the enterprise."""
    node: SparkplugId | None = None
    """The node; without it the gateway's name. One group, one node of a name."""
    primary_host: SparkplugId | None = Field(None, examples=["scada"])
    """The host without which nothing is sent; what is made meanwhile waits in the outbox."""
    windows: bool = True
    """Tell windows too; `false` tells samples, anomalies and states only."""
    datatypes: bool = False
    """Data says the type of each metric as well, not births alone, for readers that need it."""
    lines_max: int = Field(1000, ge=1, le=100_000)
    """How many lines are sent before the broker must have taken them."""
    backlog_lines_per_s: BacklogLines = 20_000
    """How fast what has waited is sent beside the live lines."""


def _prefix(text: str) -> str:
    if text and (any(c in text for c in "+#\0") or not all(text.split("/"))):
        raise broken(
            "it must be levels of a topic without + and #", 'such as prefix = "uns" or "acme/uns"'
        )
    return text


class UnsSinkConfig(BrokerTable):
    """One broker that is told everything as plain JSON under ISA-95 topics."""

    prefix: Annotated[str, Field(max_length=1024), AfterValidator(_prefix)] = ""
    """What stands before enterprise/site/area/line/machine/signal."""
    retain: bool = True
    """The broker keeps the newest of each topic for those who come later."""
    lines_max: int = Field(1000, ge=1, le=100_000)
    """How many lines are sent before the broker must have taken them."""
    backlog_lines_per_s: BacklogLines = 20_000
    """How fast what has waited is sent beside the live lines."""


SinkConfig = InfluxdbConfig | SparkplugSinkConfig | UnsSinkConfig
"""A table of any sink."""
