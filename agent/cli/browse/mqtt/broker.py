"""Which broker is listened to, and how: the options as a table of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.cli.browse.password import password_of
from agent.errors import ConfigError

if TYPE_CHECKING:
    from agent.config import MqttConfig


def by_address(
    url: str, user: str, password_env: str, files: Mapping[str, Path | None]
) -> MqttConfig:
    """The options as a table. Raises ConfigError."""
    from pydantic import ValidationError

    from agent.config import MqttConfig

    table: dict[str, Any] = {
        "name": urlsplit(url).hostname or "broker",
        "url": url,
        "sparkplug": {},  # a table that reads nothing is none
        **{name: file.absolute() for name, file in files.items() if file is not None},
    }
    if user:
        table["user"] = user
    try:
        broker = MqttConfig.model_validate(table)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        rule = said.get("ctx", {}).get("rule", said["msg"])
        raise ConfigError(f"this cannot be listened to: {said['loc'][0]}: {rule}") from error
    secret = password_of(user, password_env) if user else None
    return broker.model_copy(update={"password": secret, "sparkplug": None})


def own_nodes(broker: MqttConfig, config: Path) -> frozenset[str]:
    """The Sparkplug nodes that this gateway is at that broker, as group/node.

    Nothing where the configuration is not there or cannot be used: browsing needs none.
    """
    from agent.config import load

    try:
        loaded = load(config)
    except ConfigError:
        return frozenset()
    at = broker.host, broker.port
    sinks = (sink for sink in loaded.sparkplug if (sink.host, sink.port) == at)
    return frozenset("/".join(loaded.edge_node(sink)) for sink in sinks)


def is_filter(text: str) -> bool:
    """Whether a broker can be asked for these topics (MQTT 5.0, 4.7.1)."""
    *before, last = text.split("/")
    levels = [*before, "" if last == "#" else last]
    alone = all(level == "+" or not set(level) & set("+#\0") for level in levels)
    return bool(text) and alone
