"""Which server is browsed, how, and what its refusals mean at the command line.

Enters: an address with options. Leaves: that server's table, the gateway's certificates, and errors
in the words of this command. Fails: ConfigError.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from agent.cli.browse.password import password_of
from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import say
from agent.errors import AndonError, ConfigError, SourceRefused

if TYPE_CHECKING:
    from agent.config import OpcuaConfig
    from agent.trust import Trust

_SERVER_STATE: Final = {"name": "server_state", "node": "i=2259"}


def by_address(endpoint: str, security: str, user: str, password_env: str) -> OpcuaConfig:
    """The options as a table of the configuration."""
    from pydantic import ValidationError

    from agent.config import OpcuaConfig

    name = urlsplit(endpoint).hostname or "server"
    table: dict[str, Any] = {
        "name": name,
        "endpoint": endpoint,
        "machine": name,
        "security": security,
        "signals": (_SERVER_STATE,),
    }
    if user:
        table["user"] = user
    try:
        server = OpcuaConfig.model_validate(table)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        what = f"{said['loc'][0]}: {said['msg']}"
        raise ConfigError(f"this cannot be browsed: {what}") from error
    return (
        server.model_copy(update={"password": password_of(user, password_env)}) if user else server
    )


def trust_of(config: Path, server: OpcuaConfig) -> Trust | None:
    """The gateway's certificates; None where they are not needed."""
    from agent.config import load_gateway
    from agent.config.model import PKI
    from agent.trust import Trust

    if server.security == "none":
        return None
    if not config.exists():
        raise ConfigError(
            f"{config} is not there: a secured session needs the certificates of a gateway",
            "write one with `andon init`, or name it with --config; on a network of machines that "
            "you trust, --security none does without",
        )
    gateway = load_gateway(config)
    return Trust(gateway.data / PKI, gateway.name)


@contextmanager
def talking(server: OpcuaConfig, config: Path, *, is_named: bool) -> Iterator[None]:
    """Warnings and refusals, as this command says them."""
    root, handler = logging.getLogger(), _Warnings(server)
    root.addHandler(handler)
    try:
        yield
    except AndonError as error:
        error.args = (_without_name(str(error), server),)
        if config != CONFIG_PATH:
            error.hint = re.sub("`(andon trust [^`]*)`", rf"`\1 --config {config}`", error.hint)
        if isinstance(error, SourceRefused) and not is_named and "andon trust" not in error.hint:
            error.hint += (
                "\n  here: --user, --security; for more, `andon browse` takes the name of an "
                "[[opcua]] table"
            )
        raise
    finally:
        root.removeHandler(handler)


class _Warnings(logging.Handler):
    """What the session warns of, without the clothes of a service's log."""

    def __init__(self, server: OpcuaConfig) -> None:
        super().__init__(logging.WARNING)
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {_without_name(record.getMessage(), self._server)}")


def _without_name(text: str, server: OpcuaConfig) -> str:
    """What is said of one of many servers, where there is only this one."""
    return text.removeprefix(f"{server.name}: ")
