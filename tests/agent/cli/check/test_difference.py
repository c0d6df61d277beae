"""What separates two configurations, and what a reload would do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.check.difference import Change, Difference, Items, Option, applied, difference
from agent.config import Config, load
from tests.agent.config.support import ENVIRON, GOOD

SIGNAL = """
[[opcua.signals]]
name = "oil"
node = "ns=2;s=press-01.oil"
"""
SPEED = """
[[mqtt.signals]]
machine = "conveyor-01"
name = "speed"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def config_of(folder: Path, text: str, token: str = "tok-1") -> Config:  # noqa: S107 - a test's
    (folder / "agent.toml").write_text(text)
    return load(folder / "agent.toml", {**ENVIRON, "ANDON_TOKEN": token})


def differing(folder: Path, old: str, new: str, text: str = GOOD) -> Difference:
    assert old in text
    return difference(config_of(folder, text), config_of(folder, text.replace(old, new, 1)))


def test_the_same_files_differ_in_nothing(folder: Path) -> None:
    found = difference(config_of(folder, GOOD), config_of(folder, GOOD))
    assert not found
    assert found == Difference()


def test_signals_come_go_and_are_changed_on_the_living_connection(folder: Path) -> None:
    found = differing(folder, "[[mqtt]]", f"{SIGNAL}[[mqtt]]")
    assert found == Difference((Change("press", "changed", (), Items(("press-01/oil",))),))
    found = differing(folder, "[[opcua.signals]]", f"{SIGNAL}[[opcua.signals]]")
    assert found.sources[0].signals == Items(("press-01/oil",))  # whatever its place
    found = differing(folder, 'name = "ram_force"', 'name = "oil"')
    assert found.sources == (
        Change("press", "changed", (), Items(("press-01/oil",), ("press-01/ram_force",))),
    )
    found = differing(folder, 'name = "ram_force"', 'name = "ram_force"\nunit = "kN"')
    assert found.sources[0].signals == Items(changed=("press-01/ram_force",))


def test_how_a_variable_is_sampled_changes_on_the_living_connection(folder: Path) -> None:
    found = differing(folder, 'name = "ram_force"', 'name = "ram_force"\nqueue_size = 7')
    assert found.sources == (
        Change("press", "changed", (), Items(changed=("press-01/ram_force",))),
    )


def test_events_need_a_new_connection_and_are_signals_that_come(folder: Path) -> None:
    events = "[[opcua.events]]\nname = 'alarms'\nstate = 'Held'\n[[mqtt]]"
    (change,) = differing(folder, "[[mqtt]]", events).sources
    assert change.what == "reconnects"
    assert change.signals == Items(("press-01/alarms", "press-01/state"))


def test_an_option_of_the_server_that_changes_what_its_signals_are_says_which(folder: Path) -> None:
    (change,) = differing(folder, 'machine = "press-01"', 'machine = "press-02"').sources
    assert change.what == "changed"
    assert change.options == (Option("machine", '"press-01"', '"press-02"'),)
    assert change.signals == Items(("press-02/ram_force",), ("press-01/ram_force",))


@pytest.mark.parametrize(
    ("old", "new", "option"),
    [
        ("4840", "4841", "endpoint"),
        ('security = "none"', 'security = "none"\nitems_max = 7', "items_max"),
        ("1883", "1884", "url"),
        ('name = "floor"', 'name = "floor"\nqos = 0', "qos"),
    ],
)
def test_what_belongs_to_the_connection_needs_a_new_one(
    folder: Path, old: str, new: str, option: str
) -> None:
    (change,) = differing(folder, old, new).sources
    assert change.what == "reconnects"
    assert [changed.name for changed in change.options] == [option]


def test_topics_and_what_is_known_of_their_signals_change_on_the_connection(folder: Path) -> None:
    (change,) = differing(folder, "floor/{machine}", "hall/{machine}").sources
    assert (change.what, change.topics) == (
        "changed", Items(("hall/{machine}/{signal}",), ("floor/{machine}/{signal}",)),
    )  # fmt: skip
    (change,) = differing(folder, "[[influxdb]]", f"{SPEED}[[influxdb]]").sources
    assert (change.what, change.signals) == ("changed", Items(("conveyor-01/speed",)))


def test_what_is_read_as_sparkplug_changes_on_the_connection(folder: Path) -> None:
    host = GOOD.replace("[[mqtt.topics]]", "[mqtt.sparkplug]\n[[mqtt.topics]]")
    (change,) = difference(config_of(folder, GOOD), config_of(folder, host)).sources
    assert (change.what, change.options) == (
        "changed", (Option("sparkplug", "nothing", "a table"),),
    )  # fmt: skip
    (change,) = differing(
        folder, "[mqtt.sparkplug]", '[mqtt.sparkplug]\nreorder_ms = 9\ngroups = ["g"]', host
    ).sources
    assert (change.what, change.options) == (
        "changed",
        (
            Option("sparkplug.groups", "a list", "a list"),
            Option("sparkplug.reorder_ms", "2000", "9"),
        ),
    )


@pytest.mark.parametrize("option", ['share = "g"', 'version = "5"', "session_expiry_s = 60"])
def test_a_session_of_another_kind_needs_a_new_connection(folder: Path, option: str) -> None:
    (change,) = differing(folder, 'name = "floor"', f'name = "floor"\n{option}').sources
    assert change.what == "reconnects"


def test_a_node_of_our_own_is_not_read_from_the_moment_on_that_it_is_told(folder: Path) -> None:
    host = GOOD.replace("[[mqtt.topics]]", "[mqtt.sparkplug]\n[[mqtt.topics]]")
    edge = host + '[[sparkplug]]\nname = "scada"\nurl = "mqtt://10.0.0.9"\n'
    found = difference(config_of(folder, host), config_of(folder, edge))
    assert found.sources == (
        Change("floor", "changed", (Option("sparkplug.ignore", "a list", "a list"),)),
    )


def test_every_kind_of_sink_comes_goes_and_changes(folder: Path) -> None:
    uns = GOOD + '[[uns]]\nname = "plant"\nurl = "mqtt://b"\n'
    found = difference(config_of(folder, GOOD), config_of(folder, uns))
    assert found == Difference(sinks=(Change("plant", "added"),))
    found = difference(config_of(folder, uns), config_of(folder, uns + "retain = false\n"))
    assert found.sinks == (Change("plant", "changed", (Option("retain", "true", "false"),)),)
    edge = uns.replace("[[uns]]", "[[sparkplug]]")
    found = difference(config_of(folder, uns), config_of(folder, edge))
    assert [(change.name, change.what) for change in found.sinks] == [("plant", "reconnects")]


def test_a_signal_that_turns_from_numbers_to_text_needs_a_new_connection(folder: Path) -> None:
    kind = 'name = "ram_force"\nkind = '
    assert differing(folder, 'name = "ram_force"', kind + '"text"').sources[0].what == "reconnects"
    assert differing(folder, 'name = "ram_force"', kind + '"counter"').sources[0].what == "changed"
    text = f'{SPEED}kind = "text"\n[[influxdb]]'
    assert differing(folder, "[[influxdb]]", text).sources[0].what == "reconnects"
    more = '[[mqtt.topics]]\ntopic = "hall/{machine}/{signal}"\nkind = "text"\n'
    more += 'payload = { json = { value = "v" } }\n[[influxdb]]'
    assert differing(folder, "[[influxdb]]", more).sources[0].what == "changed"


def test_sources_sinks_and_machines_come_and_go_by_their_names(folder: Path) -> None:
    found = differing(folder, 'name = "floor"', 'name = "hall"')
    assert [(change.name, change.what) for change in found.sources] == [
        ("hall", "added"), ("floor", "removed"),
    ]  # fmt: skip
    found = differing(folder, 'name = "cloud"', 'name = "plant"')
    assert found.sinks == (Change("plant", "added"), Change("cloud", "removed"))
    found = differing(folder, "[[mqtt]]", '[[machines]]\nname = "press-01"\n[[mqtt]]')
    assert found.machines == (Change("press-01", "added"),)
    assert found.applies


def test_a_source_of_another_kind_under_the_same_name_connects_anew(folder: Path) -> None:
    text = GOOD.replace('name = "floor"', 'name = "press"')
    mqtt_only = text[: text.index("[[opcua]]")] + text[text.index("[[mqtt]]") :]
    opcua_only = GOOD[: GOOD.index("[[mqtt]]")] + GOOD[GOOD.index("[[influxdb]]") :]
    found = difference(config_of(folder, opcua_only), config_of(folder, mqtt_only))
    assert [(change.name, change.what) for change in found.sources] == [("press", "reconnects")]


def test_another_token_is_noticed_and_never_shown(folder: Path) -> None:
    found = difference(config_of(folder, GOOD), config_of(folder, GOOD, "tok-2"))
    assert found == Difference(
        sinks=(Change("cloud", "changed", (Option("token", '"***"', '"***"'),)),)
    )
    assert "tok-" not in str(found.document())


def test_what_only_a_restart_can_change_is_said_and_left(folder: Path) -> None:
    old = config_of(folder, GOOD)
    new = config_of(
        folder,
        GOOD.replace('"gw-1"', '"gw-2"\nsignals_max = 50').replace("line-1", "line-2")
        + '[outbox]\njournal = "never"\n[detect]\nwarmup_s = 60\n',
    )
    found = difference(old, new)
    assert not found.applies
    assert found
    assert found.restart == (
        Option("gateway.name", '"gw-1"', '"gw-2"'),
        Option("gateway.path", "acme/guiyang/assembly/line-1", "acme/guiyang/assembly/line-2"),
        Option("gateway.signals_max", "20000", "50"),
        Option("outbox.journal", '"auto"', '"never"'),
        Option("detect.warmup_s", "15", "60"),
    )
    assert applied(old, new) == old
