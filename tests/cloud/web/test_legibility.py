"""Can it be read: contrast of every text in both schemes, and every screen's width."""

from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.cloud.web.conftest import Open
from tests.cloud.web.fake import Plant

# WCAG 2.2, relative luminance and contrast ratio; the ground is the nearest opaque one above.
CONTRASTS = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const channel = value =>
    value <= 10.31475 ? value / 3294.6 : ((value / 255 + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const groundOf = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    throw new Error("no ground");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [ink, ground] = [luminance(parse(style.color)), luminance(groundOf(element))];
    const ratio = (Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05);
    found.push([element.closest("[class]").className, texts.currentNode.data.trim(), ratio]);
  }
  return found;
}"""
AA = 4.5
SCREENS = ((390, 844), (1440, 900), (1920, 1080))  # phone, desk, wall


def trouble(plant: Plant) -> None:
    """Everything the style sheet has a colour for, at once."""
    plant.end(plant.anomaly("oven-01", "belt_speed", "warning", "unchanged at 1.84 m/min"))
    plant.anomaly("press-01", "oil_temperature", "alarm", "61.9 degC where 51 to 53 is normal")
    plant.anomaly("vision-01", "deviation", "warning", "0.081 mm where -0.04 to 0.04 is normal")
    plant.age("meter-01", 30)
    plant.machine("meter-01")["state"] = "no_data"
    plant.empty("conveyor-01", "speed")
    plant.gateway["balanced"] = False


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_meets_wcag_aa_in_both_schemes(
    show: Open, plant: Plant, scheme: Literal["light", "dark"]
) -> None:
    trouble(plant)
    page = show().page
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("[data-stale]").first).to_be_visible()
    page.evaluate("document.getElementById('lost').hidden = false")
    page.evaluate("document.getElementById('lost').textContent = 'Connection lost'")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [one for one in found if one[2] < AA] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_screen_scrolls_sideways(show: Open, plant: Plant, language: str) -> None:
    trouble(plant)
    page = show(f"/?lang={language}").page
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_state_is_told_by_shape_and_word_besides_colour(show: Open, plant: Plant) -> None:
    trouble(plant)
    page = show().page
    told = {
        tile.locator(".head .state").first.evaluate(
            "it => it.querySelector('use').getAttribute('href') + ' ' + it.innerText.trim()"
        )
        for tile in page.locator(".machine").all()
    }
    assert told == {
        "#icon-alarm Alarm",
        "#icon-warning Warning",
        "#icon-running Running",
        "#icon-no_data No data",
    }


def test_values_are_readable_from_across_the_hall_on_a_wall_screen(show: Open) -> None:
    page = show(viewport={"width": 1920, "height": 1080}).page
    size = page.locator(".value").first.evaluate("it => parseFloat(getComputedStyle(it).fontSize)")
    assert size >= 45  # 45 px on a 55 inch screen is a 20 mm capital: 5 m by the rule of 250
