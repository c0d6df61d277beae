"""The table `[[opcua]]` itself: one server, how it is spoken to, and what is read from it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.config.fields import (
    NOT_EMPTY,
    File,
    Name,
    NodeId,
    OpcuaEndpoint,
    Secret,
    Table,
    broken,
    not_empty,
)
from agent.config.opcua.events import OpcuaEventsConfig
from agent.config.opcua.signal import OpcuaSignalConfig, QueueSize, SamplingMs

FAST_SAMPLING_MS: Final = 500
"""Signals sampled more often than this get windows of 1 s, others of 10 s."""

ON_THE_CONNECTION: Final = frozenset(
    {"machine", "connect_timeout_s", "sampling_interval_ms", "queue_size", "history"}
)
"""Options beside the signals that change without a new connection."""

Security = Literal[
    "auto",
    "none",
    "Basic256Sha256",
    "Aes128_Sha256_RsaOaep",
    "Aes256_Sha256_RsaPss",
    "Basic256",
    "Basic128Rsa15",
]
"""Security policies by their names (OPC 10000-7, 6.6); the last two are deprecated there."""

DEPRECATED: Final = frozenset({"Basic256", "Basic128Rsa15"})
"""Policies that are broken by today's means; only ever used when asked for by name."""


class OpcuaConfig(Table):
    """One OPC UA server."""

    name: Name = Field(examples=["press"])
    """What this source is called here, in the ledger and in messages."""
    endpoint: OpcuaEndpoint = Field(examples=["opc.tcp://10.0.0.5:4840"])
    """Where the server listens."""
    machine: Name = Field(examples=["press-01"])
    """The machine its signals belong to."""
    security: Security = "auto"
    """The security policy: `auto` takes the best that the server offers, never `none`, which is a
    session in the clear for a network of machines that you trust."""
    mode: Literal["sign_and_encrypt", "sign"] = "sign_and_encrypt"
    """The least that a secured session must do; `sign` keeps others from changing what is said,
    not from reading it."""
    user: str | None = Field(None, min_length=1, max_length=256)
    """The user to log in as; without it anonymous, or by certificate."""
    password: Secret | None = None
    """The user's password, as a reference."""
    user_certificate: File | None = Field(None, examples=["/etc/andon/operator.der"])
    """The certificate to log in with, instead of user and password; DER or PEM."""
    user_key: File | None = Field(None, examples=["/etc/andon/operator.pem"], validate_default=True)
    """Its private key, PEM without a passphrase."""
    publishing_interval_ms: int = Field(250, ge=10, le=60_000)
    """How often the server sends what has changed."""
    sampling_interval_ms: SamplingMs | None = None
    """How often the server looks at a variable; without it the publishing interval."""
    queue_size: QueueSize = Field(100, validate_default=True)
    """Changes of one variable that the server keeps between two publications."""
    items_max: int = Field(10_000, ge=1, le=1_000_000)
    """Variables in one subscription; more get further subscriptions on the same session."""
    trigger: Literal["status_value", "status_value_timestamp"] = "status_value"
    """What counts as news: a new status or value, or a new source time as well."""
    history: Literal["auto", "never"] = "auto"
    """Fill the gap of an outage from the server's history, where it keeps one."""
    writable: tuple[NodeId, ...] = ()
    """The only nodes that may ever be written or called; this agent does neither by itself."""
    connect_timeout_s: float = Field(10, gt=0, le=120)
    """How long connecting may take."""
    signals: Annotated[tuple[OpcuaSignalConfig, ...], AfterValidator(not_empty)] = Field(
        json_schema_extra=NOT_EMPTY
    )
    """The variables to read."""
    events: tuple[OpcuaEventsConfig, ...] = ()
    """The events to read, as text."""

    @property
    def sampling_ms(self) -> int:
        """How often the server looks at a variable that says nothing of its own."""
        return self.sampling_interval_ms or self.publishing_interval_ms

    @cached_property
    def variables(self) -> dict[tuple[str, str], OpcuaSignalConfig]:
        """`signals` by machine and name."""
        return {(signal.machine or self.machine, signal.name): signal for signal in self.signals}

    def sampling_ms_of(self, signal: OpcuaSignalConfig) -> int:
        """How often the server looks at this variable."""
        return signal.sampling_interval_ms or self.sampling_ms

    def queue_size_of(self, signal: OpcuaSignalConfig) -> int:
        """How many changes of this variable the server keeps."""
        return signal.queue_size or self.queue_size

    def every_s(self, signal: OpcuaSignalConfig) -> int:
        """Width of a signal's windows, in seconds."""
        fast = self.sampling_ms_of(signal) < FAST_SAMPLING_MS
        return signal.every_s or (1 if fast else 10)

    @field_validator("password")
    @classmethod
    def _password_has_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and "user" in info.data and info.data["user"] is None:
            raise broken("it must come with a user", 'add user = "${OPCUA_USER}"')
        return password

    @field_validator("user_certificate")
    @classmethod
    def _certificate_is_the_identity(cls, file: File | None, info: ValidationInfo) -> File | None:
        if file is not None and info.data.get("user") is not None:
            raise broken(
                "it must come without user and password: a session has one identity",
                "keep user and password, or user_certificate and user_key",
            )
        return file

    @field_validator("user_key")
    @classmethod
    def _key_is_of_the_certificate(cls, file: File | None, info: ValidationInfo) -> File | None:
        if "user_certificate" not in info.data:
            return file
        if (file is None) != (info.data["user_certificate"] is None):
            raise broken(
                "user_certificate and user_key must be given together", "add the one that lacks"
            )
        return file

    @field_validator("queue_size")
    @classmethod
    def _queue_holds_an_interval(cls, size: int, info: ValidationInfo) -> int:
        publishing_ms = info.data.get("publishing_interval_ms", 0)
        sampling_ms = info.data.get("sampling_interval_ms") or publishing_ms or 1
        check_queue(size, sampling_ms, publishing_ms)
        return size


def check_queue(size: int, sampling_ms: int, publishing_ms: int) -> None:
    """Raises PydanticCustomError where a queue cannot hold the samples of one interval."""
    needed = -(-publishing_ms // sampling_ms)
    if size < needed:
        raise broken(
            f"it must be at least {needed}: the server samples every {sampling_ms} ms and "
            f"sends every {publishing_ms} ms, and would drop the rest",
            f"try queue_size = {2 * needed}",
        )
