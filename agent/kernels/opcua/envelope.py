"""What surrounds items: answers to Publish, Republish and HistoryRead (OPC 10000-4, 5.14, 5.11.3).

Enters: an answer from its type id on. Leaves: its numbers, and where its notifications or histories
lie; every one of their items has been stepped over, so what is found here can be read. Fails: with
a fault for the whole answer.

Cost: 1 us an answer and 6 ns an item. Memory: none but the given rows.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.reading import (
    ANSWER,
    DIAGNOSTIC_INFO,
    ENDS,
    LENGTHLESS,
    STRING,
    Int,
    fault,
    fault_kind,
    i64,
    time_ns,
    u16,
    u32,
)
from agent.kernels.opcua.skipping import (
    count_at,
    skip_array_of,
    skip_diagnostic,
    skip_extension,
    skip_node_id,
    skip_size,
    skip_string,
)
from agent.kernels.opcua.walking import AT, HANDLE_SIZE, LEFT, VALUE_END, walk, walk_events

PUBLISH: Final = 829
REPUBLISH: Final = 835
HISTORY_READ: Final = 667
DATA_CHANGE: Final = 811
EVENT_LIST: Final = 916
STATUS_CHANGE: Final = 820
HISTORY_DATA: Final = 658
HISTORY_MODIFIED: Final = 11_227
"""Numbers of the binary encodings (OPC 10000-6, annex A)."""

SERVICE_RESULT: Final = 0
SUBSCRIPTION: Final = 1
AVAILABLE_AT: Final = 2
AVAILABLE: Final = 3
MORE: Final = 4
SEQUENCE: Final = 5
PUBLISHED_NS: Final = 6
NOTIFICATIONS: Final = 7
STATUS: Final = 8
UNKNOWN: Final = 9
RESULTS_AT: Final = 10
RESULTS: Final = 11
STUCK: Final = 12
HEAD: Final = 13
"""Places in an answer's head, (HEAD,) int64. STUCK: whether a walk met a LENGTHLESS fault."""

FOUND: Final = 4
"""Columns of what was found, int64: type, start and end of its body, items in it."""
RESULT: Final = 6
"""Columns of a history, int64: status, start and end of its continuation point, start and end of
its values, how many."""


@numba.njit(cache=True, nogil=True)
def _type_at(body: Any, p: Int) -> Int:
    """The number of a NodeId in namespace 0, where `skip_node_id` found no fault; else -1."""
    encoding = body[p]
    if encoding == 0:
        return np.int64(body[p + 1])
    if encoding == 1 and body[p + 1] == 0:
        return u16(body, p + 2)
    if encoding == 2 and u16(body, p + 1) == 0:
        return u32(body, p + 3)
    return -1


@numba.njit(cache=True, nogil=True)
def _response(body: Any, type_id: Int, head: Any) -> Int:
    """Step over type id and ResponseHeader (OPC 10000-4, 7.33)."""
    end = body.size
    p = skip_node_id(body, np.int64(0), end)
    if p < 0:
        return p
    if _type_at(body, np.int64(0)) != type_id:
        return fault(0, ANSWER)
    if end - p < 16:
        return fault(p, ENDS)
    head[SERVICE_RESULT] = u32(body, p + 12)
    p = skip_diagnostic(body, p + 16, end)
    if p >= 0:
        p = skip_array_of(body, p, end, np.int64(STRING))
    return skip_extension(body, p, end) if p >= 0 else p


@numba.njit(cache=True, nogil=True)
def _array_of(body: Any, p: Int, size: Int) -> Int:
    """Step over an array of numbers of `size` bytes."""
    count = count_at(body, p, body.size)
    return skip_size(p + 4, body.size, count * size) if count >= 0 else count


@numba.njit(cache=True, nogil=True)
def _take(body: Any, type_id: Int, start: Int, end: Int, head: Any, state: Any) -> Int:
    """Look at one notification's body; how many items it has, or a fault."""
    if type_id == STATUS_CHANGE:
        if end - start < 4:
            return fault(start, ENDS)
        head[STATUS] = u32(body, start)
        return 0
    if type_id == EVENT_LIST:
        behind = walk_events(body, start, end)
    else:
        state[AT] = state[LEFT] = state[VALUE_END] = 0
        state[HANDLE_SIZE] = 4
        behind = walk(body, start, end, state)
    if behind < 0:
        if fault_kind(behind) != LENGTHLESS:
            return behind
        head[STUCK] = 1
    return count_at(body, start, end)


@numba.njit(cache=True, nogil=True)
def _message(body: Any, p: Int, head: Any, found: Any, state: Any) -> Int:
    """Step over a NotificationMessage (OPC 10000-4, 7.26)."""
    end = body.size
    if end - p < 12:
        return fault(p, ENDS)
    head[SEQUENCE] = u32(body, p)
    head[PUBLISHED_NS] = time_ns(i64(body, p + 4), 0)
    p += 12
    count = count_at(body, p, end)
    if count < 0:
        return count
    p += 4
    for _ in range(count):
        at = p
        p = skip_extension(body, at, end)
        if p < 0:
            return p
        encoding = skip_node_id(body, at, end)
        start = encoding + 5
        type_id = _type_at(body, at) if body[encoding] == 1 else -1
        if type_id != DATA_CHANGE and type_id != EVENT_LIST and type_id != STATUS_CHANGE:
            head[UNKNOWN] += 1
            continue
        items = _take(body, type_id, start, p, head, state)
        if items < 0:
            return items
        if type_id != STATUS_CHANGE:
            if head[NOTIFICATIONS] < found.shape[0]:
                row = found[head[NOTIFICATIONS]]
                row[0], row[1], row[2], row[3] = type_id, start, p, items
            head[NOTIFICATIONS] += 1
    return p


@numba.njit(cache=True, nogil=True)
def publish(body: Any, head: Any, found: Any, state: Any) -> Int:
    """Read a PublishResponse, up to its DiagnosticInfos.

    head : (HEAD,) int64, becomes its numbers; STATUS stays -1 without a StatusChangeNotification
    found : (f, FOUND) int64, becomes its notifications; where NOTIFICATIONS is more, call again
    state : of a walk, for the kernel's own use
    """
    head[:] = 0
    head[STATUS] = -1
    end = body.size
    p = _response(body, np.int64(PUBLISH), head)
    if p < 0:
        return p
    if end - p < 8:
        return fault(p, ENDS)
    head[SUBSCRIPTION] = u32(body, p)
    head[AVAILABLE_AT] = p + 8
    p = _array_of(body, p + 4, 4)
    if p < 0:
        return p
    head[AVAILABLE] = (p - head[AVAILABLE_AT]) // 4
    if end - p < 1:
        return fault(p, ENDS)
    head[MORE] = body[p] != 0
    p = _message(body, p + 1, head, found, state)
    if p < 0:
        return p
    head[RESULTS_AT] = p + 4
    p = _array_of(body, p, 4)
    if p < 0:
        return p
    head[RESULTS] = (p - head[RESULTS_AT]) // 4
    return skip_array_of(body, p, end, np.int64(DIAGNOSTIC_INFO))


@numba.njit(cache=True, nogil=True)
def republish(body: Any, head: Any, found: Any, state: Any) -> Int:
    """Read a RepublishResponse; arguments as of `publish`."""
    head[:] = 0
    head[STATUS] = -1
    p = _response(body, np.int64(REPUBLISH), head)
    return _message(body, p, head, found, state) if p >= 0 else p


@numba.njit(cache=True, nogil=True)
def _history(body: Any, p: Int, head: Any, row: Any, state: Any) -> Int:
    """Step over a HistoryReadResult."""
    end = body.size
    if end - p < 4:
        return fault(p, ENDS)
    row[:] = 0
    row[0] = u32(body, p)
    row[1] = p + 8
    p = skip_string(body, p + 4, end)
    if p < 0:
        return p
    row[2] = max(p, row[1])
    at = p
    p = skip_extension(body, at, end)
    if p < 0:
        return p
    encoding = skip_node_id(body, at, end)
    type_id = _type_at(body, at) if body[encoding] == 1 else -1
    if type_id in (HISTORY_DATA, HISTORY_MODIFIED):
        row[3], row[4] = encoding + 5, p
        state[AT] = state[LEFT] = state[VALUE_END] = 0
        state[HANDLE_SIZE] = 0
        behind = walk(body, row[3], p, state)
        if behind < 0:
            if fault_kind(behind) != LENGTHLESS:
                return behind
            head[STUCK] = 1
        row[5] = count_at(body, row[3], p)
    return p


@numba.njit(cache=True, nogil=True)
def history(body: Any, head: Any, found: Any, state: Any) -> Int:
    """Read a HistoryReadResponse.

    head : (HEAD,) int64, SERVICE_RESULT, RESULTS and STUCK of it
    found : (f, RESULT) int64, f > 0, becomes its results; where RESULTS is more, call again
    state : of a walk, for the kernel's own use
    """
    head[:] = 0
    p = _response(body, np.int64(HISTORY_READ), head)
    if p < 0:
        return p
    count = count_at(body, p, body.size)
    if count < 0:
        return count
    p += 4
    for result in range(count):
        p = _history(body, p, head, found[min(result, found.shape[0] - 1)], state)
        if p < 0:
            return p
    head[RESULTS] = count
    return skip_array_of(body, p, body.size, np.int64(DIAGNOSTIC_INFO))
