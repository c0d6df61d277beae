"""Layouts: payloads met before are decoded by kernels, in bulk.

Enters: messages with the routes of their topics, and of each layout once a payload that the general
decoder has read (`agent/sources/mqtt/payloads/`). Leaves: columns of samples, and the messages that
were not decoded: of unknown layouts, or with anything odd in them. Those are the general decoder's.
What the kernel gives is what that would give. Nothing fails.

    learning.py     one payload to a program: literal bytes, and slots for what changes
    the kernels     agent/kernels/mqtt/: layouts, numbers, times, scanning

Programs are shared by all routes of one layout; a route has at most `LAYOUTS_MAX`, and learns from
at most `TRIES_MAX` payloads. Memory: 72 B a route, 4 B a signal of each of its layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.batch import Float64, Int32, Int64, UInt32
from agent.config.mqtt.payload import PayloadConfig
from agent.kernels.mqtt import layouts as kernel
from agent.sources.mqtt.layouts.learning import Operation, Program, learned, plain
from agent.sources.mqtt.packets import Publishes

LAYOUTS_MAX: Final = 8
"""Of one route. What comes in more layouts is the general decoder's."""
TRIES_MAX: Final = 32
"""Payloads of one route that are looked at, so that one that ever changes costs nothing more."""
PROGRAMS_MAX: Final = 10_000
"""Different layouts of one source."""
OPERATIONS_MAX: Final = 1_000_000
"""Operations of all programs."""
SLOTS_MAX: Final = 10_000_000
"""Signals of all layouts of all routes."""
ROOM_ROWS_MAX: Final = 250_000
"""Rows that are kept room for, 56 B each; of the memory only what was used counts."""
LEARN_BYTES_MAX: Final = 65_536
"""Longest payload that is learned from; longer ones of the same layout are decoded."""

Resolve = Callable[[str | None], tuple[int, bool] | None]
"""The signal that a payload names (None: the topic's own): its number, and whether it is text.

None where there is no such signal, and where it is a waveform.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Samples as columns of equal length n: those of a message together, in the payload's order.

    message : (n,) int64, which message brought it, rising
    signal : (n,) int32
    time_ns : (n,) int64, UTC; 0 where the payload says none: that of arrival
    value : (n,) float64, NaN for what is missing; 0 of a text
    status : (n,) uint32, StatusCodes
    text_at, text_len : (n,) int64, where a text lies in the messages' body; -1 and 0 of a number
    undone : (m,) int64, the messages that were not decoded, rising
    """

    message: Int64
    signal: Int32
    time_ns: Int64
    value: Float64
    status: UInt32
    text_at: Int64
    text_len: Int64
    undone: Int64

    def __len__(self) -> int:
        return len(self.message)


class Layouts:
    """The layouts of one source, by route."""

    def __init__(self) -> None:
        self._cells: Int64 = np.empty((0, kernel.CELLS), np.int64)
        self._values: Float64 = np.empty(0, np.float64)
        self.clear()

    def __len__(self) -> int:
        """How many different layouts are known."""
        return len(self._programs)

    def clear(self) -> None:
        """Know none any more."""
        self._programs: dict[tuple[Program, tuple[bool, ...]], int] = {}
        self._tries: dict[int, int] = {}
        self._layouts: Int32 = np.empty((0, LAYOUTS_MAX, kernel.LAYOUT), np.int32)
        self._slots: Int32 = np.empty(0, np.int32)
        self._slot_count = 0
        self._first: Int64 = np.empty(0, np.int64)
        self._rates_hz: Float64 = np.empty(0, np.float64)
        self._operations: Int64 = np.empty((0, kernel.OPERATION), np.int64)
        self._operation_count = 0
        self._newest: dict[PayloadConfig, Program] = {}

    def learn(self, route: int, config: PayloadConfig, payload: bytes, resolve: Resolve) -> bool:
        """Learn how this payload is laid out, which the general decoder has just read in full.

        route : at least 0, dense
        True where it is known now. False where it cannot be learned, or not any more.
        """
        tries = self._tries.get(route, 0)
        if tries == TRIES_MAX or len(payload) > LEARN_BYTES_MAX:
            return False
        known = 0 if route >= len(self._layouts) else int((self._layouts[route, :, 0] >= 0).sum())
        if known and self._reads(route, payload):
            return True
        self._tries[route] = TRIES_MAX if known == LAYOUTS_MAX else tries + 1
        if known == LAYOUTS_MAX:
            return False
        newest = self._newest.get(config)  # machines of one kind say the same
        if newest is not None and self._take(route, known, newest, payload, resolve):
            return True
        program = _program(config, payload, resolve)
        if program is None or not self._take(route, known, program, payload, resolve):
            return False
        self._newest[config] = program
        return True

    def _take(
        self, route: int, place: int, program: Program, payload: bytes, resolve: Resolve
    ) -> bool:
        """Give a program to a route, if it reads this payload of it."""
        found = [resolve(name) for name in program.names]
        signals = [signal for signal in found if signal is not None]
        if len(signals) < len(found) or self._slot_count + len(found) > SLOTS_MAX:
            return False
        number = self._number_of(program, tuple(is_text for _, is_text in signals))
        if number is None:
            return False
        self._give(route, place, number, [signal for signal, _ in signals])
        if self._reads(route, payload):
            return True
        self._layouts[route, place] = -1
        self._slot_count -= len(found)
        return False

    def decode(self, found: Publishes, rows: Int64, routes: Int32, received_ns: int) -> Decoded:
        """Decode messages.

        rows : (m,) int64, which messages, rising
        routes : (n,) int32, of all messages
        received_ns : when they came: the time of blocks of values that say none
        """
        most = np.minimum(found.payload_len[rows] // 2, kernel.ROWS_MAX)
        cells, value = self._room(2 * len(rows) + int(most.sum()) + 2)
        undone = np.empty(len(rows), np.int64)
        n, left = kernel.decode(
            found.raw, found.payload_at, found.payload_len, rows, routes, self._layouts,
            self._first, self._rates_hz, self._operations, received_ns, cells, value, undone,
        )  # fmt: skip
        taken = cells[:n]
        return Decoded(
            taken[:, kernel.MESSAGE].copy(), self._slots[taken[:, kernel.SLOT]],
            taken[:, kernel.TIME_NS].copy(), value[:n].copy(),
            taken[:, kernel.STATUS].astype(np.uint32), taken[:, kernel.TEXT_AT].copy(),
            taken[:, kernel.TEXT_LEN].copy(), undone[:left],
        )  # fmt: skip

    def _room(self, rows: int) -> tuple[Int64, Float64]:
        """Where the kernel writes: kept, because fresh memory costs as much as decoding into it."""
        if rows > len(self._cells):
            cells, value = np.empty((rows, kernel.CELLS), np.int64), np.empty(rows, np.float64)
            if rows > ROOM_ROWS_MAX:
                return cells, value
            self._cells, self._values = cells, value
        return self._cells, self._values

    def _reads(self, route: int, payload: bytes) -> bool:
        """Whether it is decoded now: a payload that is unlike itself further on is not."""
        raw = np.frombuffer(payload, np.uint8)
        nothing = np.empty(0, np.int64)
        one = Publishes(
            payload, nothing, nothing, np.zeros(1, np.int64), np.full(1, len(payload), np.int64),
            np.zeros(1, np.int8), np.zeros(1, np.bool_), np.zeros(1, np.bool_), nothing, nothing,
            np.zeros(1, np.uint32), raw,
        )  # fmt: skip
        routes = np.full(1, route, np.int32)
        return not len(self.decode(one, np.zeros(1, np.int64), routes, 1 << 62).undone)

    def _give(self, route: int, place: int, program: int, signals: Sequence[int]) -> None:
        """Add a layout to a route."""
        if route >= len(self._layouts):
            grown = np.full((2 * route + 16, LAYOUTS_MAX, kernel.LAYOUT), -1, np.int32)
            grown[: len(self._layouts)] = self._layouts
            self._layouts = grown
        behind = self._slot_count + len(signals)
        if behind > len(self._slots):
            more = np.empty(2 * behind, np.int32)
            more[: self._slot_count] = self._slots[: self._slot_count]
            self._slots = more
        self._slots[self._slot_count : behind] = signals
        self._layouts[route, place] = program, self._slot_count
        self._slot_count = behind

    def _number_of(self, program: Program, are_texts: tuple[bool, ...]) -> int | None:
        """The number of a program, which may be known; None where there is no room for it."""
        number = self._programs.get((program, are_texts))
        if number is not None:
            return number
        first = self._operation_count
        size = first + len(program.operations)
        if len(self._programs) >= PROGRAMS_MAX or size > OPERATIONS_MAX:
            return None
        operations = [_operation(row, are_texts, first) for row in program.operations]
        if size > len(self._operations):
            more = np.empty((2 * size, kernel.OPERATION), np.int64)
            more[:first] = self._operations[:first]
            self._operations = more
        self._operations[first:size] = operations
        self._operation_count = size
        self._first = np.append(self._first, first)
        self._rates_hz = np.append(self._rates_hz, program.rate_hz)
        number = self._programs[program, are_texts] = len(self._programs)
        return number


def _program(config: PayloadConfig, payload: bytes, resolve: Resolve) -> Program | None:
    if config.json_ is not None:
        return learned(config.json_, payload)
    if config.number is None and config.text is None:
        return None
    own = resolve(None)
    is_text = config.text is not None
    return plain(is_text) if own is not None and own[1] == is_text else None


def _operation(row: Operation, are_texts: tuple[bool, ...], first: int) -> Operation:
    """An operation of a program that begins at `first`, whose signals are of text or not."""
    code, a, b, c, word, size = row
    if code == kernel.NEXT:
        c += first
    elif code == kernel.VALUE:
        c = int(are_texts[a])
    return code, a, b, c, word, size
