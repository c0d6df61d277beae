"""Sinks: far sides, made from their tables.

Enters: a checked configuration and one of its sinks. Leaves: the sink, not connected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from agent.config import Config, InfluxdbConfig, SinkConfig, SparkplugSinkConfig
from agent.sinks import Sink
from agent.sinks.influxdb import InfluxdbSink
from agent.sinks.sparkplug import SparkplugSink
from agent.sinks.uns import UnsSink

SPARKPLUG: Final = "sparkplug"
"""The folder of what edge nodes must remember, in the data folder."""


def new_sink(
    config: Config, table: SinkConfig, outbox: str, now_ns: Callable[[], int] = time.time_ns
) -> Sink:
    """The sink of a table.

    outbox : the name of the outbox whose lines it is sent
    now_ns : the gateway's clock, UTC
    """
    if isinstance(table, InfluxdbConfig):
        return InfluxdbSink(
            table.name,
            url=table.url,
            token=table.token.get_secret_value(),
            outbox=outbox,
            org=table.org,
            bucket=table.bucket,
            timeout_s=table.timeout_s,
            flavour=table.flavour,
        )
    client_id = config.client_id(table)
    if isinstance(table, SparkplugSinkConfig):
        group, node = config.edge_node(table)
        return SparkplugSink(
            table.model_copy(update={"group": group, "node": node}),
            client_id,
            state=config.gateway.data / SPARKPLUG,
            path=config.path,
            gateway=config.gateway.name,
            now_ns=now_ns,
        )
    return UnsSink(table, client_id, now_ns=now_ns)
