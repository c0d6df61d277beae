"""Every setting and every limit of the cloud, in one place.

Enters: command-line options, then environment variables `ANDON_CLOUD_<NAME>`, then the defaults
below. Leaves: one frozen `Settings`. Fails: `UsageError` naming the setting, its value and the
rule.
"""

import ipaddress
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.errors import UsageError

MIB = 1 << 20


class Settings(BaseSettings):
    """Settings of one `andon-cloud` process; limits end in `_max`."""

    model_config = SettingsConfigDict(env_prefix="ANDON_CLOUD_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8086, ge=0, le=65535, description="0 takes a free one")
    data: Path = Field(Path("andon-cloud-data"), description="folder of the database and tokens")
    org: str = Field("andon", min_length=1)
    bucket: str = Field("andon", min_length=1)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    write_token: SecretStr | None = Field(None, description="presets the first write token")
    write_token_file: Path | None = Field(None, description="the same, from a file")

    # Writing: a body is bounded on the wire and again when it is inflated.
    body_bytes_max: int = Field(32 * MIB, ge=1024)
    line_bytes_max: int = Field(MIB, ge=256)
    queue_writes_max: int = Field(256, ge=1, description="writes that wait for the disk")
    queue_bytes_max: int = Field(128 * MIB, ge=1024, description="their bodies together")
    commit_lines_max: int = Field(100_000, ge=1, description="lines in one transaction")
    foreign_fields_max: int = Field(20_000, ge=1, description="fields of foreign measurements")
    outboxes_max: int = Field(10_000, ge=1)
    intervals_max: int = Field(10_000, ge=2, description="received intervals kept per outbox")
    void_intervals_max: int = Field(1_000, ge=1, description="intervals of ids never to come, too")
    retry_after_s: int = Field(2, ge=1, description="told to writers when the queue is full")
    store_memory_max_mib: int = Field(512, ge=64, description="memory of the database")

    # Reading.
    page_rows_max: int = Field(10_000, ge=1, description="rows in one page of an answer")
    reads_max: int = Field(4, ge=1, description="database reads at the same time")

    # The live board and its stream.
    recent_windows_max: int = Field(60, ge=1, le=600, description="windows kept per signal")
    rebuild_recent_s: int = Field(3600, ge=1, description="how far back a start looks for them")
    board_entries_max: int = Field(
        100_000, ge=1, description="lines, machines, signals and gateways on the board"
    )
    anomalies_open_max: int = Field(1_000, ge=1, description="open anomalies shown per line")
    anomalies_ended_max: int = Field(20, ge=0, description="ended anomalies shown per line")
    consumers_max: int = Field(200, ge=1, description="stream consumers at the same time")
    consumer_messages_max: int = Field(256, ge=1, description="messages waiting per consumer")
    ring_messages_max: int = Field(2_048, ge=1, description="messages kept for resuming")
    ring_bytes_max: int = Field(16 * MIB, ge=1024)
    heartbeat_s: float = Field(10.0, gt=0)

    # Access.
    login_code_s: int = Field(3600, ge=1, description="life of a one-time code")
    session_s: int = Field(12 * 3600, ge=60)
    login_codes_max: int = Field(100, ge=1)
    sessions_max: int = Field(1_000, ge=1)
    tokens_max: int = Field(1_000, ge=2)
    login_burst_max: int = Field(20, ge=1, description="login attempts at once")
    login_refill_s: float = Field(3.0, gt=0, description="one more attempt after each")

    def url(self, port: int) -> str:
        """The address people and gateways use."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{port}"

    @model_validator(mode="after")
    def _protects_what_leaves_the_machine(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together; give both")
        if self.tls_cert is None and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} can be reached from other machines, where tokens would travel"
                " unprotected; give --tls-cert and --tls-key, or use --host 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(**options: Any) -> Settings:
    """Settings from options (None means not given), environment and defaults.

    Raises
    ------
    UsageError : names every setting that breaks its rule.

    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError("\n".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return rule
    name = str(problem["loc"][0])
    hidden = "***" if "token" in name else repr(problem["input"])
    return (
        f"{name} is {hidden}: {rule}\n"
        f"  in --{name.replace('_', '-')} or the environment variable ANDON_CLOUD_{name.upper()}"
    )
