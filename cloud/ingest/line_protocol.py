r"""Line protocol to columns.

Enters: one body of InfluxDB line protocol (UTF-8 bytes). Leaves: `Columns`, one per measurement
and set of tag keys, so that every row of one `Columns` has the same shape. Fails: `LineError`
naming the first bad line.

    measurement[,tag=value...] field=value[,field=value...] [time]

What the reference implementation (InfluxDB OSS 2) does and this does too:

- a backslash escapes `,` and space in a measurement; `,`, `=` and space in tags and field keys;
  `"` and `\` in quoted text; before anything else it is a plain backslash;
- quotes mean text only at the start of a field's value, where they may hold newlines;
- `1i` integer, `1u` unsigned, `1` and `1e3` float, `t T true True TRUE f F false False FALSE`
  boolean; NaN and infinity do not exist; integers outside 64 bits are refused;
- blank lines and lines starting with `#` are skipped; CRLF ends a line as LF does;
- a line without a time takes the server's; the last of two equal fields wins; equal tags are
  refused.

Cost: about 8 us for one of our own window lines (263 B, 8 fields), all of it in one regular
expression per field and one dictionary look-up per series. The number of columns is bounded by the
size of the body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from cloud.errors import LineError

MESSAGE_LINE_CHARS_MAX = 300
SERIES_CACHED_MAX = 50_000
SERIES_CACHED_CHARS_MAX = 1_024
TIME_NS_MIN, TIME_NS_MAX = -(2**63) + 2, 2**63 - 2  # the range InfluxDB accepts
NS_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

Value = float | int | bool | str


# The types of a field's value, with the names InfluxDB uses in its messages.
Kind = Literal["float", "integer", "unsigned", "boolean", "string"]


@dataclass(slots=True)
class FieldColumn:
    """One field in one type: `values[i]` belongs to row `rows[i]`; rows ascend and are unique."""

    rows: list[int]
    values: list[Value]


@dataclass(slots=True)
class Columns:
    """Rows of one measurement with one set of tag keys, in the order they were written.

    series : unique tag values, each a tuple parallel to `tag_keys` (which are sorted).
    series_index, time_ns, offset : one entry per row; `offset`: where the line starts in the text.
    fields : by (field key, kind).
    """

    measurement: str
    tag_keys: tuple[str, ...]
    series: list[tuple[str, ...]] = field(default_factory=list)
    series_index: list[int] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    fields: dict[tuple[str, Kind], FieldColumn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(slots=True)
class Parsed:
    """A whole body: its text (for messages) and its columns."""

    text: str
    columns: list[Columns]

    @property
    def lines(self) -> int:
        """How many points the body holds."""
        return sum(len(columns) for columns in self.columns)

    @property
    def offsets(self) -> list[int]:
        """Where the lines start in the text, ascending."""
        return sorted(offset for columns in self.columns for offset in columns.offset)

    def locate(self, offset: int) -> tuple[int, str]:
        """Line number (from 1) and text of the line that starts at `offset`."""
        return self.text.count("\n", 0, offset) + 1, _excerpt(self.text, offset)


# Possessive quantifiers (`++`) keep every pattern linear in the length of the text.
_MEASUREMENT = re.compile(r"(?:[^\\, \r\n]++|\\[, ]?)++")
_TAG = re.compile(r",((?:[^\\,= \r\n]++|\\[,= ]?)++)=((?:[^\\,= \r\n]++|\\[,= ]?)++)")
_HEAD = re.compile(r"(?:[^\\ \n]++|\\ ?)++")
_FIELD = re.compile(
    r"((?:[^\\,= \r\n]++|\\[,= ]?)++)="
    r"(?:([-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)([iu]?)"
    r"|(t|T|[tT]rue|TRUE|f|F|[fF]alse|FALSE)"
    r'|"((?:[^"\\]|\\["\\]?)*+)")'
    r"(,|(?=[ \r\n])|\Z)"
)
_TIME = re.compile(r" *+(-?[0-9]++)? *+\r?(?:\n|\Z)")
_SKIPPED = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_UNESCAPE_MEASUREMENT = re.compile(r"\\([, ])")
_UNESCAPE_KEY = re.compile(r"\\([,= ])")
_UNESCAPE_TEXT = re.compile(r'\\(["\\])')

_Series = tuple[str, tuple[str, ...], tuple[str, ...]]


class _Reason(Exception):
    pass


def parse(body: bytes, *, precision: str = "ns", now_ns: int, line_bytes_max: int) -> Parsed:
    """Parse a whole body; all of it or nothing.

    Parameters
    ----------
    body : bytes
        UTF-8 line protocol.
    precision : str
        Unit of the written times, a key of `NS_PER_UNIT`.
    now_ns : int
        Time of lines that carry none.
    line_bytes_max : int
        Longest line accepted, in characters.

    Raises
    ------
    LineError : the first line that cannot be read.

    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        line = body[error.start : error.start + 40].decode(errors="replace")
        raise LineError(number, line, "not UTF-8") from None
    reader = _Reader(text, NS_PER_UNIT[precision], now_ns, line_bytes_max)
    position, start = 0, 0
    try:
        while True:
            match = _SKIPPED.match(text, position)
            position = start = match.end() if match else position
            if position == len(text):
                return Parsed(text, list(reader.shapes.values()))
            position = reader.line(position)
    except _Reason as reason:
        number = text.count("\n", 0, start) + 1
        raise LineError(number, _excerpt(text, start), str(reason)) from None


class _Reader:
    """State of one parse: the columns so far, and where each series head belongs."""

    def __init__(self, text: str, ns_per_unit: int, now_ns: int, line_max: int) -> None:
        self.text = text
        self.ns_per_unit = ns_per_unit
        self.now_ns = now_ns
        self.line_max = line_max
        self.shapes: dict[tuple[str, tuple[str, ...]], Columns] = {}
        self.places: dict[str, tuple[Columns, int]] = {}

    def line(self, start: int) -> int:
        """Read the line at `start`; returns where the next one starts."""
        head = _HEAD.match(self.text, start)
        if head is None:
            raise _Reason("missing measurement")
        place = self.places.get(head[0])
        columns, series_index = place if place else self._place(head[0])
        row = len(columns.time_ns)
        position = self._fields(columns, row, head.end())
        end = _TIME.match(self.text, position)
        if end is None:
            raise _Reason("bad timestamp" if self.text[position] == " " else "bad field value")
        if end.end() - start > self.line_max:
            raise _Reason(f"the line is longer than {self.line_max} bytes")
        columns.time_ns.append(self._time_ns(end[1]))
        columns.series_index.append(series_index)
        columns.offset.append(start)
        return end.end()

    def _place(self, head: str) -> tuple[Columns, int]:
        parse_head = _series_cached if len(head) <= SERIES_CACHED_CHARS_MAX else _series
        measurement, keys, values = parse_head(head)
        shape = (measurement, keys)
        columns = self.shapes.setdefault(shape, Columns(measurement, keys))
        columns.series.append(values)
        self.places[head] = (columns, len(columns.series) - 1)
        return self.places[head]

    def _fields(self, columns: Columns, row: int, position: int) -> int:
        text, fields, match_field = self.text, columns.fields, _FIELD.match
        while text.startswith(" ", position):
            position += 1
        separator = ","
        while separator:
            match = match_field(text, position)
            if match is None:
                raise _Reason(_why_no_field(text, position))
            key, number, suffix, boolean, string, separator = match.groups()
            position = match.end()
            kind: Kind = "float"
            value: Value
            if number is not None and not suffix:
                value = float(number)
                if value - value != 0.0:  # infinite: a decimal beyond float64
                    raise _Reason(f"unable to parse float {number[:40]}: value out of range")
            else:
                kind, value = _not_float(number, suffix, boolean, string)
            if "\\" in key:
                key = _UNESCAPE_KEY.sub(r"\1", key)
            column = fields.get((key, kind))
            if column is None:
                fields[(key, kind)] = FieldColumn([row], [value])
            elif column.rows[-1] == row:
                column.values[-1] = value
            else:
                column.rows.append(row)
                column.values.append(value)
        return position

    def _time_ns(self, digits: str | None) -> int:
        if digits is None:
            return self.now_ns
        if len(digits) > 20 or not TIME_NS_MIN <= int(digits) * self.ns_per_unit <= TIME_NS_MAX:
            raise _Reason(f"time outside range {TIME_NS_MIN} - {TIME_NS_MAX}")
        return int(digits) * self.ns_per_unit


def _not_float(
    number: str | None, suffix: str, boolean: str | None, string: str | None
) -> tuple[Kind, Value]:
    if number is not None:
        return _integer(number, suffix)
    if boolean is not None:
        return "boolean", boolean[0] in "tT"
    assert string is not None
    return "string", _UNESCAPE_TEXT.sub(r"\1", string) if "\\" in string else string


def _integer(number: str, suffix: str) -> tuple[Kind, int]:
    name = "integer" if suffix == "i" else "unsigned integer"
    low, high = (-(2**63), 2**63 - 1) if suffix == "i" else (0, 2**64 - 1)
    if len(number) > 40 or not number.removeprefix("-").isdigit():
        raise _Reason(f"invalid number: {number[:40]}{suffix} is no {name}")
    value = int(number)
    if not low <= value <= high:
        raise _Reason(f"unable to parse {name} {number}: value out of range")
    return ("integer" if suffix == "i" else "unsigned"), value


def _series(head: str) -> _Series:
    match = _MEASUREMENT.match(head)
    if match is None:
        raise _Reason("missing measurement")
    tags: dict[str, str] = {}
    position = match.end()
    head = head.removesuffix("\r")
    while position < len(head):
        tag = _TAG.match(head, position)
        if tag is None:
            raise _Reason(_why_no_tag(head[position:]))
        key = _UNESCAPE_KEY.sub(r"\1", tag[1])
        if key in tags:
            raise _Reason("duplicate tags")
        tags[key] = _UNESCAPE_KEY.sub(r"\1", tag[2])
        position = tag.end()
    keys = tuple(sorted(tags))
    measurement = _UNESCAPE_MEASUREMENT.sub(r"\1", match[0])
    return measurement, keys, tuple(tags[key] for key in keys)


_series_cached = lru_cache(maxsize=SERIES_CACHED_MAX)(_series)


def _why_no_tag(rest: str) -> str:
    if rest.removeprefix(",").startswith("=") or rest == ",":
        return "missing tag key"
    return "missing tag value"


def _why_no_field(text: str, position: int) -> str:
    end = text.find("\n", position)
    rest = text[position : len(text) if end < 0 else end].rstrip("\r ")
    if not rest:
        return "missing fields"
    key, equals, value = rest.partition("=")
    if not key:
        return "missing field key"
    if not equals or not value or value[0] in ", ":
        return "missing field value"
    if value[0] == '"':
        return "unbalanced quotes"
    bad = re.split(r"[, ]", value, maxsplit=1)[0]
    if bad[0] in "-+.0123456789" or bad[:3].lower() in ("nan", "inf"):
        return f"invalid number: {key[:80]}={bad[:80]}"
    return f"invalid boolean or unquoted text: {key[:80]}={bad[:80]}"


def _excerpt(text: str, start: int) -> str:
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end].rstrip("\r")
    return line if len(line) <= MESSAGE_LINE_CHARS_MAX else line[:MESSAGE_LINE_CHARS_MAX] + "..."


def rows(columns: Columns) -> Iterator[tuple[dict[str, str], int, dict[str, Value]]]:
    """Row by row: tags, time in nanoseconds, fields. Shares the tags of equal series."""
    fields: list[dict[str, Value]] = [{} for _ in range(len(columns))]
    for (key, _kind), column in columns.fields.items():
        for row, value in zip(column.rows, column.values, strict=True):
            fields[row][key] = value
    tags = [dict(zip(columns.tag_keys, values, strict=True)) for values in columns.series]
    for row, index in enumerate(columns.series_index):
        yield tags[index], columns.time_ns[row], fields[row]
