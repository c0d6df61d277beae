"""Which kind of signal values are of, and how that is known.

Enters: a signal's name and its values, in runs as they came. Leaves: a kind, and the reason where
it is a guess. Nothing fails. Nothing in MQTT tells a level from a counter: what can be seen is
whether numbers are whole, how many there are, and whether they ever fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, get_args

from agent.config.opcua import PackmlState
from agent.signals import Kind
from agent.sources.mqtt.payloads import Unreadable, Value, as_number
from agent.sources.words import counts_up, tells_a_state

RISES_MIN: Final = 4
"""Whole numbers that rose so often and never fell count something, whatever their name."""
TEXTS_MAX: Final = 0.2
"""Values of which a larger share are no numbers are texts; fewer are what a broken sensor says."""
TEXT_CHARS_MAX: Final = 20
_STATES: Final = frozenset(get_args(PackmlState))


@dataclass(frozen=True, slots=True)
class Guess:
    """A kind; `reason` is why, empty where there is nothing to doubt; `state` of PackML's names."""

    kind: Kind
    reason: str = ""
    state: bool = False


def guess(name: str, runs: Sequence[Sequence[Value]]) -> Guess:
    """The kind of a signal."""
    said = [value for run in runs for value in run if value is not None]
    if said and all(isinstance(value, bool) for value in said):
        return Guess("discrete")
    numbers = [[value for one in run if (value := _number(one)) is not None] for run in runs]
    texts = [str(value) for value in said if _number(value) is None]
    if len(texts) > TEXTS_MAX * len(said):
        return Guess("text", state=_STATES.issuperset(map(str, said)))
    found = _of_numbers(name, numbers)
    if not texts:
        return found
    return Guess(found.kind, f"guessed: numbers, but for {texts[0][:TEXT_CHARS_MAX]!r}")


def _number(value: Value) -> float | None:
    """It as a number; None where it is none."""
    try:
        return None if value is None else as_number(value)
    except Unreadable:
        return None


def _of_numbers(name: str, runs: Sequence[Sequence[float]]) -> Guess:
    values = {value for run in runs for value in run}
    steps = [after - before for run in runs for before, after in pairwise(run)]
    rises, falls = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    whole = all(value == int(value) for value in values)
    if counts_up(name) and not falls:
        return Guess("counter", "guessed from its name")
    if whole and rises >= RISES_MIN and not falls and not tells_a_state(name):
        return Guess("counter", "guessed: whole numbers that only rose")
    if whole and values == {0, 1}:
        return Guess("discrete", "guessed: only 0 and 1 came")
    if whole and values and tells_a_state(name):
        return Guess("discrete", "guessed from its name")
    return Guess("analog")
