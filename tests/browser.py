"""The system's Chromium, driven: what it complained of is kept, so that a test can say that it was nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
DEADLINE_MS = 20_000


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A headless Chromium that ends with the block."""
    assert CHROMIUM is not None, "chromium is missing; ask `require` first"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def opened(context: BrowserContext, url: str, reviewer: str | None = "ada") -> tuple[Page, list[str]]:
    """The page at `url`, and the list that its complaints go to: console errors, uncaught errors, CSP violations.

    `reviewer` is remembered as if given on an earlier visit.
    """
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(DEADLINE_MS)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    if reviewer is not None:
        page.add_init_script(f"localStorage.getItem('secondreader.reviewer') ?? "
                             f"localStorage.setItem('secondreader.reviewer', {reviewer!r})")  # fmt: skip
    page.goto(url)
    return page, complaints
