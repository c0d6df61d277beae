"""What every table of a broker says, whether it is read or sent to: where it is and who we are."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import SplitResult

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.config.fields import File, Name, Secret, Table, broken, is_loopback, split_url

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""The schemes of brokers and their usual ports."""

WEBSOCKET_PATH: Final = "/mqtt"
"""Where brokers offer WebSockets as a rule."""

_FORM: Final = "mqtt://host, mqtts://host, ws://host/path or wss://host/path, with :port if need be"


def split_broker_url(text: str) -> SplitResult:
    """The parts of a broker's address. Raises PydanticCustomError, a ValueError."""
    url = split_url(text, tuple(PORTS), _FORM)
    if url.scheme in ("mqtt", "mqtts") and url.path not in ("", "/"):
        raise broken(
            f"it must be {url.scheme}://host:port, with nothing behind the port",
            "only ws:// and wss:// have a path",
        )
    return url


def check_broker_url(text: str) -> str:
    """Return the address of a broker. Raises PydanticCustomError, a ValueError."""
    split_broker_url(text)
    return text


class BrokerTable(Table):
    """One MQTT broker and how it is spoken to."""

    name: Name = Field(examples=["floor"])
    """What it is called here, in the ledger and in messages."""
    url: Annotated[str, Field(max_length=2048), AfterValidator(check_broker_url)] = Field(
        examples=["mqtt://10.0.0.9:1883"]
    )
    """Where the broker listens: `mqtt://` (1883 where no port is given), `mqtts://` (TLS, 8883),
    `ws://` or `wss://` (WebSockets, 80 or 443, /mqtt where no path is given)."""
    user: str | None = Field(None, min_length=1, max_length=256)
    """The user to log in as; without it anonymous, or by certificate."""
    password: Secret | None = None
    """The user's password, as a reference."""
    client_id: Name | None = None
    """The name of the session, unique at the broker. Without it andon-<gateway>-<name> for what is
    read, andon-<gateway>-to-<name> for what is sent to."""
    version: Literal["auto", "3.1.1", "5"] = "auto"
    """The version of MQTT; `auto` asks for 5, and for 3.1.1 where the broker does not know 5."""
    ca: File | None = Field(None, examples=["/etc/andon/broker-ca.pem"])
    """With TLS: the authorities whose brokers are trusted, PEM; without it those of the system."""
    certificate: File | None = Field(None, examples=["/etc/andon/gateway.pem"])
    """With TLS: the certificate to log in with, PEM, with those between it and its authority."""
    key: File | None = Field(None, examples=["/etc/andon/gateway.key"], validate_default=True)
    """Its private key, PEM without a passphrase."""
    verify_name: bool = True
    """With TLS: the broker's certificate must be made out to the host of the url. `false` takes any
    that the authorities issued."""
    keepalive_s: int = Field(30, ge=1, le=3600)
    """How often to tell the broker that nothing is wrong."""
    connect_timeout_s: float = Field(10, gt=0, le=120)
    """How long connecting may take."""

    @property
    def host(self) -> str:
        """The broker's host."""
        return split_broker_url(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        url = split_broker_url(self.url)
        return url.port or PORTS[url.scheme]

    @property
    def path(self) -> str:
        """Where the broker offers WebSockets; empty where it is not spoken to by them."""
        url = split_broker_url(self.url)
        return (url.path if url.path != "/" else "") or WEBSOCKET_PATH if self.websockets else ""

    @property
    def tls(self) -> bool:
        """Whether the connection is secured."""
        return self.url.startswith(("mqtts:", "wss:"))

    @property
    def websockets(self) -> bool:
        """Whether MQTT goes over WebSockets."""
        return self.url.startswith(("ws:", "wss:"))

    @property
    def tells_password(self) -> bool:
        """Whether the password crosses the network in clear text."""
        return self.password is not None and not self.tls and not is_loopback(self.host)

    @field_validator("password")
    @classmethod
    def _password_has_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and "user" in info.data and info.data["user"] is None:
            raise broken("it must come with a user", 'add user = "${MQTT_USER}"')
        return password

    @field_validator("ca", "certificate", "verify_name")
    @classmethod
    def _only_with_tls(cls, said: object, info: ValidationInfo) -> object:
        url = info.data.get("url", "mqtts:")
        if said not in (None, True) and not url.startswith(("mqtts:", "wss:")):
            raise broken(
                "it must come with mqtts:// or wss://: there are no certificates without TLS",
                "change the url, or leave it out",
            )
        return said

    @field_validator("key")
    @classmethod
    def _key_is_of_the_certificate(cls, file: File | None, info: ValidationInfo) -> File | None:
        if "certificate" not in info.data:
            return file
        if (file is None) != (info.data["certificate"] is None):
            raise broken("certificate and key must be given together", "add the one that lacks")
        return file
