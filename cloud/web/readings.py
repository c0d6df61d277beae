"""One signal's row on a tile: its value, its band, its age, or why there is no value.

Enters: a signal of the board snapshot (values in its unit, times in ns) and a catalogue of words.
Leaves: a frozen view. A value is shown only from the newest window and only where that window has
one; otherwise its place says why there is none. `static/signals.js` repeats `reading` for each
window that the stream brings.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from cloud.live.shape import every_ns
from cloud.web.words import Words, decimals_for, duration, number, unit_text

Json = dict[str, Any]

STALE_AFTER_S = 5.0  # on top of `every`, from the window's end: then it greys out
GOOD_ENOUGH = 0.95  # a smaller share of Good time is printed beside the value
EVERY_S = 10.0  # the design's default, where a signal does not say
NO_WINDOW = "-1"  # `end_ns` of a signal without any window


@dataclass(frozen=True)
class Reading:
    """One signal's texts. `lacking` says that `value` is a reason, not a number."""

    value: str
    note: str = ""
    lacking: bool = False


@dataclass(frozen=True)
class SignalView:
    """One row of a tile; `form` says how it is shown, `end_ns` closes its newest window."""

    key: str
    signal: str
    title: str
    form: str
    unit: str
    every_s: float
    end_ns: str
    reading: Reading
    age: str
    abnormal: str


def signal_view(
    signal: Json, machine_key: str, abnormal: str, now_ns: int, words: Words
) -> SignalView:
    """The row of one signal; `abnormal` is the worst severity open on it, or empty."""
    every_s = _every_s(signal)
    end_ns = newest_end_ns(signal)
    age_s = (now_ns - end_ns) / 1e9 if end_ns else 0.0
    stale = signal["kind"] != "text" and age_s > every_s + STALE_AFTER_S
    return SignalView(
        f"{machine_key}/{signal['signal']}",
        signal["signal"].replace("_", " "),
        signal["description"] or signal["signal"],
        _form(signal),
        unit_text(signal["unit"]),
        every_s,
        str(end_ns) if end_ns else NO_WINDOW,
        reading(signal, words),
        words["ago"].format(duration=duration(age_s, words)) if stale else "",
        abnormal,
    )


def newest_end_ns(signal: Json) -> int | None:
    """When a signal's newest window ended, or its newest text was `every` old; None without."""
    newest = signal["text"] if signal["kind"] == "text" else signal["window"]
    return newest["time_ns"] + int(_every_s(signal) * 1e9) if newest else None


def _every_s(signal: Json) -> float:
    return every_ns(signal["every"] or "") / 1e9 or EVERY_S


def _form(signal: Json) -> str:
    if signal["kind"] == "discrete":
        return "packml" if signal["signal"] == "state" else "discrete"
    return signal["kind"] if signal["kind"] in ("counter", "text") else "chart"


def reading(signal: Json, words: Words) -> Reading:
    """What a signal's newest window (or text) says."""
    form = _form(signal)
    if form == "text":
        newest = signal["text"]
        return Reading(newest["text"]) if newest else Reading(words["empty"], lacking=True)
    window = signal["window"]
    value = window and window["mean" if form == "chart" else "last"]
    if value is None:
        bad = window is not None and window["n"] > 0
        return Reading(words["bad" if bad else "empty"], lacking=True)
    if form == "chart":
        decimals = decimals_for(_reference(signal))
        return Reading(number(value, decimals), _band(window, decimals, words))
    if form == "counter":
        return Reading(number(value, _counted(value)), _increase(signal, words))
    plain = number(value, _counted(value))
    if form == "packml" and (name := words["packml"].get(plain)):
        return Reading(name, plain)
    return Reading(plain)


def _reference(signal: Json) -> float:
    """The usual size of the signal's figures, which decides the digits of all its numbers.

    It is the median of its windows' largest figures: one outlier takes no digits from the others.
    """
    window = signal["window"]
    rows = [*signal["recent"], (0, window["mean"], window["min"], window["max"], 1.0)]
    sizes = [max(magnitudes(row[1:4]), default=0.0) for row in rows]
    return median_low([size for size in sizes if size > 0] or [0.0])


def magnitudes(figures: Iterable[float | None]) -> list[float]:
    """The sizes of those figures that exist."""
    return [abs(figure) for figure in figures if figure is not None]


def _band(window: Json, decimals: int, words: Words) -> str:
    low, high, good = window["min"], window["max"], window["good"]
    texts = []
    if low is not None and high is not None:
        texts.append(words["band"].format(low=number(low, decimals), high=number(high, decimals)))
    if good < GOOD_ENOUGH:
        texts.append(words["good"].format(percent=int(good * 100)))
    return "\n".join(texts)


def _increase(signal: Json, words: Words) -> str:
    increase = signal["window"]["increase"]
    if increase is None:
        return ""
    whole = float(increase).is_integer()
    text = number(increase, 0 if whole else decimals_for(increase))
    every = duration(_every_s(signal), words)
    return str(words["increase"].format(increase=f"+{text}", every=every))


def _counted(value: float) -> int:
    """Decimals of a counter: none while it counts whole things."""
    return 0 if float(value).is_integer() else 2
