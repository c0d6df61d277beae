"""The tables `[[mqtt]]`: brokers that are read, their topics, payloads and signals."""

from agent.config.mqtt.broker import BrokerTable, check_broker_url, split_broker_url
from agent.config.mqtt.payload import (
    BinaryConfig,
    CsvConfig,
    JsonConfig,
    NumberConfig,
    PayloadConfig,
    TextConfig,
    path_steps,
)
from agent.config.mqtt.source import ON_THE_CONNECTION, MqttConfig
from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.config.mqtt.topic import PLACEHOLDERS, TopicConfig, TopicSignalConfig

__all__ = [
    "ON_THE_CONNECTION",
    "PLACEHOLDERS",
    "BinaryConfig",
    "BrokerTable",
    "CsvConfig",
    "JsonConfig",
    "MqttConfig",
    "NumberConfig",
    "PayloadConfig",
    "SparkplugHostConfig",
    "TextConfig",
    "TopicConfig",
    "TopicSignalConfig",
    "check_broker_url",
    "path_steps",
    "split_broker_url",
]
