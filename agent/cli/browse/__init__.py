"""`andon browse`: what a machine's OPC UA server or an MQTT broker offers, as a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.browse import mqtt, opcua
from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail
from agent.errors import AndonError, ConfigError
from agent.signals import KINDS

ONLY: Final = ("writable", "historized", *KINDS)
SCHEMES: Final = ("mqtt", "mqtts", "ws", "wss")
"""Of the addresses of brokers."""
OF_SERVERS: Final = (
    "start", "resume", "nodes_max", "depth_max", "map_file", "match", "machine", "only", "security",
)  # fmt: skip
OF_BROKERS: Final = "seconds", "topics", "topics_max", "ca", "certificate", "key"
BY_ADDRESS: Final = "user", "security", "ca", "certificate", "key"
"""Options that the configuration says of what it names."""
PASSWORD_ENVS: Final = ("OPCUA_PASSWORD", "MQTT_PASSWORD")

ServerArgument = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS|NAME",
        help="opc.tcp://host:port, mqtt://host (mqtts, ws, wss), or a name in the configuration.",
    ),
]
ResumeOption = Annotated[
    Path | None,
    typer.Option(help="OPC UA: keep what is found in this file; go on with it where it is there."),
]
MapOption = Annotated[
    Path | None,
    typer.Option("--map", help="OPC UA: only what this map of a machine names, under its names."),
]


def _check_topics(topics: list[str] | None) -> list[str] | None:
    for topic in topics or ():
        if not mqtt.is_filter(topic):
            raise typer.BadParameter(f"{topic!r} is no topic: + is a whole level, # the last one")
    return topics


TopicsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="MQTT: listen to these topics, such as `floor/#`; may be repeated. [all]",
        callback=_check_topics,
    ),
]
ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", help="The gateway's configuration."),
]


def browse(
    ctx: typer.Context,
    address: ServerArgument,
    start: Annotated[
        str, typer.Option("--from", help="OPC UA: begin at this node instead of Objects.")
    ] = "",
    resume: ResumeOption = None,
    nodes_max: Annotated[int, typer.Option(min=1, help="OPC UA: nodes looked at.")] = 100_000,
    depth_max: Annotated[int, typer.Option(min=0, help="OPC UA: references from the start.")] = 30,
    map_file: MapOption = None,
    match: Annotated[
        str, typer.Option(help="OPC UA: only variables whose path is like this: `*/Spindle*`.")
    ] = "",
    machine: Annotated[str, typer.Option(help="OPC UA: only this machine.")] = "",
    only: Annotated[str, typer.Option(help=f"OPC UA: only such: {', '.join(ONLY)}.")] = "",
    security: Annotated[
        str, typer.Option(help="OPC UA: auto, none, or the name of a security policy.")
    ] = "auto",
    seconds: Annotated[float, typer.Option(min=0.5, help="MQTT: listen for so long.")] = 10,
    topics: TopicsOption = None,
    topics_max: Annotated[int, typer.Option(min=1, help="MQTT: topics kept apart.")] = 10_000,
    ca: Annotated[Path | None, typer.Option(help="MQTT: authorities to trust, PEM.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="MQTT: our certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="MQTT: its private key, PEM.")] = None,
    user: Annotated[
        str, typer.Option(help="The user to log in as; the password is asked for.")
    ] = "",
    password_env: Annotated[
        str,
        typer.Option(
            help="The environment variable with the password instead. "
            f"[{' or '.join(PASSWORD_ENVS)}]"
        ),
    ] = "",
    config: ConfigOption = CONFIG_PATH,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Look at what a server or a broker offers and print it as TOML.

    OPC UA: walks the address space; nothing is written or called. MQTT: listens for a while, to
    what is kept and what comes; nothing is published. What is guessed says so.
    """
    if only and only not in ONLY:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(ONLY)}", param_hint="--only")
    walking = opcua.Wishes(start, resume, nodes_max, depth_max, map_file, match, machine, only)
    listening = mqtt.Wishes(seconds, tuple(topics or ("#",)), topics_max)
    files = {"ca": ca, "certificate": certificate, "key": key}
    try:
        known = None if "://" in address else _by_name(address, config)
        is_broker = _is_broker(known or address)
        _refuse(ctx, is_broker=is_broker, is_known=known is not None)
        env = password_env or PASSWORD_ENVS[is_broker]
        if is_broker:
            broker = known or mqtt.by_address(address, user, env, files)
            mqtt.browse(broker, listening, config, None if known else env, json=json)
        else:
            server = known or opcua.by_address(address, security, user, env)
            opcua.browse(server, walking, config, None if known else env, json=json)
    except AndonError as error:
        fail(error)


def _by_name(name: str, config: Path) -> Any:
    """The table [[opcua]] or [[mqtt]] of that name. Raises ConfigError."""
    from agent.config import load

    loaded = load(config) if config.exists() else None
    tables: list[Any] = [*loaded.opcua, *loaded.mqtt] if loaded else []
    for table in tables:
        if table.name == name:
            return table
    known = f"it has {', '.join(table.name for table in tables)}; " if tables else ""
    port = "" if ":" in name else ":4840"
    raise ConfigError(
        f"{name} is neither an address, opc.tcp://host:port or mqtt://host, nor an [[opcua]] or "
        f"[[mqtt]] table of {config}",
        f"{known}as an address it would be opc.tcp://{name}{port} or mqtt://{name}",
    )


def _is_broker(table: Any) -> bool:
    if isinstance(table, str):
        return table.partition("://")[0] in SCHEMES
    return hasattr(table, "topics")


def _refuse(ctx: typer.Context, *, is_broker: bool, is_known: bool) -> None:
    """Raises BadParameter for an option that was given and says nothing here."""
    refused = dict.fromkeys(OF_SERVERS, "it is of OPC UA servers")
    if not is_broker:
        refused = dict.fromkeys(OF_BROKERS, "it is of MQTT brokers")
    if is_known:
        refused |= dict.fromkeys(BY_ADDRESS, "the configuration says it of what it names")
    for name, why in refused.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(one for one in ctx.command.params if one.name == name)
            raise typer.BadParameter(why, param_hint=option.opts[0])
