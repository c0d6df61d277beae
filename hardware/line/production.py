"""Production on the simulated line: steps the machines at the wall clock's pace.

In: `LineOptions`, commands. Out: writes on the OPC UA server, messages to the broker, the truth
file, events. Fails with LineError where a port, a broker or the truth file cannot be had. The n-th
tick is stamped start + n * 100 ms whenever it is really made; after a pause of the process missed
ticks follow at once.
"""

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from asyncua.ua import VariantType

from hardware.line import faults
from hardware.line.broker import start_broker
from hardware.line.control import Control, ExitCode, LineError, sent, wait_until
from hardware.line.machines import STATE_STOPPED, Line
from hardware.line.mqtt import Publisher
from hardware.line.opcua import MachineServer, Variable
from hardware.line.signals import ANALOG, OPCUA_MACHINES, TICK_NS, TICKS_PER_S

TAKT_S_MIN, TAKT_S_MAX = 0.5, 600.0
SETTLE_S = 5.0  # how long the broker may take to acknowledge the last messages
SETTLE_HURRIED_S = 0.5  # the same once somebody wants the process to end

VARIABLES: tuple[Variable, ...] = (
    *(Variable(signal.machine, signal.name) for signal in ANALOG if signal.machine == "press-01"),
    Variable("press-01", "strokes", VariantType.UInt32),
    Variable("press-01", "state", VariantType.Int32),
    Variable("press-01", "unit", VariantType.String),
    *(Variable(signal.machine, signal.name) for signal in ANALOG if signal.machine == "oven-01"),
    Variable("oven-01", "unit", VariantType.String),
)


@dataclass(frozen=True)
class LineOptions:
    """What `andon-line run` was asked for; see its help for the meanings."""

    opcua_port: int
    mqtt_url: str
    embedded_broker: bool
    seed: int
    seconds: float
    truth: Path | None
    takt_s: float
    control: bool
    wait: bool
    faults: bool

    def __post_init__(self) -> None:
        """Raises LineError(USAGE) where the takt is no whole number of ticks."""
        if not TAKT_S_MIN <= self.takt_s <= TAKT_S_MAX or round(self.takt_s * 10, 6) % 1:
            raise LineError(
                ExitCode.USAGE,
                f"--takt-s is {self.takt_s:g}; it must be a multiple of 0.1 "
                f"between {TAKT_S_MIN:g} and {TAKT_S_MAX:g}",
            )


async def run(options: LineOptions) -> None:
    """Open, wait for the start, produce, report, and serve until the end is asked for."""
    control = Control(commands=options.control)
    async with AsyncExitStack() as stack:
        truth = stack.enter_context(_open_truth(options.truth)) if options.truth else None
        url = options.mqtt_url
        if options.embedded_broker:
            broker = start_broker()
            stack.callback(broker.stop)
            url = broker.url
        publisher = Publisher(url)
        publisher.open()
        stack.callback(publisher.close)
        server = MachineServer(options.opcua_port, VARIABLES)
        await server.open()
        stack.push_async_callback(server.close)
        control.emit("ready", opcua=server.url, mqtt=publisher.url, pid=os.getpid())
        subscribed = server.wait_subscribed(every=False) if options.wait else None
        if await control.wait_start(subscribed):
            await _produce(options, control, server, publisher, truth)
            await control.quit.wait()


async def _produce(
    options: LineOptions,
    control: Control,
    server: MachineServer,
    publisher: Publisher,
    truth: IO[str] | None,
) -> None:
    takt_ticks = round(options.takt_s * TICKS_PER_S)
    schedule = faults.plan(options.seed, options.seconds, takt_ticks)
    line = Line(options.seed, takt_ticks, schedule if options.faults else iter(()))
    ticks_max = round(options.seconds * TICKS_PER_S)
    # Whole milliseconds, so that every stamp is the same in both protocols.
    start_ns = time.time_ns() // 1_000_000 * 1_000_000
    control.emit("started", start_ns=start_ns)
    origin_s = time.monotonic()
    while not ticks_max or line.tick < ticks_max:
        if await wait_until(control.stop, origin_s + line.tick / TICKS_PER_S - time.monotonic()):
            break
        stamp_ns = start_ns + line.tick * TICK_NS
        readings, begun = line.step()
        for key, value in readings.items():
            if key.startswith(OPCUA_MACHINES):
                await server.write(key, value, stamp_ns)
            else:
                publisher.publish(key, value, stamp_ns)
        if truth:
            _write_truth(truth, begun, start_ns, options.seed)
    await server.write("press-01/state", STATE_STOPPED, time.time_ns())
    in_hurry = control.quit.is_set()
    unacknowledged = await asyncio.to_thread(
        publisher.settle, SETTLE_HURRIED_S if in_hurry else SETTLE_S
    )
    control.emit(
        "stopped",
        sent=sent(server.sent, publisher.sent),
        overflowed=server.overflowed.total(),
        unacknowledged=unacknowledged + publisher.dropped.total(),
        units=line.units_done,
    )


def _open_truth(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise LineError(
            ExitCode.USAGE, f"cannot write --truth {path}: {error.strerror or error}"
        ) from None


def _write_truth(truth: IO[str], begun: list[faults.Fault], start_ns: int, seed: int) -> None:
    for fault in begun:
        record = {
            "kind": fault.kind,
            "machine": fault.signal.machine,
            "signal": fault.signal.name,
            "start_ns": start_ns + fault.start_tick * TICK_NS,
            "visible_ns": start_ns + fault.visible_tick * TICK_NS,
            "end_ns": start_ns + fault.end_tick * TICK_NS,
            "size": None if fault.size is None else round(fault.size, 2),
            "seed": seed,
        }
        truth.write(json.dumps(record) + "\n")
    if begun:
        truth.flush()
