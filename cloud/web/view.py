"""From the board snapshot to what the page prints: every text decided here.

Enters: the object of `GET /v1/board?recent=60` (times in ns, values in each signal's unit) and a
catalogue of words. Leaves: frozen views, most urgent first.
"""

from dataclasses import dataclass

from cloud.web.readings import Json, SignalView, magnitudes, signal_view
from cloud.web.words import Words, clock, decimals_for, duration, number, unit_text

ENDED_MAX = 8
OF_MACHINE = "_machine"  # the signal of an anomaly that several signals show
MESSAGE_LANGUAGE = "en"  # agents write in English; others get the figures in their language too
SILENT_GATEWAY_S = 10.0
_NORMAL = (
    ("normal", {"low", "high"}),
    ("normal_above", {"low"}),
    ("normal_below", {"high"}),
    ("expected", {"expected"}),
)
_URGENCY = {"alarm": 0, "warning": 1, "no_data": 2, "running": 3}


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
            signal_view(signal, key, worst.get(signal["signal"], ""), now_ns, words)
            for signal in machine["signals"]
            if signal is not unit
        ),
        tuple(open_),
        f"{key}/unit" if unit else "",
        unit["text"]["text"] if unit and unit["text"] else "",
    )


def _is_unit(signal: Json) -> bool:
    """Whether this signal names the unit in the machine, which the tile's head shows."""
    return (signal["signal"], signal["kind"]) == ("unit", "text")


def _anomalies(line: Json, now_ns: int, words: Words) -> list[AnomalyView]:
    units = {
        (machine["machine"], signal["signal"]): unit_text(signal["unit"])
        for machine in line["machines"]
        for signal in machine["signals"]
    }
    key = _line_key(line["path"])
    return [_anomaly(one, units, key, now_ns, words) for one in line["anomalies"]]


def _anomaly(
    one: Json, units: dict[tuple[str, str], str], line_key: str, now_ns: int, words: Words
) -> AnomalyView:
    over_ns = one["ended_ns"]
    return AnomalyView(
        one["id"],
        f"{line_key}/{one['machine']}",
        one["machine"],
        "" if one["signal"] == OF_MACHINE else one["signal"],
        one["severity"],
        one["message"].removeprefix(f"{one['machine']} / {one['signal']}: "),
        _facts(one, units.get((one["machine"], one["signal"]), ""), words),
        one["start_ns"],
        clock(one["start_ns"]),
        duration(((over_ns or now_ns) - one["start_ns"]) / 1e9, words),
        clock(over_ns) if over_ns else None,
    )


def _facts(one: Json, unit: str, words: Words) -> str:
    """What an anomaly's message tells in English, as figures in the reader's language."""
    if words["html_lang"] == MESSAGE_LANGUAGE:
        return ""
    figures = {name: one[name] for name in ("value", "expected", "low", "high")}
    decimals = decimals_for(max(magnitudes(figures.values()), default=0.0))
    text = {name: number(it, decimals) for name, it in figures.items() if it is not None}
    facts = [words["detectors"].get(one["detector"], one["detector"])]
    if "value" in text:
        facts.append(f"{text['value']} {unit}".strip())
    if normal := _normal(text, words):
        facts.append(normal)
    if one["score"] is not None:
        facts.append(words["score"].format(score=number(one["score"], 2)))
    return " · ".join(facts)


def _normal(text: dict[str, str], words: Words) -> str:
    """What would be normal, as far as the detector said it."""
    for name, needed in _NORMAL:
        if needed <= text.keys():
            return str(words[name].format(**text))
    return ""


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
