"""How `andon-line` talks: events out on stdout, commands in on stdin, signals, exit codes.

In: lines on stdin (`start`, `stop`, `quit`; its end means `quit`), SIGINT, SIGTERM. Out: one JSON
object a line on stdout; talk on stderr. Fails never: a reader of stdout that went away means
`quit`.
"""

import asyncio
import enum
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

COMMAND_BYTES_MAX = 4096


class ExitCode(enum.IntEnum):
    """What `andon-line` ends with."""

    DONE = 0  # ended by itself, by `quit`, SIGINT or SIGTERM
    USAGE = 2  # an option, or the file it names, cannot be used as it stands
    UNREACHABLE = 3  # a port cannot be bound, a broker cannot be reached or started


class Times(enum.StrEnum):
    """Which source times a played recording carries."""

    FILE = "file"  # its own
    NOW = "now"  # the wall clock's at the writing
    SHIFTED = "shifted"  # its own spacing, divided by the speed, from now on


class LineError(Exception):
    """Ends the command. `str()` says where, what, and what to do; `code` is the exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Control:
    """What the outside has asked for so far. Make it inside the running event loop.

    commands : whether to obey commands on stdin.
    """

    def __init__(self, *, commands: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._commands = commands
        self._spoken = False
        self.start = asyncio.Event()
        self.stop = asyncio.Event()
        self.quit = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self.end)
        if commands:
            # A thread, because stdin may be a file, which no event loop can wait for.
            threading.Thread(target=self._read_commands, daemon=True).start()

    def end(self) -> None:
        """Ask for the end: whatever is waited for, waiting is over."""
        if not self._spoken:
            # Nothing is served or owed yet, and what asyncua builds in a thread cannot be stopped.
            # A broker of ours ends with us.
            os._exit(ExitCode.DONE)
        for event in (self.quit, self.start, self.stop):
            event.set()

    async def wait_start(self, subscribed: Coroutine[Any, Any, None] | None) -> bool:
        """Wait until production may begin; whether it shall, or the end was asked for instead.

        subscribed : ends when enough clients have subscribed; None not to wait for them. Not
            awaited where commands are obeyed: then `start` begins.
        """
        if self._commands or subscribed is None:
            if subscribed is not None:
                subscribed.close()
            if not self._commands:
                self.start.set()
            await self.start.wait()
        else:
            waiting = asyncio.create_task(subscribed)
            waiting.add_done_callback(lambda task: self.start.set())
            await self.start.wait()
            waiting.cancel()
        return not self.quit.is_set()

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event to stdout, at once."""
        self._spoken = True
        try:
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody reads any more. Without this, Python complains when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.end()

    def _read_commands(self) -> None:
        # os.read holds no lock that the interpreter would miss at its end, as sys.stdin does.
        pending = b""
        while chunk := os.read(0, COMMAND_BYTES_MAX):
            *lines, pending = (pending + chunk).split(b"\n")
            pending = pending[:COMMAND_BYTES_MAX]
            for line in lines:
                self._from_thread(line.decode(errors="replace").strip())
        self._from_thread("quit")

    def _from_thread(self, command: str) -> None:
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._obey, command)

    def _obey(self, command: str) -> None:
        match command:
            case "start":
                self.start.set()
            case "stop":
                self.stop.set()
            case "quit":
                self.end()
            case _:
                talk(f"unknown command {command!r} on stdin; known are start, stop and quit")


async def wait_until(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `event`, at most `timeout_s`; whether it is set. Always lets other tasks run."""
    if timeout_s <= 0:
        await asyncio.sleep(0)
    else:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()


def sent(opcua: Counter[str], mqtt: Counter[str]) -> dict[str, Any]:
    """The `sent` of a stopped event: samples handed over, by protocol and by `machine/signal`."""
    return {"opcua": opcua.total(), "mqtt": mqtt.total(), "by_signal": {**opcua, **mqtt}}


def talk(message: str) -> None:
    """Say something to a person, on stderr."""
    sys.stderr.write(message + "\n")
