"""The slow twin of `agent.lines.encode`, and a reader of line protocol to check both against."""

from __future__ import annotations

import math
import re
from typing import Any

from agent.lines import Lines
from agent.signals import Signal

TAG_ESCAPES = re.compile(r"\\([,= ])")


def encode(lines: Lines, signals: dict[int, Signal]) -> list[bytes]:
    """Every line of `lines`, built one by one; names without anything to escape."""
    made = []
    for row in lines.windows:
        fields = {"n": whole(row["n"])}
        for name in ("good", "mean", "std", "min", "max", "first", "last", "increase"):
            fields[name] = number(row[name])
        fields["rev"] = whole(row["rev"])
        every = f",every={row['every_ns'] // 1_000_000_000}s"
        made.append(line("window", signals[row["signal"]], every, fields, row["start_ns"]))
    for row in lines.samples:
        text = lines.texts[row["text"]] if row["text"] >= 0 else None
        fields = {
            "value": number(row["value"]) if text is None else "",
            "text": quoted(text) if text is not None else "",
            "status": whole(row["status"]),
        }
        made.append(line("sample", signals[row["signal"]], "", fields, row["time_ns"]))
    return made + list(lines.ready)


def line(measurement: str, signal: Signal, every: str, fields: dict[str, str], time: int) -> bytes:
    path = signal.path
    tags = (
        f"enterprise={path.enterprise},site={path.site},area={path.area},line={path.line},"
        f"machine={signal.machine},signal={signal.name}{every}"
    )
    present = ",".join(f"{name}={value}" for name, value in fields.items() if value)
    return f"{measurement},{tags} {present} {time}".encode()


def number(value: float) -> str:
    return repr(float(value)).removesuffix(".0") if math.isfinite(value) else ""


def whole(value: int) -> str:
    return f"{int(value)}i"


def quoted(text: str) -> str:
    return '"' + "".join("\\" + c if c in '"\\' else c for c in text) + '"'


def parse(encoded: bytes) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Measurement, tags, fields and time of one line, character by character."""
    text = encoded.decode()
    key, rest = split_once(text, " ")
    fields, time = split_once(rest, " ")
    measurement, *tags = split(key, ",")
    named = dict(split_once(tag, "=") for tag in tags)
    return (
        unescape(measurement),
        {unescape(name): unescape(value) for name, value in named.items()},
        {unescape(name): value_of(text) for name, text in (
            split_once(field, "=") for field in split(fields, ",")
        )},
        int(time),
    )  # fmt: skip


def unescape(text: str) -> str:
    return TAG_ESCAPES.sub(r"\1", text)


def value_of(text: str) -> Any:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)


def split(text: str, separator: str) -> list[str]:
    parts = []
    while True:
        part, found, text = cut(text, separator)
        parts.append(part)
        if not found:
            return parts


def split_once(text: str, separator: str) -> tuple[str, str]:
    part, found, rest = cut(text, separator)
    assert found, text
    return part, rest


def cut(text: str, separator: str) -> tuple[str, bool, str]:
    """Up to the first separator that is neither escaped nor within quotes."""
    quoted, i = False, 0
    while i < len(text):
        if text[i] == "\\" and i + 1 < len(text) and (quoted or text[i + 1] in ",= "):
            i += 2
            continue
        if text[i] == '"':
            quoted = not quoted if quoted or text[i - 1] == "=" else quoted
        elif text[i] == separator and not quoted:
            return text[:i], True, text[i + 1 :]
        i += 1
    return text, False, ""
