"""Line protocol: any point survives encoding and parsing; every mistake is named with its line."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point

from cloud.errors import LineError
from cloud.ingest.line_protocol import Parsed, Value, parse, rows

NOW_NS = 1_700_000_000_000_000_000
LINE_BYTES_MAX = 1 << 20
INT64 = st.integers(-(2**63), 2**63 - 1)

# Names and tags hold anything but line ends; line protocol cannot write a backslash at their end.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1)
WRITABLE = NAMES.filter(lambda name: not name.endswith("\\"))
MEASUREMENTS = WRITABLE.filter(lambda name: name[0] not in "#\t")
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    INT64,
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"])),
)
POINTS = st.tuples(
    MEASUREMENTS,
    st.dictionaries(WRITABLE, WRITABLE, max_size=4),
    st.dictionaries(WRITABLE, VALUES, min_size=1, max_size=5),
    st.integers(-(2**63) + 2, 2**63 - 2),
)


def read(body: str | bytes, precision: str = "ns") -> Parsed:
    body = body if isinstance(body, bytes) else body.encode()
    return parse(body, precision=precision, now_ns=NOW_NS, line_bytes_max=LINE_BYTES_MAX)


def points(body: str | bytes, precision: str = "ns") -> list[tuple[str, Any, Any, int]]:
    found = [
        (offset, columns.measurement, tags, fields, time_ns)
        for columns in read(body, precision).columns
        for offset, (tags, time_ns, fields) in zip(columns.offset, rows(columns), strict=True)
    ]
    return [(name, tags, fields, time_ns) for _, name, tags, fields, time_ns in sorted(found)]


def escaped(text: str, special: str) -> str:
    return "".join("\\" + character if character in special else character for character in text)


def encoded_value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    return '"' + escaped(value, '"\\') + '"'


def encoded(point: tuple[str, dict[str, str], dict[str, Value], int]) -> str:
    measurement, tags, fields, time_ns = point
    head = escaped(measurement, ", ")
    head += "".join(f",{escaped(k, ',= ')}={escaped(v, ',= ')}" for k, v in tags.items())
    body = ",".join(f"{escaped(k, ',= ')}={encoded_value(v)}" for k, v in fields.items())
    return f"{head} {body} {time_ns}"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(POINTS, max_size=4), st.sampled_from(["\n", "\r\n", "\n\n# a remark\n"]))
def test_any_points_are_read_back_as_they_were_written(
    written: list[tuple[str, dict[str, str], dict[str, Value], int]], end: str
) -> None:
    assert points(end.join(encoded(point) for point in written)) == written


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    MEASUREMENTS.filter(lambda name: "\t" not in name),
    st.dictionaries(WRITABLE, WRITABLE, max_size=3),
    st.dictionaries(WRITABLE, VALUES, min_size=1, max_size=3),
)
def test_points_of_the_influxdb_client_are_read_as_it_meant_them(
    measurement: str, tags: dict[str, str], fields: dict[str, Value]
) -> None:
    tags = {k.replace("\t", "_"): v.replace("\t", "_") for k, v in tags.items()}
    fields = {k.replace("\t", "_"): v for k, v in fields.items()}
    point = Point.from_dict(
        {"measurement": measurement, "tags": tags, "fields": fields, "time": 17}
    )
    [(name, got_tags, got_fields, time_ns)] = points(point.to_line_protocol())
    assert (name, got_tags, time_ns) == (measurement, tags, 17)
    assert got_fields.keys() == fields.keys()
    for key, value in fields.items():
        # The client writes whole floats without a point, which stay floats.
        assert got_fields[key] == value
        assert type(got_fields[key]) is type(value)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text(st.sampled_from('ab1,= \\"\n\r.tTi#-'), max_size=40))
def test_garbage_is_refused_with_a_message_or_read_but_never_breaks(body: str) -> None:
    refused = None
    try:
        read(body)
    except LineError as error:
        refused = error
    if refused is not None:
        assert 1 <= refused.line_number <= body.count("\n") + 1
        assert refused.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cpu", "missing fields"),
        ("cpu,host=a", "missing fields"),
        ("cpu ", "missing fields"),
        ("cpu a", "missing field value"),
        ("cpu a=", "missing field value"),
        ("cpu a=1,b", "missing field value"),
        ("cpu a=1,", "missing fields"),
        ("cpu =1", "missing field key"),
        (",a=b c=1", "missing measurement"),
        ("cpu,a= b=1", "missing tag value"),
        ("cpu,a b=1", "missing tag value"),
        ("cpu,=b b=1", "missing tag key"),
        ("cpu, b=1", "missing tag key"),
        ("cpu,a=1,a=2 b=1", "duplicate tags"),
        ("cpu a=NaN", "invalid number"),
        ("cpu a=-inf", "invalid number"),
        ("cpu a=1_000", "invalid number"),
        ("cpu a=0x10", "invalid number"),
        ("cpu a=1i5", "invalid number"),
        ("cpu a=1.5i", "invalid number"),
        ("cpu a=-1u", "value out of range"),
        ("cpu a=9223372036854775808i", "value out of range"),
        ("cpu a=18446744073709551616u", "value out of range"),
        ("cpu a=1e400", "value out of range"),
        ("cpu a=yes", "invalid boolean or unquoted text"),
        ("cpu a=tRUE", "invalid boolean or unquoted text"),
        ('cpu a="open', "unbalanced quotes"),
        ('cpu a="x"y', "unbalanced quotes"),
        ("cpu a=1 x", "bad timestamp"),
        ("cpu a=1 1.5", "bad timestamp"),
        ("cpu a=1 5 6", "bad timestamp"),
        ("cpu a=1 9223372036854775807", "time outside range"),
        ("cpu a=1 99999999999999999999999", "time outside range"),
    ],
)
def test_a_malformed_line_is_named_with_its_number_and_reason(line: str, reason: str) -> None:
    with pytest.raises(LineError, match=reason) as caught:
        read(f"# first\nok,tag=x f=1 1\n{line}\nok f=1")
    assert caught.value.line_number == 3
    assert caught.value.line == line
    assert str(caught.value).startswith(f"unable to parse '{line}': ")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, True) for word in ("t", "T", "true", "True", "TRUE")),
        *((word, False) for word in ("f", "F", "false", "False", "FALSE")),
        ("1", 1.0),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+2", 2.0),
        ("-9223372036854775808i", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ('""', ""),
        (r'"a\"b\\c\d, =\n"', r'a"b\c\d, =\n'),
        ('"two\nlines"', "two\nlines"),
        ('"温度"', "温度"),
    ],
)
def test_every_form_of_value_is_read(written: str, value: Value) -> None:
    [(_, _, fields, _)] = points(f"m f={written} 1")
    assert fields == {"f": value}
    assert type(fields["f"]) is type(value)


def test_kinds_are_told_apart() -> None:
    [columns] = read('m a=1,b=1i,c=1u,d=t,e="1" 1').columns
    assert dict(columns.fields.keys()) == {
        "a": "float",
        "b": "integer",
        "c": "unsigned",
        "d": "boolean",
        "e": "string",
    }


def test_escapes_are_undone_and_other_backslashes_stay() -> None:
    body = r'a\,b\ c\d,t\=x=v\ \,\=\x k\ k=1,"q=2 5'
    assert points(body) == [(r"a,b c\d", {"t=x": r"v ,=\x"}, {"k k": 1.0, '"q': 2.0}, 5)]


def test_a_line_without_time_takes_the_servers() -> None:
    assert [time_ns for *_, time_ns in points("m f=1\nm f=2  \r\nm f=3 7")] == [NOW_NS, NOW_NS, 7]


@pytest.mark.parametrize(("precision", "factor"), [("us", 10**3), ("ms", 10**6), ("s", 10**9)])
def test_times_are_in_the_asked_precision(precision: str, factor: int) -> None:
    assert points("m f=1 -12", precision)[0][3] == -12 * factor


def test_the_last_of_two_equal_fields_wins() -> None:
    assert points("m f=1,g=2,f=3 1") == [("m", {}, {"f": 3.0, "g": 2.0}, 1)]


def test_lines_of_one_shape_share_columns_whatever_the_order_of_tags() -> None:
    parsed = read("m,a=1,b=2 f=1 1\nm,b=2,a=3 f=2 2\nm,a=1 f=3 3\nm,a=1,b=2 g=4i 4")
    assert [(c.tag_keys, len(c)) for c in parsed.columns] == [(("a", "b"), 3), (("a",), 1)]
    assert parsed.columns[0].fields["g", "integer"].rows == [2]


def test_a_line_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(LineError, match="longer than 40 bytes"):
        parse(b'm f="' + b"x" * 60 + b'" 1', now_ns=NOW_NS, line_bytes_max=40)


def test_text_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(LineError, match="not UTF-8") as caught:
        read(b"m f=1 1\nm f=2 2\nm,t=\xff f=3 3")
    assert caught.value.line_number == 3


def test_a_long_malformed_line_is_cut_in_the_message() -> None:
    with pytest.raises(LineError) as caught:
        read("m f=" + "x" * 100_000)
    assert len(str(caught.value)) < 600


def test_hostile_lines_take_linear_time() -> None:
    started = datetime.now(UTC)
    for body in (
        "\\" * 200_000,
        "m," + "\\," * 100_000,
        'm f="' + '\\"' * 100_000,
        "m f=" + "1" * 200_000,
    ):
        try:
            [(_, _, fields, _)] = points(body)
            assert not math.isnan(fields["f"])
        except LineError:
            pass
    assert (datetime.now(UTC) - started).total_seconds() < 2
