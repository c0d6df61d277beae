"""What the page says: one catalogue a language, and how numbers, durations and times are written.

Enters: numbers in a signal's unit, nanoseconds, the request's language wishes. Leaves: text. The
catalogues lie under `static/strings/` because the browser reads the same files; `static/words.js`
writes numbers and durations by the same rules, and one table of cases tests both.
"""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Words = dict[str, Any]

_STRINGS = Path(__file__).parent / "static" / "strings"
CATALOGUES: dict[str, Words] = {
    language: json.loads((_STRINGS / f"{language}.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}
UNIT_SYMBOLS = {"degC": "°C", "degF": "°F", "um": "µm", "m2": "m²", "m3": "m³", "m3/h": "m³/h"}

MINUS = "\N{MINUS SIGN}"
DECIMALS_MAX = 6
_DECIMALS = ((1000, 0), (100, 1), (10, 1), (1, 2), (0.1, 3), (0.01, 3), (0.001, 4), (0.0001, 5))


def choose_language(asked: str | None, remembered: str | None, accept: str) -> str:
    """`en` or `zh`: what the address asks, else the cookie, else the browser's first known wish."""
    for wish in (asked, remembered):
        if wish in CATALOGUES:
            return wish
    for wish in _by_quality(accept):
        if wish.split("-")[0] in CATALOGUES:
            return wish.split("-")[0]
    return "en"


def _by_quality(accept: str) -> list[str]:
    """Language ranges of an Accept-Language header, best first (RFC 9110, 12.5.4)."""
    ranked = []
    for item in accept.lower().split(","):
        name, _, weight = item.strip().partition(";q=")
        try:
            ranked.append((float(weight or 1), name))
        except ValueError:
            continue
    return [name for quality, name in sorted(ranked, key=lambda pair: -pair[0]) if quality > 0]


def decimals_for(reference: float) -> int:
    """Decimals for three significant digits (four from 100 up, two below 0.1) at this magnitude.

    One reference for a signal's whole chart keeps its digits from dancing as the value moves.
    """
    size = abs(reference)
    if size == 0 or not math.isfinite(size):
        return 0
    return next((decimals for floor, decimals in _DECIMALS if size >= floor), DECIMALS_MAX)


def number(value: float, decimals: int) -> str:
    """`value` with grouped thousands and a true minus sign; never a negative zero."""
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        text = MINUS + text[1:] if any(digit in "123456789" for digit in text) else text[1:]
    return text


def duration(seconds: float, words: Words) -> str:
    """The two largest parts that matter: `38 s`, `4 min 12 s`, `2 h 5 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    parts = (
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "min"),
        (whole % 60, "s"),
    )
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    shown = [part for part in parts[first : first + 2] if part[0] or part is parts[first]]
    return " ".join(f"{count} {words['durations'][name]}" for count, name in shown)


def clock(time_ns: int) -> tuple[str, str]:
    """A time as RFC 3339, and as `14:02:11 UTC` until the browser puts its own zone."""
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds"), f"{moment:%H:%M:%S} UTC"


def unit_text(unit: str | None) -> str:
    """A unit as printed on a machine's plate: `degC` becomes `°C`."""
    return UNIT_SYMBOLS.get(unit or "", unit or "")
