"""History: what a server kept of signals while nobody listened (OPC 10000-11, 6.5.3, raw values).

Enters: spans of signals. Leaves: their samples, those of one signal in the order of time; which
signals were read to the end, and why others were not. Several signals are read in one call, over
the span of all of them; what a page holds beyond what is wanted is left out (`pages.py`).

A server that says nothing has changed is believed only where it also says that it keeps a history
of that node (UserAccessLevel); and a page that is full is never taken for the last one, since some
servers cut there without giving a continuation point.

Fails: OSError where the connection is lost. All else ends up in `failed`: a server that is asked
too much is asked for less, one that does not answer in time is not asked again. Continuation points
that are not used up are released, also when the reading is cancelled or abandoned.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import Client, ua

from agent.sources.opcua.history.pages import Course, Span, fresh, joined
from agent.sources.opcua.wire import Decoder, HistoryPart, Items, WireError
from agent.sources.opcua.wire import history as parts_of

__all__ = ["Filler", "Span"]

HISTORY_S: Final = 60.0
"""So long an outage is read at most; live samples wait meanwhile."""
CALL_S: Final = 10.0
"""A server that has not answered by then is not asked again."""
RELEASE_S: Final = 1.0
NODES_PER_CALL_MAX: Final = 100
NODES_PER_READ_MAX: Final = 1000
VALUES_PER_NODE_MAX: Final = 10_000
VALUES_PER_NODE_MIN: Final = 100
VALUES_PER_CALL_MAX: Final = 200_000
"""About 7 MB in one answer."""
IDLE_MAX: Final = 10
"""Pages of one signal without anything new, one after the other."""

OUT_OF_TIME: Final = "out of time"
NO_ANSWER: Final = "no answer"
MALFORMED: Final = "malformed answer"
NO_PROGRESS: Final = "no progress"
NO_HISTORY: Final = "BadHistoryOperationUnsupported"

_CODES: Final = ua.StatusCodes
_NONE_KEPT: Final = frozenset(
    {
        _CODES.BadHistoryOperationUnsupported, _CODES.BadServiceUnsupported,
        _CODES.BadNotSupported, _CODES.BadNotImplemented,
    }
)  # fmt: skip
"""The node has no history; it is not asked for again."""
_TOO_MUCH: Final = frozenset(
    {
        _CODES.BadTooManyOperations, _CODES.BadResponseTooLarge, _CODES.BadRequestTooLarge,
        _CODES.BadTcpMessageTooLarge, _CODES.BadEncodingLimitsExceeded,
    }
)  # fmt: skip
"""Less should be asked for."""
_IS_BAD: Final = 0x8000_0000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND_NS: Final = 1000


class Filler:
    """Reads histories over one session, once.

    decoder : that knows the spans' handles
    without : nodes that keep no history; it grows, and may be handed to the next Filler
    filled : handles read to the end
    failed : handles that were not, and why
    """

    def __init__(
        self,
        client: Client,
        decoder: Decoder,
        per_call_max: int = NODES_PER_CALL_MAX,
        without: set[ua.NodeId] | None = None,
    ) -> None:
        self.filled: set[int] = set()
        self.failed: dict[int, str] = {}
        self.without = set() if without is None else without
        self._client = client
        self._decoder = decoder
        self._nodes_max = min(per_call_max, NODES_PER_CALL_MAX)
        self._values_max = VALUES_PER_NODE_MAX
        self._work: deque[list[Course]] = deque()
        """Courses that are asked for together, with the same window."""
        self._left: list[Course] = []
        """Courses given up, which may have a continuation point."""
        self._asked: asyncio.Task[Any] | None = None
        self._asked_for: list[Course] = []
        self._deadline_s = 0.0

    @property
    def broken(self) -> set[int]:
        """Handles of `failed` whose nodes do keep a history, as far as is known."""
        return {handle for handle, why in self.failed.items() if why != NO_HISTORY}

    async def fill(self, spans: Sequence[Span]) -> AsyncGenerator[Items, None]:
        """The samples of these spans. Raises OSError."""
        self._deadline_s = time.monotonic() + HISTORY_S
        try:
            kept = await self._with_history([s for s in spans if s.node not in self.without])
            self._plan(kept)
            while self._work:
                items = await self._next(self._work.popleft())
                if items is not None and len(items):
                    yield items
        except TimeoutError:
            late = time.monotonic() >= self._deadline_s
            done = self.filled | self.failed.keys()
            rest = [s for s in spans if s.handle not in done and s.node not in self.without]
            self._fail(rest, OUT_OF_TIME if late else NO_ANSWER)
        finally:
            self._fail((s for s in spans if s.node in self.without), NO_HISTORY)
            await self._release()

    async def _with_history(self, spans: list[Span]) -> list[Span]:
        """Those whose nodes say that they keep a history that we may read."""
        kept: list[Span] = []
        size, done = NODES_PER_READ_MAX, 0
        while done < len(spans):
            group = spans[done : done + size]
            try:
                levels = await self._in_time(
                    self._client.uaclient.session.read_attributes(
                        [span.node for span in group], ua.AttributeIds.UserAccessLevel
                    )
                )
            except ua.UaStatusCodeError as error:
                if error.code not in _TOO_MUCH or size == 1:
                    self._fail(spans[done:], _name(error.code))
                    break
                size = max(1, size // 2)
                continue
            done += len(group)
            for span, level in zip(group, levels, strict=True):
                value = level.Value.Value if level.Value is not None else 0
                if isinstance(value, int) and value >> ua.AccessLevel.HistoryRead & 1:
                    kept.append(span)
                else:
                    self.without.add(span.node)
        return kept

    def _plan(self, spans: Sequence[Span]) -> None:
        """Ask together for those that begin together: a call has one window for all its nodes."""
        ordered = sorted(spans, key=lambda span: span.after_ns)
        for begin in range(0, len(ordered), self._nodes_max):
            group = ordered[begin : begin + self._nodes_max]
            window = group[0].after_ns, max(span.until_ns for span in group)
            self._work.append([Course(span, window) for span in group])

    async def _next(self, courses: list[Course]) -> Items | None:
        """Ask for the next page of each of these, and plan what follows."""
        if len(courses) > self._nodes_max:
            self._work.appendleft(courses[self._nodes_max :])
            courses = courses[: self._nodes_max]
        values = min(
            self._values_max, max(VALUES_PER_NODE_MIN, VALUES_PER_CALL_MAX // len(courses))
        )
        try:
            body = await self._ask(courses, values)
            parts = parts_of(body)
            if len(parts) != len(courses):
                raise WireError(f"{len(parts)} results for {len(courses)} nodes")
        except ua.UaStatusCodeError as error:
            self._refused(courses, int(error.code))
            return None
        except WireError:
            self._fail((course.span for course in courses), MALFORMED)
            return None
        pages = [
            self._page(course, part, body, values, alone=len(courses) == 1)
            for course, part in zip(courses, parts, strict=True)
        ]
        going = [course for course in courses if course.point]
        if going:
            self._work.appendleft(going)
        return joined([page for page in pages if page is not None and len(page)])

    def _page(
        self, course: Course, part: HistoryPart, body: bytes, values: int, *, alone: bool
    ) -> Items | None:
        """What a part of an answer brings of one signal; with its `point` the course goes on."""
        had_point, course.point = bool(course.point), part.continuation
        if part.status & _IS_BAD and part.status != _CODES.BadNoData:
            self._bad(course, part.status, had_point=had_point, alone=alone)
            return None
        page = fresh(course, self._decoder.values(part, body, course.span.handle))
        if course.point and course.idle <= IDLE_MAX:
            return page
        if course.point or (part.items >= values and course.idle):
            self._left.append(Course(course.span, course.window, course.point))
            course.point = b""
            self._fail([course.span], NO_PROGRESS)
        elif part.items >= values:
            self._again(course)
        else:
            self.filled.add(course.span.handle)
        return page

    def _bad(self, course: Course, status: int, *, had_point: bool, alone: bool) -> None:
        """No page came. Where the server only lacks the means to go on, it is asked anew."""
        course.point = b""
        course.idle += 1
        lacks_points = status == _CODES.BadNoContinuationPoints and not alone
        lost_point = status == _CODES.BadContinuationPointInvalid and had_point
        if (lacks_points or lost_point) and course.idle <= IDLE_MAX:
            self._again(course)
        else:
            self._give_up([course.span], status)

    def _again(self, course: Course) -> None:
        """Ask for it alone, from the newest that was told."""
        course.window = max(course.window[0], course.seen_ns), course.window[1]
        self._work.append([course])

    def _refused(self, courses: list[Course], code: int) -> None:
        """The whole call was: ask for less, if that is what it says."""
        half = len(courses) // 2
        if code in _TOO_MUCH and half:
            self._nodes_max = half
            self._work.extendleft((courses[half:], courses[:half]))
        elif code in _TOO_MUCH and self._values_max > VALUES_PER_NODE_MIN:
            self._values_max = max(VALUES_PER_NODE_MIN, self._values_max // 4)
            self._work.appendleft(courses)
        else:
            if code == _CODES.BadServiceUnsupported:
                courses = [*courses, *(course for group in self._work for course in group)]
                self._work.clear()
            self._left += courses
            self._give_up([course.span for course in courses], code)

    def _give_up(self, spans: Sequence[Span], code: int) -> None:
        if code in _NONE_KEPT:
            self.without.update(span.node for span in spans)
        else:
            self._fail(spans, _name(code))

    def _fail(self, spans: Iterable[Span], why: str) -> None:
        self.failed.update((span.handle, why) for span in spans)

    async def _ask(self, courses: list[Course], values: int) -> bytes:
        """The answer. Where it is not waited for to the end, `_release` still looks after it."""
        self._asked_for = courses
        if time.monotonic() >= self._deadline_s:
            raise TimeoutError
        send = self._client.uaclient._send_request(_request(courses, values))
        self._asked = asyncio.ensure_future(send)
        body = bytes(await self._in_time(asyncio.shield(self._asked)))
        self._asked = None
        return body

    async def _in_time(self, call: Any) -> Any:
        """The result of a call. Raises TimeoutError."""
        left_s = max(self._deadline_s - time.monotonic(), 0.0)
        return await asyncio.wait_for(call, min(CALL_S, left_s))

    async def _release(self) -> None:
        """Tell the server that nobody comes for the rest."""
        groups = [self._left, self._asked_for, *self._work]
        with suppress(OSError, ua.UaError):
            async with asyncio.timeout(RELEASE_S):
                await self._await_asked()
                held = {id(one): one for group in groups for one in group if one.point}
                courses = list(held.values())
                for begin in range(0, len(courses), self._nodes_max):
                    group = courses[begin : begin + self._nodes_max]
                    await self._client.uaclient._send_request(_request(group, 1, release=True))

    async def _await_asked(self) -> None:
        """Take the continuation points of an answer that nobody waits for any more."""
        if self._asked is None:
            return
        with suppress(ua.UaError, WireError):
            parts = parts_of(bytes(await self._asked))
            for course, part in zip(self._asked_for, parts, strict=False):
                course.point = part.continuation


def _request(
    courses: Sequence[Course], values: int, *, release: bool = False
) -> ua.HistoryReadRequest:
    start_ns, end_ns = courses[0].window
    request = ua.HistoryReadRequest()
    request.Parameters = ua.HistoryReadParameters(
        HistoryReadDetails=ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_moment(start_ns),
            EndTime=_moment(end_ns + _MICROSECOND_NS),
            NumValuesPerNode=ua.UInt32(values),
            ReturnBounds=False,
        ),
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=release,
        NodesToRead=[
            ua.HistoryReadValueId(NodeId=course.span.node, ContinuationPoint=course.point or None)
            for course in courses
        ],
    )
    return request


def _moment(time_ns: int) -> datetime:
    """Cut to microseconds, which is all that Python's carries."""
    return _EPOCH + timedelta(microseconds=max(time_ns, 0) // _MICROSECOND_NS)


def _name(code: int) -> str:
    return str(ua.StatusCode(ua.UInt32(code)).name)
