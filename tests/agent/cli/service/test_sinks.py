"""Each table of a sink becomes the sink that it describes."""

from __future__ import annotations

from pathlib import Path

from agent.cli.service.sinks import new_sink
from agent.sinks.influxdb import InfluxdbSink
from agent.sinks.sparkplug import SparkplugSink
from agent.sinks.uns import UnsSink
from tests.agent.config.support import ENVIRON, GOOD, config_of


def test_each_table_of_a_sink_becomes_that_sink(tmp_path: Path) -> None:
    text = GOOD.replace('name = "gw-1"', f'name = "gw-1"\ndata = "{tmp_path}"', 1)
    text += '[[sparkplug]]\nname = "scada"\nurl = "mqtt://127.0.0.1"\n'
    text += '[[uns]]\nname = "plant"\nurl = "mqtt://127.0.0.1"\n'
    config = config_of(tmp_path, text, ENVIRON)
    sinks = [new_sink(config, table, "0" * 32) for table in config.sinks]
    assert [sink.name for sink in sinks] == ["cloud", "scada", "plant"]
    assert [type(sink) for sink in sinks] == [InfluxdbSink, SparkplugSink, UnsSink]
    for sink in sinks:
        sink.close()
