"""Browse and Read, as many nodes a call as the server bears.

Enters: NodeIds. Leaves: references and attributes, one answer for each, in order. Fails: OSError,
TimeoutError and UaError as asyncua does, where the server as a whole does not answer; what it says
of one node is that node's answer.

A server that finds a request too large (BadTooManyOperations and its kin) is asked for half as much
from then on. One that runs out of continuation points is asked for those nodes again, fewer at a
time. An answer that asyncua cannot decode, as with a structure of the vendor's own, is asked for
again in halves until the one value is found, which is then left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from asyncua import ua

from agent.sources.opcua.browse.node_ids import Namespaces
from agent.sources.opcua.session import Session

log = logging.getLogger("andon.opcua.browse")

REFERENCES_MAX: Final = 1000
"""References of one node that a server sends at once; the rest comes by continuation points."""
PARTS_MAX: Final = 10_000
"""Continuations of one Browse; a server that has more to say never ends."""
ATTEMPTS_MAX: Final = 8
"""How often a node is browsed again when its continuation point was lost: 128 nodes, halved."""
UNDECODABLE: Final = "undecodable"

_TOO_MUCH: Final = (
    ua.uaerrors.BadTooManyOperations,
    ua.uaerrors.BadEncodingLimitsExceeded,
    ua.uaerrors.BadRequestTooLarge,
    ua.uaerrors.BadResponseTooLarge,
    ua.uaerrors.BadTcpMessageTooLarge,
)
_LOST_POINTS: Final = {
    ua.StatusCodes.BadNoContinuationPoints,
    ua.StatusCodes.BadContinuationPointInvalid,
}

T = TypeVar("T")


@dataclass(slots=True)
class Answer:
    """What a server says of one node: its references, and why they are not all there."""

    references: list[ua.ReferenceDescription] = field(default_factory=list)
    problem: str = ""


@dataclass(slots=True)
class _Most:
    """How many nodes go into one call; it only ever shrinks."""

    now: int


class Requests:
    """The services of one session. `namespaces` are those of its server."""

    def __init__(self, session: Session, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._services = session.client.uaclient.session
        self._browse = _Most(session.limits.nodes_per_browse_max)
        self._read = _Most(session.limits.nodes_per_read_max)

    @property
    def browse_max(self) -> int:
        """Nodes in one Browse."""
        return self._browse.now

    @property
    def read_max(self) -> int:
        """Attributes in one Read."""
        return self._read.now

    async def references(
        self,
        nodes: Sequence[str],
        reference: int = ua.ObjectIds.HierarchicalReferences,
        *,
        inverse: bool = False,
    ) -> list[Answer]:
        """The references of each node to objects and variables; with `inverse` those to types."""
        answers = [Answer(problem="BadNodeIdUnknown") for _ in nodes]
        wanted: dict[int, ua.BrowseDescription] = {}
        for position, text in enumerate(nodes):
            if (node := self.namespaces.node(text)) is not None:
                wanted[position] = _description(node, reference, inverse)
        most, attempts = self._browse, 0
        while wanted and attempts < ATTEMPTS_MAX:
            found = await _in_groups(list(wanted.values()), most, self._browse_group)
            lost = {}
            for (position, description), answer in zip(wanted.items(), found, strict=True):
                answers[position] = answer or Answer(problem=UNDECODABLE)
                if answers[position].problem == "BadNoContinuationPoints":
                    lost[position] = description
            wanted, attempts = lost, attempts + 1
            most = _Most(max(1, min(most.now, len(lost)) // 2))
        return answers

    async def read(
        self, wanted: Sequence[tuple[str, ua.AttributeIds, str | None]]
    ) -> list[ua.DataValue | None]:
        """The value of each attribute; None where there is none.

        wanted : node, attribute and, of an array, the range of indices
        """
        values: list[ua.DataValue | None] = [None] * len(wanted)
        items: dict[int, ua.ReadValueId] = {}
        for position, (text, attribute, index_range) in enumerate(wanted):
            if (node := self.namespaces.node(text)) is not None:
                items[position] = ua.ReadValueId(node, attribute, index_range)
        found = await _in_groups(list(items.values()), self._read, self._read_group)
        for position, value in zip(items, found, strict=True):
            values[position] = value
        return values

    async def _read_group(self, items: Sequence[ua.ReadValueId]) -> list[ua.DataValue]:
        request = ua.ReadParameters()
        request.TimestampsToReturn = ua.TimestampsToReturn.Neither
        request.NodesToRead = list(items)
        return await self._services.read(request)

    async def _browse_group(self, group: Sequence[ua.BrowseDescription]) -> list[Answer]:
        request = ua.BrowseParameters()
        request.RequestedMaxReferencesPerNode = ua.UInt32(REFERENCES_MAX)
        request.NodesToBrowse = list(group)
        answers = [Answer() for _ in group]
        points: dict[int, bytes] = {}
        for position, result in enumerate(await self._services.browse(request)):
            _take(answers[position], result, position, points)
        for _ in range(PARTS_MAX):
            batch = list(points)[: self._browse.now]
            if not batch:
                break
            following = await self._browse_next([points.pop(position) for position in batch])
            for position, result in zip(batch, following, strict=True):
                _take(answers[position], result, position, points)
        for position in points:
            answers[position].problem = "more references than can be"
        return answers

    async def _browse_next(self, points: Sequence[bytes]) -> list[ua.BrowseResult]:
        request = ua.BrowseNextParameters()
        request.ReleaseContinuationPoints = False
        request.ContinuationPoints = list(points)
        return await self._services.browse_next(request)


def _description(node: ua.NodeId, reference: int, inverse: bool) -> ua.BrowseDescription:
    description = ua.BrowseDescription()
    description.NodeId = node
    description.BrowseDirection = (
        ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward
    )
    description.ReferenceTypeId = ua.NodeId(ua.Int32(reference))
    description.IncludeSubtypes = True
    mask = 0 if inverse else ua.NodeClass.Object | ua.NodeClass.Variable
    description.NodeClassMask = ua.UInt32(mask)
    description.ResultMask = ua.UInt32(ua.BrowseResultMask.All)
    return description


def _take(answer: Answer, result: ua.BrowseResult, position: int, points: dict[int, bytes]) -> None:
    """Add a part of an answer to it, and the point at which it goes on to `points`."""
    status = result.StatusCode
    if status.value in _LOST_POINTS:
        answer.problem = "BadNoContinuationPoints"
        answer.references.clear()
    elif not status.is_good():
        answer.problem = status.name
    else:
        answer.references += result.References or ()
        if result.ContinuationPoint:
            points[position] = result.ContinuationPoint


async def _in_groups(
    items: Sequence[Any], most: _Most, call: Callable[[Sequence[Any]], Awaitable[Sequence[T]]]
) -> list[T | None]:
    answers: list[T | None] = []
    while len(answers) < len(items):
        group = items[len(answers) : len(answers) + most.now]
        answers += await _ask(group, most, call)
    return answers


async def _ask(
    group: Sequence[Any], most: _Most, call: Callable[[Sequence[Any]], Awaitable[Sequence[T]]]
) -> list[T | None]:
    try:
        answers = await call(group)
        if len(answers) == len(group):
            return list(answers)
        log.debug("%d answers to %d questions", len(answers), len(group))
    except _TOO_MUCH as error:
        most.now = max(1, min(most.now, len(group) // 2))
        log.debug("%d nodes a call from now on: %s", most.now, error)
        return await _in_groups(group, most, call) if len(group) > 1 else [None]
    except (OSError, TimeoutError, asyncio.InvalidStateError, ua.UaStatusCodeError):
        raise
    except Exception as error:  # whatever asyncua's decoder stumbles over
        log.debug("an answer of %d cannot be decoded: %r", len(group), error)
    if len(group) == 1:
        return [None]
    half = len(group) // 2
    return [*await _ask(group[:half], most, call), *await _ask(group[half:], most, call)]
