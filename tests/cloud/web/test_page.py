"""The board in a real Chromium, against the cloud in memory."""

import httpx
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import watched_page
from tests.cloud.web.conftest import Open
from tests.cloud.web.fake import MACHINES, SECOND_NS, Plant

KEY = "acme/guiyang/assembly/line-1"
HOT = "press-01 / oil_temperature: 61.9 degC where 51.2 to 53.4 is normal (score 0.97)"
SENTENCE = "61.9 °C where 51.2 to 53.4 is normal"


def row(page: Page, machine: str, signal: str) -> Locator:
    return page.locator(f'[data-signal="{KEY}/{machine}/{signal}"]')


def heat(plant: Plant) -> str:
    return plant.anomaly(
        "press-01", "oil_temperature", "alarm", HOT, value=61.9, low=51.2, high=53.4
    )


def test_the_first_paint_is_whole_without_any_script(
    browser: Browser, plant: Plant, url: str
) -> None:
    heat(plant)
    with watched_page(browser, java_script_enabled=False, locale="en-GB") as it:
        it.page.goto(url)
        assert it.page.locator(".machine h3").all_text_contents() == list(MACHINES)
        expect(row(it.page, "press-01", "ram_force")).to_contain_text("1,187 kN")
        expect(it.page.locator(".attention .message")).to_have_text(SENTENCE)
        expect(it.page.locator(".gateway")).to_contain_text(
            "12,345 samples received: 12,300 into windows, 45 pending, 0 dropped. Balanced."
        )


def test_machines_stand_from_left_to_right_in_flow_order(show: Open) -> None:
    page = show().page
    boxes = [one.bounding_box() for one in page.locator(".machine").all()]
    left = [box["x"] for box in boxes if box]
    assert len(left) == len(MACHINES)
    assert left == sorted(left)
    assert len({box["y"] for box in boxes if box}) == 1


def test_a_value_and_its_band_change_without_a_reload(show: Open, plant: Plant) -> None:
    page = show().page
    page.evaluate("window.same = true")
    plant.window("press-01", "oil_temperature", mean=60.04, min=58.96, max=61.52, last=60.1)
    it = row(page, "press-01", "oil_temperature")
    expect(it.locator(".value")).to_have_text("60.0")
    expect(it.locator(".note")).to_have_text("max 61.5\nmin 59.0")
    assert page.evaluate("window.same")


def test_every_analog_signal_has_a_drawn_chart(show: Open) -> None:
    page = show().page
    analog = [kind for signals in MACHINES.values() for kind, *_ in signals.values()]
    charts = page.locator("canvas")
    expect(charts).to_have_count(analog.count("analog"))
    inked = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
               .data.some((byte, index) => index % 4 === 3 && byte > 0)"""
    assert all(chart.evaluate(inked) for chart in charts.all())


def test_counters_states_and_units_are_told_in_plain_words(show: Open, plant: Plant) -> None:
    page = show().page
    plant.window("press-01", "strokes", last=18241.0, increase=1.0)
    plant.text("oven-01", "unit", "U-000999")
    strokes = row(page, "press-01", "strokes")
    expect(strokes.locator(".value")).to_have_text("18,241")
    expect(strokes.locator(".note")).to_have_text("+1 in 1 s")
    expect(row(page, "press-01", "state").locator(".value")).to_have_text("Execute")
    expect(page.locator(f'[data-machine="{KEY}/oven-01"] .unit-label')).to_have_text(
        "Unit U-000999"
    )


def test_an_anomaly_appears_on_top_and_on_its_tile_and_goes_to_the_ended_ones(
    show: Open, plant: Plant
) -> None:
    page = show().page
    expect(page.locator(".attention")).to_have_text("Nothing needs attention.")
    tile = page.locator(f'[data-machine="{KEY}/press-01"]')
    opened = heat(plant)
    expect(page.locator(".attention .message")).to_have_text(SENTENCE)
    expect(tile.locator(".why")).to_have_text(f"oil temperature: {SENTENCE}")
    expect(tile.locator(".head .state")).to_have_text("Alarm")
    expect(row(page, "press-01", "oil_temperature").locator(".marker")).to_have_text("Alarm")
    expect(page.locator("#announcer")).to_contain_text("Alarm press-01 oil temperature")
    wide, calm = tile.bounding_box(), page.locator(".machine").nth(1).bounding_box()
    assert wide is not None
    assert calm is not None
    assert wide["width"] > 1.2 * calm["width"]
    assert page.title().startswith("(1) line-1")
    plant.end(opened)
    expect(page.locator(".attention")).to_have_text("Nothing needs attention.")
    expect(page.locator(".ended li")).to_contain_text(f"press-01 oil temperature {SENTENCE}")
    expect(page.locator(".ended li")).to_contain_text("lasted")
    expect(tile.locator(".head .state")).to_have_text("Running")


def test_a_silent_signal_greys_out_with_its_age_and_a_new_window_revives_it(
    show: Open, plant: Plant
) -> None:
    plant.age("meter-01", 3.5)
    page = show().page
    it = row(page, "meter-01", "power")
    bright = row(page, "press-01", "ram_force").locator(".value")
    expect(it.locator(".age")).to_contain_text("s ago")
    colour = "element => getComputedStyle(element).color"
    assert it.locator(".value").evaluate(colour) != bright.evaluate(colour)
    plant.window("meter-01", "power", mean=70.0, min=69.0, max=71.0)
    expect(it.locator(".value")).to_have_text("70.0")
    expect(it.locator(".age")).to_have_text("")
    expect(it).not_to_have_attribute("data-stale", "")


def test_an_empty_window_shows_no_value_at_all(show: Open, plant: Plant) -> None:
    page = show().page
    plant.empty("conveyor-01", "speed")
    plant.window("vision-01", "brightness", n=3, good=0.0)
    speed = row(page, "conveyor-01", "speed")
    expect(speed.locator(".value")).to_have_text("no data")
    expect(speed.locator(".note")).to_have_text("")
    expect(row(page, "vision-01", "brightness").locator(".value")).to_have_text("bad quality")


def test_a_late_revision_never_replaces_a_newer_window(show: Open, plant: Plant) -> None:
    page = show().page
    it = row(page, "meter-01", "power").locator(".value")
    plant.window("meter-01", "power", mean=70.0, min=69.0, max=71.0)
    newest = plant.signal("meter-01", "power")["window"]["time_ns"]
    plant.window("meter-01", "power", mean=10.0, time_ns=newest - SECOND_NS, rev=1)
    plant.window("meter-01", "voltage", mean=333.0)
    expect(row(page, "meter-01", "voltage").locator(".value")).to_have_text("333.0")
    expect(it).to_have_text("70.0")


def test_a_lost_stream_is_told_and_made_good(show: Open, plant: Plant) -> None:
    page = show().page
    banner = page.locator("#lost")
    expect(banner).to_be_hidden()
    plant.cut()
    expect(banner).to_contain_text("Connection lost since")
    expect(banner).to_be_visible()
    expect(page.get_by_text("Nothing needs attention.")).to_be_hidden()
    plant.window("meter-01", "power", mean=77.7, min=77.0, max=78.0)
    plant.text("vision-01", "verdict", "scrap")
    heat(plant)
    plant.restore()
    expect(banner).to_be_hidden()
    expect(row(page, "meter-01", "power").locator(".value")).to_have_text("77.7")
    expect(row(page, "vision-01", "verdict").locator(".value")).to_have_text("scrap")
    expect(page.locator(".attention .message")).to_have_text(SENTENCE)


def test_a_machine_that_joins_the_line_joins_the_board(show: Open, plant: Plant) -> None:
    page = show().page
    plant.line["machines"].append({**plant.machine("meter-01"), "machine": "packer-01"})
    plant.send("board", {})
    expect(page.locator(".machine h3")).to_have_text([*MACHINES, "packer-01"])
    plant.window("oven-01", "belt_speed", mean=2.5, min=2.4, max=2.6)
    expect(row(page, "oven-01", "belt_speed").locator(".value")).to_have_text("2.50")


def test_what_a_signal_is_may_become_known_after_its_first_value(show: Open, plant: Plant) -> None:
    late = plant.signal("meter-01", "energy")
    known = {**late, "recent": []}
    late |= {"kind": None, "unit": None, "every": None, "window": None, "recent": []}
    page = show().page
    energy = row(page, "meter-01", "energy")
    expect(energy.locator(".value")).to_have_text("no data")
    late |= {name: known[name] for name in ("kind", "unit", "every")}
    plant.send("board", {})
    expect(energy.locator(".unit")).to_have_text("kWh")
    plant.window("meter-01", "energy", last=8124.5, increase=0.02)
    expect(energy.locator(".value")).to_have_text("8,124.50")
    expect(energy.locator(".note")).to_have_text("+0.020 in 1 s")


def test_the_ledger_follows_the_gateway_and_says_when_it_does_not_balance(
    show: Open, plant: Plant
) -> None:
    page = show().page
    plant.report(received=20000, derived=19000, filtered=12, pending=45, balanced=False)
    expect(page.locator(".gateway .sentence")).to_have_text(
        "20,000 samples received: 19,000 into windows, 12 filtered, 45 pending, 0 dropped."
    )
    expect(page.locator(".gateway .verdict")).to_have_text("Does not balance.")


def test_nothing_leaves_the_machine_and_nothing_complains(show: Open, plant: Plant) -> None:
    it = show()
    plant.text("vision-01", "verdict", "<img src=x onerror=alert(1)>")
    plant.anomaly("vision-01", "deviation", "warning", '<b onclick="x">0.08 mm</b>')
    expect(it.page.locator(".attention .message")).to_have_text('<b onclick="x">0.08 mm</b>')
    expect(row(it.page, "vision-01", "verdict")).to_contain_text("<img src=x")
    assert it.hosts == {"127.0.0.1"}
    assert it.errors == []


def test_the_page_forbids_inline_code_and_foreign_sources(url: str) -> None:
    answer = httpx.get(url)
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_browser_that_is_not_signed_in_is_told_how(
    browser: Browser, plant: Plant, url: str
) -> None:
    plant.let_in = False
    with watched_page(browser, locale="en-GB") as it:
        answer = it.page.goto(url)
        assert answer is not None
        assert answer.status == 401
        expect(it.page.locator("main")).to_contain_text("andon-cloud login-url")
        assert "press-01" not in it.page.content()


def test_chinese_comes_by_the_browsers_wish_and_the_switch_is_remembered(
    browser: Browser, url: str
) -> None:
    with watched_page(browser, locale="zh-CN") as it:
        it.page.goto(url)
        attention = it.page.locator(".attention")
        expect(attention).to_have_text("一切正常，无需处理。")
        expect(it.page.locator(".gateway")).to_contain_text("收到 12,345 个样本")
        it.page.get_by_role("link", name="English").click()
        expect(attention).to_have_text("Nothing needs attention.")
        it.page.goto(url)
        expect(attention).to_have_text("Nothing needs attention.")
        expect(it.page.locator("html")).to_have_attribute("lang", "en")


def test_the_keyboard_leads_from_an_anomaly_to_its_machine(show: Open, plant: Plant) -> None:
    heat(plant)
    page = show(viewport={"width": 390, "height": 600}).page
    page.locator(".language").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.closest('[data-anomaly]') !== null"
    assert page.evaluate(focused)
    page.keyboard.press("Enter")
    expect(page.locator(f'[data-machine="{KEY}/press-01"]')).to_be_in_viewport()
