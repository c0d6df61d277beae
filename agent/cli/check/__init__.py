"""`andon check`: validates a configuration offline and says what it would read and send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.check.preview import preview
from agent.cli.check.preview import tell as tell_preview
from agent.cli.terminal import fail, print_data, print_json
from agent.config import (
    Config,
    InfluxdbConfig,
    SinkConfig,
    SparkplugSinkConfig,
    UnsSinkConfig,
    config_error,
    examine,
    signals,
)
from agent.config import schema as config_schema
from agent.config.mqtt import BrokerTable
from agent.config.opcua.server import DEPRECATED
from agent.errors import AndonError

CONFIG_PATH: Final = Path("/etc/andon/agent.toml")
"""Where a gateway's configuration is unless a command is told otherwise."""


def check(
    config: Annotated[Path, typer.Argument(help="The configuration to check.")] = CONFIG_PATH,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of a configuration instead.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Say what would change in the running service instead.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Validate a configuration, offline.

    Says what it would read and send; with --diff what a reload would do, or a start where no
    service runs. A service applies its own files within seconds: check a draft beside them.

    Everything that is wrong is told in one go, with file, line and way out; exit code 2.
    """
    if schema:
        print_json(config_schema())
        return
    found = examine(config)
    if isinstance(found, list):
        if json:
            print_json({"valid": False, "problems": [problem.document() for problem in found]})
        fail(config_error(found))
    summary = summarise(found)
    said = f"{config} is valid\n\n"
    if not diff:
        if json:
            print_json({"valid": True, **summary})
        else:
            print_data(said + tell(summary))
        return
    try:
        would = preview(found)
    except AndonError as error:
        fail(error)
    if json:
        print_json({"valid": True, **summary, "difference": would.document()})
    else:
        print_data(said + "\n".join(tell_preview(would)))


def summarise(config: Config) -> dict[str, Any]:
    """What a configuration would read and send, as plain JSON values."""
    sources: list[dict[str, Any]] = [
        {
            "name": opcua.name,
            "kind": "opcua",
            "address": opcua.endpoint,
            "signals": len(opcua.signals),
            "events": len(opcua.events),
            "publishing_interval_ms": opcua.publishing_interval_ms,
            "security": opcua.security,
        }
        for opcua in config.opcua
    ]
    sources += [
        {
            "name": mqtt.name,
            "kind": "mqtt",
            "address": mqtt.url,
            "signals": len(mqtt.signals),
            "topics": [topic.filter for topic in mqtt.topics],
            "sparkplug": sorted(mqtt.sparkplug.filters) if mqtt.sparkplug else [],
            **_safety(mqtt),
        }
        for mqtt in config.mqtt
    ]
    return {
        "gateway": config.gateway.name,
        "path": config.gateway.path.model_dump(),
        "data": str(config.gateway.data),
        "outbox": config.outbox.model_dump(),
        "machines": [machine.name for machine in config.machines],
        "sources": sources,
        "signals": len(signals(config)) + sum(len(mqtt.signals) for mqtt in config.mqtt),
        "signals_max": config.gateway.signals_max,
        "sinks": [_sink(config, sink) for sink in config.sinks],
        "detect": config.detect.model_dump(),
    }


def _sink(config: Config, sink: SinkConfig) -> dict[str, Any]:
    kinds = {InfluxdbConfig: "influxdb", SparkplugSinkConfig: "sparkplug", UnsSinkConfig: "uns"}
    said = {"name": sink.name, "kind": kinds[type(sink)], "address": sink.url}
    if isinstance(sink, InfluxdbConfig):
        return said | {"bucket": sink.bucket, "flavour": sink.flavour}
    if isinstance(sink, UnsSinkConfig):
        return said | {"prefix": sink.prefix, **_safety(sink)}
    group, node = config.edge_node(sink)
    return said | {"group": group, "node": node, **_safety(sink)}


def _safety(broker: BrokerTable) -> dict[str, Any]:
    return {"verify_name": broker.verify_name, "tells_password": broker.tells_password}


def tell(summary: dict[str, Any]) -> str:
    """The summary as lines for a person."""
    rows = [
        ("gateway", f"{summary['gateway']}, {'/'.join(summary['path'].values())}"),
        ("data", str(summary["data"])),
        ("outbox", _keeps(summary["outbox"])),
    ]
    if summary["machines"]:
        rows.append(("machines", ", ".join(summary["machines"])))
    rows += [
        ("source", f"{source['name']}, {source['address']}: {_reads(source)}")
        for source in summary["sources"]
    ]
    rows.append(("signals", f"{summary['signals']:,} named, {summary['signals_max']:,} at most"))
    rows += [
        ("sink", f"{sink['name']}, {sink['address']}, {_sends(sink)}") for sink in summary["sinks"]
    ] or [("sink", "none: what is read goes nowhere")]
    detect = summary["detect"]
    on = f"on, after {detect['warmup_s']:g} s of learning" if detect["enabled"] else "off"
    rows.append(("detection", on))
    return "\n".join(f"  {title:<10} {text}" for title, text in rows)


def _reads(source: dict[str, Any]) -> str:
    if source["kind"] == "opcua":
        events = f" and {_count(source['events'], 'kind')} of events" if source["events"] else ""
        every = f"sent every {source['publishing_interval_ms']:,} ms"
        return f"{_count(source['signals'], 'signal')}{events}, {every}{_in_clear(source)}"
    named = f", {_count(source['signals'], 'signal')} described" if source["signals"] else ""
    return f"{', '.join(source['topics'] + source['sparkplug'])}{named}{_unsafe(source)}"


def _in_clear(source: dict[str, Any]) -> str:
    """What somebody should know who reads the summary; nothing where the session is safe."""
    security = source["security"]
    if security == "none":
        return ", in the clear"
    return f", secured by {security}, which is deprecated" if security in DEPRECATED else ""


def _keeps(outbox: dict[str, Any]) -> str:
    interval_ms = outbox["commit_interval_ms"]
    return (
        f"at most {outbox['bytes_max_mb']:,} MB and {outbox['age_max_days']:g} days, "
        + (f"committed every {interval_ms:,} ms, " if interval_ms else "")
        + f"{outbox['write_gb_per_day']:g} GB a day to the disk, journal {outbox['journal']}"
    )


def _sends(sink: dict[str, Any]) -> str:
    if sink["kind"] == "influxdb":
        flavour = "" if sink["flavour"] == "auto" else f", {sink['flavour']}"
        return f"bucket {sink['bucket']}{flavour}"
    if sink["kind"] == "sparkplug":
        return f"Sparkplug B as {sink['group']}/{sink['node']}{_unsafe(sink)}"
    below = f" below {sink['prefix']}" if sink["prefix"] else ""
    return f"unified namespace{below}{_unsafe(sink)}"


def _unsafe(broker: dict[str, Any]) -> str:
    """What somebody should know who reads the summary; nothing where the connection is safe."""
    if broker["tells_password"]:
        return ", the password in clear text"
    return "" if broker["verify_name"] else ", the name in its certificate not looked at"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
