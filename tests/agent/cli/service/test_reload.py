"""A reload touches what changed, in the right order, and gives back what is not healthy."""

from __future__ import annotations

import pytest

from agent.cli.service.reload import HEALTHY_S
from agent.config import config_error, examine
from tests.agent.cli.service.living import OVEN, Running, errors, following, until
from tests.agent.config.support import ENVIRON, GOOD

OIL = '[[opcua.signals]]\nname = "oil"\nnode = "ns=2;s=press-01.oil"\n[[mqtt]]'


@following
async def test_an_added_signal_is_applied_on_the_connection_and_nothing_else_is_touched(
    service: Running,
) -> None:
    await service.reloads("[[mqtt]]", OIL)
    assert service.done == [
        "apply press", "drained", "reconfigure ram_force@press oil@press", "checkpoint",
    ]  # fmt: skip
    assert service.reload.status()["problem"] == ""


@following
async def test_what_leaves_belongs_to_no_source_once_all_it_sent_is_derived(
    service: Running,
) -> None:
    await service.reloads("[[mqtt]]", OIL)
    service.done.clear()
    await service.reloads(OIL, "[[mqtt]]")
    assert service.done[1:3] == ["drained", "reconfigure ram_force@press oil@"]
    await service.reloads("[[mqtt]]", OVEN + "[[mqtt]]")
    service.connect("oven")
    service.done.clear()
    await service.reloads(OVEN, "")
    assert service.done == [
        "remove oven", "drained",
        "reconfigure ram_force@press oil@ temperature@", "checkpoint",
    ]  # fmt: skip
    assert set(service.pipeline.states) == set(service.wiring.sources) == {"press", "floor"}


@following
async def test_a_source_that_cannot_be_changed_on_its_connection_is_replaced(
    service: Running,
) -> None:
    for living in (False, RuntimeError("no")):
        service.wiring.living = living
        service.done.clear()
        unit = "kN" if living is False else "N"
        await service.reloads('name = "ram_force"\n', f'name = "ram_force"\nunit = "{unit}"\n')
        assert service.done == [
            "apply press", "lose press", "drained",
            "reconfigure ram_force@press", "checkpoint", "add press",
        ]  # fmt: skip
        service.file.write_text(service.file.read_text().replace(f'unit = "{unit}"\n', ""))
        service.connect("press")


@following
async def test_a_new_address_is_never_tried_on_the_old_connection(service: Running) -> None:
    await service.reloads("opc.tcp://10.0.0.5", "opc.tcp://10.0.0.6")
    assert service.done[:1] == ["lose press"]
    assert service.done[-1] == "add press"


@following
async def test_sinks_come_go_and_change_and_only_one_thread_sends_to_each(
    service: Running,
) -> None:
    plant = '[[influxdb]]\nname = "plant"\nurl = "http://127.0.0.1:1"\ntoken = "${ANDON_TOKEN}"\n'
    service.sinks[0].ends = 2
    cloud = '[[influxdb]]\nname = "cloud"'
    await service.reloads(cloud, plant + cloud.replace("cloud", "cloud") + '\nbucket = "line"')
    assert service.done[3:] == [
        "stop cloud 0", "stop cloud 1", "sinks plant cloud",
        "start plant http://127.0.0.1:1", "start cloud https://andon.acme.example",
        "use plant, cloud",
    ]  # fmt: skip
    service.done.clear()
    await service.reloads(plant, "")
    assert service.done[3:] == ["stop plant 3", "sinks cloud", "use cloud"]


@following
async def test_a_sink_of_another_kind_takes_the_place_of_one_of_its_name(service: Running) -> None:
    old = GOOD[GOOD.index("[[influxdb]]") :]
    await service.reloads(old, '[[uns]]\nname = "cloud"\nurl = "mqtt://10.0.0.9"\n')
    assert service.done[3:] == [
        "stop cloud 0", "sinks cloud", "start cloud mqtt://10.0.0.9", "use cloud",
    ]  # fmt: skip


@following
async def test_what_the_machines_are_is_told_anew(service: Running) -> None:
    await service.reloads("[[mqtt]]", '[[machines]]\nname = "press-01"\nmodel = "X"\n[[mqtt]]')
    assert service.done[-1] == "use cloud"


@following
async def test_a_file_in_conf_d_is_noticed_without_being_asked(service: Running) -> None:
    folder = service.folder / "conf.d"
    folder.mkdir()
    (folder / "oven.toml").write_text(OVEN)
    await until(lambda: "oven" in service.pipeline.states, "the oven")
    (folder / "oven.toml").unlink()
    await until(lambda: "oven" not in service.pipeline.states, "the end of the oven")


@following
async def test_a_broken_file_changes_nothing_and_is_said_as_check_says_it(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    service.edit("opc.tcp", "opc")
    await until(lambda: errors(caplog), "an error")
    problems = examine(service.file, ENVIRON)
    assert isinstance(problems, list)
    (said,) = errors(caplog)
    assert "goes on: the changed one is wrong\n" in said
    assert said.endswith(f"\nerror: {config_error(problems)}")
    assert str(config_error(problems)) in service.reload.status()["problem"]
    await service.looks()
    assert len(errors(caplog)) == 1
    service.edit("opc:", "opc.tcp:")
    await until(lambda: service.reload.status()["problem"] == "", "the end of the problem")
    assert service.done == []


@following
async def test_more_signals_than_the_table_may_hold_are_refused_before_anything_is_touched(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    service.table.signals_max = 1
    service.edit("[[mqtt]]", OIL)
    await until(lambda: errors(caplog), "an error")
    assert "gateway.signals_max is 1" in errors(caplog)[0]
    assert "restart" in errors(caplog)[0]
    assert service.done == []


@following
async def test_what_only_a_restart_changes_is_said_and_not_applied(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    service.edit('"gw-1"', '"gw-2"')
    await until(lambda: service.reload.status()["restart"] == ["gateway.name"], "what it needs")
    assert 'gateway.name "gw-1" -> "gw-2"; only a restart changes this' in caplog.text
    assert service.done == []
    await service.reloads("[[mqtt]]", OIL)
    assert service.reload.config.gateway.name == "gw-1"
    assert service.reload.status()["restart"] == ["gateway.name"]


@following
async def test_a_broker_that_never_connects_is_rolled_back_after_a_minute(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.reload.config
    await service.reloads("mqtt://10.0.0.9", "mqtt://10.0.0.8")
    service.pipeline.states["floor"].reason = "floor: mqtt://10.0.0.8:1883 does not answer"
    service.passes(HEALTHY_S - 1)
    await service.looks()
    assert service.reload.status()["trial"]
    assert not errors(caplog)
    service.done.clear()
    service.passes(1)
    await until(lambda: service.reload.config == before, "the old configuration")
    await until(lambda: "add floor" in service.done, "the old broker")
    assert service.done[:1] == ["lose floor"]
    (said,) = errors(caplog)
    assert "is rolled back to that of" in said
    assert "mqtt://10.0.0.8:1883 does not answer" in said
    status = service.reload.status()
    assert "was rolled back: floor: mqtt://10.0.0.8:1883 does not" in status["problem"]
    assert not status["trial"]

    service.done.clear()
    service.passes(1000)
    await service.looks()
    assert service.done == []  # the same files are not tried again
    await service.reloads("mqtt://10.0.0.8", "mqtt://10.0.0.7")
    assert service.reload.status()["problem"] == ""


@following
async def test_a_configuration_that_connects_once_stays(service: Running) -> None:
    await service.reloads("mqtt://10.0.0.9", "mqtt://10.0.0.8")
    service.connect("floor")
    await until(lambda: not service.reload.status()["trial"], "health")
    service.pipeline.states["floor"].state = "waiting"
    service.passes(1000)
    await service.looks()
    assert service.reload.config.mqtt[0].url == "mqtt://10.0.0.8:1883"


@pytest.mark.parametrize("refused", [True, False])
@following
async def test_a_sink_is_given_back_where_it_refuses_not_where_nothing_answers(
    service: Running, refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.reload.config
    await service.reloads("andon.acme", "andon.plant")
    service.sinks[0].refused = refused
    service.passes(HEALTHY_S)
    await until(lambda: not service.reload.status()["trial"], "a verdict")
    if not refused:
        assert service.reload.config.influxdb[0].url == "https://andon.plant.example"
        return
    await until(lambda: service.sinks[0].table.url == before.influxdb[0].url, "the old sink")
    assert "cloud refuses (no)" in errors(caplog)[0]


@following
async def test_a_machine_that_was_off_before_is_not_held_against_its_new_signals(
    service: Running,
) -> None:
    service.pipeline.states["press"].state = "waiting"
    await service.reloads("[[mqtt]]", OIL)
    service.passes(HEALTHY_S)
    await until(lambda: not service.reload.status()["trial"], "a verdict")
    assert len(service.reload.config.opcua[0].signals) == 2


@following
async def test_a_second_change_on_trial_goes_back_to_the_last_healthy_one(
    service: Running,
) -> None:
    before = service.reload.config
    await service.reloads("mqtt://10.0.0.9", "mqtt://10.0.0.8")
    service.passes(HEALTHY_S - 1)
    await service.reloads("[[mqtt]]", OIL)
    service.passes(HEALTHY_S - 1)
    await service.looks()
    assert service.reload.status()["trial"]
    service.passes(1)
    await until(lambda: service.reload.config == before, "the first configuration")


@following
async def test_what_fails_half_way_is_given_back_at_once(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add = service.pipeline.add

    def fail_once(source: object) -> None:
        monkeypatch.setattr(service.pipeline, "add", add)
        raise RuntimeError("no more files")

    monkeypatch.setattr(service.pipeline, "add", fail_once)
    before = service.reload.config
    service.edit("[[mqtt]]", OVEN + "[[mqtt]]")
    await until(lambda: errors(caplog), "an error")
    await service.looks()
    assert "no more files" in errors(caplog)[0]
    assert service.reload.config == before
    assert set(service.pipeline.states) == {"press", "floor"}


@following
async def test_what_cannot_be_applied_on_trial_leads_back_to_the_one_on_trial_then_to_the_healthy(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    healthy = service.reload.config
    await service.reloads("[[mqtt]]", OVEN + "[[mqtt]]")
    on_trial = service.reload.config
    drained = service.pipeline.drained

    async def fail_once() -> None:
        monkeypatch.setattr(service.pipeline, "drained", drained)
        raise RuntimeError("no more memory")

    monkeypatch.setattr(service.pipeline, "drained", fail_once)
    service.edit(OVEN, OIL.removesuffix("[[mqtt]]"))
    await until(lambda: errors(caplog), "an error")
    await service.looks()
    assert service.reload.config == on_trial
    assert service.reload.status()["trial"]
    assert "oven" in service.pipeline.states
    service.passes(HEALTHY_S)
    await until(lambda: service.reload.config == healthy, "the healthy one")
    await until(lambda: "oven" not in service.pipeline.states, "the end of the oven")
