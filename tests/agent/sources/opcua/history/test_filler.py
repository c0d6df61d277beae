"""Histories of played servers, each of which does it in its own way."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from agent.sources.opcua import history
from agent.sources.opcua.history import Filler, Span
from tests.agent.sources.opcua.history.played import (
    CODES,
    READABLE,
    PlayedHistory,
    Sample,
    node,
)
from tests.agent.sources.opcua.history.reading import decoder_of, filled, run, told

START = 1_800_000_000_000_000_000
MS = 1_000_000
SECOND = 1000 * MS
HOUR = 3600 * SECOND
BAD_SENSOR = 0x808C_0000
UNSUPPORTED = "BadHistoryOperationUnsupported"


def ramp(count: int, first: int = 0) -> list[Sample]:
    """A value each millisecond, from the first millisecond on."""
    return [(START + (first + i + 1) * MS, float(first + i), 0) for i in range(count)]


def spans_of(
    count: int, after_ns: int = START, until_ns: int = START + 3600 * SECOND
) -> list[Span]:
    return [Span(number, node(number), after_ns, until_ns) for number in range(count)]


@pytest.mark.parametrize("page_max", [1, 7, 10_000])
@pytest.mark.parametrize("way", ["points", "stateless", "cuts"])
def test_however_a_server_pages_each_sample_comes_once_and_in_order(
    way: str, page_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "VALUES_PER_NODE_MIN", 2)
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", min(50, page_max + 1))

    async def test() -> None:
        count = 120 if page_max == 1 else 400
        server = PlayedHistory([ramp(count, first) for first in (0, 3)])
        server.page_max = page_max
        server.stateless, server.cuts = way == "stateless", way == "cuts"
        filler = Filler(server, decoder_of(2))  # type: ignore[arg-type]
        if way == "cuts":
            server.page_max = 1_000_000  # it is NumValuesPerNode that cuts
        read = await filled(server, spans_of(2), filler)
        assert read == {0: ramp(count), 1: ramp(count, 3)}
        assert (filler.filled, filler.failed, server.points) == ({0, 1}, {}, {})

    run(test())


@pytest.mark.parametrize("way", ["points", "stateless", "cuts"])
def test_samples_of_one_time_at_the_seam_of_pages_are_neither_lost_nor_doubled(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "VALUES_PER_NODE_MIN", 2)
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", 5)
    samples = [(START + (1 + i // 3) * MS, float(i), 0) for i in range(31)]

    async def test() -> None:
        server = PlayedHistory([samples])
        server.stateless, server.cuts = way == "stateless", way == "cuts"
        assert await filled(server, spans_of(1)) == {0: samples}

    run(test())


@pytest.mark.parametrize("way", ["stateless", "cuts"])
def test_a_server_that_never_gets_past_one_moment_is_left_in_the_end(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "VALUES_PER_NODE_MIN", 2)
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", 5)

    async def test() -> None:
        server = PlayedHistory([[(START + MS, float(i), 0) for i in range(9)], ramp(3)])
        server.stateless, server.cuts = way == "stateless", way == "cuts"
        filler = Filler(server, decoder_of(2))  # type: ignore[arg-type]
        read = await filled(server, spans_of(2), filler)
        assert read[1] == ramp(3)
        assert (filler.filled, filler.failed, filler.broken) == ({1}, {0: "no progress"}, {0})
        assert server.points == {}

    run(test())


def test_bounds_and_what_lies_outside_a_signals_own_span_are_left_out() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(100), ramp(100)])
        server.bounds = True
        spans = [
            Span(0, node(0), START + 10 * MS, START + 20 * MS),
            Span(1, node(1), START + 50 * MS, START + 55 * MS),
        ]
        read = await filled(server, spans)
        assert read == {0: ramp(100)[10:20], 1: ramp(100)[50:55]}
        assert len(server.asked) == 1

    run(test())


def test_statuses_and_missing_values_are_told_as_they_are() -> None:
    async def test() -> None:
        server = PlayedHistory([[(START + MS, None, BAD_SENSOR), (START + 2 * MS, 1.0, 0)]])
        ((missing, good),) = (await filled(server, spans_of(1))).values()
        assert (missing[0], missing[2]) == (START + MS, BAD_SENSOR)
        assert math.isnan(missing[1])
        assert good == (START + 2 * MS, 1.0, 0)

    run(test())


def test_a_history_that_is_told_backwards_is_put_in_order() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(9)[::-1]])
        assert await filled(server, spans_of(1)) == {0: ramp(9)}

    run(test())


def test_texts_and_waveforms_of_several_signals_keep_their_rows() -> None:
    async def test() -> None:
        said = [[(START + i * MS, f"{word}{i % 2}", 0) for i in range(1, 5)] for word in "ab"]
        server = PlayedHistory(said)
        filler = Filler(server, decoder_of(2, "text"))  # type: ignore[arg-type]
        assert await filled(server, spans_of(2), filler) == dict(enumerate(said))
        blocks = [[(START + i * MS, [float(i), 0.0], 0) for i in range(1, 5)] for _ in "ab"]
        server = PlayedHistory(blocks)
        filler = Filler(server, decoder_of(2, "waveform"))  # type: ignore[arg-type]
        spans = spans_of(2, after_ns=START + 2 * MS)
        (page,) = [items async for items in filler.fill(spans)]
        assert [row for row, _ in page.waveforms] == [0, 1, 2, 3]
        assert [block[0] for _, block in page.waveforms] == [3.0, 4.0, 3.0, 4.0]
        assert page.value == pytest.approx(np.array([3.0, 4.0, 3.0, 4.0]) / math.sqrt(2))

    run(test())


def test_no_call_holds_more_nodes_than_the_server_takes_whether_it_said_so_or_not() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(2)] * 250)
        filler = Filler(server, decoder_of(250), per_call_max=60)  # type: ignore[arg-type]
        assert await filled(server, spans_of(250), filler) == dict.fromkeys(range(250), ramp(2))
        assert max(map(len, server.asked)) == 60
        server = PlayedHistory([ramp(2)] * 250)
        server.nodes_max = 13
        assert await filled(server, spans_of(250)) == dict.fromkeys(range(250), ramp(2))

    run(test())


def test_a_server_that_cannot_answer_so_much_is_asked_for_less() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(3000)] * 5)
        server.values_max = 1000
        filler = Filler(server, decoder_of(5))  # type: ignore[arg-type]
        assert await filled(server, spans_of(5), filler) == dict.fromkeys(range(5), ramp(3000))
        assert server.points == {}

    run(test())


def test_a_server_that_is_short_of_continuation_points_is_asked_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", 100)

    async def test() -> None:
        server = PlayedHistory([ramp(250)] * 5)
        server.points_max = 2
        assert await filled(server, spans_of(5)) == dict.fromkeys(range(5), ramp(250))

    run(test())


def test_nodes_that_fail_stop_no_others_and_the_reason_is_told() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(5)] * 5)
        server.statuses = {
            node(1): CODES.BadNodeIdUnknown,
            node(2): CODES.BadHistoryOperationUnsupported,
            node(3): CODES.BadNoData,
        }
        server.levels = {node(4): READABLE}
        filler = Filler(server, decoder_of(5))  # type: ignore[arg-type]
        assert await filled(server, spans_of(5), filler) == {0: ramp(5)}
        assert filler.filled == {0, 3}
        assert filler.failed == {1: "BadNodeIdUnknown", 2: UNSUPPORTED, 4: UNSUPPORTED}
        assert filler.broken == {1}
        assert filler.without == {node(2), node(4)}
        again = Filler(server, decoder_of(5), without=filler.without)  # type: ignore[arg-type]
        server.asked.clear()
        await filled(server, spans_of(5), again)
        assert server.asked == [[node(0), node(1), node(3)]]
        assert again.failed == filler.failed

    run(test())


def test_a_server_without_the_service_is_asked_once() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(5)] * 250)
        server.faults = [CODES.BadServiceUnsupported]
        filler = Filler(server, decoder_of(250))  # type: ignore[arg-type]
        assert await filled(server, spans_of(250), filler) == {}
        assert filler.failed == dict.fromkeys(range(250), UNSUPPORTED)
        assert len(server.asked) == 1

    run(test())


@pytest.mark.parametrize("silent", [0, 1])
def test_a_server_that_hangs_is_left_within_the_deadline(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CALL_S", 0.2)
    monkeypatch.setattr(history, "RELEASE_S", 0.2)

    async def test() -> None:
        server = PlayedHistory([ramp(5)] * 250)
        server.silent = silent
        filler = Filler(server, decoder_of(250))  # type: ignore[arg-type]
        read = await filled(server, spans_of(250), filler)
        assert len(read) == len(filler.filled) == 100 * silent
        assert set(filler.failed.values()) == {"no answer"}
        assert len(server.asked) == silent + 1

    run(test())


def test_a_history_that_takes_too_long_is_left_and_its_continuation_points_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "HISTORY_S", 0.5)
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", 100)

    async def test() -> None:
        server = PlayedHistory([ramp(1000)] * 3)
        filler = Filler(server, decoder_of(3))  # type: ignore[arg-type]
        pages = []
        async for items in filler.fill(spans_of(3)):
            pages.append(items)
            filler._deadline_s = 0.0
        assert told(pages) == dict.fromkeys(range(3), ramp(100))
        assert filler.failed == dict.fromkeys(range(3), "out of time")
        assert server.points == {}

    run(test())


@pytest.mark.parametrize("in_flight", [True, False])
def test_a_reading_that_is_cancelled_releases_its_continuation_points(
    in_flight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "VALUES_PER_NODE_MAX", 100)

    async def test() -> None:
        server = PlayedHistory([ramp(1000)] * 3)
        filler = Filler(server, decoder_of(3))  # type: ignore[arg-type]
        began = asyncio.Event()

        async def read() -> None:
            async with aclosing(filler.fill(spans_of(3))) as pages:
                async for _ in pages:
                    if in_flight:
                        server.answering.clear()
                        server.called.clear()
                    began.set()
                    if not in_flight:
                        await asyncio.Event().wait()

        reading = asyncio.create_task(read())
        await began.wait()
        if in_flight:
            await server.called.wait()
        assert len(server.points) == 3
        reading.cancel()
        asyncio.get_running_loop().call_later(0.05, server.answering.set)
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert server.points == {}

    run(test())


def test_a_lost_connection_is_not_hidden() -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(5)])

        async def lost(_: Any) -> Any:
            raise ConnectionError("Connection is closed")

        server._send_request = lost  # type: ignore[assignment, method-assign]
        with pytest.raises(ConnectionError):
            await filled(server, spans_of(1))

    run(test())


@pytest.mark.parametrize("body", [b"", b"\x01\x00\x9b\x02", b"\xff" * 400])
def test_an_answer_that_is_none_fails_its_signals(body: bytes) -> None:
    async def test() -> None:
        server = PlayedHistory([ramp(5)])

        async def broken(_: Any) -> bytes:
            return body

        server._send_request = broken  # type: ignore[assignment, method-assign]
        filler = Filler(server, decoder_of(1))  # type: ignore[arg-type]
        assert await filled(server, spans_of(1), filler) == {}
        assert filler.failed == {0: "malformed answer"}

    run(test())
