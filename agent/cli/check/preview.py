"""`andon check --diff`: what a reload, or a start, would do; shown before anything is done.

Enters: the checked configuration. Asked: the running service over its socket, else the outbox that
a start would find. Leaves: a `Preview`. Fails: a service or an outbox that cannot be understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from agent.cli.check.difference import Change, Difference, Items, Option, difference, source_tables
from agent.config import Config, signals
from agent.errors import SourceUnreachable
from agent.signals import MACHINE_SIGNAL, Signal

ITEMS_SHOWN_MAX: Final = 20
"""So many signals that come, go or are changed are named; the others are counted."""

_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True, slots=True)
class Preview:
    """What would change.

    against : `service`: what it uses; `outbox`: what earlier runs left; `nothing`: there is none
    since_ns : since when the service uses it, UTC; 0 where none runs
    problem : why the service did not keep what it read last
    waiting : lines that wait for each known sink
    """

    difference: Difference
    against: Literal["service", "outbox", "nothing"]
    since_ns: int = 0
    problem: str = ""
    waiting: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "against": self.against,
            "since_ns": self.since_ns,
            "problem": self.problem,
            "waiting": dict(self.waiting),
            **self.difference.document(),
        }


def preview(config: Config) -> Preview:
    """What would change if the service of this configuration's data folder loaded it.

    Raises SourceUnreachable where that service is of another version, OutboxError where the outbox
    cannot be read.
    """
    said = _ask(config.gateway.data)
    if said is None:
        return _against_outbox(config)
    used, masked = _read(said), _read(_masked(config))
    problem, waiting = said.get("problem", ""), said.get("waiting", {})  # older ones say neither
    return Preview(difference(used, masked), "service", int(said["since_ns"]), problem, waiting)


def in_use(
    config: Config, since_ns: int, problem: str, waiting: Mapping[str, int]
) -> dict[str, Any]:
    """What the service answers when it is asked what it uses: never a secret."""
    return {
        **_masked(config), "since_ns": since_ns, "problem": problem, "waiting": dict(waiting)
    }  # fmt: skip


def _masked(config: Config) -> dict[str, Any]:
    return {"config": config.model_dump_json(by_alias=True)}


def _read(document: Mapping[str, Any]) -> Config:
    try:
        return Config.model_validate_json(document["config"])
    except (KeyError, ValidationError) as error:
        raise SourceUnreachable(
            "the running service does not say what it uses in a way that this command knows",
            "it is of another version: restart it, or check with its own `andon`",
        ) from error


def _ask(folder: Path) -> dict[str, Any] | None:
    from agent.status import ask

    try:
        return ask(folder, "config")
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (OSError, ValueError) as error:
        raise SourceUnreachable(
            f"the service at {folder} does not answer: {error}",
            "check that you may read its data folder, or restart it where it hangs",
        ) from error


def _against_outbox(config: Config) -> Preview:
    from agent.outbox import FILE_NAME
    from agent.outbox.reader import open_readonly

    path = config.gateway.data / FILE_NAME
    if not path.exists():
        return Preview(_since(config, {}, set()), "nothing")
    with open_readonly(path) as outbox:
        known = {
            signal.key: signal
            for signal in outbox.signals().values()
            if signal.source and signal.name != MACHINE_SIGNAL
        }
        waiting = {name: sink.waiting for name, sink in outbox.ledger().sinks.items()}
        return Preview(_since(config, known, set(waiting)), "outbox", waiting=waiting)


def _since(config: Config, known: Mapping[Any, Signal], sinks: set[str]) -> Difference:
    """What a start does where these signals and sinks are known.

    Of a broker, which signals come is seen only when they come.
    """
    read: dict[str, dict[Any, Signal]] = {name: {} for name in source_tables(config)}
    for signal in signals(config):
        read[signal.source][signal.key] = signal
    everywhere = {key for signals_of in read.values() for key in signals_of}
    brokers = {broker.name for broker in config.mqtt}
    sources = []
    for name in dict.fromkeys([*read, *(signal.source for signal in known.values())]):
        stored = {key for key, signal in known.items() if signal.source == name}
        wanted = read.get(name, {})
        gone = () if name in brokers else stored - everywhere
        items = Items(
            added=tuple(signal.label for key, signal in wanted.items() if key not in known),
            removed=tuple(sorted(known[key].label for key in gone)),
            changed=tuple(s.label for key, s in wanted.items() if known.get(key, s) != s),
        )
        what: Any = "removed" if name not in read else "changed" if stored else "added"
        if items or what != "changed":
            sources.append(Change(name, what, signals=items))
    named = {sink.name for sink in config.sinks}
    changes = [Change(sink.name, "added") for sink in config.sinks if sink.name not in sinks]
    changes += [Change(name, "removed") for name in sorted(sinks - named)]
    return Difference(sources=tuple(sources), sinks=tuple(changes))


def tell(preview: Preview) -> Iterator[str]:
    """The preview as lines for a person."""
    running = preview.against == "service"
    if running:
        since = datetime.fromtimestamp(preview.since_ns / 1e9, UTC)
        if preview.problem:
            yield f"the last reload failed: {preview.problem}"
            yield ""
        yield f"against what the running service uses since {since:%Y-%m-%d %H:%M:%S}Z:"
    elif preview.against == "outbox":
        yield "no service runs; a start would do this to what the outbox knows:"
    else:
        yield "no service runs and there is no outbox; a start would begin with all of this:"
    yield ""
    yield from tell_difference(preview.difference, preview.waiting, running)


def tell_difference(
    found: Difference, waiting: Mapping[str, int], running: bool = True
) -> Iterator[str]:
    """What differs, as lines for a person.

    waiting : lines that wait for each known sink
    running : it is a reload, not a start
    """
    if not found:
        yield "  nothing would change"
    for title, changes in (
        ("source", found.sources), ("sink", found.sinks), ("machine", found.machines)
    ):  # fmt: skip
        for change in changes:
            yield _row(title, f"{change.name}: {_what(title, change, running)}")
            yield from _details(change)
            if title == "sink" and change.what == "removed" and waiting.get(change.name):
                lines = f"{waiting[change.name]:,}"
                yield _row("", f"  lines that wait for it, and will not be sent to it: {lines}")
    for option in found.restart:
        yield _row("restart", f"{_told(option)}; only a restart changes this")


def _what(title: str, change: Change, running: bool) -> str:
    living = title == "source" and running and change.what == "changed"
    words = {
        "changed": "changed on the living connection" if living else "changed",
        "reconnects": "changed, connects anew",
    }
    said = [words.get(change.what, change.what)]
    said += [
        f"{len(names):,} {noun}{'s' if len(names) > 1 else ''} {how}"
        for noun, items in (("signal", change.signals), ("topic", change.topics))
        for how in _MARKS
        if (names := getattr(items, how))
    ]
    return ", ".join(said)


def _details(change: Change) -> Iterator[str]:
    for option in change.options:
        yield _row("", f"  {_told(option)}")
    named = [
        f"{mark} {name}"
        for items in (change.topics, change.signals)
        for how, mark in _MARKS.items()
        for name in getattr(items, how)
    ]
    for line in named[:ITEMS_SHOWN_MAX]:
        yield _row("", f"  {line}")
    if len(named) > ITEMS_SHOWN_MAX:
        yield _row("", f"  and {len(named) - ITEMS_SHOWN_MAX:,} more")


def _told(option: Option) -> str:
    if option.before == option.after:
        return f"{option.name} is another one"
    return f"{option.name} {option.before} -> {option.after}"


def _row(title: str, text: str) -> str:
    return f"  {title:<10} {text}"
