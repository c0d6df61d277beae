"""What `andon tail` is told of what was derived."""

from __future__ import annotations

import json
from typing import Any

from agent.cli.service.events import events
from agent.cli.tail import TYPES, tell
from agent.derive.machine_states import MachineState
from agent.derive.made import Derived
from agent.lines import NO_SAMPLES, NO_WINDOWS
from agent.signals import SECOND_NS, Path, Signal, SignalTable

START_NS = 1_800_000_000 * SECOND_NS


def told(*states: MachineState) -> list[dict[str, Any]]:
    """These states, the way they take over the socket."""
    table = SignalTable(1)
    path = Path("acme", "guiyang", "assembly", "line-1")
    table.add(Signal(path, "press-01", "mode", "press", kind="text", state=True))
    derived = Derived(NO_WINDOWS, NO_SAMPLES, (), (), states)
    return [json.loads(json.dumps(event)) for event in events(derived, table)]


def test_a_state_is_told_when_it_begins_and_when_it_is_over() -> None:
    held = MachineState(0, START_NS, "Held", "no bins")
    over = MachineState(0, START_NS, "Held", "no bins", START_NS + 12 * SECOND_NS)
    began, ended = told(held, over)
    assert began == {
        "type": "state", "machine": "press-01", "signal": "mode", "state": "Held",
        "reason": "no bins", "time_ns": START_NS, "ended_ns": None,
    }  # fmt: skip
    assert ended == began | {"ended_ns": START_NS + 12 * SECOND_NS}
    assert "state" in TYPES
    assert tell(ended).endswith("press-01/mode                     Held: over after 12.0 s")
