"""What was heard, as TOML to paste, as JSON, and as a sentence for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from agent.cli.browse.words import count, counted, listed, one_line, text_of
from agent.config import SparkplugHostConfig
from agent.config.explain import toml as value_of

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.sources.mqtt.browse import Heard, Known, Member, Offer, Proposal, Sparkplug

LINE_CHARS_MAX: Final = 100
MEMBERS_MAX: Final = 50
"""Sparkplug nodes and devices that are told one by one."""
UNHEARD_HOLD_S: Final = 3600
"""What was not heard twice is taken to come at least so often."""
CLOCK_S: Final = 60
"""A clock that is so far from ours is told."""
HOLD_S: Final = 10
"""The default of `hold_s`."""


def toml(broker: MqttConfig, heard: Heard, found: Proposal, password_env: str | None) -> str:
    """Tables that `andon check` accepts beside a `[gateway]`.

    password_env : where the password is; None where the broker's own table is there already, and
        only tables of topics are needed
    Where nothing can be read, all of it is comment: a broker without topics is not valid.
    """
    lines = list(_header(broker, heard, found, password_env is None))
    if password_env is not None and found.usable:
        lines += ["", *_table(broker, password_env)]
    if found.sparkplug is not None:
        lines += ["", *_sparkplug(found.sparkplug)]
    for offer in found.offers:
        lines += ["", *_offer(offer)]
    for known in (known for offer in found.offers if not offer.why_not for known in offer.known):
        lines += ["", *_known(known)]
    return "\n".join([*lines, ""])


def _header(broker: MqttConfig, heard: Heard, found: Proposal, is_named: bool) -> Iterator[str]:
    yield f"# {broker.url}: {_heard(heard)}."
    if any(offer.reason or offer.known for offer in found.offers):
        yield "# Kinds that are guessed say so: look at those."
    if any(not offer.hold_s and not offer.why_not for offer in found.offers):
        yield "# What came at most once while we listened says so beside its hold_s."
    if is_named:
        yield f"# These tables belong below the [[mqtt]] table named {broker.name}."


def _heard(heard: Heard) -> str:
    messages = count(heard.messages, "message")
    return f"{messages} under {count(len(heard.topics), 'topic')} in {heard.seconds:.0f} s"


def _table(broker: MqttConfig, password_env: str) -> Iterator[str]:
    yield "[[mqtt]]"
    yield f"name = {value_of(broker.name)}"
    yield f"url = {value_of(broker.url)}"
    if broker.user is not None:
        yield f"user = {text_of(broker.user)}"
        yield f'password = "${{{password_env}}}"'
    for name in ("ca", "certificate", "key"):
        if getattr(broker, name) is not None:
            yield f"{name} = {value_of(str(getattr(broker, name)))}"


def _sparkplug(found: Sparkplug) -> Iterator[str]:
    for member in found.members[:MEMBERS_MAX]:
        yield f"# {one_line(_member(member))}"
    if len(found.members) > MEMBERS_MAX:
        yield f"# and {len(found.members) - MEMBERS_MAX:,} more nodes and devices"
    if any(member.metrics is None for member in found.members):
        yield "# Nobody was asked anything. The gateway asks nodes whose birth it does not know for"
        yield "# one, by a message to their NCMD topic; with rebirth = false it asks for nothing."
    for host, is_online in found.hosts.items():
        yield f"# host application {one_line(host)}: {'online' if is_online else 'offline'}"
    yield "[mqtt.sparkplug]"
    yield f"groups = {value_of(list(found.groups))}"
    if found.machine != "{device}":
        yield f"machine = {value_of(found.machine)}  # devices of several nodes are called the same"


def _member(member: Member) -> str:
    name = "/".join(filter(None, (member.group, member.node, member.device)))
    if member.metrics is None:
        return f"{name}: no birth was heard"
    takes = SparkplugHostConfig().takes
    names = [f"{one.name} {one.unit}".strip() for one in member.metrics if takes(one.name)]
    return f"{name}: {count(len(names), 'metric')}: {listed(names)}"


def _offer(offer: Offer) -> Iterator[str]:
    yield from (f"# {one_line(text)}" for text in _comments(offer))
    rows = ["[[mqtt.topics]]", f"topic = {value_of(offer.topic)}", *_payload(offer.payload)]
    for name, value in (("machine", offer.machine), ("signal", offer.signal)):
        rows += [f"{name} = {value_of(value)}"] if value is not None else []
    reason = f"  # {offer.reason}" if offer.reason else ""
    rows.append(f"kind = {value_of(offer.kind)}{reason}")
    rows += ["state = true  # its texts are PackML's"] if offer.state else []
    rows += _hold(offer)
    if not offer.why_not:
        yield from rows
    else:
        yield f"# Not read as it stands: {one_line(offer.why_not)}."
        yield from (f"# {row}" for row in rows)


def _comments(offer: Offer) -> Iterator[str]:
    """What was heard of it."""
    topics = offer.topics[0] if len(offer.topics) == 1 else count(len(offer.topics), "topic")
    yield f"{topics}, {_rate(offer)}; such as {_example(offer.example)}"
    for placeholder, names in offer.names.items():
        yield f"{placeholder}: {listed(names)}"
    if offer.machine is not None and offer.machine not in offer.topic.split("/"):
        yield "no level of the topic is a machine: name it"
    if abs(offer.clock_s) > CLOCK_S:
        way = "ahead of" if offer.clock_s > 0 else "behind"
        yield f"its clock is {abs(offer.clock_s) / 60:,.0f} min {way} this computer's"
    if offer.remark:
        yield offer.remark


def _hold(offer: Offer) -> list[str]:
    if not offer.hold_s:
        why = "the longest pause to expect was not heard: set it"
        return [f"hold_s = {UNHEARD_HOLD_S}  # {why}"]
    return [f"hold_s = {offer.hold_s}"] if offer.hold_s != HOLD_S else []


def _payload(table: dict[str, Any]) -> list[str]:
    """The table `payload`; where it is long, its list over several lines."""
    if not table:
        return []
    line = f"payload = {value_of(table)}".replace("{  }", "{}")
    if len(line) <= LINE_CHARS_MAX:
        return [line]
    names = next(
        (value for of in table.values() for value in of.values() if isinstance(value, list)), []
    )
    rows = [f"    {value_of(name)}," for name in names]
    before, after = line.split(value_of(names), 1) if names else (line, "")
    return [f"{before}[", *rows, f"]{after}"] if names else [line]


def _rate(offer: Offer) -> str:
    if offer.intervals_s is None:
        return "kept by the broker, not sent meanwhile" if offer.is_kept else "sent once"
    least, most = (_seconds(interval_s) for interval_s in offer.intervals_s)
    return f"every {least} s" if least == most else f"every {least} to {most} s"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}"


def _example(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return f"{payload[:16].hex(' ')}{' ...' if len(payload) > 16 else ''}"
    first, *more = text.splitlines() or [""]
    return f"{first} and {count(len(more), 'more line')}" if more else first


def _known(known: Known) -> Sequence[str]:
    reason = f"  # {known.reason}" if known.reason else ""
    return (
        "[[mqtt.signals]]",
        f"machine = {value_of(known.machine)}",
        f"name = {value_of(known.name)}",
        f"kind = {value_of(known.kind)}{reason}",
    )


def document(broker: MqttConfig, heard: Heard, found: Proposal) -> dict[str, Any]:
    """The same as plain JSON values."""
    sparkplug = found.sparkplug
    return {
        "url": broker.url,
        "seconds": round(heard.seconds, 3),
        "messages": heard.messages,
        "topics": len(heard.topics),
        "offers": [
            asdict(offer) | {"example": _example(offer.example)} for offer in found.offers
        ],
        "sparkplug": None if sparkplug is None else {
            "groups": list(sparkplug.groups),
            "machine": sparkplug.machine,
            "hosts": sparkplug.hosts,
            "members": [asdict(member) for member in sparkplug.members],
        },
        "left_out": dict(found.left_out),
        "messages_of_more_topics": heard.beyond,
        "messages_too_long": heard.too_long,
    }  # fmt: skip


def tell(heard: Heard, found: Proposal) -> str:
    """What was heard and what was not, for a person."""
    usable = [offer for offer in found.offers if not offer.why_not]
    said = [f"{_heard(heard)}: {count(len(usable), 'pattern')}"]
    if found.sparkplug is not None:
        members = found.sparkplug.members
        devices = sum(member.device != "" for member in members)
        unborn = sum(member.metrics is None for member in members)
        said.append(
            f"Sparkplug: {count(len(members) - devices, 'node')}, {count(devices, 'device')}, "
            f"{unborn:,} of them without a birth"
        )
    if comments := len(found.offers) - len(usable):
        said.append(f"{count(comments, 'pattern')} only as comments")
    if found.left_out:
        said.append(f"left out: {counted(found.left_out)}")
    if heard.beyond:
        said.append(
            f"{count(heard.beyond, 'message')} came under more topics: --topics-max is "
            f"{heard.topics_max:,}"
        )
    if heard.too_long:
        said.append(f"{count(heard.too_long, 'message')} too long to be read")
    if not heard.messages:
        said.append(
            "nothing came: may this user read? listen for longer with --seconds, or name topics "
            "with --topics"
        )
    return "\n".join(said)
