"""Rules that span tables: names are unique, each signal has one place, there is something to read.

They look at the filled-in tree, not at the typed tables, so that their problems are told together
with those of single options; what is not of the expected shape is left to the typed tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_core import PydanticCustomError

from agent.config.document import Document
from agent.config.model import GatewayConfig
from agent.config.mqtt.broker import PORTS, split_broker_url
from agent.config.mqtt.payload import SKIP, TIME
from agent.config.opcua import OpcuaConfig, OpcuaEventsConfig
from agent.config.opcua.server import check_queue
from agent.config.positions import KeyPath
from agent.config.problems import Problem, dotted, shown

Item = tuple[KeyPath, Any]

_SOURCES: Final = ("opcua", "mqtt")
_SINKS: Final = ("influxdb", "sparkplug", "uns")
_CLIENT_IDS: Final = {"mqtt": "andon-{}-{}", "sparkplug": "andon-{}-to-{}", "uns": "andon-{}-to-{}"}
"""The tables of brokers, and what those are called that do not say it, as `Config.client_id`."""
_MADE_UP: Final = ("client_id", "node")
"""Defaults that are made of other options, which may have been filled in and are not told."""
_PLACEHOLDER: Final = re.compile(r"\{[a-z]+\}")


def spanning_problems(document: Document, tree: Mapping[str, Any]) -> list[Problem]:
    """What is wrong between tables."""
    sources = [item for kind in _SOURCES for item in _values(tree, kind, "name")]
    problems = [
        *_twice(document, _values(tree, "machines", "name")),
        *_twice(document, sources),
        *_twice(document, [item for kind in _SINKS for item in _values(tree, kind, "name")]),
        *_client_ids_twice(document, tree),
        *_edge_nodes_twice(document, tree),
        *_coming_back(document, tree),
        *_signals_twice(document, tree),
        *_states_twice(document, tree),
        *_topics_twice(document, tree),
        *_too_many_signals(document, tree),
        *_queues_too_short(document, tree),
    ]
    if not any(tree.get(kind) for kind in _SOURCES):
        sentence = "there is no source; at least one [[opcua]] or [[mqtt]] must be given"
        hint = "write an example with: andon init --output -"
        problems.append(Problem((), sentence, document.place(()), hint))
    return problems


def _tables(tree: Mapping[str, Any], *keys: str) -> list[tuple[KeyPath, Mapping[str, Any]]]:
    """The tables of a list, or of the lists in a list: `_tables(tree, "opcua", "signals")`."""
    found: list[tuple[KeyPath, Mapping[str, Any]]] = [((), tree)]
    for key in keys:
        found = [
            ((*path, key, index), inner)
            for path, table in found
            for index, inner in enumerate(_list(table.get(key)))
            if isinstance(inner, dict)
        ]
    return found


def _list(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _values(tree: Mapping[str, Any], kind: str, option: str) -> list[Item]:
    return [((*path, option), table.get(option)) for path, table in _tables(tree, kind)]


def _twice(
    document: Document,
    items: list[Item],
    same: str = "has the same name",
    hint: str = "name one of them differently, or remove it",
) -> Iterator[Problem]:
    """Items with a key that an earlier one has; keys of the wrong type are not looked at."""
    first: dict[Any, KeyPath] = {}
    for path, key in items:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(isinstance(part, str) for part in parts):
            continue
        other = first.setdefault(key, path)
        if other == path:
            continue
        sentence = (
            f"{dotted(path)} is {_said(document, path, parts[-1])}; "
            f"{dotted(other[:-1])} {same}, in {document.place(other)}"
        )
        yield Problem(path, sentence, document.place(path), hint)


def _said(document: Document, path: KeyPath, default: object) -> str:
    try:
        return shown(path, document.value(path))
    except LookupError:
        return "missing" if path[-1] in _MADE_UP else f"{shown(path, default)} by default"


def _signals_twice(document: Document, tree: Mapping[str, Any]) -> list[Problem]:
    """Signals with the name and machine of another one.

    A topic that brings one signal may have a table that describes it; any other pair is a mistake.
    """
    read = [
        *_of_servers(tree, "signals", "name"),
        *_of_servers(tree, "events", "name"),
        *_of_servers(tree, "events", "state_signal", only_with="state"),
    ]
    brought = [
        (at, (topic.get("machine"), name))
        for path, topic in _tables(tree, "mqtt", "topics")
        if not _PLACEHOLDER.search(str(topic.get("topic")))
        for at, name in _of_topic(path, topic)
    ]
    described = [
        ((*path, "name"), (signal.get("machine"), signal.get("name")))
        for path, signal in _tables(tree, "mqtt", "signals")
    ]
    same = "is the same signal of the same machine"
    pairs = (*_twice(document, read + brought, same), *_twice(document, read + described, same))
    return list({problem.path: problem for problem in pairs}.values())


def _of_topic(path: KeyPath, topic: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """The names of the signals that a topic brings, at the options that name them."""
    yield (*path, "signal"), topic.get("signal")
    for kind, option in (("json", "fields"), ("csv", "columns")):
        for index, name in enumerate(_list(_inner(_inner(topic, "payload"), kind).get(option))):
            if name not in (TIME, SKIP) or kind == "json":
                yield (*path, "payload", kind, option, index), name


def _states_twice(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """A machine whose state two signals tell: it would be in two states at a time."""
    items: list[Item] = [
        (path, machine)
        for kind in ("signals", "events")
        for path, (machine, _) in _of_servers(tree, kind, "state", only_with="state")
    ]
    items += [
        ((*path, "state"), table.get("machine"))
        for kind in ("topics", "signals")
        for path, table in _tables(tree, "mqtt", kind)
        if table.get("state") is True
    ]
    same = "tells the state of the same machine"
    return _twice(document, items, same, "a machine is in one state at a time: keep one of them")


def _of_servers(
    tree: Mapping[str, Any], kind: str, option: str, only_with: str = "name"
) -> Iterator[Item]:
    """Signals that servers bring, as (machine, name), at the option that names them."""
    default = OpcuaEventsConfig.model_fields["state_signal"].default
    for path, server in _tables(tree, "opcua"):
        for index, table in enumerate(_list(server.get(kind))):
            if isinstance(table, dict) and table.get(only_with):
                machine = table.get("machine", server.get("machine"))
                yield (*path, kind, index, option), (machine, table.get(option, default))


def _topics_twice(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Patterns of one broker that ask for the same topics, which would count each message twice."""
    items = [
        ((*path, "topic"), (str(path[:2]), _PLACEHOLDER.sub("+", topic)))
        for path, table in _tables(tree, "mqtt", "topics")
        if isinstance(topic := table.get("topic"), str)
    ]
    return _twice(document, items, "asks for the same topics")


def _client_ids_twice(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Sessions of one name at one broker: the broker would end one for the other, for ever."""
    gateway = _inner(tree, "gateway").get("name")
    items: list[Item] = [
        (
            (*path, "client_id"),
            (_broker(table), table.get("client_id", name.format(gateway, table.get("name")))),
        )
        for kind, name in _CLIENT_IDS.items()
        for path, table in _tables(tree, kind)
    ]
    same = "is called the same at the same broker"
    return _twice(document, items, same, "leave client_id out, or give each its own")


def _edge_nodes_twice(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Sparkplug's nodes of one name at one broker."""
    gateway = _inner(tree, "gateway")
    enterprise = _inner(gateway, "path").get("enterprise")
    items: list[Item] = [
        (
            (*path, "node"),
            (
                _broker(table),
                table.get("group", enterprise),
                table.get("node", gateway.get("name")),
            ),
        )
        for path, table in _tables(tree, "sparkplug")
    ]
    same = "is the same node of the same group"
    return _twice(document, items, same, "give one of them another node or group")


def _coming_back(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Topics that this gateway sends to a broker and would read from it, to send them again."""
    line = _inner(_inner(tree, "gateway"), "path")
    place = [str(line.get(part)) for part in ("enterprise", "site", "area", "line")]
    sent = [
        (path, _broker(table), [*filter(None, str(table.get("prefix", "")).split("/")), *place])
        for path, table in _tables(tree, "uns")
    ]
    servers = dict(_tables(tree, "mqtt"))
    for path, topic in _tables(tree, "mqtt", "topics"):
        broker = _broker(servers[path[:2]])
        for sink, other, levels in sent:
            if broker and broker == other and _takes(topic.get("topic"), levels):
                at = (*path, "topic")
                sentence = (
                    f"{dotted(at)} is {_said(document, at, '')}; {dotted(sink)} sends such topics "
                    f"to the same broker, and they would come back and be sent again"
                )
                hint = f"narrow the topic, or set {dotted(sink)}.prefix to a level of its own"
                yield Problem(at, sentence, document.place(at), hint)


def _takes(pattern: Any, sent: list[str]) -> bool:
    """Whether a pattern of topics takes what is sent below these levels."""
    levels = str(pattern).split("/")
    for level, own in zip(levels, sent, strict=False):
        if level == "#":
            return True
        parts = (re.escape(part) for part in _PLACEHOLDER.split(level.replace("+", "{any}")))
        if not re.fullmatch(".*".join(parts), own, re.DOTALL):
            return False
    return len(levels) > len(sent)


def _inner(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = table.get(key)
    return inner if isinstance(inner, dict) else {}


def _broker(table: Mapping[str, Any]) -> str | None:
    """What says which broker is meant, however its address is written; None where nothing does."""
    try:
        url = split_broker_url(table.get("url", ""))
    except (PydanticCustomError, TypeError, AttributeError):
        return None
    return f"{url.hostname}:{url.port or PORTS[url.scheme]}"


def _too_many_signals(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    default = GatewayConfig.model_fields["signals_max"].default
    most = _inner(tree, "gateway").get("signals_max", default)
    events = [table for _, table in _tables(tree, "opcua", "events")]
    count = len(_tables(tree, "opcua", "signals")) + len(_tables(tree, "mqtt", "signals"))
    count += len(events) + sum(bool(table.get("state")) for table in events)
    if isinstance(most, int) and 1 <= most < count:
        path = ("gateway", "signals_max")
        sentence = (
            f"gateway.signals_max is {most}; it must be at least {count:,}, as many as are given"
        )
        yield Problem(path, sentence, document.place(path), f"try signals_max = {2 * count}")


def _queues_too_short(document: Document, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Variables whose own sampling or queue does not hold what is sampled between two sendings."""
    servers = dict(_tables(tree, "opcua"))
    for path, signal in _tables(tree, "opcua", "signals"):
        own = [name for name in ("queue_size", "sampling_interval_ms") if name in signal]
        tables = signal, servers[path[:2]]
        publishing_ms = _number("publishing_interval_ms", *tables)
        sampling_ms = _number("sampling_interval_ms", *tables) or publishing_ms
        size = _number("queue_size", *tables)
        if not own or not size or not sampling_ms:
            continue
        try:
            check_queue(size, sampling_ms, publishing_ms)
        except PydanticCustomError as error:
            said = error.context or {}
            at = (*path, own[0])
            sentence = f"{dotted((*path, 'queue_size'))} is {size:,}; {said['rule']}"
            yield Problem(at, sentence, document.place(at), said["hint"])


def _number(option: str, *tables: Mapping[str, Any]) -> int:
    """What the first of the tables says, else the server's default; 0 for what is no number."""
    default = OpcuaConfig.model_fields[option].default
    number = next((table[option] for table in tables if option in table), default)
    return number if isinstance(number, int) and number > 0 else 0
