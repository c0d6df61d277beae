"""States of machines: when they begin, when they are over, and what a restart makes of them."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from agent.derive import Derive, DetectSettings
from agent.ledger import SampleLedger
from agent.signals import SECOND_NS
from tests.agent.derive.plant import BAD, START, STARTED, Plant, signal

UNCERTAIN = 0x408F_0000


def plant() -> Plant:
    return Plant(
        signal("state", kind="text", state=True),
        signal("state", machine="oven-01", kind="text", state=True),
        signal("unit", kind="text"),
    )


def at(second: float) -> int:
    return START + round(second * SECOND_NS)


def told(one: Plant) -> list[tuple[Any, ...]]:
    """State, reason, begin and duration in seconds of each state told by the next commit."""
    return [
        (one.state, one.reason, (one.start_ns - START) / SECOND_NS, one.duration_s)
        for one in one.collect().states
    ]


def test_each_new_text_is_a_state_and_ends_the_one_before() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")])
    assert told(one) == [("Execute", "", 1, None)]
    one.take("opc", [(0, at(4.5), "Held: no material: bin 3")])
    assert told(one) == [("Execute", "", 1, 3.5), ("Held", "no material: bin 3", 4.5, None)]


def test_a_state_that_is_over_before_the_commit_is_told_once() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (0, at(2), "Stopping"), (0, at(3), "Stopped")])
    assert told(one) == [("Execute", "", 1, 1), ("Stopping", "", 2, 1), ("Stopped", "", 3, None)]


def test_a_state_said_again_goes_on_and_a_new_reason_is_a_new_state() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Held: jam"), (0, at(2), "Held: jam"), (0, at(3), "Held: oil")])
    assert told(one) == [("Held", "jam", 1, 2), ("Held", "oil", 3, None)]


@pytest.mark.parametrize(
    "value", [("Execute", BAD), ("Execute", UNCERTAIN), (math.nan,), ("",), (" : oil",)]
)
def test_what_is_not_a_good_text_ends_the_state_and_begins_none(value: tuple[Any, ...]) -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (0, at(3), *value), (0, at(4), *value)])
    assert told(one) == [("Execute", "", 1, 2)]
    one.take("opc", [(0, at(5), "Execute")])
    assert told(one) == [("Execute", "", 5, None)]


def test_a_late_text_is_a_sample_and_no_state() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (0, at(5), "Execute"), (0, at(3), "Held")])
    derived = one.collect()
    assert len(derived.samples) == 3
    assert [state.state for state in derived.states] == ["Execute"]


def test_of_two_texts_of_one_time_the_last_is_the_state() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Idle"), (0, at(2), "Execute"), (0, at(2), "Held")])
    assert told(one) == [("Idle", "", 1, 1), ("Held", "", 2, None)]


def test_a_lost_connection_ends_the_states_of_its_machines_when_it_last_vouched() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (1, at(2), "Idle")], at(10))
    one.derive.lose("opc", "cable", at(15))
    assert told(one) == [("Execute", "", 1, 9), ("Idle", "", 2, 8)]
    one.take("opc", [(0, at(20), "Execute")], at(21))
    assert told(one) == [("Execute", "", 20, None)]


def test_a_state_lasts_at_least_to_its_newest_sample() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (0, at(12), "Execute")], at(10))
    one.derive.lose("opc", "cable", at(15))
    assert told(one) == [("Execute", "", 1, 11)]


def test_machines_have_their_own_states_and_other_texts_are_none() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute"), (2, at(2), "A7"), (1, at(3), "Execute")])
    assert [state.signal for state in one.collect().states] == [0, 1]


def test_a_clean_stop_ends_states_and_the_start_begins_them_anew() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")], at(8))
    one.stop()
    one.take("opc", [(0, at(30), "Execute")], at(31))
    assert told(one) == [("Execute", "", 30, None)]


@pytest.mark.parametrize("journaled", [True, False])
def test_a_state_that_lasted_at_a_crash_is_over_when_its_source_last_vouched(
    journaled: bool,
) -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")], at(8))
    one.collect()
    one.crash(journaled=["opc"] if journaled else [])
    assert told(one) == [("Execute", "", 1, 7)]


def test_states_noted_as_open_are_those_of_the_last_commit_after_a_crash() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")], at(8))
    one.collect()
    stored = one.derive.checkpoint(clean=False, journaled=())
    one.take("opc", [(0, at(20), "Held: jam")], at(21))
    one.collect()
    documents = [asdict(state) for state in one.derive.open_states()]
    derive = Derive(one.table, DetectSettings(), SampleLedger(), stored, STARTED)
    derive.know_open([], documents)
    derive.recovered(one.committed.copy(), STARTED, vouched={"opc": at(26)})
    (ended,) = derive.collect().states
    assert (ended.state, ended.start_ns, ended.ended_ns) == ("Held", at(20), at(26))


@pytest.mark.parametrize("change", [{"source": ""}, {"state": False, "kind": "discrete"}])
def test_a_state_signal_that_leaves_the_configuration_ends_its_state(change: Any) -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")], at(8))
    one.table.add(replace(one.table[0], **change))
    one.derive.reconfigure(STARTED)
    assert told(one) == [("Execute", "", 1, 7)]
    assert one.derive.open_states() == []


def test_a_text_that_is_no_longer_the_state_ends_it() -> None:
    one = plant()
    one.take("opc", [(0, at(1), "Execute")], at(8))
    one.table.add(replace(one.table[0], state=False))
    one.derive.reconfigure(STARTED)
    one.take("opc", [(0, at(9), "Held")], at(10))
    assert told(one) == [("Execute", "", 1, 7)]
