"""From the board snapshot to what the page prints: every text decided, nothing left to the template.

Enters: the object of `GET /v1/board?recent=60` (times in ns, values in each signal's unit) and a
catalogue of words. Leaves: frozen views. A value is shown only from the newest window and only where that
window has one; otherwise its place says why there is none.

The browser repeats `_reading` for each window that the stream brings (`static/signals.js`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cloud.web.words import (
    Words,
    clock,
    decimals_for,
    duration,
    every_seconds,
    every_text,
    number,
    unit_text,
)

Json = dict[str, Any]

STALE_AFTER_S = 5.0  # on top of `every`: the age at which a tile greys out
GOOD_ENOUGH = 0.95  # a smaller share of Good time is printed beside the value
ENDED_MAX = 8
SILENT_GATEWAY_S = 10.0
NO_WINDOW = "-1"  # `data-end-ns` of a signal without any window
_URGENCY = {"alarm": 0, "warning": 1, "no_data": 2, "running": 3}


@dataclass(frozen=True)
class Reading:
    """One signal's texts. `lacking` says that `value` is a reason, not a number."""

    value: str
    note: str = ""
    lacking: bool = False


@dataclass(frozen=True)
class SignalView:
    """One row of a tile. `form` is chart, counter, state or text; `end_ns` closes its newest window."""

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


@dataclass(frozen=True)
class AnomalyView:
    """One anomaly: where, what the detector said, the figures, and when."""

    id: str
    anchor: str
    machine: str
    signal: str
    severity: str
    message: str
    facts: str
    start_ns: int
    start: tuple[str, str]
    lasting: str
    end: tuple[str, str] | None


@dataclass(frozen=True)
class MachineView:
    """One tile. `unit_key` and `unit_label` are the unit now in the machine, where it tells."""

    key: str
    anchor: str
    machine: str
    model: str
    state: str
    signals: tuple[SignalView, ...]
    anomalies: tuple[AnomalyView, ...]
    unit_key: str
    unit_label: str


@dataclass(frozen=True)
class LineView:
    """One line with its machines in flow order."""

    anchor: str
    line: str
    above: str
    state: str
    machines: tuple[MachineView, ...]


@dataclass(frozen=True)
class GatewayView:
    """One gateway's ledger as a sentence and a verdict."""

    key: str
    gateway: str
    sentence: str
    balanced: bool
    silent: str


@dataclass(frozen=True)
class BoardView:
    """The whole page. Lines and open anomalies stand most urgent first."""

    now_ns: int
    lines: tuple[LineView, ...]
    open: tuple[AnomalyView, ...]
    ended: tuple[AnomalyView, ...]
    gateways: tuple[GatewayView, ...]


def board_view(board: Json, words: Words) -> BoardView:
    """The page of one snapshot in one language."""
    now_ns = int(board["now_ns"])
    both = [(line, _anomalies(line, now_ns, words)) for line in board["lines"]]
    both.sort(key=lambda pair: _URGENCY[pair[0]["state"]])
    everything = [anomaly for _, anomalies in both for anomaly in anomalies]
    ended = [anomaly for anomaly in everything if anomaly.end is not None]
    ended.sort(key=lambda anomaly: anomaly.end or ("", ""), reverse=True)
    urgent = sorted(
        (anomaly for anomaly in everything if anomaly.end is None),
        key=lambda anomaly: (_URGENCY[anomaly.severity], -anomaly.start_ns),
    )
    return BoardView(
        now_ns,
        tuple(_line(line, anomalies, now_ns, words) for line, anomalies in both),
        tuple(urgent),
        tuple(ended[:ENDED_MAX]),
        tuple(_gateway(gateway, now_ns, words) for gateway in board["gateways"]),
    )


def _line(line: Json, anomalies: list[AnomalyView], now_ns: int, words: Words) -> LineView:
    path = line["path"]
    return LineView(
        _line_key(path),
        path["line"],
        " / ".join((path["enterprise"], path["site"], path["area"])),
        line["state"],
        tuple(
            _machine(
                machine,
                _line_key(path),
                [one for one in anomalies if one.machine == machine["machine"] and not one.end],
                now_ns,
                words,
            )
            for machine in line["machines"]
        ),
    )


def _machine(
    machine: Json, line_key: str, open_: list[AnomalyView], now_ns: int, words: Words
) -> MachineView:
    key = f"{line_key}/{machine['machine']}"
    worst = {one.signal: one.severity for one in sorted(open_, key=lambda one: one.severity)[::-1]}
    unit = next((one for one in machine["signals"] if _is_unit(one)), None)
    return MachineView(
        key,
        key,
        machine["machine"],
        machine["model"] or "",
        machine["state"],
        tuple(
            _signal(signal, key, worst.get(signal["signal"], ""), now_ns, words)
            for signal in machine["signals"]
            if signal is not unit
        ),
        tuple(open_),
        f"{key}/unit" if unit else "",
        unit["text"]["text"] if unit and unit["text"] else "",
    )


def _is_unit(signal: Json) -> bool:
    """Whether this signal names the unit in the machine, which the tile's head shows."""
    return signal["signal"] == "unit" and signal["kind"] == "text"


def _signal(
    signal: Json, machine_key: str, abnormal: str, now_ns: int, words: Words
) -> SignalView:
    every_s = every_seconds(signal["every"])
    newest = signal["text"] if signal["kind"] == "text" else signal["window"]
    end_ns = newest["time_ns"] + int(every_s * 1e9) if newest else None
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
        _reading(signal, words),
        words["ago"].format(duration=duration(age_s, words)) if stale else "",
        abnormal,
    )


def _form(signal: Json) -> str:
    if signal["kind"] == "discrete":
        return "packml" if signal["signal"] == "state" else "discrete"
    return signal["kind"] if signal["kind"] in ("counter", "text") else "chart"


def _reading(signal: Json, words: Words) -> Reading:
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
    """The largest magnitude on the signal's chart: it decides the digits of all its numbers."""
    window = signal["window"]
    rows = [*signal["recent"], (0, window["mean"], window["min"], window["max"], 1.0)]
    return max(_magnitudes(figure for row in rows for figure in row[1:4]), default=0.0)


def _magnitudes(figures: Iterable[float | None]) -> list[float]:
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
    return str(
        words["increase"].format(increase=f"+{text}", every=every_text(signal["every"], words))
    )


def _counted(value: float) -> int:
    """Decimals of a counter: none while it counts whole things."""
    return 0 if float(value).is_integer() else 2


def _anomalies(line: Json, now_ns: int, words: Words) -> list[AnomalyView]:
    units = {
        (machine["machine"], signal["signal"]): unit_text(signal["unit"])
        for machine in line["machines"]
        for signal in machine["signals"]
    }
    return [_anomaly(one, units, _line_key(line["path"]), now_ns, words) for one in line["anomalies"]]


def _anomaly(
    one: Json, units: dict[tuple[str, str], str], line_key: str, now_ns: int, words: Words
) -> AnomalyView:
    over_ns = one["ended_ns"]
    return AnomalyView(
        one["id"],
        f"{line_key}/{one['machine']}",
        one["machine"],
        one["signal"],
        one["severity"],
        one["message"],
        _facts(one, units.get((one["machine"], one["signal"]), ""), words),
        one["start_ns"],
        clock(one["start_ns"]),
        duration(((over_ns or now_ns) - one["start_ns"]) / 1e9, words),
        clock(over_ns) if over_ns else None,
    )


def _facts(one: Json, unit: str, words: Words) -> str:
    """The figures of an anomaly in the reader's language: value, what is normal, score."""
    low, high = one["low"], one["high"]
    figures = {name: one[name] for name in ("value", "expected", "low", "high")}
    decimals = decimals_for(max(_magnitudes(figures.values()), default=0.0))
    text = {name: number(it, decimals) for name, it in figures.items() if it is not None}
    facts = [f"{text['value']} {unit}".strip()] if "value" in text else []
    if low is not None and high is not None:
        facts.append(words["normal"].format(**text))
    elif low is not None or high is not None:
        facts.append(words["normal_above" if high is None else "normal_below"].format(**text))
    elif "expected" in text:
        facts.append(words["expected"].format(**text))
    return " · ".join([*facts, words["score"].format(score=number(one["score"], 2))])


def _gateway(gateway: Json, now_ns: int, words: Words) -> GatewayView:
    """The ledger of a gateway; a figure that it never sent counts as zero."""
    counts = {
        name: number(gateway.get(name) or 0, 0)
        for name in ("received", "derived", "filtered", "dropped", "pending")
    }
    sentence = words["ledger_filtered" if gateway.get("filtered") else "ledger"]
    silence_s = (now_ns - gateway["seen_ns"]) / 1e9
    silent = silence_s > SILENT_GATEWAY_S
    return GatewayView(
        "/".join((gateway["site"], gateway["area"], gateway["gateway"])),
        gateway["gateway"],
        sentence.format(**counts),
        bool(gateway.get("balanced")),
        words["heard"].format(duration=duration(silence_s, words)) if silent else "",
    )


def _line_key(path: Json) -> str:
    return "/".join((path["enterprise"], path["site"], path["area"], path["line"]))
