"""Replay: the same calls on a checkpoint give the same bits as if nothing had been."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.derive import Derive, DetectSettings
from agent.derive.checkpoint import pack, unpack
from agent.ledger import SampleLedger
from agent.lines import WINDOW
from agent.signals import SECOND_NS
from tests.agent.derive.plant import BAD, SEEDED, SIGNALS, START, STARTED, TENTH, Plant, batch
from tests.agent.kernels.rows import bits

JOURNALED = ["opc"]
Call = tuple[str, tuple[Any, ...]]


@st.composite
def courses(draw: st.DrawFn) -> list[Call]:
    """Calls of two sources: batches with late samples, losses, passing time and commits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.1, 0.6]))
    now, calls = START, list[Call]()
    for _ in range(draw(st.integers(3, 60))):
        now += int(rng.choice([TENTH, SECOND_NS, SECOND_NS, 20 * SECOND_NS]))
        source = str(rng.choice(["opc", "mqtt"]))
        what = rng.choice(["take"] * 8 + ["lose", "pass_time"] + ["commit"] * 3)
        if what == "take":
            samples = _samples(rng, source, now, share)
            alive_ns = int(rng.choice([0, now, now - SECOND_NS]))
            calls.append(("take", (source, batch(samples, alive_ns, received_ns=now))))
        elif what == "lose":
            calls.append(("lose", (source, "cable", now)))
        elif what == "pass_time":
            calls.append(("pass_time", (source, now)))
        else:
            calls.append(("commit", ()))
    return [*calls, ("commit", ())]


def _samples(rng: np.random.Generator, source: str, now: int, share: float) -> list[Any]:
    numbers = [i for i, one in enumerate(SIGNALS) if one.source == source]
    samples = []
    for _ in range(rng.integers(0, 60)):
        number = int(rng.choice(numbers))
        time_ns = now - int(rng.integers(0, TENTH))
        if rng.random() < share:
            time_ns -= int(rng.choice([SECOND_NS, 7 * SECOND_NS, 60 * SECOND_NS, 10**17]))
        text = SIGNALS[number].kind == "text"
        value = str(rng.choice(["A7", "Held: jam"])) if text else float(rng.normal())
        samples.append((number, time_ns, value, int(rng.choice([0, 0, 0, 0, 0, BAD]))))
    return samples


def play(derive: Derive, calls: list[Call]) -> list[Any]:
    """What each commit told, in a form that compares bit by bit."""
    told: list[Any] = []
    for name, arguments in calls:
        if name == "commit":
            derived, revised = derive.collect(), derive.revise()
            told.append(
                (bits(derived.windows), bits(derived.samples), derived.texts, bits(revised))
            )
            told.append(repr((derived.anomalies, derived.states)))
        else:
            getattr(derive, name)(*arguments)
    return told


@SEEDED
@given(courses(), st.data())
def test_a_replay_from_a_checkpoint_tells_the_same_and_leaves_the_same_state(
    calls: list[Call], data: st.DataObject
) -> None:
    commits = [number for number, call in enumerate(calls, 1) if call[0] == "commit"]
    place = data.draw(st.sampled_from([0, *commits]))
    plant = Plant()
    play(plant.derive, calls[:place])
    stored = plant.derive.checkpoint(clean=False, journaled=["opc", "mqtt"])
    told = play(plant.derive, calls[place:])
    again = Derive(plant.table, DetectSettings(), SampleLedger(), stored, STARTED)
    assert play(again, calls[place:]) == told
    for derive in (plant.derive, again):
        derive.recovered(plant.derive.samples.copy(), STARTED)
    everything = [one.checkpoint(clean=True, journaled=()) for one in (plant.derive, again)]
    assert everything[0] == everything[1]
    assert again.samples == plant.derive.samples
    assert again.samples.dropped.total() == 0


@SEEDED
@given(courses(), st.data())
def test_after_a_crash_the_journaled_source_goes_on_and_the_other_is_a_restart_gap(
    calls: list[Call], data: st.DataObject
) -> None:
    """The journal holds the calls of one source; what comes after the crash, those of both."""
    commits = [number for number, call in enumerate(calls, 1) if call[0] == "commit"]
    place = data.draw(st.sampled_from([0, *commits]))
    crash = data.draw(st.sampled_from([number for number in commits if number >= place]))
    plant, alone = Plant(), Plant()
    play(plant.derive, calls[:place])
    stored = plant.derive.checkpoint(clean=False, journaled=JOURNALED)
    play(plant.derive, calls[place:crash])
    committed = plant.derive.samples.copy()
    journal = [call for call in calls if not call[1] or call[1][0] in JOURNALED]
    replayed = [call for call in calls[place:crash] if not call[1] or call[1][0] in JOURNALED]
    again = Derive(plant.table, DetectSettings(), SampleLedger(), stored, STARTED)
    play(again, replayed)
    again.recovered(committed.copy(), STARTED)
    assert again.samples.balanced
    pending = committed.pending - again.samples.pending
    assert again.samples.dropped.total() == again.samples.dropped["restart_gap"] == pending
    before = len([call for call in calls[:crash] if call in journal])
    play(alone.derive, journal[:before])
    alone.derive.pause()
    rest = journal[before:]
    assert [_of_journaled(one) for one in play(again, rest)[::2]] == [
        _of_journaled(one) for one in play(alone.derive, rest)[::2]
    ]
    assert again.samples.balanced


def _of_journaled(told: Any) -> Any:
    """Windows and revisions of the journaled source's signals; the other's have gone on."""
    names = [i for i, one in enumerate(SIGNALS) if one.source in JOURNALED]
    blocks = []
    for fields in (told[0], told[3]):
        rows = np.empty(len(fields["signal"]) // 4, WINDOW)
        for name in WINDOW.names or ():
            rows[name] = np.frombuffer(fields[name], WINDOW[name])
        blocks.append(repr(rows[np.isin(rows["signal"], names)].tolist()))
    return blocks


@pytest.mark.parametrize("rows", [0, 1, 5, 3000])
def test_a_checkpoint_holds_arrays_bit_by_bit(rows: int) -> None:
    rng = np.random.default_rng(7)
    dtype = np.dtype(
        [("a", np.int64), ("b", np.float64), ("c", np.bool_), ("d", np.int8)], align=True
    )
    array = np.zeros(rows, dtype)
    array["a"] = rng.integers(-(2**62), 2**62, rows)
    array["b"] = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    array["b"][::7] = -0.0
    array["b"][3::7] = np.inf
    array["c"] = rng.random(rows) < 0.5
    array["d"] = rng.integers(-128, 127, rows)
    document, arrays = unpack(pack({"x": [1, None]}, {"one": array}), {"one": dtype})
    assert document == {"x": [1, None]}
    assert bits(arrays["one"]) == bits(array)


def test_an_array_whose_fields_have_changed_is_left_out() -> None:
    blob = pack({}, {"one": np.zeros(3, [("a", np.int64)])})
    assert unpack(blob, {"one": np.dtype([("a", np.int32)])})[1] == {}


def test_a_damaged_checkpoint_raises_value_error() -> None:
    blob = pack({}, {"one": np.zeros(300, [("a", np.int64)])})
    for size in range(len(blob) - 1):
        with pytest.raises(ValueError, match=r"damaged|format"):
            unpack(blob[:size], {})
