"""The configuration: one TOML file and `conf.d/*.toml` beside it, strict, with typed tables.

Enters: files, and the environment and credentials they refer to. Leaves: a frozen `Config`, or
everything that is wrong, in one go: path, value, rule, place and way out of every problem. The
options with their defaults and limits are in `model.py`, `sinks.py`, `opcua/` and `mqtt/`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from agent.config.configured import (
    relearned,
    signals,
    sparkplug_node,
    sparkplug_signal,
    topic_signal,
)
from agent.config.document import Document, Unreadable, read
from agent.config.explain import explain
from agent.config.model import (
    Config,
    DetectConfig,
    GatewayConfig,
    MachineConfig,
    OutboxConfig,
    PathConfig,
    schema,
)
from agent.config.mqtt import (
    BinaryConfig,
    BrokerTable,
    CsvConfig,
    JsonConfig,
    MqttConfig,
    NumberConfig,
    PayloadConfig,
    SparkplugHostConfig,
    TextConfig,
    TopicConfig,
    TopicSignalConfig,
    path_steps,
)
from agent.config.opcua import (
    DeadbandConfig,
    LimitsConfig,
    OpcuaConfig,
    OpcuaEventsConfig,
    OpcuaSignalConfig,
)
from agent.config.problems import Place, Problem, config_error
from agent.config.references import fill_in
from agent.config.rules import spanning_problems
from agent.config.sinks import InfluxdbConfig, SinkConfig, SparkplugSinkConfig, UnsSinkConfig

__all__ = [
    "BinaryConfig",
    "BrokerTable",
    "Config",
    "CsvConfig",
    "DeadbandConfig",
    "DetectConfig",
    "GatewayConfig",
    "InfluxdbConfig",
    "JsonConfig",
    "LimitsConfig",
    "MachineConfig",
    "MqttConfig",
    "NumberConfig",
    "OpcuaConfig",
    "OpcuaEventsConfig",
    "OpcuaSignalConfig",
    "OutboxConfig",
    "PathConfig",
    "PayloadConfig",
    "Place",
    "Problem",
    "SinkConfig",
    "SparkplugHostConfig",
    "SparkplugSinkConfig",
    "TextConfig",
    "TopicConfig",
    "TopicSignalConfig",
    "UnsSinkConfig",
    "config_error",
    "examine",
    "load",
    "load_gateway",
    "path_steps",
    "relearned",
    "schema",
    "signals",
    "sparkplug_node",
    "sparkplug_signal",
    "topic_signal",
]


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of a file and `conf.d/*.toml` beside it.

    Raises ConfigError with every problem found: path, value, rule, file and line, way out.
    """
    found = examine(path, environ)
    if isinstance(found, Config):
        return found
    raise config_error(found)


def load_gateway(path: Path, environ: Mapping[str, str] = os.environ) -> GatewayConfig:
    """The table `[gateway]` alone, for commands beside a service that has its own secrets.

    Raises ConfigError with every problem found where that table is not as it must be.
    """
    try:
        document = read(path)
        tree, problems = fill_in(document, environ)
        if not any(problem.path[:1] == ("gateway",) for problem in problems):
            return GatewayConfig.model_validate(tree.get("gateway"))
    except (Unreadable, RecursionError, ValidationError):
        pass  # `load` says what is wrong
    return load(path, environ).gateway


def examine(path: Path, environ: Mapping[str, str] = os.environ) -> Config | list[Problem]:
    """As `load`, but what is wrong comes back as a list, in the order of the files' lines."""
    try:
        return _examine(read(path), environ)
    except Unreadable as error:
        return [error.problem]
    except RecursionError:
        return [Problem((), "tables are nested too deeply", Place(path))]


def _examine(document: Document, environ: Mapping[str, str]) -> Config | list[Problem]:
    tree, problems = fill_in(document, environ)
    problems = [*document.problems, *problems]
    config: Config | None = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        told = {problem.path for problem in problems}
        problems += [
            explain(document, details)
            for details in error.errors(include_url=False)
            if details["loc"] not in told
        ]
    problems += spanning_problems(document, tree)
    if config is not None and not problems:
        return config
    order = [file.path for file in document.files]
    return sorted(problems, key=lambda p: (order.index(p.place.file), p.place.line or 0))
