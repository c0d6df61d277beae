"""What separates two configurations, in the terms of what a reload does about it.

Enters: two checked `Config`s. Leaves: a `Difference`: sources that come, go, are changed on the
living connection or must connect anew; sinks and machines; and what only a restart can change,
which a reload leaves as it is (`applied`). Nothing here fails. Secrets are
compared where they are known and never shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeVar

from agent.config import (
    Config,
    MqttConfig,
    OpcuaConfig,
    OpcuaSignalConfig,
    PathConfig,
    SparkplugHostConfig,
)
from agent.config import signals as configured_signals
from agent.config.explain import options
from agent.config.fields import Table
from agent.config.mqtt import ON_THE_CONNECTION as ON_A_BROKERS
from agent.config.opcua.server import ON_THE_CONNECTION as ON_A_SERVERS
from agent.config.problems import written
from agent.signals import Signal

What = Literal["added", "removed", "changed", "reconnects"]
"""`changed`: without losing the connection; `reconnects`: by a new one."""

SourceConfig = OpcuaConfig | MqttConfig

_LISTS: Final = frozenset({"signals", "topics"})
"""Told one by one, not as options."""

_BY_RESTART: Final = ("gateway", "outbox", "detect")
"""Tables that are read when the service starts and stand until it ends."""

_NOTHING: Final = "nothing"

_Said = Mapping[str, Any]
"""What is said of each signal or topic, by name."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Option:
    """An option that differs, by its path, and what it says before and after, as in a file."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Items:
    """Names of what comes, goes and is changed."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one source, sink or machine.

    signals : `machine/signal`; of a broker those that its table describes
    topics : a broker's patterns
    """

    name: str
    what: What
    options: tuple[Option, ...] = ()
    signals: Items = Items()
    topics: Items = Items()


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs; `restart` is what a running service keeps until it is started anew."""

    sources: tuple[Change, ...] = ()
    sinks: tuple[Change, ...] = ()
    machines: tuple[Change, ...] = ()
    restart: tuple[Option, ...] = ()

    @property
    def applies(self) -> bool:
        """Whether a reload has anything to do."""
        return bool(self.sources or self.sinks or self.machines)

    def __bool__(self) -> bool:
        return self.applies or bool(self.restart)

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)


def difference(old: Config, new: Config) -> Difference:
    """What must be done to a service that uses `old` so that it uses `new`."""
    restart = [
        option
        for name in _BY_RESTART
        for option in _options(getattr(old, name), getattr(new, name), f"{name}.")
    ]
    return Difference(
        sources=tuple(_sources(old, applied(old, new))),
        sinks=tuple(_tables(old.sinks, new.sinks)),
        machines=tuple(_tables(old.machines, new.machines)),
        restart=tuple(restart),
    )


def applied(old: Config, new: Config) -> Config:
    """What a service that was started with `old` uses after it has loaded `new`."""
    return new.model_copy(update={name: getattr(old, name) for name in _BY_RESTART})


def source_tables(config: Config) -> dict[str, SourceConfig]:
    """The tables of all sources, by name."""
    tables: list[SourceConfig] = [*config.opcua, *config.brokers]
    return {table.name: table for table in tables}


def _sources(old: Config, new: Config) -> Iterator[Change]:
    before, after = source_tables(old), source_tables(new)
    signals_before, signals_after = _signals(old), _signals(new)
    for name in _names(before, after):
        was, now = before.get(name), after.get(name)
        what, found = _what(was, now), _options(was, now)
        signals = signals_before.get(name, {}), signals_after.get(name, {})
        topics = _topics(was), _topics(now)
        living = ON_A_BROKERS if isinstance(now, MqttConfig) else ON_A_SERVERS
        if what == "changed" and (
            any(option.name.split(".")[0] not in living for option in found)
            or _turns_text(*signals, everywhere=isinstance(now, MqttConfig))
            or _turns_text(*topics)
        ):
            what = "reconnects"
        listed = _items(*signals), _items(*topics)
        if what != "changed" or found or any(listed):
            yield Change(name, what, tuple(found), *listed)


def _turns_text(old: _Said, new: _Said, *, everywhere: bool = False) -> bool:
    """Whether a signal turns from numbers to text, or back.

    What is on its way would then be taken for the other. `everywhere`: what is not described is
    what its topic says, so that one which comes or goes may turn as well.
    """
    turned = _texts(old) ^ _texts(new)
    return bool(turned if everywhere else turned & old.keys() & new.keys())


def _texts(items: _Said) -> set[str]:
    return {name for name, item in items.items() if item.kind == "text"}


def _tables(old: Sequence[Any], new: Sequence[Any]) -> Iterator[Change]:
    before, after = {table.name: table for table in old}, {table.name: table for table in new}
    for name in _names(before, after):
        was, now = before.get(name), after.get(name)
        what, found = _what(was, now), _options(was, now)
        if what != "changed" or found:
            yield Change(name, what, tuple(found))


def _what(was: Table | None, now: Table | None) -> What:
    if was is None:
        return "added"
    if now is None:
        return "removed"
    return "changed" if type(was) is type(now) else "reconnects"


def _options(was: Table | None, now: Table | None, prefix: str = "") -> list[Option]:
    """The options of a table that differ; those of both kinds where the kind does."""
    if was is None or now is None:
        return []
    known = {**options(type(was)), **options(type(now))}
    found = []
    for key in known:
        before, after = getattr(was, key, None), getattr(now, key, None)
        if isinstance(before, SparkplugHostConfig) and isinstance(after, SparkplugHostConfig):
            found += _options(before, after, f"{prefix}{key}.")
        elif key not in _LISTS and before != after:
            found.append(Option(prefix + key, _shown(key, before), _shown(key, after)))
    return found


def _shown(key: str, value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, PathConfig):
        return "/".join(str(part) for part in value.model_dump().values())
    if isinstance(value, Table):
        return "a table"
    return f"{value:.15g}" if isinstance(value, float) else written((key,), value)


def _signals(config: Config) -> dict[str, dict[str, Any]]:
    """What is said of signals, by source and label."""
    found: dict[str, dict[str, Any]] = {}
    variables = {server.name: server.variables for server in config.opcua}
    for signal in configured_signals(config):
        variable = variables[signal.source].get((signal.machine, signal.name))
        found.setdefault(signal.source, {})[signal.label] = _Read(signal.kind, signal, variable)
    for broker in config.mqtt:
        known = {f"{machine}/{name}": signal for (machine, name), signal in broker.known.items()}
        found.setdefault(broker.name, {}).update(known)
    return found


@dataclass(frozen=True, slots=True)
class _Read:
    """A signal of a server, and how it is read."""

    kind: str
    signal: Signal
    variable: OpcuaSignalConfig | None


def _topics(table: SourceConfig | None) -> dict[str, Any]:
    return {topic.topic: topic for topic in table.topics} if isinstance(table, MqttConfig) else {}


def _items(old: _Said, new: _Said) -> Items:
    return Items(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
    )


def _names(old: Iterable[K], new: Iterable[K]) -> list[K]:
    """What stays and comes in the new order, then what goes."""
    return list(dict.fromkeys([*new, *old]))
