"""Births, data and deaths of members (nodes and devices), in the order in which they count.

Enters: messages, each in its turn. Leaves: rows in the gathering. A birth gives a member its table
and makes its metrics signals; what an older birth had and this one has not is out of reach. Fails:
PayloadError for a payload that cannot be read, of which nothing is taken then.

The values of a birth are as of the birth, however old, unless the member was in reach before: then
they are said again at their own times. A death counts from its own time (DDEATH) or its arrival
(NDEATH, whose will was written long before), but never before the member's last sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from agent.batch import AHEAD_MAX_NS
from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.errors import SignalsFull
from agent.kernels.sparkplug import values
from agent.signals import Kind
from agent.sources.mqtt.sparkplug.born import Defined, PayloadError, table_of
from agent.sources.mqtt.sparkplug.nodes import Member, Message
from agent.sources.mqtt.sparkplug.rows import Gathering, Read

METRICS_MAX: Final = 250_000
"""Metrics that the tables of all members may have together."""
LETTERS_MAX: Final = 32 << 20
"""Letters of the names and units of all of them; a letter takes 2 bytes, or up to 8."""

Resolve = Callable[[str, str, str, str, Kind, str], tuple[int, Kind]]
"""(group, node, device or "", metric, kind, unit) to the signal's id and its kind.

Raises ValueError for a name that cannot be one, SignalsFull for one too many.
"""


class Lives:
    """What all members are, and the rows that come of it.

    refused : told why metrics of a member became no signals: one of them, and how many
    """

    def __init__(
        self,
        config: SparkplugHostConfig,
        resolve: Resolve,
        gathering: Gathering,
        refused: Callable[[Member, str, int], None],
    ) -> None:
        self._config = config
        self._resolve = resolve
        self._gathering = gathering
        self._refused = refused
        self._owners: dict[int, Member] = {}
        self._metrics = 0
        self._letters = 0

    def born(self, member: Member, message: Message, metrics: tuple[Defined, ...]) -> Read:
        """Take a birth. Raises PayloadError."""
        before = member.table
        if self._metrics - len(before) + len(metrics) > METRICS_MAX:
            raise PayloadError(f"with its metrics there would be more than {METRICS_MAX:,}")
        if self._letters - _letters(before.metrics) + _letters(metrics) > LETTERS_MAX:
            raise PayloadError(
                f"all names of metrics together would have over {LETTERS_MAX:,} letters"
            )
        since_ns = 0 if member.is_alive else max(message.sent_ns, member.gone_ns + 1)
        was_refused = values.NO_SIGNAL in before.entries[:, 0]
        if metrics != before.metrics or was_refused:  # most births say what the last one said
            self._give(member, metrics)
        if member.is_alive:
            lost = np.setdiff1d(before.signals, member.table.signals)
            self._gathering.gone(lost, _after(member, message.sent_ns, message.received_ns))
        member.is_born = member.is_alive = True
        member.due_ns = 0
        return self._values(member, message, since_ns)

    def data(self, member: Member, message: Message) -> Read:
        """Take the values of a member that was born. Raises PayloadError."""
        return self._values(member, message, 0)

    def gone(self, member: Member, time_ns: int, now_ns: int) -> None:
        """A member is dead or lost: say so of its signals, if that has not been said."""
        if member.is_alive:
            member.gone_ns = _after(member, time_ns, now_ns)
            self._gathering.gone(member.table.signals, member.gone_ns)
        member.is_born = member.is_alive = False
        member.due_ns = 0

    def out_of_sight(self, member: Member, now_ns: int) -> None:
        """The connection is lost: its births count no more. Nothing is said of its signals."""
        member.gone_ns = max(member.gone_ns, now_ns)
        member.is_born = member.is_alive = False
        member.due_ns = 0

    def renew(self, config: SparkplugHostConfig, resolve: Resolve, members: list[Member]) -> None:
        """Look up the signals of all members anew."""
        self._config, self._resolve = config, resolve
        self._owners.clear()
        for member in members:
            self._give(member, member.table.metrics)

    def _values(self, member: Member, message: Message, since_ns: int) -> Read:
        read = self._gathering.read(
            message.raw, message.at, message.end, message.metrics, member.table,
            message.sent_ns, since_ns,
        )  # fmt: skip
        member.latest_ns = max(member.latest_ns, read.latest_ns)
        return read

    def _give(self, member: Member, metrics: tuple[Defined, ...]) -> None:
        """Give a member the table of these metrics."""
        for number in member.table.signals.tolist():
            if self._owners.get(number) is member:
                del self._owners[number]
        self._metrics += len(metrics) - len(member.table)
        self._letters += _letters(metrics) - _letters(member.table.metrics)
        reasons: Counter[str] = Counter()
        member.table = table_of(metrics, lambda one: self._signal(member, one, reasons))
        if reasons:
            self._refused(member, next(iter(reasons)), reasons.total())

    def _signal(self, member: Member, metric: Defined, reasons: Counter[str]) -> tuple[int, bool]:
        """The signal of a metric, or what stands in its place."""
        if not self._config.takes(metric.name):
            return values.LEFT_OUT, False
        if metric.kind is None:
            return values.UNSUPPORTED, False
        node = member.node
        try:
            number, kind = self._resolve(
                node.group, node.name, member.device, metric.name, metric.kind, metric.unit
            )
        except (ValueError, SignalsFull) as error:
            reasons[f"{metric.name!r:.80}: {error}"] += 1
            return values.NO_SIGNAL, False
        if kind == "waveform":
            reasons[f"{metric.name!r:.80}: a metric is one value, so it cannot be a waveform"] += 1
            return values.NO_SIGNAL, False
        owner = self._owners.setdefault(number, member)
        if owner is not member:
            reasons[
                f"{metric.name!r:.80} of {owner.node.name!r} {owner.device!r} is the same signal; "
                'machines apart, such as machine = "{node}-{device}", tell them apart'
            ] += 1
            return values.NO_SIGNAL, False
        return number, kind == "text"


def _letters(metrics: tuple[Defined, ...]) -> int:
    return sum(len(one.name) + len(one.unit) for one in metrics)


def _after(member: Member, time_ns: int, now_ns: int) -> int:
    """That time, or just behind the member's last sample where its clock is ahead."""
    return max(time_ns, min(member.latest_ns, now_ns + AHEAD_MAX_NS) + 1)
