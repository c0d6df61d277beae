"""The signal table: ids for life, bounded, and what changed since the last commit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent.errors import SignalsFull
from agent.signals import Path, Signal, SignalTable

LINE = Path("acme", "guiyang", "assembly", "line-1")
FORCE = Signal(LINE, "press-01", "force", "opc", unit="kN", low=0.0, every_ns=1_000_000_000)
SPEED = Signal(LINE, "conveyor-01", "speed", "mqtt", hold_ns=2_000_000_000, raw=True)


def test_ids_are_given_in_order_and_a_known_signal_keeps_its_own() -> None:
    table = SignalTable(5)
    assert [table.add(FORCE), table.add(SPEED), table.add(FORCE)] == [0, 1, 0]
    assert table.find(LINE, "conveyor-01", "speed") == 1
    assert table.find(LINE, "conveyor-01", "nothing") is None
    assert len(table) == 2
    assert list(table) == [FORCE, SPEED]


def test_what_is_known_of_a_signal_is_brought_up_to_date_under_its_id() -> None:
    table = SignalTable(5)
    table.add(FORCE)
    table.take_changed()
    assert table.add(replace(FORCE, unit="N")) == 0
    assert table[0].unit == "N"
    assert table.take_changed() == {0: replace(FORCE, unit="N")}


def test_changes_are_told_once_and_the_same_again_is_no_change() -> None:
    table = SignalTable(5)
    table.add(FORCE)
    assert table.take_changed() == {0: FORCE}
    table.add(replace(FORCE))
    assert table.take_changed() == {}


def test_signals_of_one_name_on_another_machine_or_line_are_others() -> None:
    table = SignalTable(5)
    other_line = replace(FORCE, path=replace(LINE, line="line-2"))
    ids = [table.add(one) for one in (FORCE, replace(FORCE, machine="press-02"), other_line)]
    assert ids == [0, 1, 2]


def test_a_stored_table_goes_on_with_its_ids_and_has_nothing_to_store() -> None:
    table = SignalTable(5, {1: SPEED, 0: FORCE})
    assert table.take_changed() == {}
    assert table.add(SPEED) == 1
    assert table.add(replace(FORCE, name="power")) == 2


def test_a_full_table_takes_no_new_signal_but_still_knows_the_old_ones() -> None:
    table = SignalTable(1)
    table.add(FORCE)
    with pytest.raises(SignalsFull, match=r"conveyor-01/speed would be number 2; .* is 1") as full:
        table.add(SPEED)
    assert "signals_max" in full.value.hint
    assert table.add(FORCE) == 0
    assert len(table) == 1


@pytest.mark.parametrize("signal", [FORCE, SPEED])
def test_a_signal_written_as_json_is_read_back_the_same(signal: Signal) -> None:
    document = json.loads(json.dumps(signal.document()))
    assert Signal.from_document(document) == signal
    assert Signal.from_document({**document, "from_the_future": 1}) == signal


def test_a_label_is_machine_and_signal() -> None:
    assert FORCE.label == "press-01/force"
