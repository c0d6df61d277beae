"""A Sparkplug B host application that is not primary (Sparkplug 3.0): births, data and deaths.

Enters: PUBLISH packets of `spBv1.0/`. Leaves: rows of samples, and requests for rebirth. A birth
says what names and aliases of data stand for; its metrics are signals from then on. Messages are
taken in the order of their sequence numbers. A death turns its signals BadNoCommunication.

Nothing fails. What brings no sample goes to the quarantine, or is counted there, by its cause:

    unreadable        a payload, or a topic, that cannot be one
    retained          a message that the broker had kept: nobody knows for how long
    no_birth          a message of whom no birth is known; a rebirth is asked for
    unknown_metric    each metric that the birth did not have; a rebirth is asked for
    unsupported       each metric of a type that is no single value: data set, template, array, file
    no_signal         each metric that cannot be a signal: its name, too many, or another's signal
    transient         each metric that asks not to be stored
    repeated, late    a number that came twice; a birth or death that came after what follows it
    stale             an NDEATH of another session, or what was sent before the birth

`missed` counts, as `message`, how often numbers were missing when the time to wait was over;
`inexact` integers beyond 2^53, which were rounded. Memory is bounded by `NODES_MAX`, `MEMBERS_MAX`,
`TOPICS_MAX`, `TOPIC_BYTES_MAX`, and the limits in `lives.py` and `order.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from agent.batch import Int64
from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.kernels.sparkplug import metrics as kernel
from agent.kernels.sparkplug.fields import fault_words
from agent.sources.mqtt.sparkplug.born import PayloadError, Raw, read_birth
from agent.sources.mqtt.sparkplug.lives import METRICS_MAX, Lives, Resolve
from agent.sources.mqtt.sparkplug.nodes import Address, Member, Message, Node
from agent.sources.mqtt.sparkplug.order import LATE, NO_BIRTH, REPEATED, STALE, Order
from agent.sources.mqtt.sparkplug.rebirths import Rebirths
from agent.sources.mqtt.sparkplug.rows import Gathering, Read, Rows
from agent.sources.quarantine import NO_SIGNAL, UNREADABLE, Quarantine
from agent.sparkplug import NAMESPACE, REBIRTH, DataType, Metric, Payload, Topic, encode

__all__ = ["Host", "Publishes", "Resolve", "Rows"]

NODES_MAX: Final = 10_000
MEMBERS_MAX: Final = 50_000
"""Nodes and devices together; nodes beyond these limits are unreadable."""
TOPICS_MAX: Final = 100_000
"""Distinct topics remembered; beyond it they are looked up anew."""
TOPIC_BYTES_MAX: Final = 500
"""Longer topics are unreadable."""
BACK_NS: Final = 10_000_000_000
"""A device that is not born so long after its node was born again is gone."""

RETAINED: Final = "retained"
UNKNOWN_METRIC: Final = "unknown_metric"
UNSUPPORTED: Final = "unsupported"
TRANSIENT: Final = "transient"

_READ: Final = {"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"}
_SECOND_NS: Final = 1_000_000_000
_MS_NS: Final = 1_000_000


class Publishes(Protocol):
    """What is needed of received messages; see `packets.py`."""

    @property
    def raw(self) -> Raw:
        """All bytes."""

    @property
    def payload_at(self) -> Int64:
        """(n,) where each payload is."""

    @property
    def payload_len(self) -> Int64:
        """(n,) how long it is."""

    @property
    def retain(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the broker had kept it."""

    def topic(self, row: int) -> bytes:
        """The topic of one."""


class Host:
    """The host application of one broker.

    resolve : gives the id and kind of a metric's signal
    now_ns : the gateway's clock, UTC
    send : publishes a payload under a topic, QoS 0, not retained
    quarantine : takes what brought no sample, and counts it
    """

    def __init__(
        self,
        config: SparkplugHostConfig,
        resolve: Resolve,
        now_ns: Callable[[], int],
        send: Callable[[str, bytes], object],
        quarantine: Quarantine,
    ) -> None:
        self.missed: Counter[str] = Counter()
        self.inexact = 0
        self._config = config
        self._now_ns = now_ns
        self._send = send
        self._quarantine = quarantine
        self._nodes: dict[tuple[str, str], Node] = {}
        self._members = 0
        self._addresses: dict[bytes, Address | None] = {}
        self._returning: dict[Member, None] = {}
        self._expected: dict[Node, None] = {}
        self._gathering = Gathering()
        self._gathering.compile()
        self._lives = Lives(config, resolve, self._gathering, self._refused)
        self._order = Order(config.reorder_ms * _MS_NS, self._act, self._drop, self._lost)
        self._rebirths = Rebirths(config.rebirth_every_s * _SECOND_NS)

    def filters(self) -> set[str]:
        """The topic filters to subscribe to."""
        return set(self._config.filters)

    def take(self, publishes: Publishes, rows: Int64, received_ns: int) -> Rows:
        """Take these messages, in order; their samples, with those that waited for them.

        rows : (k,) int64, which of `publishes`, rising; `Rows.message` says the same numbers
        """
        at = np.ascontiguousarray(publishes.payload_at[rows])
        size = np.ascontiguousarray(publishes.payload_len[rows])
        heads = np.empty((len(rows), kernel.HEAD), np.int64)
        self._gathering.texts_before = 0
        kernel.heads(publishes.raw, at, size, heads)
        retained = publishes.retain[rows].tolist()
        for row, start, length, is_retained, (said, sent_ms, seq, metrics, body) in zip(
            rows.tolist(), at.tolist(), size.tolist(), retained, heads.tolist(), strict=True
        ):
            address = self._address(publishes, row)
            if address is None:
                continue
            self._gathering.message = row
            message = Message(
                address, publishes.raw, start, start + length, sent_ms, seq, metrics, received_ns
            )
            if is_retained:
                self._put(RETAINED, message, "the broker had kept it")
            elif said < 0:
                self._put(UNREADABLE, message, fault_words(said, start))
            elif body and seq < 0:
                self._put(UNREADABLE, message, _COMPRESSED)
            elif metrics > METRICS_MAX:
                self._put(UNREADABLE, message, f"it has more than {METRICS_MAX:,} metrics")
            else:
                self._arrived(message)
        return self._gathering.done()

    def look(self, now_ns: int, texts: int = 0) -> Rows | None:
        """What time has brought; every heartbeat. Rebirths are asked for here, too.

        texts : so many stand before those of these rows, which are numbered behind them
        """
        self._gathering.message, self._gathering.texts_before = -1, texts
        self._order.look(now_ns)
        for member in list(self._returning):
            if not 0 <= member.due_ns - now_ns <= BACK_NS:
                del self._returning[member]
                self._lives.gone(member, member.due_ns - BACK_NS, now_ns)
        node = self._rebirths.due(now_ns) if self._config.rebirth else None
        if node is not None:
            self._ask(node, now_ns)
        return self._gathering.done() if len(self._gathering) else None

    def lost(self) -> None:
        """The connection is lost: of no node is anything known any more.

        That is not said of their signals; the pipeline does, as of when the source last vouched.
        """
        now_ns = self._now_ns()
        for node in self._nodes.values():
            node.is_born = False
            self._order.release(node)
            for member in node.members.values():
                self._lives.out_of_sight(member, now_ns)
        self._rebirths.clear()
        self._returning.clear()

    def expect(self, nodes: Iterable[tuple[str, str]]) -> None:
        """Nodes, as (group, node), that were read before a restart; told before the connection."""
        for group, name in nodes:
            if not self._full:
                node = self._nodes.setdefault((group, name), Node(group, name))
                self._expected[node] = None

    def connected(self) -> None:
        """The connection is there: known nodes are asked for their births, one after the other."""
        at_ns = self._now_ns() + self._order.reorder_ns
        for node in self._nodes.values():
            was_born = any(len(member.table) for member in node.members.values())
            if was_born or node in self._expected:
                self._rebirths.want(node, at_ns)
        self._expected.clear()

    def renew(self, config: SparkplugHostConfig, resolve: Resolve) -> None:
        """Go by a changed configuration; nodes that have new signals are asked for their values."""
        self._config = config
        self._addresses.clear()
        self._order.reorder_ns = config.reorder_ms * _MS_NS
        self._rebirths.every_ns = config.rebirth_every_s * _SECOND_NS
        members = [member for node in self._nodes.values() for member in node.members.values()]
        before = {member: member.table.signals for member in members}
        self._lives.renew(config, resolve, members)
        for member in members:
            if len(np.setdiff1d(member.table.signals, before[member])):
                self._rebirths.want(member.node, self._now_ns())

    def _address(self, publishes: Publishes, row: int) -> Address | None:
        """Whose message it is; None for what is not read: commands, hosts' states, no topic."""
        topic = publishes.topic(row)
        if topic in self._addresses:
            return self._addresses[topic]
        if len(self._addresses) >= TOPICS_MAX:
            self._addresses.clear()
        address: Address | None = None
        try:
            address = self._find(topic)
        except ValueError as error:
            self._quarantine.put(UNREADABLE, topic.decode(errors="backslashreplace"), b"", error)
            return None
        self._addresses[topic] = address
        return address

    def _find(self, topic: bytes) -> Address | None:
        """Whose message it is. Raises ValueError for a topic that is none, or one too many."""
        if len(topic) > TOPIC_BYTES_MAX:
            raise ValueError(f"a topic of more than {TOPIC_BYTES_MAX} bytes")
        text = topic.decode()
        if text.startswith(f"{NAMESPACE}/STATE/"):
            return None
        parts = Topic.parse(text)
        if parts.message not in _READ or not self._config.reads(parts.group, parts.node):
            return None
        node = self._nodes.get((parts.group, parts.node))
        is_new = node is None or parts.device not in node.members
        if is_new and (self._members >= MEMBERS_MAX or (node is None and self._full)):
            raise ValueError(f"more than {NODES_MAX:,} nodes, or {MEMBERS_MAX:,} with devices")
        if node is None:
            node = self._nodes[parts.group, parts.node] = Node(parts.group, parts.node)
        self._members += is_new
        return Address(text, parts.message, node, node.member(parts.device))

    @property
    def _full(self) -> bool:
        return len(self._nodes) >= NODES_MAX

    def _arrived(self, message: Message) -> None:
        match message.address.message:
            case "NBIRTH":
                self._node_birth(message)
            case "NDEATH":
                self._node_death(message)
            case _:
                self._order.arrived(message)

    def _act(self, message: Message) -> None:
        """Take a message whose turn it is."""
        member = message.address.member
        match message.address.message:
            case "DBIRTH":
                self._birth(member, message)
            case "DDEATH":
                self._returning.pop(member, None)
                self._lives.gone(member, message.sent_ns, message.received_ns)
            case _ if member.is_born:
                self._data(member, message)
            case _:
                self._drop(NO_BIRTH, message)

    def _node_birth(self, message: Message) -> None:
        node, member = message.address.node, message.address.member
        bdseq = self._birth(member, message)
        if not member.is_born:
            return
        node.is_born, node.bdseq = True, bdseq
        for device in node.members.values():
            if device is not member and (device.is_born or device.is_alive):
                device.is_born = False
                device.due_ns = message.received_ns + BACK_NS
                self._returning[device] = None
        self._order.begin(node, message)
        self._rebirths.cancel(node)

    def _node_death(self, message: Message) -> None:
        """An NDEATH, if it is that of the session whose NBIRTH came last."""
        node = message.address.node
        try:
            bdseq = read_birth(message.raw, message.at, message.end, message.metrics).bdseq
        except PayloadError as error:
            return self._put(UNREADABLE, message, error)
        if not node.is_born:
            return None
        if None not in (bdseq, node.bdseq) and bdseq != node.bdseq:
            return self._put(STALE, message, f"it ends session {bdseq}, now is {node.bdseq}")
        self._order.release(node)
        node.is_born = False
        self._rebirths.cancel(node)
        for member in node.members.values():
            self._returning.pop(member, None)
            self._lives.gone(member, message.received_ns, message.received_ns)
        return None

    def _birth(self, member: Member, message: Message) -> int | None:
        """Take a birth; the bdSeq it has, if any."""
        try:
            birth = read_birth(message.raw, message.at, message.end, message.metrics)
            read = self._lives.born(member, message, birth.metrics)
        except PayloadError as error:
            self._put(UNREADABLE, message, error)
            return None
        self._returning.pop(member, None)
        self._count(message, read)
        return birth.bdseq

    def _data(self, member: Member, message: Message) -> None:
        try:
            read = self._lives.data(member, message)
        except PayloadError as error:
            return self._put(UNREADABLE, message, error)
        self._count(message, read)
        if read.unknown:
            self._rebirths.want(member.node, message.received_ns)
        return None

    def _count(self, message: Message, read: Read) -> None:
        """Count what of a payload brought no sample."""
        if read.unknown:
            topic, reason = message.address.topic, f"{read.unknown} metrics not in the birth"
            self._quarantine.put(UNKNOWN_METRIC, topic, message.payload, reason, read.unknown)
        if read.skipped:
            rejected = self._quarantine.rejected
            for cause, count in (
                (UNSUPPORTED, read.unsupported),
                (NO_SIGNAL, read.no_signal),
                (TRANSIENT, read.transient),
            ):
                if count:
                    rejected[cause] += count
        self.inexact += read.inexact

    def _lost(self, node: Node, now_ns: int) -> None:
        """Of a node messages are missing, or the birth."""
        if node.is_born:
            self.missed["message"] += 1
        self._rebirths.want(node, now_ns)

    def _drop(self, cause: str, message: Message) -> None:
        """A message is in no order. A node whose clock was set back is out of it for long, too."""
        self._put(cause, message, _REASONS[cause])
        if cause != REPEATED:
            self._rebirths.want(message.address.node, message.received_ns)

    def _put(self, cause: str, message: Message, reason: object) -> None:
        self._quarantine.put(cause, message.address.topic, message.payload, reason)

    def _refused(self, member: Member, reason: str, count: int) -> None:
        topic = f"{NAMESPACE}/{member.node.group}/{member.node.name}/{member.device}".rstrip("/")
        words = f"{reason} ({count:,} metrics of this birth)" if count > 1 else reason
        self._quarantine.put(NO_SIGNAL, topic, b"", words, 0)

    def _ask(self, node: Node, now_ns: int) -> None:
        """Ask a node for its births (Sparkplug 3.0, 5.17)."""
        now_ms = now_ns // _MS_NS
        payload = Payload(now_ms, (Metric(REBIRTH, DataType.BOOLEAN, True, now_ms),))
        self._send(str(Topic(node.group, "NCMD", node.name)), encode(payload))


_COMPRESSED: Final = "it is no Sparkplug but has a body of its own; switch off compression"
_REASONS: Final = {
    NO_BIRTH: "no birth of it is known yet",
    STALE: "it was sent before the birth",
    LATE: "it came after what follows it",
    REPEATED: "its number came twice",
}
