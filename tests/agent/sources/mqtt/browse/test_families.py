"""Topics: which belong together, what their levels name; and what kind values are of."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import TopicConfig
from agent.config.mqtt import PayloadConfig
from agent.sources.mqtt.browse import kinds
from agent.sources.mqtt.browse.families import Family, families
from agent.sources.mqtt.browse.places import Place, place

A: Final = "json v, ts"
B: Final = "text"


def patterns(keys: dict[str, str]) -> list[str]:
    return ["/".join(level or "+" for level in one.levels) for one in families(keys)]


def test_machines_with_the_same_signals_become_one_pattern() -> None:
    keys = {f"floor/{m}/{s}": A for m in ("press", "filler") for s in ("speed", "load")}
    assert patterns(keys) == ["floor/+/+"]


def test_what_is_written_otherwise_stands_before_the_pattern_that_would_match_it() -> None:
    keys = {f"floor/m{m}/{s}": A for m in range(3) for s in ("speed", "load")}
    keys |= {f"floor/m{m}/state": B for m in range(3)}
    assert patterns(keys) == ["floor/+/state", "floor/+/+"]


def test_machines_whose_topics_of_one_name_differ_are_kept_apart() -> None:
    keys = {f"floor/m{m}/speed": A for m in range(3)} | {"floor/m9/speed": B}
    assert patterns(keys) == ["floor/m9/speed", "floor/+/speed"]


def test_areas_that_have_nothing_in_common_stay_text() -> None:
    keys = {f"acme/filling/{m}/temp": A for m in ("filler", "capper")}
    keys |= {f"acme/stores/{m}/level": A for m in ("silo", "tank")}
    assert patterns(keys) == ["acme/filling/+/temp", "acme/stores/+/level"]


def test_names_that_differ_in_digits_belong_together() -> None:
    keys = {"acme/line-1/filler/temp": A, "acme/line-2/wrapper/state": B}
    assert patterns(keys) == ["acme/+/filler/temp", "acme/+/wrapper/state"]


NAMES = st.sampled_from(["a", "b", "m1", "m2", "speed", "temp", ""])
TOPICS = st.lists(NAMES, min_size=1, max_size=4).map("/".join).filter(bool)


def matching(pattern: str) -> TopicConfig:
    number = PayloadConfig.model_validate({"number": {}})
    return TopicConfig(topic=pattern, payload=number, machine="m", signal="s")


@given(st.dictionaries(TOPICS, st.sampled_from([A, B]), min_size=1))
def test_every_topic_is_in_the_first_family_that_matches_it(keys: dict[str, str]) -> None:
    found = families(keys)
    assert sorted(topic for family in found for topic in family.topics) == sorted(keys)
    filters = ["/".join("+" if level is None else level for level in f.levels) for f in found]
    assert len(set(filters)) == len(filters), "two patterns that ask for the same are refused"
    rules = [matching(text) for text in filters]
    for family in found:
        assert len({keys[topic] for topic in family.topics}) == 1
        for topic in family.topics:
            first = next(i for i, rule in enumerate(rules) if rule.names(topic) is not None)
            assert found[first] is family


def placed(*topics: str, levels: str, names_signals: bool = False) -> Place:
    pattern = tuple(None if level == "+" else level for level in levels.split("/"))
    return place(Family(pattern, topics), "broker", names_signals=names_signals)


@pytest.mark.parametrize(
    ("levels", "topics", "expected"),
    [
        ("floor/+/+", ["floor/m1/a", "floor/m2/b"], ("floor/{machine}/{signal}", None, None)),
        ("floor/+/state", ["floor/m1/state"], ("floor/{machine}/state", None, "state")),
        ("floor/press/+", ["floor/press/a"], ("floor/press/{signal}", "press", None)),
        ("temp", ["temp"], ("temp", "broker", "temp")),
        ("m/+/sensors/+/value", ["m/a/sensors/t/value"],
         ("m/{machine}/sensors/{signal}/value", None, None)),
        ("f/+/+/+", ["f/line-1/m/a", "f/line-2/m/a"],
         ("f/{line}/{machine}/{signal}", None, None)),
        ("f/+/+/+", ["f/x/m/a", "f/y/m/a"], ("f/{line}/{machine}/{signal}", None, None)),
        ("f/+/+/+", ["f/x/m/a", "f/y/n/a"], ("f/+/{machine}/{signal}", None, None)),
        ("hall/+/+/t", ["hall/1/m/t", "hall/2/m/t"], ("hall/{area}/{machine}/t", None, "t")),
    ],
)  # fmt: skip
def test_levels_are_named_from_the_end(
    levels: str, topics: list[str], expected: tuple[str, str | None, str | None]
) -> None:
    assert placed(*topics, levels=levels) == Place(*expected)


def test_where_payloads_name_signals_the_last_telling_level_is_the_machine() -> None:
    found = placed("plant/press/telemetry", levels="plant/press/telemetry", names_signals=True)
    assert found == Place("plant/press/telemetry", "press", None)
    found = placed("z/a", "z/b", levels="z/+", names_signals=True)
    assert found == Place("z/{machine}", None, None)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("temperature", [20.5, 20.6, 20.4], "analog"),
        ("temperature", [20, 21], "analog"),
        ("energy_kwh", [1.5, 1.6], "counter"),
        ("energy_kwh", [1.6, 1.5], "analog"),
        ("n", [1, 2, 3, 4, 5], "counter"),
        ("n", [1, 2, 3, 4, 0], "analog"),
        ("running", [1, 0, 1], "discrete"),
        ("mode", [3, 3], "discrete"),
        ("door", [True, False], "discrete"),
        ("recipe", ["A", "B"], "text"),
        ("nothing", [None], "analog"),
    ],
)
def test_kinds_are_told_by_values_and_names(
    name: str, values: list[float | str | None], kind: str
) -> None:
    assert kinds.guess(name, [values]).kind == kind


def test_texts_of_packml_are_a_state() -> None:
    assert kinds.guess("x", [["Execute", "Held"]]).state
    assert not kinds.guess("x", [["Execute", "on fire"]]).state


def test_few_texts_among_numbers_are_a_broken_sensor_and_are_told() -> None:
    found = kinds.guess("heat", [[21.5, 22.0, "offline", 21.0], [20.5]])
    assert (found.kind, found.reason) == ("analog", "guessed: numbers, but for 'offline'")
    assert kinds.guess("heat", [[21.5, "offline", 21.0]]).kind == "text"
