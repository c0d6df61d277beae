"""The table `[[mqtt]]` itself: one broker that is read."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from agent.config.fields import NAME_CHARS_MAX, broken
from agent.config.mqtt.broker import BrokerTable
from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.config.mqtt.topic import TopicConfig, TopicSignalConfig

ON_THE_CONNECTION: Final = frozenset({"topics", "signals", "sparkplug", "connect_timeout_s"})
"""Options that change without a new connection."""

EXPIRY_S_MAX: Final = 0xFFFF_FFFE
"""MQTT 5.0, 3.1.2.11.2: one more means for ever."""


class MqttConfig(BrokerTable):
    """One MQTT broker that is read."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["topics"], "properties": {"topics": {"minItems": 1}}},
                {"required": ["sparkplug"]},
            ]
        }
    )

    clean_start: bool = False
    """Begin anew instead of taking up the session, and lose what the broker kept meanwhile."""
    qos: int = Field(1, ge=0, le=2)
    """1: the broker keeps a message until it is in the outbox; 2: it also sends it only once; 0: it
    does not keep it."""
    session_expiry_s: int | None = Field(None, ge=1, le=EXPIRY_S_MAX, examples=[604_800])
    """How long the broker keeps the session while the gateway is away (MQTT 5); without it for
    ever."""
    share: str | None = Field(None, min_length=1, max_length=NAME_CHARS_MAX, examples=["andon"])
    """Share the messages with other clients that name the same group: each gets a part."""
    sparkplug: SparkplugHostConfig | None = Field(None, examples=[{"groups": ["+"]}])
    """Read nodes and devices that speak Sparkplug B."""
    topics: tuple[TopicConfig, ...] = Field((), validate_default=True)
    """The topics to read."""
    signals: tuple[TopicSignalConfig, ...] = ()
    """What is known of signals that the topics, or Sparkplug, bring."""

    @cached_property
    def known(self) -> dict[tuple[str, str], TopicSignalConfig]:
        """`signals` by machine and name."""
        return {(signal.machine, signal.name): signal for signal in self.signals}

    @field_validator("session_expiry_s")
    @classmethod
    def _sessions_expire_in_version_5(
        cls, expiry_s: int | None, info: ValidationInfo
    ) -> int | None:
        if expiry_s is not None and info.data.get("version") == "3.1.1":
            raise broken("it must come with MQTT 5", "leave it out, or leave version out")
        return expiry_s

    @field_validator("share")
    @classmethod
    def _share_is_a_level(cls, share: str | None) -> str | None:
        if share is not None and (re.search(r"[/+#]", share) or not share.isprintable()):
            raise broken("it must be a word without /, + and #", 'such as share = "andon"')
        return share

    @field_validator("sparkplug")
    @classmethod
    def _host_hears_everything(
        cls, host: SparkplugHostConfig | None, info: ValidationInfo
    ) -> SparkplugHostConfig | None:
        if host is not None and info.data.get("share") is not None:
            raise broken(
                "it must come without share: a host must hear every message of a node",
                "read the topics that are shared in an [[mqtt]] of their own",
            )
        return host

    @field_validator("topics")
    @classmethod
    def _something_is_read(
        cls, topics: tuple[TopicConfig, ...], info: ValidationInfo
    ) -> tuple[TopicConfig, ...]:
        if not topics and "sparkplug" in info.data and info.data["sparkplug"] is None:
            raise broken(
                "it must have at least one, or there must be a table [mqtt.sparkplug]",
                "write [[mqtt.topics]] with topic and payload, or see `andon browse`",
            )
        return topics
