"""The tables `[[mqtt.topics]]`, patterns of topics, and `[[mqtt.signals]]`, what is known of them.

A level of a pattern is text, `+`, `#` at the end, or names something: `{site}`, `cell-{machine}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from agent.config.fields import UNIT_CHARS_MAX, Name, SignalName, Table, broken
from agent.config.mqtt.payload import PayloadConfig
from agent.config.opcua import EverySeconds, Grade, LimitsConfig, State
from agent.signals import Kind

TOPIC_BYTES_MAX: Final = 65_535
"""MQTT 5.0, 1.5.4: a UTF-8 string's length is two bytes."""

PLACEHOLDERS: Final = ("enterprise", "site", "area", "line", "machine", "signal")
"""What a level may name. Parts of the path that no level names are the gateway's."""

_PLACEHOLDER: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")

HoldSeconds = Annotated[float, Field(ge=0.001, le=86_400)]
"""How long a value stands without news although the broker is alive."""


def _topic(text: str) -> str:
    if not text or "\0" in text or len(text.encode()) > TOPIC_BYTES_MAX:
        raise broken(f"it must have 1 to {TOPIC_BYTES_MAX:,} bytes")
    if text.startswith("$share/"):
        raise broken(
            "it must be the topic itself", 'share the broker\'s messages with share = "..."'
        )
    levels = text.split("/")
    for level in levels:
        if level not in ("+", "#") and re.search(r"[+#{}]", _PLACEHOLDER.sub("", level, count=1)):
            raise broken(
                "each level must be text, + or #, or text with one of "
                + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS),
                'such as topic = "floor/{machine}/{signal}" or topic = "cell-{machine}/+/{signal}"',
            )
    if "#" in levels[:-1]:
        raise broken("# must be the last level")
    for name in PLACEHOLDERS:
        if text.count(f"{{{name}}}") > 1:
            raise broken(f"it must name {{{name}}} once")
    return text


def _level(level: str) -> str:
    """What matches one level of a topic."""
    if level == "+":
        return "[^/]*"
    before, *named = _PLACEHOLDER.split(level)
    after = f"(?P<{named[0]}>[^/]+){re.escape(named[1])}" if named else ""
    return re.escape(before) + after


class TopicConfig(Table):
    """One pattern of topics and what it brings."""

    topic: Annotated[str, AfterValidator(_topic)] = Field(examples=["floor/{machine}/{signal}"])
    """The topics. `{machine}`, `{signal}` and `{enterprise}`, `{site}`, `{area}`, `{line}` take a
    level, or the rest of one, as a name; `+` passes over a level, `#` over all that follow."""
    payload: PayloadConfig = Field(examples=[{"json": {"value": "v", "time": "ts"}}])
    """How the payload is written."""
    machine: Name | None = Field(None, validate_default=True)
    """The machine, where the topic does not say it."""
    signal: SignalName | None = Field(None, validate_default=True)
    """The signal, where neither the topic nor the payload says it."""
    kind: Kind = Field("analog", validate_default=True)
    """`analog`: a measured level; `counter`: counts up; `discrete`: states; `text`: text;
    `waveform`: arrays of numbers, sampled faster than they are sent."""
    state: State = False
    """Of text: it says the machine's state, by its PackML name."""
    unit: str = Field("", max_length=UNIT_CHARS_MAX)
    """The unit, as people write it."""
    every_s: EverySeconds = 10
    """Width of the windows."""
    hold_s: HoldSeconds = 10
    """How long a value stands without news: the longest pause to expect between two messages."""
    raw: bool = False
    """Send every sample beside the windows."""

    @cached_property
    def filter(self) -> str:
        """The topic filter to subscribe to (MQTT 5.0, 4.7)."""
        levels = self.topic.split("/")
        return "/".join("+" if _PLACEHOLDER.search(level) else level for level in levels)

    def names(self, topic: str) -> dict[str, str] | None:
        """What a topic names, by placeholder; None where the pattern does not match it."""
        match = self._pattern.fullmatch(topic)
        return None if match is None else match.groupdict()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        levels = [_level(level) for level in self.topic.split("/") if level != "#"]
        rest = ("(?:/.*)?" if levels else ".*") if self.topic.endswith("#") else ""
        return re.compile("/".join(levels) + rest, re.DOTALL)

    def address(self, names: Mapping[str, str]) -> str:
        """The topic with the names put in."""
        return _PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), self.topic)

    @field_validator("machine", "signal")
    @classmethod
    def _said_once(cls, name: str | None, info: ValidationInfo) -> str | None:
        topic, payload = info.data.get("topic"), info.data.get("payload")
        if topic is None or payload is None:
            return name
        key = info.field_name or ""
        said = f"{{{key}}}" in topic
        if key == "signal" and payload.names_signals:
            if name is not None or said:
                raise broken(
                    "the payload names its signals, so the topic must not",
                    "leave signal out" if name else "pass over that level with +",
                )
        elif name is None and not said:
            raise broken(
                f"the topic does not say it with {{{key}}}, so it must be given",
                f'add {key} = "..." to this topic',
            )
        elif name is not None and said:
            raise broken(f"the topic says it already, with {{{key}}}", f"leave {key} out")
        return name

    @field_validator("kind")
    @classmethod
    def _kind_is_of_the_payload(cls, kind: Kind, info: ValidationInfo) -> Kind:
        payload = info.data.get("payload")
        if payload is None:
            return kind
        if payload.text is not None and kind != "text":
            raise broken('it must be "text", as the payload is', 'add kind = "text"')
        if kind == "waveform" and not payload.makes_waveforms:
            raise broken(
                "a waveform must come as binary, or as JSON with rate_hz",
                'such as payload = { binary = { dtype = "int16", rate_hz = 25600 } }',
            )
        only = payload.binary or (
            payload.json_ and payload.json_.rate_hz and payload.json_.samples is None
        )
        if kind != "waveform" and only:
            raise broken(
                'it must be "waveform", as arrays with a rate are', 'add kind = "waveform"'
            )
        return kind


def _no_waveform(kind: object) -> object:
    if kind == "waveform":
        raise broken(
            'it must be "analog", "counter", "discrete" or "text": that its payloads are waveforms '
            "is said of a topic",
            'set kind = "waveform" in [[mqtt.topics]] and leave kind out here',
        )
    return kind


class TopicSignalConfig(Table):
    """What is known of one signal that the topics bring; what is left out is as its topic says."""

    machine: Name = Field(examples=["conveyor-01"])
    """Its machine, as the topic says it."""
    name: SignalName = Field(examples=["speed"])
    """Its name, as the topic or the payload says it."""
    kind: (
        Annotated[Literal["analog", "counter", "discrete", "text"], BeforeValidator(_no_waveform)]
        | None
    ) = None
    """`analog`, `counter`, `discrete` or `text`."""
    state: State | None = None
    """Of text: it says the machine's state, by its PackML name."""
    unit: str | None = Field(None, max_length=UNIT_CHARS_MAX)
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
