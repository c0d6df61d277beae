"""What was found, as TOML to paste, as JSON, and as a sentence for the person at the terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from agent.cli.browse.words import count, counted, one_line, text_of
from agent.config.explain import toml as value_of
from agent.sources.opcua.browse.kinds import BY_TYPE, GUESSED

if TYPE_CHECKING:
    from agent.config import OpcuaConfig
    from agent.sources.opcua.browse import AddressSpace, Bounds, Offer, Proposal

DESCRIPTION_CHARS_MAX: Final = 1000
LINE_CHARS_MAX: Final = 80


def toml(server: OpcuaConfig, found: Proposal, password_env: str | None) -> str:
    """Tables that `andon check` accepts beside a `[gateway]`.

    password_env : where the password is; None where the server's own table is there already, and
        only tables of signals are needed
    Where no signal was found, all of it is comment: a server without signals is not valid.
    """
    lines = list(_header(server, found, password_env is None))
    if not found.signals:
        return "\n".join([*lines, ""])
    for machine in found.machines:
        if machine.model or machine.product_uri or machine.serial:
            lines += ["", "[[machines]]", f"name = {value_of(machine.name)}"]
            lines += [f"# serial number {one_line(machine.serial)}"] if machine.serial else []
            lines += [f"model = {text_of(machine.model)}"] if machine.model else []
            asset = machine.product_uri or machine.serial
            lines += [f"asset_id = {text_of(asset)}"] if asset else []
    if password_env is None:
        usual = server.machine
    else:
        usual = Counter(offer.machine for offer in found.signals).most_common(1)[0][0]
        lines += _table(server, usual, password_env)
    for offer in found.signals:
        lines += ["", *_signal(offer, usual)]
    return "\n".join([*lines, ""])


def _header(server: OpcuaConfig, found: Proposal, is_named: bool) -> Iterator[str]:
    said = [f"{server.endpoint}: {count(len(found.signals), 'signal')}."]
    if found.specifications:
        said.append(f"The server knows {', '.join(found.specifications)}.")
    if any(offer.eu_range or offer.instrument_range for offer in found.signals):
        said.append(
            "A range beside a signal is what its instrument can tell, not a limit: limits are "
            "yours to set."
        )
    if any(offer.reason == GUESSED for offer in found.signals):
        said.append("Kinds that are guessed say so: look at those.")
    if is_named:
        said.append(f"These tables belong below the [[opcua]] table named {server.name}.")
    for text in said:
        for line in textwrap.wrap(text, LINE_CHARS_MAX - 2, break_long_words=False):
            yield f"# {line}"


def _table(server: OpcuaConfig, usual: str, password_env: str) -> list[str]:
    lines = ["", "[[opcua]]", f"name = {value_of(server.name)}"]
    lines += [f"endpoint = {value_of(server.endpoint)}", f"machine = {value_of(usual)}"]
    if server.security != "auto":
        lines.append(f"security = {value_of(server.security)}")
    if server.user:
        lines += [f"user = {text_of(server.user)}", f'password = "${{{password_env}}}"']
    return lines


def _signal(offer: Offer, usual: str) -> Iterator[str]:
    rows = [f"# {one_line(comment)}" for comment in _comments(offer)]
    rows += ["[[opcua.signals]]", f"name = {text_of(offer.name)}", f"node = {_node(offer.node)}"]
    if offer.machine != usual:
        rows.append(f"machine = {value_of(offer.machine)}")
    reason = "" if offer.reason == BY_TYPE else f"  # {one_line(offer.reason)}"
    rows.append(f"kind = {value_of(offer.kind)}{reason}")
    if offer.rate_hz is not None:
        rows.append(f"rate_hz = {offer.rate_hz:.10g}")
    if offer.state:
        rows.append("state = true")
    if offer.unit:
        rows.append(f"unit = {text_of(offer.unit)}")
    if offer.description:
        rows.append(f"description = {text_of(offer.description[:DESCRIPTION_CHARS_MAX])}")
    if offer.kind == "waveform" and offer.rate_hz is None:
        yield "# A waveform: the server does not say how often it is sampled. Add that as rate_hz."
        rows = [row if row.startswith("#") else f"# {row}" for row in [*rows, "rate_hz = 1000"]]
    yield from rows


def _comments(offer: Offer) -> Iterator[str]:
    yield offer.path
    for title, span in (("EURange", offer.eu_range), ("InstrumentRange", offer.instrument_range)):
        if span is not None:
            yield f"{title} {span[0]:g} to {span[1]:g} {offer.unit}".rstrip()
    if offer.enumeration:
        yield ", ".join(offer.enumeration)
    if offer.traits:
        yield ", ".join(offer.traits)


def document(space: AddressSpace, found: Proposal, bounds: Bounds) -> dict[str, Any]:
    """The same as plain JSON values."""
    counts = space.counts(bounds.depth_max)
    return {
        "endpoint": space.endpoint,
        "from": space.start,
        "namespaces": list(space.namespaces),
        "specifications": list(found.specifications),
        "machines": [asdict(machine) for machine in found.machines],
        "signals": [asdict(offer) for offer in found.signals],
        "nodes": counts.nodes,
        "variables": counts.variables,
        "not_looked_into": counts.not_browsed,
        "left_out": dict(found.left_out),
        "failed": dict(space.failed),
        "missing": list(found.missing),
    }


def tell(
    space: AddressSpace, found: Proposal, shown: Proposal, bounds: Bounds, *, by_map: bool
) -> str:
    """What was found and what was not, for a person.

    shown : what the options left of what was found
    by_map : a map told what to look for
    """
    counts = space.counts(bounds.depth_max)
    kinds = [count(len(found.signals), "signal")]
    if len(shown.signals) != len(found.signals):
        kinds[0] += f" ({len(shown.signals):,} shown)"
    if others := counts.variables - len(found.signals) - found.left_out.total():
        kinds.append(f"{others:,} {'not in the map' if by_map else 'that only describe others'}")
    said = [
        f"{count(counts.nodes, 'node')}, {count(counts.variables, 'variable')}: {', '.join(kinds)}"
    ]
    if found.left_out:
        said.append(f"no signals: {counted(found.left_out)}")
    if space.failed:
        said.append(f"nodes that could not be browsed: {counted(space.failed)}")
    if counts.not_browsed:
        said.append(
            f"{counts.not_browsed:,} nodes were not looked into: --nodes-max is "
            f"{bounds.nodes_max:,}, --depth-max {bounds.depth_max}"
        )
    if found.missing:
        said.append(f"not on this server: {', '.join(found.missing)}")
    return "\n".join(said)


def _node(text: str) -> str:
    """A NodeId as TOML, character for character; JSON leaves only DEL as TOML cannot have it."""
    return value_of(text).replace("\x7f", "\\u007F")
