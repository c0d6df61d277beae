"""Anomalies in the reader's words: one sentence each, where it is, since when, how long.

Enters: the anomalies of the board snapshot's lines (times in ns, values in each signal's unit) and
a catalogue of words. Leaves: frozen views. The sentence is made of the anomaly's own figures; the
agent's message, which is English and tells times in UTC, is kept beside it and shown only where a
detector is unknown here or its figures are missing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cloud.web.readings import magnitudes
from cloud.web.words import Words, clock, decimals_for, duration, number, unit_text

Json = dict[str, Any]

OF_MACHINE = "_machine"  # the signal of an anomaly that several signals show
CONNECTION = "connection"
_LEVELS = (
    ("level", {"value", "low", "high"}),
    ("level_above", {"value", "low"}),
    ("level_below", {"value", "high"}),
    ("level_expected", {"value", "expected"}),
)
_REASON = re.compile(r"no connection(?: since \S+ UTC)?: (.+)|reports (.+?)(?: since \S+ UTC)?$")
# What the page tells itself: start and lasting time in the reader's zone; a score is for engineers.
_TOLD_BESIDE = re.compile(r",? since \d\d:\d\d:\d\d UTC|,? for [\d.,]+ s\b|,? ?\bscore [\d.]+")
_EMPTIED = re.compile(r" *\([ ,]*\)")


@dataclass(frozen=True)
class AnomalyView:
    """One anomaly: where, in a sentence what, and when. `raw` is what the agent wrote."""

    id: str
    anchor: str
    machine: str
    signal: str
    name: str
    detector: str
    severity: str
    message: str
    raw: str
    start_ns: int
    start: tuple[str, str]
    lasting: str
    end: tuple[str, str] | None


def anomalies_of(line: Json, line_key: str, now_ns: int, words: Words) -> list[AnomalyView]:
    """The anomalies of one line, as the snapshot orders them."""
    units = {
        (machine["machine"], signal["signal"]): unit_text(signal["unit"])
        for machine in line["machines"]
        for signal in machine["signals"]
    }
    return [
        _anomaly(one, units.get((one["machine"], one["signal"]), ""), line_key, now_ns, words)
        for one in line["anomalies"]
    ]


def merged(anomalies: Iterable[AnomalyView], words: Words) -> list[AnomalyView]:
    """The same, but one lost connection that several machines or signals report is one view."""
    groups: dict[object, list[AnomalyView]] = {}
    for one in anomalies:
        same = (one.raw, one.severity, one.start_ns, one.end)
        groups.setdefault(same if one.detector == CONNECTION else one.id, []).append(one)
    return [_one_of(group, words) for group in groups.values()]


def _one_of(group: list[AnomalyView], words: Words) -> AnomalyView:
    first, *others = sorted(group, key=lambda one: (one.machine, one.signal))
    if not others:
        return first
    machines = words["list_comma"].join(
        dict.fromkeys([first.machine, *(it.machine for it in others)])
    )
    return replace(first, machine=machines, signal="", name="")


def _anomaly(one: Json, unit: str, line_key: str, now_ns: int, words: Words) -> AnomalyView:
    over_ns = one["ended_ns"]
    signal = "" if one["signal"] == OF_MACHINE else one["signal"]
    place = one["machine"]  # a lost connection names the machine alone
    raw = one["message"].removeprefix(f"{place} / {one['signal']}: ").removeprefix(f"{place}: ")
    lasted_s = ((over_ns or now_ns) - one["start_ns"]) / 1e9
    return AnomalyView(
        one["id"],
        f"{line_key}/{one['machine']}",
        one["machine"],
        signal,
        "" if one["detector"] == CONNECTION else signal.replace("_", " "),
        one["detector"],
        one["severity"],
        sentence(one, raw, unit, words),
        raw,
        one["start_ns"],
        clock(one["start_ns"]),
        words["under_1_s"] if over_ns and lasted_s < 1 else duration(lasted_s, words),
        clock(over_ns) if over_ns else None,
    )


def sentence(one: Json, raw: str, unit: str, words: Words) -> str:
    """What is wrong and what is normal, without the times that the page tells beside it."""
    figures = {name: one[name] for name in ("value", "expected", "low", "high")}
    decimals = decimals_for(max(magnitudes(figures.values()), default=0.0))
    slots = {name: number(it, decimals) for name, it in figures.items() if it is not None}
    if "value" in slots:
        slots["value"] = f"{slots['value']} {unit}".strip()
    if found := _REASON.search(raw):
        slots["reason"] = found[1] or found[2]
    if "sends no number" in raw:
        slots["no_number"] = raw
    for name, needed in _sentences(one["detector"]):
        if needed <= slots.keys():
            return str(words["sentences"][name].format(**slots))
    return _EMPTIED.sub("", _TOLD_BESIDE.sub("", raw)).strip()


def _sentences(detector: str) -> tuple[tuple[str, set[str]], ...]:
    """The names of a detector's sentences with the figures each needs, fullest first."""
    if detector == "level":
        return _LEVELS
    if detector in ("stuck", "dropout"):
        return ((detector, {"value"}),)
    if detector == "bad_status":
        return ((detector, {"reason"}), ("no_number", {"no_number"}))
    if detector == CONNECTION:
        return ((detector, {"reason"}),)
    return ()
