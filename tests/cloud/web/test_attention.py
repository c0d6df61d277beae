"""What the page says of trouble: silence, anomalies in plain words, arrows, digits, many tiles."""

from typing import Any

import pytest
from playwright.sync_api import expect

from cloud.web.anomalies import sentence
from cloud.web.view import BoardView, board_view
from cloud.web.words import CATALOGUES
from tests.cloud.web.conftest import Open
from tests.cloud.web.fake import MACHINES, SECOND_NS, Json, Plant

LEVEL = {"value": 61.9, "low": 51.2, "high": 53.4}
SINCE = "since 18:04:05 UTC"
LOST = "no connection since 18:04:05 UTC: opc.tcp://plc:4840 refuses the connection"


def view(plant: Plant, language: str = "en") -> BoardView:
    board = {"now_ns": plant.now_ns(), "lines": [plant.line], "gateways": [plant.gateway]}
    return board_view(board, CATALOGUES[language])


def silence(plant: Plant) -> None:
    plant.line["state"] = "no_data"
    plant.gateway["seen_ns"] -= 18 * SECOND_NS


def test_a_silent_line_needs_attention_and_names_its_gateway(show: Open, plant: Plant) -> None:
    silence(plant)
    page = show().page
    expect(page.get_by_text("Nothing needs attention.")).to_have_count(0)
    said = page.locator(".attention .message")
    expect(said).to_contain_text("Nothing heard from gw-line-1 for")
    expect(said).to_contain_text("s. Is the gateway running, does its token fit?")
    assert page.title().startswith("(1) ")
    plant.line["state"] = "running"
    plant.report()
    expect(page.locator(".attention")).to_have_text("Nothing needs attention.")


def test_silence_is_told_in_chinese_and_does_not_blame_a_gateway_that_speaks(plant: Plant) -> None:
    silence(plant)
    (told,) = view(plant, "zh").silent
    assert (told.before, told.lasting) == ("已有 ", "18 秒")
    assert told.after.startswith(" 没有收到 gw-line-1 的任何消息")
    plant.gateway["seen_ns"] = plant.now_ns()
    (told,) = view(plant).silent
    assert told.before == "No values from line-1 for "


def test_a_line_that_never_sent_a_value_claims_no_duration(plant: Plant) -> None:
    plant.line["state"] = "no_data"
    for machine in plant.line["machines"]:
        machine["signals"] = []
    (told,) = view(plant).silent
    assert (told.before, told.since_ns, told.after) == ("No values from line-1 yet.", 0, "")


def test_a_verdict_older_than_15_s_says_how_old_it_is(show: Open, plant: Plant) -> None:
    plant.gateway["seen_ns"] -= 120 * SECOND_NS
    assert view(plant).gateways[0].verdict == "Balanced as of 2 min ago."
    page = show().page
    verdict = page.locator(".gateway .verdict")
    expect(verdict).to_contain_text("Balanced as of 2 min")
    assert verdict.evaluate("it => getComputedStyle(it).fontWeight") == "400"
    plant.report()
    expect(verdict).to_have_text("Balanced.")
    assert verdict.evaluate("it => getComputedStyle(it).fontWeight") == "600"


@pytest.mark.parametrize(
    ("told", "trouble"),
    [
        ({"hours_left": 61.0, "missing": 0, "oldest_s": 0.4}, ""),
        ({"hours_left": 61.0, "oldest_s": 90.0}, "Room for 2 d 13 h without a connection."),
        ({"hours_left": 0.5}, "Room for 30 min without a connection."),
        ({"missing": 1204}, "1,204 lines have not arrived and wait nowhere."),
    ],
)
def test_a_gateway_tells_its_room_and_missing_lines_when_something_is_wrong(
    show: Open, plant: Plant, told: dict[str, float], trouble: str
) -> None:
    page = show().page
    plant.report(**told)
    assert view(plant).gateways[0].trouble == trouble
    expect(page.locator(".gateway .trouble")).to_have_text(trouble)


def test_a_silent_gateway_tells_what_room_it_had(show: Open, plant: Plant) -> None:
    plant.gateway |= {"hours_left": 61.0, "seen_ns": plant.gateway["seen_ns"] - 20 * SECOND_NS}
    said = "It then had room for 2 d 13 h without a connection."
    assert view(plant).gateways[0].trouble == said
    expect(show().page.locator(".gateway .trouble")).to_have_text(said)


def test_arrows_join_only_machines_with_a_place_that_units_pass(plant: Plant) -> None:
    def flows() -> list[bool]:
        return [one.flows_in for one in view(plant).lines[0].machines]

    assert flows() == [False, True, True, True, False]
    plant.machine("oven-01")["order_in_line"] = None
    assert flows() == [False, False, False, True, False]
    plant.signal("vision-01", "unit")["text"] = None
    assert flows() == [False, False, False, False, False]


def test_an_arrow_appears_with_the_first_unit(show: Open, plant: Plant) -> None:
    plant.signal("oven-01", "unit")["text"] = None
    page = show().page
    oven = page.locator(".machine").nth(1)
    expect(oven).to_have_attribute("data-flows-in", "no")
    plant.text("oven-01", "unit", "U-000842")
    expect(oven).to_have_attribute("data-flows-in", "yes")


@pytest.mark.parametrize(
    ("detector", "figures", "raw", "english", "chinese"),
    [
        ("level", LEVEL, "", "61.9 °C where 51.2 to 53.4 is normal",
         "61.9 °C，正常范围 51.2 至 53.4"),
        ("level", {"value": 61.9, "high": 53.4}, "", "61.9 °C where at most 53.4 is normal",
         "61.9 °C，正常不高于 53.4"),
        ("stuck", {"value": 52.25}, f"unchanged at 52.25 degC {SINCE}, for 9.0 s; it moves",
         "unchanged at 52.2 °C", "数值停在 52.2 °C 不变"),
        ("dropout", {"value": 52.25}, f"no value {SINCE}, for 9.0 s; one comes",
         "no value; the last was 52.2 °C", "没有数值；最后一个是 52.2 °C"),
        ("bad_status", {}, f"the machine reports BadSensorFailure {SINCE}",
         "the machine reports BadSensorFailure", "设备报告 BadSensorFailure"),
        ("bad_status", {}, f"the machine sends no number (NaN or infinity) {SINCE}",
         "the machine sends no number (NaN or infinity)", "设备送来的不是数字（NaN 或无穷）"),
        ("connection", {}, LOST, "no connection: opc.tcp://plc:4840 refuses the connection",
         "连接中断：opc.tcp://plc:4840 refuses the connection"),
        ("level", {}, f"9 kN where 1 to 2 is normal (score 0.97, {SINCE})",
         "9 kN where 1 to 2 is normal", "9 kN where 1 to 2 is normal"),
        ("rhythm", {"value": 3.0}, f"too slow {SINCE}, for 3.2 s", "too slow", "too slow"),
    ],
)  # fmt: skip
def test_an_anomaly_is_a_sentence_of_its_figures_without_utc_times(
    detector: str, figures: dict[str, Any], raw: str, english: str, chinese: str
) -> None:
    nothing = dict.fromkeys(("value", "expected", "low", "high"))
    one: Json = {"detector": detector, **nothing, **figures}
    assert sentence(one, raw, "°C", CATALOGUES["en"]) == english
    assert sentence(one, raw, "°C", CATALOGUES["zh"]) == chinese


def test_what_has_ended_is_told_like_what_is_open(show: Open, plant: Plant) -> None:
    opened = plant.anomaly("press-01", "oil_temperature", "alarm", f"hot ({SINCE})", **LEVEL)
    page = show("/?lang=zh").page
    expect(page.locator(".why")).to_have_text("oil temperature: 61.9 °C，正常范围 51.2 至 53.4")
    expect(page.locator(".why")).to_have_attribute("title", f"hot ({SINCE})")
    plant.line["anomalies"][0]["start_ns"] = plant.now_ns()
    plant.end(opened)
    ended = page.locator(".ended li")
    expect(ended).to_contain_text("press-01 oil temperature 61.9 °C，正常范围 51.2 至 53.4")
    expect(ended).to_contain_text("持续 不到 1 秒")


def test_one_lost_source_is_one_card_that_names_its_machines(plant: Plant) -> None:
    start_ns = plant.now_ns()
    lost = {"detector": "connection", "start_ns": start_ns}
    plant.anomaly("oven-01", "_machine", "alarm", f"oven-01 / _machine: {LOST}", **lost)
    for signal in ("ram_force", "oil_temperature"):
        plant.anomaly("press-01", signal, "alarm", f"press-01: {LOST}", **lost)
    plant.anomaly("vision-01", "_machine", "alarm", LOST, **lost | {"start_ns": start_ns - 1})
    board = view(plant)
    assert sorted(one.machine for one in board.open) == ["oven-01, press-01", "vision-01"]
    assert {one.name for one in board.open} == {""}
    assert [len(one.anomalies) for one in board.lines[0].machines] == [1, 1, 0, 1, 0]


def test_one_outlier_takes_no_digits_from_the_usual_values(show: Open, plant: Plant) -> None:
    plant.window("vision-01", "deviation", mean=0.5, min=0.004, max=812.0)
    plant.window("vision-01", "deviation", mean=0.0123, min=-0.01, max=0.02)
    rows = [one for machine in view(plant).lines[0].machines for one in machine.signals]
    assert next(one for one in rows if one.signal == "deviation").reading.value == "0.012"
    page = show().page
    value = page.locator('[data-signal$="vision-01/deviation"] .value')
    expect(value).to_have_text("0.012")
    plant.window("vision-01", "deviation", mean=0.0174, min=-0.01, max=0.02)
    expect(value).to_have_text("0.017")


@pytest.mark.parametrize("more", [1, 3])
def test_six_or_more_machines_keep_equal_columns_and_whole_arrows(
    show: Open, plant: Plant, more: int
) -> None:
    for number in range(more):
        press = {**plant.machine("press-01"), "machine": f"press-1{number}"}
        plant.line["machines"].append({**press, "order_in_line": 6 + number})
    page = show(viewport={"width": 1280, "height": 800}).page
    tiles = page.locator(".machine")
    expect(tiles).to_have_count(len(MACHINES) + more)
    widths = tiles.evaluate_all("all => all.map(it => Math.round(it.offsetWidth))")
    assert max(widths) - min(widths) <= 1
    lefts = tiles.evaluate_all(
        "all => all.filter(it => it.dataset.flowsIn === 'yes').map(it =>"
        " it.getBoundingClientRect().left + parseFloat(getComputedStyle(it, '::before').left))"
    )
    assert len(lefts) >= 3
    assert min(lefts) >= 0
