"""From the board snapshot to what the page prints: every text decided here.

Enters: the object of `GET /v1/board?recent=60` (times in ns, values in each signal's unit) and a
catalogue of words. Leaves: frozen views, most urgent first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cloud.web.anomalies import AnomalyView, anomalies_of, merged
from cloud.web.readings import Json, SignalView, newest_end_ns, signal_view
from cloud.web.words import Words, duration, number

ENDED_MAX = 8
SILENT_GATEWAY_S = 15.0
WAITING_S_MAX = 60.0  # lines that wait longer, or less room than this, and the room is told
ROOM_HOURS_MIN = 1.0
_URGENCY = {"alarm": 0, "warning": 1, "no_data": 2, "running": 3}


@dataclass(frozen=True)
class MachineView:
    """One tile. `unit_key` and `unit_label` are the unit now in the machine, where it tells.

    `flows_in` says that units come to it from the machine before.
    """

    key: str
    anchor: str
    machine: str
    model: str
    state: str
    signals: tuple[SignalView, ...]
    anomalies: tuple[AnomalyView, ...]
    unit_key: str
    unit_label: str
    flows_in: bool


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
    """One gateway's ledger as a sentence and a verdict; `trouble` says what is wrong."""

    key: str
    gateway: str
    sentence: str
    balanced: bool
    verdict: str
    trouble: str
    stale: bool


@dataclass(frozen=True)
class SilenceView:
    """A line that says nothing: a sentence around how long, 0 in `since_ns` when it never did."""

    anchor: str
    line: str
    before: str
    after: str
    since_ns: int
    lasting: str


@dataclass(frozen=True)
class BoardView:
    """The whole page. Lines and open anomalies stand most urgent first."""

    now_ns: int
    lines: tuple[LineView, ...]
    silent: tuple[SilenceView, ...]
    open: tuple[AnomalyView, ...]
    ended: tuple[AnomalyView, ...]
    gateways: tuple[GatewayView, ...]


def board_view(board: Json, words: Words) -> BoardView:
    """The page of one snapshot in one language."""
    now_ns = int(board["now_ns"])
    both = [
        (line, anomalies_of(line, _line_key(line["path"]), now_ns, words))
        for line in board["lines"]
    ]
    both.sort(key=lambda pair: _URGENCY[pair[0]["state"]])
    everything = merged((anomaly for _, anomalies in both for anomaly in anomalies), words)
    ended = [anomaly for anomaly in everything if anomaly.end is not None]
    ended.sort(key=lambda anomaly: anomaly.end or ("", ""), reverse=True)
    urgent = sorted(
        (anomaly for anomaly in everything if anomaly.end is None),
        key=lambda anomaly: (_URGENCY[anomaly.severity], -anomaly.start_ns),
    )
    return BoardView(
        now_ns,
        tuple(_line(line, anomalies, now_ns, words) for line, anomalies in both),
        tuple(
            _silence(line, board["gateways"], now_ns, words)
            for line, _ in both
            if line["state"] == "no_data"
        ),
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
                before,
                _line_key(path),
                [one for one in anomalies if one.machine == machine["machine"] and not one.end],
                now_ns,
                words,
            )
            for before, machine in zip([None, *line["machines"]], line["machines"], strict=False)
        ),
    )


def _machine(
    machine: Json,
    before: Json | None,
    line_key: str,
    open_: list[AnomalyView],
    now_ns: int,
    words: Words,
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
        tuple(merged(open_, words)),
        f"{key}/unit" if unit else "",
        unit["text"]["text"] if unit and unit["text"] else "",
        before is not None and _flows(before, machine),
    )


def _is_unit(signal: Json) -> bool:
    """Whether this signal names the unit in the machine, which the tile's head shows."""
    return (signal["signal"], signal["kind"]) == ("unit", "text")


def _flows(before: Json, after: Json) -> bool:
    """Whether units go from one machine to the next: both have a place and have told a unit."""
    return all(
        one["order_in_line"] is not None
        and any(_is_unit(signal) and signal["text"] for signal in one["signals"])
        for one in (before, after)
    )


def _silence(line: Json, gateways: list[Json], now_ns: int, words: Words) -> SilenceView:
    """Since when a line says nothing, and who may be at fault.

    A line does not tell its gateway: every gateway of its area is named, if all are silent.
    """
    path = line["path"]
    near = [one for one in gateways if (one["site"], one["area"]) == (path["site"], path["area"])]
    since_ns = max(
        (newest_end_ns(one) or 0 for machine in line["machines"] for one in machine["signals"]),
        default=0,
    )
    if near and all(_silence_s(one, now_ns) > SILENT_GATEWAY_S for one in near):
        since_ns = max(one["seen_ns"] for one in near)
        names = words["list_comma"].join(one["gateway"] for one in near)
        said = words["nothing_heard"].replace("{gateways}", names)
    else:
        said = words["no_values" if since_ns else "no_values_yet"]
        said = said.replace("{line}", path["line"])
    before, _, after = said.partition("{duration}")
    lasting = duration((now_ns - since_ns) / 1e9, words)
    return SilenceView(_line_key(path), path["line"], before, after, since_ns, lasting)


def _gateway(gateway: Json, now_ns: int, words: Words) -> GatewayView:
    """The ledger of a gateway; a figure that it never sent counts as zero."""
    counts = {
        name: number(gateway.get(name) or 0, 0)
        for name in ("received", "derived", "filtered", "dropped", "pending")
    }
    sentence = words["ledger_filtered" if gateway.get("filtered") else "ledger"]
    balanced = bool(gateway.get("balanced"))
    silence_s = _silence_s(gateway, now_ns)
    stale = silence_s > SILENT_GATEWAY_S
    verdict = ("balanced" if balanced else "unbalanced") + ("_then" if stale else "")
    return GatewayView(
        "/".join((gateway["site"], gateway["area"], gateway["gateway"])),
        gateway["gateway"],
        sentence.format(**counts),
        balanced,
        words[verdict].format(duration=duration(silence_s, words)),
        " ".join(_troubles(gateway, stale, words)),
        stale,
    )


def _troubles(gateway: Json, stale: bool, words: Words) -> Iterator[str]:
    """What is wrong: lines that wait nowhere, and how long there is room where that matters."""
    if gateway.get("missing"):
        yield words["lines_missing"].format(count=number(gateway["missing"], 0))
    hours = gateway.get("hours_left")
    waiting = (gateway.get("oldest_s") or 0) > WAITING_S_MAX
    if hours is not None and (stale or waiting or hours < ROOM_HOURS_MIN):
        room = words["room_then" if stale else "room"]
        yield room.format(duration=duration(hours * 3600, words))


def _silence_s(gateway: Json, now_ns: int) -> float:
    return float((now_ns - gateway["seen_ns"]) / 1e9)


def _line_key(path: Json) -> str:
    return "/".join((path["enterprise"], path["site"], path["area"], path["line"]))
