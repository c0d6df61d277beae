"""Plays a recording as a machine: one OPC UA variable a column, written row after row.

In: a `Recording`, commands. Out: an OPC UA server with the nodes `<machine>.<column>`, events as
of the simulated line with `rows` beside them. A missing value is written as Bad without a value.
Fails with LineError where an option or the port cannot be used. Rows are written in the file's
order, each value with its row's one time; a row whose time lies before an earlier row's follows it
at once.
"""

import math
import os
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np

from hardware.line.control import Control, ExitCode, LineError, Times, sent, wait_until
from hardware.line.faults import Bad
from hardware.line.opcua import MachineServer, Variable
from hardware.line.recording import Recording

SPEED_MAX = 100_000.0  # source times are written in microseconds
BAD = 0x80000000  # OPC UA Part 4, 7.39: Bad, without saying why


@dataclass(frozen=True)
class PlayOptions:
    """What `andon-line play` was asked for; see its help for the meanings."""

    port: int
    machine: str
    speed: float
    times: Times
    wait: bool
    control: bool

    def __post_init__(self) -> None:
        """Raises LineError(USAGE) for a speed out of range."""
        if not 0 < self.speed <= SPEED_MAX:
            raise LineError(
                ExitCode.USAGE,
                f"--speed is {self.speed:g}; it must be above 0 and at most {SPEED_MAX:g}",
            )


async def run(recording: Recording, options: PlayOptions) -> None:
    """Open, wait for the start, play, report, and serve until the end is asked for."""
    control = Control(commands=options.control)
    async with AsyncExitStack() as stack:
        variables = [Variable(options.machine, column) for column in recording.columns]
        server = MachineServer(options.port, variables)
        await server.open()
        stack.push_async_callback(server.close)
        control.emit("ready", opcua=server.url, mqtt=None, pid=os.getpid())
        subscribed = server.wait_subscribed(every=True) if options.wait else None
        if await control.wait_start(subscribed):
            await _play(recording, options, control, server)
            await control.quit.wait()


async def _play(
    recording: Recording, options: PlayOptions, control: Control, server: MachineServer
) -> None:
    start_ns = time.time_ns()
    control.emit("started", start_ns=start_ns)
    elapsed_ns = (recording.time_ns - recording.time_ns[0]) / options.speed
    stamps_ns = {
        Times.FILE: recording.time_ns,
        Times.SHIFTED: start_ns + elapsed_ns.astype(np.int64),
        Times.NOW: None,
    }[options.times]
    keys = [f"{options.machine}/{column}" for column in recording.columns]
    origin_s = time.monotonic()
    rows = 0
    for due_s, values in zip((elapsed_ns / 1e9).tolist(), recording.values.tolist(), strict=True):
        if await wait_until(control.stop, origin_s + due_s - time.monotonic()):
            break
        stamp_ns = time.time_ns() if stamps_ns is None else int(stamps_ns[rows])
        for key, value in zip(keys, values, strict=True):
            await server.write(key, Bad(BAD) if math.isnan(value) else value, stamp_ns)
        rows += 1
    control.emit(
        "stopped",
        sent=sent(server.sent, Counter()),
        overflowed=server.overflowed.total(),
        unacknowledged=0,
        units=0,
        rows=rows,
    )
