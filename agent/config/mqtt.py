"""The tables `[[mqtt]]`: brokers that are read, their topics, and what is known of the signals."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from agent.config.fields import (
    NOT_EMPTY,
    Name,
    Secret,
    SignalName,
    Table,
    broken,
    not_empty,
    split_url,
)
from agent.config.opcua import EverySeconds, Grade, LimitsConfig

TOPIC_BYTES_MAX: Final = 65_535
"""MQTT 5.0, 1.5.4: a UTF-8 string's length is two bytes."""

PLACEHOLDERS: Final = ("{machine}", "{signal}")


def _no_waveform(kind: object) -> object:
    if kind == "waveform":
        raise broken(
            'it must be "analog", "counter", "discrete" or "text": waveforms over MQTT come with a '
            "later version",
            "read them over OPC UA, or leave the topic out",
        )
    return kind


TopicKind = Annotated[
    Literal["analog", "counter", "discrete", "text"], BeforeValidator(_no_waveform)
]
"""Kinds of signals, less those that cannot be read from topics yet."""

HoldSeconds = Annotated[float, Field(ge=0.001, le=86_400)]
"""How long a value stands without news although the broker is alive."""


def check_broker_url(text: str) -> str:
    """Return the address of a broker. Raises PydanticCustomError, a ValueError."""
    if text.startswith("mqtts:"):
        raise broken(
            "it must be mqtt://host:port: brokers behind TLS come with a later version",
            "use the broker's plain port on the machine network, 1883 as a rule",
        )
    url = split_url(text, ("mqtt",), "mqtt://host:port", 1883)
    if url.path not in ("", "/"):
        raise broken("it must be mqtt://host:port, with nothing behind the port")
    return text


def _topic(text: str) -> str:
    if not text or "\0" in text or len(text.encode()) > TOPIC_BYTES_MAX:
        raise broken(f"it must have 1 to {TOPIC_BYTES_MAX:,} bytes")
    levels = text.split("/")
    for placeholder in PLACEHOLDERS:
        if levels.count(placeholder) > 1:
            raise broken(f"it must name {placeholder} once")
    for level in levels:
        if level not in (*PLACEHOLDERS, "+") and re.search(r"[+#{}]", level):
            raise broken(
                "each level must be text, +, {machine} or {signal}",
                'such as topic = "floor/{machine}/{signal}"',
            )
    return text


def _json_path(text: str) -> str:
    if not all(text.split(".")):
        raise broken("it must be a field of the payload, or a path such as data.value")
    return text


JsonPath = Annotated[str, Field(max_length=256), AfterValidator(_json_path)]
"""A field of a JSON object, with dots into objects inside it."""


class JsonConfig(Table):
    """Where in a JSON payload the value and its time are."""

    value: JsonPath = Field(examples=["v"])
    """The field with the value."""
    time: JsonPath | None = None
    """The field with the time; without it the time of arrival is taken."""
    time_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    """What the time counts, from 1970 in UTC; `iso` is text such as 2026-01-31T06:00:00Z."""


class PayloadConfig(Table):
    """How the payload is written."""

    json_: JsonConfig = Field(alias="json", examples=[{"value": "v", "time": "ts"}])
    """A JSON object."""


class TopicConfig(Table):
    """One pattern of topics and what it brings."""

    topic: Annotated[str, AfterValidator(_topic)] = Field(examples=["floor/{machine}/{signal}"])
    """The topics; `{machine}` and `{signal}` take a level as a name, `+` passes over one."""
    payload: PayloadConfig = Field(examples=[{"json": {"value": "v", "time": "ts"}}])
    """How the payload is written."""
    machine: Name | None = Field(None, validate_default=True)
    """The machine, where the topic does not say it."""
    signal: SignalName | None = Field(None, validate_default=True)
    """The signal, where the topic does not say it."""
    kind: TopicKind = "analog"
    """`analog`: a measured level; `counter`: counts up; `discrete`: states; `text`: text."""
    unit: str = Field("", max_length=32)
    """The unit, as people write it."""
    every_s: EverySeconds = 10
    """Width of the windows."""
    hold_s: HoldSeconds = 10
    """How long a value stands without news: the longest pause to expect between two messages."""
    raw: bool = False
    """Send every sample beside the windows."""

    @property
    def filter(self) -> str:
        """The topic filter to subscribe to (MQTT 5.0, 4.7)."""
        return "/".join("+" if level in PLACEHOLDERS else level for level in self.topic.split("/"))

    def address(self, machine: str, signal: str) -> str:
        """The topic with the names put in."""
        names = dict(zip(PLACEHOLDERS, (machine, signal), strict=True))
        return "/".join(names.get(level, level) for level in self.topic.split("/"))

    @field_validator("machine", "signal")
    @classmethod
    def _said_once(cls, name: str | None, info: ValidationInfo) -> str | None:
        topic = info.data.get("topic")
        if topic is None:
            return name
        key = info.field_name or ""
        said = f"{{{key}}}" in topic.split("/")
        if name is None and not said:
            raise broken(
                f"the topic does not say it with {{{key}}}, so it must be given",
                f'add {key} = "..." to this topic',
            )
        if name is not None and said:
            raise broken(f"the topic says it already, with {{{key}}}", f"leave {key} out")
        return name


class TopicSignalConfig(Table):
    """What is known of one signal that the topics bring; what is left out is as its topic says."""

    machine: Name = Field(examples=["conveyor-01"])
    """Its machine, as the topic says it."""
    name: SignalName = Field(examples=["speed"])
    """Its name, as the topic says it."""
    kind: TopicKind | None = None
    """`analog`, `counter`, `discrete` or `text`."""
    unit: str | None = Field(None, max_length=32)
    """Its unit, as people write it."""
    limits: LimitsConfig = LimitsConfig()
    """Its limits, in its unit."""
    grade: Grade = "general"
    """How much its data matter to others."""
    description: str = Field("", max_length=1000)
    """One sentence for the board."""
    every_s: EverySeconds | None = None
    """Width of its windows."""
    hold_s: HoldSeconds | None = None
    """How long a value stands without news."""
    raw: bool | None = None
    """Send every sample beside the windows."""


class MqttConfig(Table):
    """One MQTT broker."""

    name: Name = Field(examples=["floor"])
    """What this source is called here, in the ledger and in messages."""
    url: Annotated[str, AfterValidator(check_broker_url)] = Field(examples=["mqtt://10.0.0.9:1883"])
    """Where the broker listens."""
    user: str | None = Field(None, min_length=1, max_length=256)
    """The user to log in as; without it anonymous."""
    password: Secret | None = None
    """The user's password, as a reference."""
    client_id: Name | None = None
    """The name of the session; without it andon-<gateway>-<name>. Unique at the broker."""
    clean_start: bool = False
    """Begin anew instead of taking up the session, and lose what the broker kept meanwhile."""
    qos: int = Field(1, ge=0, le=1)
    """1: the broker keeps a message until it is in the outbox; 0: it does not."""
    keepalive_s: int = Field(30, ge=1, le=3600)
    """How often to tell the broker that nothing is wrong."""
    connect_timeout_s: float = Field(10, gt=0, le=120)
    """How long connecting may take."""
    topics: Annotated[tuple[TopicConfig, ...], AfterValidator(not_empty)] = Field(
        json_schema_extra=NOT_EMPTY
    )
    """The topics to read."""
    signals: tuple[TopicSignalConfig, ...] = ()
    """What is known of signals that the topics bring."""

    @property
    def host(self) -> str:
        """The broker's host."""
        return split_url(self.url, ("mqtt",), "").hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        return split_url(self.url, ("mqtt",), "").port or 0

    @cached_property
    def known(self) -> dict[tuple[str, str], TopicSignalConfig]:
        """`signals` by machine and name."""
        return {(signal.machine, signal.name): signal for signal in self.signals}

    @field_validator("password")
    @classmethod
    def _password_has_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and "user" in info.data and info.data["user"] is None:
            raise broken("it must come with a user", 'add user = "${MQTT_USER}"')
        return password
