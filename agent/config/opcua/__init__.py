"""The tables `[[opcua]]`: servers that are read over OPC UA, their signals and their events."""

from agent.config.opcua.events import OpcuaEventsConfig, PackmlState
from agent.config.opcua.server import OpcuaConfig
from agent.config.opcua.signal import (
    DeadbandConfig,
    EverySeconds,
    Grade,
    LimitsConfig,
    OpcuaSignalConfig,
    State,
)

__all__ = [
    "DeadbandConfig",
    "EverySeconds",
    "Grade",
    "LimitsConfig",
    "OpcuaConfig",
    "OpcuaEventsConfig",
    "OpcuaSignalConfig",
    "PackmlState",
    "State",
]
