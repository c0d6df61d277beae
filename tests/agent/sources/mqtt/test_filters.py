"""No message is taken twice, however topics overlap: filters, and a real mosquitto."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from agent.sources.mqtt import filters
from agent.sources.mqtt.filters import copies, filters_of, identifier, overlapping
from tests.agent.sources.mqtt.test_source import Numbers, config_of, publisher, source_of
from tests.conformance.source import Read, applied, connected, read_until, values

LEVEL = st.sampled_from(["a", "b", "+"])
FILTER = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(LEVEL, min_size=1, max_size=3),
    st.sampled_from([(), ("#",)]),
)
TOPICS = ["/".join(levels) for levels in ("a", "b", "aa", "ab", "ba", "bb", "aba", "abb", "aaaa")]


def topic(pattern: str, **options: Any) -> dict[str, Any]:
    names = {"machine": "m"} if "{machine}" not in pattern else {}
    names |= {"signal": "s"} if "{signal}" not in pattern else {}
    return {"topic": pattern, "payload": {"json": {"value": "v"}}, **names, **options}


@given(FILTER, FILTER)
def test_a_filter_covers_and_overlaps_as_brokers_match(one: str, two: str) -> None:
    matched = [{name for name in TOPICS if topic_matches_sub(some, name)} for some in (one, two)]
    if filters._covers(one, two):
        assert matched[0] >= matched[1]
    if matched[0] & matched[1] and one != two:
        assert overlapping([one, two]) == sorted([one, two])


@given(FILTER, st.sampled_from(TOPICS))
def test_a_filter_covers_a_topic_where_it_matches(one: str, name: str) -> None:
    assert filters._covers(one, name) == topic_matches_sub(one, name)


def test_a_filter_that_another_covers_is_left_out() -> None:
    some = topic("f/{machine}/state"), topic("f/{machine}/{signal}"), topic("g/+/x"), topic("g/#")
    assert filters_of(config_of(1, topics=some)) == {"f/+/+", "g/#"}
    shared = config_of(1, topics=some, share="line")
    assert filters_of(shared) == {"$share/line/f/+/+", "$share/line/g/#"}


def test_a_filter_of_sparkplug_that_a_topic_covers_is_left_out() -> None:
    some = (topic("{machine}/#"),)
    assert filters_of(config_of(1, topics=some, sparkplug={})) == {"+/#"}
    assert filters_of(config_of(1, topics=(topic("f/+"),), sparkplug={})) == {"f/+", "spBv1.0/+/#"}


def test_only_filters_that_overlap_are_told_apart() -> None:
    assert overlapping({"a/+", "b/+", "+/x", "$share/g/c/#", "$share/g/+/y/z"}) == [
        "$share/g/+/y/z", "$share/g/c/#", "+/x", "a/+", "b/+",
    ]  # fmt: skip
    assert overlapping({"a/+", "b/+"}) == []


def test_all_copies_but_one_are_not_taken() -> None:
    some = ["+/x", "a/+", "a/x/#"]
    assert copies("a/x", some) == {identifier("a/+"), identifier("a/x/#")}
    assert copies("b/x", some) == copies("c", some) == frozenset()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_that_several_topics_match_is_taken_once(
    port: int, version: str, qos: int
) -> None:
    some = (
        topic("line-1/m9/{signal}", machine="m9"), topic("line-1/{machine}/state", signal="s"),
        topic("line-1/x/{machine}/{signal}"), topic("line-1/x/{machine}/state", signal="s"),
    )  # fmt: skip

    async def run() -> None:
        with publisher(port) as sensor:
            source = source_of(port, topics=some, version=version, qos=qos, clean_start=True)
            async with connected(source):
                for name in ("m9/state", "m9/a", "m1/state", "x/m/state", "x/m/a"):
                    await sensor.send(f"line-1/{name}", '{"v": 1}')
                await sensor.send("line-1/m9/last", '{"v": 2}')
                read = await read_until(source, lambda read: 2.0 in values(read))
                assert values(read) == [1.0] * 5 + [2.0]
                assert source.rejected() == {}

    asyncio.run(run())


def test_a_topic_that_comes_to_overlap_is_told_apart_from_then_on(port: int) -> None:
    first = topic("line-1/m9/{signal}", machine="m9")
    both = first, topic("line-1/{machine}/state", signal="s")

    async def run() -> None:
        numbers = Numbers()
        with publisher(port) as sensor:
            source = source_of(port, resolve=numbers, topics=(first,), version="5")
            async with connected(source):
                read: Read = []
                config = config_of(port, topics=both, version="5")
                assert await applied(source, source.apply(config, numbers, numbers.metric), read)
                await sensor.send("line-1/m9/state", '{"v": 1}')
                await sensor.send("line-1/m9/last", '{"v": 2}')
                read = await read_until(source, lambda read: 2.0 in values(read))
                assert values(read) == [1.0, 2.0]

    asyncio.run(run())
