"""Recovery: from what the outbox holds to the state in which the last commit left the kernels.

Enters: an outbox just opened. Leaves: a `Derive` that goes on where the last commit ended, and the
packets that the machine sides may send once more. What can fail: nothing; where a blob cannot be
played, all open windows are given up, which is said, and the ledger counts their samples.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.derive import Derive, DetectSettings
from agent.ledger import SampleLedger
from agent.outbox import Outbox
from agent.pipeline.journal import Call, JournalError, Opened, Took, Vouched, play, unpack
from agent.pipeline.keeping import Tails
from agent.signals import SignalTable
from agent.sources import Packets

log = logging.getLogger("andon.recovery")

_STATE_BYTES: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start goes on from.

    packets : what came lately by source, for `Source.remember`
    samples : how many were played from the journal
    """

    derive: Derive
    packets: Mapping[str, list[Packets]]
    samples: int = 0


def seal(state: bytes, tails: Tails) -> bytes:
    """A checkpoint: the kernels' state and the newest packets."""
    return _STATE_BYTES.pack(len(state)) + state + tails.pack()


def recover(outbox: Outbox, table: SignalTable, settings: DetectSettings, now_ns: int) -> Recovered:
    """The state of the last commit: the checkpoint, and the journal played on it."""
    began_s = time.monotonic()
    committed = outbox.ledger().samples
    state, calls = _checkpoint(outbox.checkpoint())
    derive = Derive(table, settings, SampleLedger(), state, now_ns)
    tails = Tails()
    _remember(tails, calls)
    opened: Opened | None = None
    vouched: dict[str, int] = {}
    samples, whole = 0, True
    for blob in outbox.journal():
        try:
            calls = unpack(blob)
        except JournalError as error:
            log.error("the journal cannot be played: %s; open windows are a restart gap", error)
            whole = False
            break
        samples += play(calls, derive)
        _remember(tails, calls)
        for call in calls:
            if isinstance(call, Opened):
                opened = call
            elif isinstance(call, Vouched):
                vouched |= call.alive_ns
    if opened is not None:
        derive.know_open(opened.anomalies, opened.states)
    derive.recovered(committed, now_ns, whole=whole, vouched=vouched)
    if samples:
        passed_s = time.monotonic() - began_s
        log.info("played %s samples from the journal in %.2f s", f"{samples:,}", passed_s)
    return Recovered(derive, tails.packets, samples)


def _checkpoint(sealed: bytes) -> tuple[bytes, list[Call]]:
    if not sealed:
        return b"", []
    (size,) = _STATE_BYTES.unpack_from(sealed)
    end = _STATE_BYTES.size + size
    try:
        return sealed[_STATE_BYTES.size : end], unpack(sealed[end:])
    except JournalError as error:
        log.error("the packets of the checkpoint cannot be read: %s", error)
        return sealed[_STATE_BYTES.size : end], []


def _remember(tails: Tails, calls: list[Call]) -> None:
    for call in calls:
        if isinstance(call, Took) and call.packets is not None:
            tails.add(call.source, call.packets)
