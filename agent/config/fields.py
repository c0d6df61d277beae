"""Kinds of values a configuration is made of, each checked as far as that is possible offline.

A broken rule is a sentence that follows "...; ", and may carry a hint. Neither ever contains the
value itself: it may have come from a credential.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
)
from pydantic_core import PydanticCustomError

from agent.signals import MACHINE_SIGNAL

NAME_CHARS_MAX: Final = 128
UNIT_CHARS_MAX: Final = 32
NODE_ID_CHARS_MAX: Final = 4096
"""OPC 10000-3, 8.2.4: identifiers of type String are at most 4,096 characters."""


T = TypeVar("T")


class Table(BaseModel):
    """A table of the configuration: frozen, nothing unknown in it, no value silently converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def broken(rule: str, hint: str = "") -> PydanticCustomError:
    """The error of a validator: the rule that is broken, and the way out."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "hint": hint})


def check_name(text: str) -> str:
    """Return a name that can be printed, typed and sent as a tag.

    Raises PydanticCustomError, a ValueError, where it is empty, longer than NAME_CHARS_MAX, begins
    or ends with a space or has characters that cannot be printed.
    """
    if not text:
        raise broken("it must not be empty")
    if len(text) > NAME_CHARS_MAX:
        raise broken(f"it must have at most {NAME_CHARS_MAX} characters")
    if not text.isprintable():
        raise broken("it must have only characters that can be printed")
    if text != text.strip():
        raise broken("it must not begin or end with a space")
    return text


def check_signal_name(text: str) -> str:
    """Return a name that can be a signal's. Raises as `check_name` does."""
    if text == MACHINE_SIGNAL:
        raise broken(
            f"it must be another name: {MACHINE_SIGNAL} stands for the whole machine in anomalies"
        )
    return check_name(text)


def split_url(
    text: str, schemes: tuple[str, ...], form: str, port: int | None = None
) -> SplitResult:
    """The parts of a URL of one of the schemes, without user and password.

    `form` is what it must look like; `port` is the usual port where the URL must name one.
    Raises PydanticCustomError.
    """
    rule = f"it must be {form}"
    try:
        url = urlsplit(text)
        number = url.port
    except ValueError:
        raise broken(rule, "a port is a number from 1 to 65535") from None
    if url.username is not None or url.password is not None:
        raise broken(
            f"{rule}, without user and password", "user and password are keys of their own"
        )
    if url.scheme not in schemes or not url.hostname or re.search(r"[\s\x00-\x1f]", text):
        raise broken(rule)
    if url.query or url.fragment:
        raise broken(f"{rule}, without ? and #")
    if number == 0 or (port is not None and number is None):
        raise broken(rule, f"the usual port is {port}" if port else "")
    return url


def not_empty(tables: tuple[T, ...]) -> tuple[T, ...]:
    """Return a list with something in it. Raises PydanticCustomError."""
    if not tables:
        raise broken("it must have at least one")
    return tables


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_opcua_endpoint(text: str) -> str:
    """Return the address of an OPC UA server. Raises PydanticCustomError, a ValueError."""
    split_url(text, ("opc.tcp",), "opc.tcp://host:port or opc.tcp://host:port/path", 4840)
    return text


_NODE_ID: Final = re.compile(
    r"(?:ns=(?P<index>\d{1,5});|nsu=(?P<uri>[^;]+);)?(?P<type>[isgb])=(?P<identifier>.+)", re.DOTALL
)


def _node_id(text: str) -> str:
    """A NodeId as text (OPC 10000-6, 5.1.12 and 5.3.1.10)."""
    match = _NODE_ID.fullmatch(text)
    if match is None:
        raise broken(
            "it must be a NodeId such as ns=2;s=press-01.ram_force or ns=2;i=1042",
            "s= is followed by text, i= by a number; nsu=URI; names the namespace where its "
            "number may change",
        )
    if int(match["index"] or 0) > 0xFFFF:
        raise broken("its namespace must be at most 65535")
    _check_identifier(match["type"], match["identifier"])
    return text


def _check_identifier(type_: str, identifier: str) -> None:
    try:
        if type_ == "i" and not (identifier.isascii() and identifier.isdigit()):
            raise broken("what follows i= must be a whole number")
        if type_ == "i" and int(identifier[:11]) > 0xFFFF_FFFF:
            raise broken("what follows i= must be at most 4294967295")
        if type_ == "s" and len(identifier) > NODE_ID_CHARS_MAX:
            raise broken(f"what follows s= must have at most {NODE_ID_CHARS_MAX:,} characters")
        if type_ == "g":
            uuid.UUID(identifier)
        if type_ == "b":
            base64.b64decode(identifier, validate=True)
    except (ValueError, binascii.Error) as error:
        if isinstance(error, PydanticCustomError):
            raise
        wanted = "a GUID" if type_ == "g" else "Base64"
        raise broken(f"what follows {type_}= must be {wanted}") from None


def _absolute(value: Any) -> Any:
    if not isinstance(value, str | Path):
        raise broken("it must be a path, in quotes")
    if not Path(value).is_absolute() or "\0" in str(value):
        raise broken("it must be a full path, from / on")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise broken("it must not be empty", "the variable or credential it names is empty")
    if not text.isprintable():
        raise broken("it must be one line of printable characters")
    return value


NOT_EMPTY: Final[dict[str, JsonValue]] = {"minItems": 1}
"""What the JSON schema says of `not_empty`."""

_BOUNDED: Final = Field(min_length=1, max_length=NAME_CHARS_MAX)

Name = Annotated[str, _BOUNDED, AfterValidator(check_name)]
SignalName = Annotated[str, _BOUNDED, AfterValidator(check_signal_name)]
OpcuaEndpoint = Annotated[str, AfterValidator(check_opcua_endpoint)]
NodeId = Annotated[str, AfterValidator(_node_id)]
Folder = Annotated[Path, Field(strict=False), BeforeValidator(_absolute)]
File = Annotated[Path, Field(strict=False), BeforeValidator(_absolute)]
"""Whether it is there is seen when it is used, by the user who uses it."""
Secret = Annotated[SecretStr, AfterValidator(_secret)]
