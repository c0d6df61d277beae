"""The tables `[[opcua]]`: servers that are read over OPC UA, and their signals."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.config.fields import (
    NOT_EMPTY,
    Name,
    NodeId,
    OpcuaEndpoint,
    Secret,
    SignalName,
    Table,
    broken,
    not_empty,
)
from agent.signals import Kind

FAST_SAMPLING_MS: Final = 500
"""Signals sampled more often than this get windows of 1 s, others of 10 s."""

Grade = Literal["general", "important", "core"]
"""How much the data matter to others (GB/T 43697 words); decides how their reads are audited."""

EverySeconds = Annotated[int, Field(ge=1, le=3600)]
"""Width of windows."""


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


class OpcuaSignalConfig(Table):
    """One variable of the server."""

    name: SignalName = Field(examples=["ram_force"])
    """The signal's name; with its machine it is unique on this gateway."""
    node: NodeId = Field(examples=["ns=2;s=press-01.ram_force"])
    """The variable's NodeId."""
    machine: Name | None = None
    """The machine it belongs to, where that is not the server's."""
    kind: Kind = "analog"
    """`analog`: a measured level; `counter`: counts up; `discrete`: states; `text`: text."""
    unit: str = Field("", max_length=32)
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


class OpcuaConfig(Table):
    """One OPC UA server."""

    name: Name = Field(examples=["press"])
    """What this source is called here, in the ledger and in messages."""
    endpoint: OpcuaEndpoint = Field(examples=["opc.tcp://10.0.0.5:4840"])
    """Where the server listens."""
    machine: Name = Field(examples=["press-01"])
    """The machine its signals belong to."""
    security: Literal["none"] = Field(examples=["none"])
    """Signed and encrypted sessions come with a later version; until then ask for none by name."""
    user: str | None = Field(None, min_length=1, max_length=256)
    """The user to log in as; without it anonymous."""
    password: Secret | None = None
    """The user's password, as a reference."""
    publishing_interval_ms: int = Field(250, ge=10, le=60_000)
    """How often the server sends what has changed."""
    sampling_interval_ms: int | None = Field(None, ge=1, le=60_000)
    """How often the server looks at a variable; without it the publishing interval."""
    queue_size: int = Field(100, ge=1, le=10_000, validate_default=True)
    """Changes of one variable that the server keeps between two publications."""
    trigger: Literal["status_value", "status_value_timestamp"] = "status_value"
    """What counts as news: a new status or value, or a new source time as well."""
    connect_timeout_s: float = Field(10, gt=0, le=120)
    """How long connecting may take."""
    signals: Annotated[tuple[OpcuaSignalConfig, ...], AfterValidator(not_empty)] = Field(
        json_schema_extra=NOT_EMPTY
    )
    """The variables to read."""

    @property
    def sampling_ms(self) -> int:
        """How often the server looks at a variable."""
        return self.sampling_interval_ms or self.publishing_interval_ms

    def every_s(self, signal: OpcuaSignalConfig) -> int:
        """Width of a signal's windows, in seconds."""
        return signal.every_s or (1 if self.sampling_ms < FAST_SAMPLING_MS else 10)

    @field_validator("security", mode="before")
    @classmethod
    def _security_is_none(cls, security: object) -> object:
        if isinstance(security, str) and security != "none":
            raise broken(
                'it must be "none": signed and encrypted sessions come with a later version',
                'on a network of machines that you trust, ask for it by name: security = "none"',
            )
        return security

    @field_validator("password")
    @classmethod
    def _password_has_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and "user" in info.data and info.data["user"] is None:
            raise broken("it must come with a user", 'add user = "${OPCUA_USER}"')
        return password

    @field_validator("queue_size")
    @classmethod
    def _queue_holds_an_interval(cls, size: int, info: ValidationInfo) -> int:
        publishing_ms = info.data.get("publishing_interval_ms", 0)
        sampling_ms = info.data.get("sampling_interval_ms") or publishing_ms or 1
        needed = -(-publishing_ms // sampling_ms)
        if size < needed:
            raise broken(
                f"it must be at least {needed}: the server samples every {sampling_ms} ms and "
                f"sends every {publishing_ms} ms, and would drop the rest",
                f"try queue_size = {2 * needed}",
            )
        return size
