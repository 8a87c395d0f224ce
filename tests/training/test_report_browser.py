"""The report in a real Chromium, opened from disk: it needs nothing but itself, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import CHROMIUM, opened, running_chromium
from tests.training.conftest import Trained
from training import certify, page, plan
from training.plan import Work

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(require: Callable[[str, bool], None]) -> Iterator[Browser]:
    require("chromium", CHROMIUM is not None)
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def written(trained: Trained) -> Path:
    """A report with everything in it: rules, pictures, a plan."""
    bundle, recipe = trained.result.bundle, trained.recipe
    certify.run(bundle, recipe, trained.data)
    plan.run(bundle, recipe, trained.data, Work(wage=30), targets=(0.8, 0.9), draws=2)
    return page.run(bundle, recipe, trained.data)[0]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_needs_nothing_and_fits(browser: Browser, written: Path, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        shown, complaints = opened(context, written.as_uri(), reviewer=None)
        for name in ("Each class and its proof", "What a promise costs", "More answers, more errors", "For the record"):
            expect(shown.get_by_role("heading", name=name)).to_be_visible()
        expect(shown.get_by_role("heading", level=1)).to_contain_text("of images by itself")
        expect(shown.get_by_role("img", name="Wrong answers against images answered")).to_be_visible()
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]
        assert complaints == []


def test_text_can_be_read_in_light_and_in_dark(browser: Browser, written: Path) -> None:
    """Every text stands out from what is behind it by 4.5 : 1, as WCAG 2.1 counts it."""
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            shown, _ = opened(context, written.as_uri(), reviewer=None)
            assert shown.evaluate(CONTRAST) == []


def test_what_is_folded_opens_by_keyboard(browser: Browser, written: Path) -> None:
    with browser.new_context() as context:
        shown, _ = opened(context, written.as_uri(), reviewer=None)
        folded = shown.locator("summary", has_text="in full")
        folded.focus()
        shown.keyboard.press("Enter")
        expect(shown.get_by_text("data fingerprint").first).to_be_visible()


CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll('main *, header *, footer')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim().length > 1);
    if (!own || ['STYLE', 'title', 'desc'].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(element instanceof SVGElement ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faint.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return faint;
}"""
