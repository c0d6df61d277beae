"""What every source must keep. `tests/agent/sources/` runs it over each of them.

A subclass says how to make a source for an address, gives a far side that can be told to speak and
to go away, and one that refuses. Everything is real: sockets, servers, brokers.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Literal, Protocol, TypeVar

import pytest

from agent.batch import Batch
from agent.errors import SourceError, SourceRefused, SourceUnreachable
from agent.sources import Ack, Source

CONNECT_S = 1.0
"""The sources under test connect within this."""
SLACK_S = 0.75
"""Two cores shared with others: how much later than its deadline a thing may be noticed."""
CLOSE_S = 4.0
DEADLINE_S = 8.0
UNACKNOWLEDGED = 8
"""A pipeline may hold back so many acknowledgements and still read on."""

SomeSource = TypeVar("SomeSource", bound=Source)
Read = list[tuple[Batch, Ack]]
Change = Literal["with_other", "without_other", "of_connection"]
"""Read a second signal as well; no longer; with settings that need another connection."""


class FarSide(Protocol):
    """A machine side that runs."""

    def source(self) -> Source:
        """A source that reads it."""

    async def say(self, value: float) -> None:
        """Have a new value in its one signal, with the present time."""

    async def go_away(self) -> None:
        """Vanish, as a process that ends."""


class ChangingFarSide(FarSide, Protocol):
    """A machine side with a second signal; its sources can be told to read that too."""

    async def say_other(self, value: float) -> None:
        """Have a new value in the second signal."""

    async def apply(self, source: Source, change: Change) -> bool:
        """Apply a changed configuration to a source."""


async def read_until(source: Source, enough: Callable[[Read], bool]) -> Read:
    """Read until there is enough of it, within a deadline."""
    read: Read = []
    async with asyncio.timeout(DEADLINE_S):
        async for item in source.batches():
            read.append(item)
            if enough(read):
                break
    assert enough(read), "the batches ended too soon"
    return read


async def applied(source: Source, change: Coroutine[None, None, bool], read: Read) -> bool:
    """Apply a change while what comes is read on."""
    applying = asyncio.create_task(change)
    read += await read_until(source, lambda _: applying.done())
    return await applying


def values(read: Read) -> list[float]:
    return [float(value) for batch, _ in read for value in batch.value]


def values_of(signal: int, read: Read) -> list[float]:
    return [float(value) for batch, _ in read for value in batch.value[batch.signal == signal]]


def counts(source: Source) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """What a source counts beside its batches."""
    return Counter(source.rejected()), Counter(source.missed()), Counter(source.recovered())


def signal_of(value: float, read: Read) -> int:
    """The signal that had this value first."""
    return next(
        int(batch.signal[batch.value == value][0]) for batch, _ in read if value in batch.value
    )


def alive(read: Read) -> list[int]:
    """What the batches vouch for, where they do."""
    return [batch.alive_until_ns for batch, _ in read if batch.alive_until_ns]


@asynccontextmanager
async def connected(source: SomeSource) -> AsyncIterator[SomeSource]:
    await source.connect()
    try:
        yield source
    finally:
        await source.close()


@contextmanager
def silent_port(queue: int = 8):  # type: ignore[no-untyped-def]
    """A port that connects and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(queue)
        yield int(listening.getsockname()[1])


@contextmanager
def full_port():  # type: ignore[no-untyped-def]
    """A port that does not even connect: its queue is full, as a firewall that drops packets."""
    with silent_port(0) as port:
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()


async def timed(call: Awaitable[None]) -> float:
    began_s = time.monotonic()
    await call
    return time.monotonic() - began_s


class SourceConformance:
    """The tests; names are what is promised."""

    def source_at(self, port: int) -> Source:
        raise NotImplementedError

    def far_side(self) -> AbstractAsyncContextManager[FarSide]:
        raise NotImplementedError

    def refusing(self) -> AbstractAsyncContextManager[Source]:
        """A source that its far side does not let in."""
        raise NotImplementedError

    def test_a_port_where_nothing_listens_is_unreachable(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        asyncio.run(self.expect_unreachable(port))

    @pytest.mark.parametrize("port", [silent_port, full_port])
    def test_a_black_hole_is_unreachable_within_the_deadline(
        self, port: Callable[[], AbstractAsyncContextManager[int]]
    ) -> None:
        with port() as number:  # type: ignore[attr-defined]
            began_s = time.monotonic()
            asyncio.run(self.expect_unreachable(number))
            # and nothing that still waits for the far side holds up the end of the program
            assert time.monotonic() - began_s < CONNECT_S + CLOSE_S + SLACK_S

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64])
    def test_a_port_that_speaks_another_language_is_unreachable(self, answer: bytes) -> None:
        async def run() -> None:
            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(1)
                writer.write(answer)
                writer.close()

            server = await asyncio.start_server(talk, "127.0.0.1", 0)
            await self.expect_unreachable(server.sockets[0].getsockname()[1])
            server.close()

        asyncio.run(run())

    async def expect_unreachable(self, port: int) -> None:
        source = self.source_at(port)
        began_s = time.monotonic()
        with pytest.raises(SourceUnreachable, match=rf"{source.name}: .*{port}.*") as caught:
            await source.connect()
        assert time.monotonic() - began_s < CONNECT_S + SLACK_S
        assert caught.value.hint
        assert await timed(source.close()) < CLOSE_S

    def test_a_refused_identity_is_said_to_be_refused(self) -> None:
        async def run() -> None:
            async with self.refusing() as source:
                with pytest.raises(SourceRefused, match=f"{source.name}: .* refuses: .+") as caught:
                    await source.connect()
                assert "password" in caught.value.hint
                assert await timed(source.close()) < CLOSE_S

        asyncio.run(run())

    def test_samples_arrive_with_their_time_and_the_batches_vouch_for_silence(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                before_ns = time.time_ns()
                await far.say(1.5)
                read = await read_until(source, lambda read: 1.5 in values(read))
                batch = next(batch for batch, _ in read if 1.5 in batch.value)
                said_ns = int(batch.time_ns[batch.value.tolist().index(1.5)])
                # MQTT carries milliseconds here
                assert before_ns - 1_000_000 <= said_ns <= batch.received_ns <= time.time_ns()
                quiet = await read_until(source, lambda read: len(alive(read)) >= 3)
                vouched = alive(quiet)
                assert vouched == sorted(vouched)
                assert vouched[-1] > vouched[0] > 0
                assert vouched[-1] <= time.time_ns()
                await read_until(source, lambda read: alive(read)[-1:] > [said_ns])

        asyncio.run(run())

    def test_a_far_side_that_goes_away_is_noticed_within_seconds(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                await far.say(1.0)
                await read_until(source, lambda read: 1.0 in values(read))
                gone_ns = time.time_ns()
                await far.go_away()
                last_ns: list[int] = []
                with pytest.raises(SourceError, match=source.name):
                    await asyncio.wait_for(_exhaust(source, last_ns), DEADLINE_S)
                latest_ns = gone_ns + int(SLACK_S * 1e9)
                assert max(last_ns, default=0) <= latest_ns, "it vouched for time after the end"

        asyncio.run(run())

    def test_closing_twice_or_unconnected_is_safe_and_quick_and_ends_the_batches(self) -> None:
        async def run() -> None:
            async with self.far_side() as far:
                source = far.source()
                assert await timed(source.close()) < 0.5
                await source.connect()
                reading = asyncio.create_task(_exhaust(source, []))
                await far.say(1.0)
                assert await timed(source.close()) < CLOSE_S
                assert await timed(source.close()) < 0.5
                await asyncio.wait_for(reading, DEADLINE_S)

        asyncio.run(run())

    def test_it_connects_again_after_it_was_closed(self) -> None:
        async def run() -> None:
            async with self.far_side() as far:
                source = far.source()
                for value in (1.0, 2.0, 3.0):
                    async with connected(source):
                        await far.say(value)
                        await read_until(source, partial(_holds, value))

        asyncio.run(run())

    def test_acknowledging_later_does_not_stop_the_reading(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                read: Read = []
                for number in range(UNACKNOWLEDGED):
                    await far.say(float(number))
                    read += await read_until(source, partial(_holds, float(number)))
                for _, ack in read:
                    ack.call()
                await far.say(100.0)
                await read_until(source, lambda read: 100.0 in values(read))

        asyncio.run(run())

    def test_what_it_counts_beside_its_batches_never_falls(self) -> None:
        async def run() -> None:
            async with self.far_side() as far:
                source = far.source()
                assert counts(source) == (Counter(), Counter(), Counter())
                before = counts(source)
                for value in (1.0, 2.0):
                    async with connected(source):
                        await far.say(value)
                        await read_until(source, partial(_holds, value))
                    after = counts(source)
                    assert all(was <= now for was, now in zip(before, after, strict=True))
                    before = after

        asyncio.run(run())

    def test_told_until_when_it_had_vouched_it_reads_on_from_there(self) -> None:
        async def run() -> None:
            async with self.far_side() as far:
                source = far.source()
                source.remember([], time.time_ns() - 3_000_000_000)
                async with connected(source):
                    await far.say(7.0)
                    read = await read_until(source, partial(_holds, 7.0))
                    assert alive(read) == sorted(alive(read))
                    await read_until(source, lambda read: len(alive(read)) >= 2)

        asyncio.run(run())


class ApplyConformance:
    """What every source that is configured must keep when its configuration changes."""

    def far_side(self) -> AbstractAsyncContextManager[ChangingFarSide]:
        raise NotImplementedError

    def test_signals_come_and_go_in_place_and_the_others_are_not_disturbed(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                await far.say(1.0)
                read = await read_until(source, partial(_holds, 1.0))
                assert await applied(source, far.apply(source, "with_other"), read)
                await far.say_other(2.0)
                read += await read_until(source, partial(_holds, 2.0))
                await far.say(3.0)
                read += await read_until(source, partial(_holds, 3.0))
                first, other = signal_of(1.0, read), signal_of(2.0, read)
                assert first != other
                own = values_of(first, read)
                assert own[own.index(1.0) :] == [1.0, 3.0]
                assert alive(read) == sorted(alive(read))
                assert await applied(source, far.apply(source, "without_other"), read)
                rejected = source.rejected()
                await far.say_other(4.0)
                await far.say(5.0)
                read = await read_until(source, partial(_holds, 5.0))
                assert values(read) == [5.0]
                assert source.rejected() == rejected

        asyncio.run(run())

    def test_a_change_of_the_connection_is_not_made_in_place_and_nothing_stops(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                assert not await far.apply(source, "of_connection")
                await far.say(1.0)
                await read_until(source, partial(_holds, 1.0))

        asyncio.run(run())

    def test_without_a_connection_a_change_comes_with_the_next_one(self) -> None:
        async def run() -> None:
            async with self.far_side() as far:
                source = far.source()
                assert await far.apply(source, "with_other")
                async with connected(source):
                    await far.say_other(2.0)
                    await read_until(source, partial(_holds, 2.0))
                assert await far.apply(source, "without_other")
                async with connected(source):
                    await far.say_other(3.0)
                    await far.say(4.0)
                    read = await read_until(source, partial(_holds, 4.0))
                    assert 3.0 not in values(read)
                    assert 2.0 not in values(read)

        asyncio.run(run())

    def test_a_connection_lost_amid_a_change_brings_it_with_the_next_one(self) -> None:
        async def run() -> None:
            async with self.far_side() as far, connected(far.source()) as source:
                changing = asyncio.create_task(far.apply(source, "with_other"))
                await asyncio.sleep(0)
                await source.close()
                assert await asyncio.wait_for(changing, DEADLINE_S)
                await source.connect()
                await far.say_other(2.0)
                await read_until(source, partial(_holds, 2.0))

        asyncio.run(run())


def _holds(value: float, read: Read) -> bool:
    return value in values(read)


async def _exhaust(source: Source, alive_ns: list[int]) -> None:
    async for batch, _ in source.batches():
        alive_ns.append(batch.alive_until_ns)
