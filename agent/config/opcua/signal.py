"""The tables `[[opcua.signals]]`: variables of a server, and how each is read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.config.fields import UNIT_CHARS_MAX, Name, NodeId, SignalName, Table, broken
from agent.signals import Kind

Grade = Literal["general", "important", "core"]
"""How much the data matter to others (GB/T 43697 words); decides how their reads are audited."""

EverySeconds = Annotated[int, Field(ge=1, le=3600)]
"""Width of windows."""

SamplingMs = Annotated[int, Field(ge=1, le=60_000)]
"""How often a server looks at a variable."""

QueueSize = Annotated[int, Field(ge=1, le=10_000)]
"""Changes of one variable that a server keeps between two publications."""


def _state_is_text(state: bool, info: ValidationInfo) -> bool:
    if state and info.data.get("kind") not in (None, "text"):
        raise broken(
            'it must come with kind = "text": a state is told by its name',
            'read numbers that stand for states with kind = "discrete"',
        )
    return state


State = Annotated[bool, AfterValidator(_state_is_text)]
"""Of a text, whether it says its machine's state; stands behind `kind` in its table."""


class LimitsConfig(Table):
    """Limits of a signal, in its unit. Either may be left out."""

    low: float | None = None
    """Values below are out of limits."""
    high: float | None = None
    """Values above are out of limits."""

    @field_validator("high")
    @classmethod
    def _high_is_above_low(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("low")
        if high is not None and low is not None and high <= low:
            raise broken("it must be more than low")
        return high


class DeadbandConfig(Table):
    """How far a value must move to be news (OPC 10000-4, 7.22.2). One of the two."""

    absolute: float | None = Field(None, ge=0)
    """So far in the signal's unit."""
    percent: float | None = Field(None, ge=0, le=100, validate_default=True)
    """So many percent of the variable's EURange, where the server knows it (OPC 10000-8, 6.2)."""

    @field_validator("percent")
    @classmethod
    def _is_one_of_them(cls, percent: float | None, info: ValidationInfo) -> float | None:
        if "absolute" not in info.data:
            return percent
        if (percent is None) == (info.data["absolute"] is None):
            raise broken(
                "a deadband must be one of absolute and percent",
                "such as deadband = { absolute = 0.5 } or deadband = { percent = 1 }",
            )
        return percent


class OpcuaSignalConfig(Table):
    """One variable of the server."""

    name: SignalName = Field(examples=["ram_force"])
    """The signal's name; with its machine it is unique on this gateway."""
    node: NodeId = Field(examples=["ns=2;s=press-01.ram_force"])
    """The variable's NodeId."""
    machine: Name | None = None
    """The machine it belongs to, where that is not the server's."""
    kind: Kind = "analog"
    """`analog`: a measured level; `counter`: counts up; `discrete`: states; `text`: text;
    `waveform`: arrays of numbers, sampled faster than they are sent."""
    rate_hz: float | None = Field(
        None, gt=0, le=1e9, allow_inf_nan=False, examples=[25_600], validate_default=True
    )
    """Of a waveform: how many values a second its arrays hold."""
    state: State = False
    """Of text: it says the machine's state, by its PackML name."""
    unit: str = Field("", max_length=UNIT_CHARS_MAX)
    """Its unit, as people write it."""
    limits: LimitsConfig = LimitsConfig()
    """Its limits, in its unit."""
    grade: Grade = "general"
    """How much its data matter to others."""
    description: str = Field("", max_length=1000)
    """One sentence for the board."""
    every_s: EverySeconds | None = None
    """Width of its windows; without it 1 s where it is sampled faster than 2 Hz, else 10 s."""
    raw: bool = False
    """Send every sample beside the windows."""
    sampling_interval_ms: SamplingMs | None = None
    """How often the server looks at it, where that is not as of the server's other variables."""
    queue_size: QueueSize | None = None
    """Changes of it that the server keeps, where that is not as of its other variables."""
    deadband: DeadbandConfig | None = Field(None, examples=[{"absolute": 0.5}])
    """How far its value must move to be news; without it every change is."""

    @field_validator("rate_hz")
    @classmethod
    def _rate_is_of_a_waveform(cls, rate_hz: float | None, info: ValidationInfo) -> float | None:
        kind = info.data.get("kind")
        if kind == "waveform" and rate_hz is None:
            raise broken(
                'it must be given with kind = "waveform"',
                "say how many values a second its arrays hold, such as rate_hz = 25600",
            )
        if kind not in (None, "waveform") and rate_hz is not None:
            raise broken('it must come with kind = "waveform"', "leave it out")
        return rate_hz

    @field_validator("deadband")
    @classmethod
    def _deadband_is_of_a_level(
        cls, deadband: DeadbandConfig | None, info: ValidationInfo
    ) -> DeadbandConfig | None:
        if deadband is not None and info.data.get("kind") not in (None, "analog"):
            raise broken(
                'it must come with kind = "analog": of other kinds every change matters',
                "leave it out",
            )
        return deadband
