"""A server's history, played: it does what servers do, and what some do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary

from tests.agent.sources.opcua.messages import moment

Sample = tuple[int, Any, int]
"""Source time in nanoseconds, value, status."""

CODES = ua.StatusCodes
READABLE = 1 << ua.AccessLevel.CurrentRead
KEPT = READABLE | 1 << ua.AccessLevel.HistoryRead


def node(number: int) -> ua.NodeId:
    return ua.NodeId.from_string(f"ns=2;s=v{number}")


def refusal(code: int) -> Exception:
    kind: Any = ua.UaStatusCodeError
    error: Exception = kind(code)
    return error


def time_ns_of(moment_: Any) -> int:
    return round(float(moment_.timestamp()) * 1e6) * 1000


class PlayedHistory:
    """A client of a server that keeps these histories, as far as a Filler uses one.

    samples : by node
    page_max : values of one node in an answer
    points_max : continuation points that it holds at most
    nodes_max, values_max : of one call; more is refused
    cuts : what is too much for NumValuesPerNode is left out without a continuation point
    stateless : a continuation point is the time of the next value, which is all it goes by
    faults : of the call, each once; statuses : of nodes, always; bounds : told although not asked
    silent : it answers nothing from this call on
    asked : nodes of each call; points : that are open
    """

    def __init__(self, samples: Sequence[Sequence[Sample]]) -> None:
        self.samples = {node(number): list(one) for number, one in enumerate(samples)}
        self.page_max = 1_000_000
        self.points_max = 1000
        self.nodes_max = 1000
        self.values_max = 1_000_000
        self.cuts = self.stateless = self.bounds = False
        self.levels: dict[ua.NodeId, int] = {}
        self.statuses: dict[ua.NodeId, int] = {}
        self.faults: list[int] = []
        self.silent: int | None = None
        self.asked: list[list[ua.NodeId]] = []
        self.points: dict[bytes, tuple[ua.NodeId, int]] = {}
        self.answering = asyncio.Event()
        self.answering.set()
        self.called = asyncio.Event()
        self._given = 0

    @property
    def uaclient(self) -> Any:
        return self

    @property
    def session(self) -> Any:
        return self

    async def read_attributes(self, nodes: Sequence[ua.NodeId], _: Any) -> list[ua.DataValue]:
        if len(nodes) > self.nodes_max:
            raise ua.uaerrors.BadTooManyOperations
        return [ua.DataValue(ua.Variant(self.levels.get(one, KEPT))) for one in nodes]

    async def _send_request(self, request: ua.HistoryReadRequest) -> Buffer:
        parameters = request.Parameters
        nodes = parameters.NodesToRead
        if parameters.ReleaseContinuationPoints:
            for one in nodes:
                self.points.pop(one.ContinuationPoint, None)
            return _response([ua.HistoryReadResult() for _ in nodes])
        self.asked.append([one.NodeId for one in nodes])
        self.called.set()
        if self.silent is not None and len(self.asked) > self.silent:
            await asyncio.Event().wait()
        await self.answering.wait()
        if self.faults:
            raise refusal(self.faults.pop(0))
        if len(nodes) > self.nodes_max:
            raise refusal(CODES.BadTooManyOperations)
        results = [self._result(one, parameters.HistoryReadDetails) for one in nodes]
        told = sum(len(one.HistoryData.DataValues or ()) for one in results if one.HistoryData)
        if told > self.values_max:
            for one in results:
                self.points.pop(one.ContinuationPoint or b"", None)
            raise refusal(CODES.BadResponseTooLarge)
        return _response(results)

    def _result(
        self, asked: ua.HistoryReadValueId, details: ua.ReadRawModifiedDetails
    ) -> ua.HistoryReadResult:
        result = ua.HistoryReadResult()
        start_ns, end_ns = time_ns_of(details.StartTime), time_ns_of(details.EndTime)
        begin = 0
        if asked.ContinuationPoint:
            if asked.ContinuationPoint not in self.points:
                result.StatusCode = ua.StatusCode(ua.UInt32(CODES.BadContinuationPointInvalid))
                return result
            _, begin = self.points.pop(asked.ContinuationPoint)
        if status := self.statuses.get(asked.NodeId):
            result.StatusCode = ua.StatusCode(ua.UInt32(status))
            return result
        every = self.samples[asked.NodeId]
        if self.stateless and asked.ContinuationPoint:
            start_ns, begin = every[begin][0], 0
        found = [i for i, one in enumerate(every) if i >= begin and start_ns <= one[0] <= end_ns]
        size = min(self.page_max, details.NumValuesPerNode)
        if len(found) > size:
            if not self.cuts:
                if len(self.points) >= self.points_max:
                    result.StatusCode = ua.StatusCode(ua.UInt32(CODES.BadNoContinuationPoints))
                    return result
                result.ContinuationPoint = self._point(asked.NodeId, found[size])
            found = found[:size]
        values = [every[index] for index in found]
        if self.bounds:
            values = [(start_ns, None, CODES.BadBoundNotFound), *values, (end_ns, 9.0, 0)]
        result.HistoryData = ua.HistoryData(DataValues=[_value(*one) for one in values])
        return result

    def _point(self, at: ua.NodeId, index: int) -> bytes:
        self._given += 1
        point = self._given.to_bytes(4, "little")
        self.points[point] = at, index
        return point


def _value(time_ns: int, value: Any, status: int) -> ua.DataValue:
    variant = None if value is None else ua.Variant(value)
    at: Any = moment(time_ns)
    return ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), at)


def _response(results: list[ua.HistoryReadResult]) -> Buffer:
    return Buffer(struct_to_binary(ua.HistoryReadResponse(Results=results)))
