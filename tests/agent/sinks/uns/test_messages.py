"""Each line has its topic and its bytes, and only the newest of a topic is retained."""

from __future__ import annotations

import datetime
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.lines.parse import parse
from agent.sinks.uns.messages import Messages, rfc3339
from agent.sinks.wire import Message
from tests.agent.sinks.lines import (
    NOW_NS,
    S_NS,
    TAGS,
    about,
    anomaly,
    gateway,
    sample,
    signal,
    state,
    window,
)

PRESS = b"acme/guiyang/assembly/line 1/press-01/"
TIME = '"time":"2025-11-23T01:00:00.000000000Z"'


def of(line: bytes, messages: Messages | None = None, *, is_live: bool = True) -> Message:
    made = (messages or Messages("")).of(parse(line), is_live=is_live)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("line", "topic", "payload"),
    [
        (
            window(NOW_NS, 21.5), PRESS + b"ram_force/window",
            f'{{{TIME},"every":"10s","n":10,"good":1.0,"mean":21.5,"last":22.5,"rev":0}}',
        ),
        (
            window(NOW_NS, None), PRESS + b"ram_force/window",
            f'{{{TIME},"every":"10s","n":0,"good":0.0,"rev":0}}',
        ),
        (
            sample(NOW_NS, 1.5), PRESS + b"speed",
            f'{{{TIME},"value":1.5,"status":0,"quality":"good"}}',
        ),
        (
            sample(NOW_NS, "läuft", 0x4000_0000), PRESS + b"speed",
            f'{{{TIME},"text":"läuft","status":1073741824,"quality":"uncertain"}}',
        ),
        (
            sample(NOW_NS, None, 0x8031_0000), PRESS + b"speed",
            f'{{{TIME},"status":2150694912,"quality":"bad"}}',
        ),
        (
            anomaly(NOW_NS, 0.5, NOW_NS + S_NS), PRESS + b"ram_force/anomaly/level",
            f'{{{TIME},"id":"a1","severity":"alarm","score":0.5,"value":31.0,'
            f'"ended_ns":{NOW_NS + S_NS},"message":"ram_force is \\"high\\", 31 % over"}}',
        ),
        (
            about(), PRESS + b"ram_force/meta",
            f'{{{TIME},"kind":"analog","unit":"kN","low":0.0,"high":40.0,"grade":"general",'
            '"description":"press"}',
        ),
        (
            state(NOW_NS, "Execute", 3.0), PRESS + b"_machine/state",
            f'{{{TIME},"state":"Execute","reason":"","duration_s":3.0}}',
        ),
        (
            gateway(NOW_NS, 5), b"acme/guiyang/assembly/_gateway/gw-1",
            f'{{{TIME},"received":5,"version":"0.5"}}',
        ),
        (
            b"machine,line=l,machine=x on=true 1",
            b"l/x/_machine/meta", '{"time":"1970-01-01T00:00:00.000000001Z","on":true}',
        ),
    ],
)  # fmt: skip
def test_a_line_has_one_topic_and_one_object_to_the_byte(
    line: bytes, topic: bytes, payload: str
) -> None:
    made = of(line)
    assert (made.topic, made.payload.decode()) == (topic, payload)
    json.loads(made.payload)
    assert of(line) == made


def test_units_stand_beside_values_once_they_were_told() -> None:
    messages = Messages("")
    of(about(), messages)
    assert json.loads(of(window(NOW_NS, 1.5), messages).payload)["unit"] == "kN"
    assert "unit" not in json.loads(of(sample(NOW_NS, 1.5), messages).payload)
    of(about(signal("speed")), messages)
    assert json.loads(of(sample(NOW_NS, 1.5), messages).payload)["unit"] == "kN"
    assert "unit" not in json.loads(of(window(NOW_NS, 1.5, machine="p2"), messages).payload)


def test_the_prefix_stands_before_everything() -> None:
    assert of(sample(NOW_NS, 1.5), Messages("uns/v1")).topic == b"uns/v1/" + PRESS + b"speed"


@pytest.mark.parametrize(
    ("name", "level"),
    [("Motor/Current", "Motor/Current"), ("a+b#c%", "a%2Bb%23c%25"), ("温度", "温度")],
)
def test_a_signals_slashes_are_levels_and_what_no_level_holds_is_encoded(
    name: str, level: str
) -> None:
    assert of(sample(NOW_NS, 1.5, name=name)).topic.decode() == PRESS.decode() + level


def test_a_machines_slash_is_no_level() -> None:
    made = of(window(NOW_NS, 1.5, machine="cell/7"))
    assert made.topic == b"acme/guiyang/assembly/line 1/cell%2F7/ram_force/window"


def test_only_the_newest_of_a_topic_is_retained() -> None:
    messages = Messages("")
    assert of(sample(NOW_NS, 1.5), messages).retain
    assert not of(sample(NOW_NS - 1, 1.5), messages).retain
    assert of(sample(NOW_NS, 2.5), messages).retain
    assert of(sample(NOW_NS - 1, 1.5, name="other"), messages).retain


def test_what_has_waited_is_retained_only_where_nothing_newer_comes_soon() -> None:
    messages = Messages("")
    for line in (window(NOW_NS, 1.5), sample(NOW_NS, 1.5), gateway(NOW_NS, 1)):
        assert not of(line, messages, is_live=False).retain
    for line in (anomaly(NOW_NS, 0.5), state(NOW_NS, "Idle"), about()):
        assert of(line, messages, is_live=False).retain
    assert of(state(NOW_NS + S_NS, "Held"), messages).retain
    assert not of(state(NOW_NS, "Idle", 1.0), messages, is_live=False).retain


def test_other_lines_have_no_topic() -> None:
    assert Messages("").of(parse(b"boiler,room=1 v=1 1"), is_live=True) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"sample,machine=m value=1 1", "without a signal"),
        (b"window,machine=m,signal=%b n=1i 1" % (b"x" * 65_536), "65,535"),
        (b"state,machine=m s=\"x\" -9223372036854775808", None),
    ],
)  # fmt: skip
def test_a_line_without_its_place_is_refused_in_words(line: bytes, says: str | None) -> None:
    if says is None:
        assert of(line).payload.startswith(b'{"time":"1677-09-21T00:12:43.')
        return
    with pytest.raises(ValueError, match=says):
        of(line)


def test_places_are_bounded_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sinks.uns.messages.ROUTES_MAX", 2)
    messages = Messages("")
    topics = [of(sample(NOW_NS, 1.5, name=f"s{i % 3}"), messages).topic for i in range(6)]
    assert topics[:3] == topics[3:]


@given(st.integers(-(2**63), 2**63 - 1))
def test_times_are_rfc_3339_to_the_nanosecond(time_ns: int) -> None:
    text = rfc3339(time_ns)
    at = datetime.datetime.fromisoformat(text[:19] + "+00:00")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    seconds = round((at - epoch).total_seconds())
    assert seconds * 10**9 + int(text[20:29]) == time_ns
    assert text[29:] == "Z"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_so_that_they_are_read_as_they_were(value: float) -> None:
    made = json.loads(of(sample(NOW_NS, value)).payload)["value"]
    assert struct.pack("<d", made) == struct.pack("<d", value)


def test_tags_that_are_not_known_do_not_disturb() -> None:
    assert TAGS["machine"] == "press-01"
    line = sample(NOW_NS, 1.5).replace(b",signal", b",extra=1,signal")
    assert of(line).topic == PRESS + b"speed"


def test_no_topic_is_one_of_the_brokers_own() -> None:
    line = sample(NOW_NS, 1.5, name="$OV_PRO").replace(b"enterprise=acme", b"enterprise=$acme")
    assert of(line).topic == b"%24acme/guiyang/assembly/line 1/press-01/$OV_PRO"
    assert of(line, Messages("uns")).topic.startswith(b"uns/$acme/")
