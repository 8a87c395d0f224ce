"""Taking an answer back, and leaving it to an adjudicator, in a real Chromium against a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect
from redis import Redis

from embedded.stack import Gateway, Valkey
from model_store.record import VerdictRecord
from tests.browser import opened
from tests.e2e.test_review_page import (
    browser,
    context,
    final,
    press_then_next,
    ready,
    sent,
    service,
    valkey,
)
from tests.services import eventually, make_data, running_gateway
from tests.triage.queue_items import key
from triage.client import Client
from triage.journal.segments import read

__all__ = ["browser", "context", "service", "valkey"]
pytestmark = pytest.mark.browser
UNDO = "[data-hook=undoBar]"


@pytest.fixture
def gateway(tmp_path: Path, valkey: Valkey) -> Iterator[Gateway]:
    """Answers are held for a minute, and there are adjudicators."""
    make_data(tmp_path)
    queue = {"hold_s": 60, "escalate_to": "last"}
    for name, document in (("review", queue), ("last", {"hold_s": 0})):
        path = tmp_path / "control" / "projects" / "default" / "queues" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    with running_gateway(tmp_path, valkey.url) as server:
        yield server
    with Redis.from_url(valkey.url) as redis:
        redis.flushall()


def verdicts(gateway: Gateway) -> list[dict[str, Any]]:
    found = [record for _, record in read(gateway.data / "journal" / "test")]
    return [
        {"labels": sorted(each.answers), "revision": each.revision, "outcome": each.outcome, "note": each.note}
        for each in found
        if isinstance(each, VerdictRecord)
    ]


def test_the_last_answer_is_taken_back_by_keyboard_alone(
    gateway: Gateway, service: Client, context: BrowserContext
) -> None:
    sent(service, 2)
    page, complaints = opened(context, f"{gateway.url}/review")
    press_then_next(page, "4", "Enter")
    expect(page.locator(UNDO)).to_contain_text("Other · told in")
    page.keyboard.press("Control+z")
    ready(page)
    expect(page.locator("main")).to_have_attribute("data-amending", "true")
    expect(page.locator("[data-hook=whyTitle]")).to_contain_text("You said: Other. Answer again")
    expect(page.locator(UNDO)).to_be_hidden()
    press_then_next(page, "1", "Enter")
    expect(page.locator("main")).to_have_attribute("data-amending", "false")
    expect(page.locator(UNDO)).to_contain_text("Red · told in")
    expect(page.locator("[data-hook=answered]")).to_have_text("1")
    assert [(each["labels"], each["revision"]) for each in verdicts(gateway)] == [(["other"], 1), (["red"], 2)]
    press_then_next(page, "n", "n")
    assert complaints == []


def test_esc_keeps_the_answer(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    sent(service, 2)
    page, complaints = opened(context, f"{gateway.url}/review")
    press_then_next(page, "4", "Enter")
    picture = page.locator(".frame img").get_attribute("src")
    page.locator("[data-hook=undo]").click()
    ready(page)
    page.keyboard.press("1")
    page.keyboard.press("s")
    expect(page.locator("[data-hook=notice]")).to_contain_text("is not skipped")
    page.keyboard.press("Escape")  # what is chosen
    page.keyboard.press("Escape")  # and the taking back
    ready(page)
    assert page.locator(".frame img").get_attribute("src") == picture
    assert [each["labels"] for each in verdicts(gateway)] == [["other"]]
    press_then_next(page, "1", "Enter")
    assert complaints == []


def test_an_item_is_left_to_an_adjudicator_who_reads_why(
    gateway: Gateway, service: Client, valkey: Valkey, context: BrowserContext
) -> None:
    (only,) = sent(service, 1)
    page, complaints = opened(context, f"{gateway.url}/review")
    ready(page)
    page.keyboard.press("e")
    expect(page.locator("[data-hook=noteDialog]")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.keyboard.type("a crack, or a hair?")
    page.keyboard.press("Enter")
    expect(page.locator("[data-hook=last]")).to_have_text("Last answer: Escalated · saved")
    (left,) = eventually(lambda: verdicts(gateway))
    assert (left["outcome"], left["note"]) == ("escalated", "a crack, or a hair?")
    page.close()
    _over(valkey)
    eve, more = opened(context, f"{gateway.url}/review?queue=default.last")
    eve.evaluate("localStorage.setItem('secondreader.reviewer', 'eve')")
    eve.reload()
    ready(eve)
    expect(eve.locator("[data-hook=earlier]")).to_have_text("ada: left it to you. “a crack, or a hair?”")
    expect(eve.locator("[data-hook=escalate]")).to_be_hidden()
    press_then_next(eve, "4", "4")
    assert final(service, only)["labels"] == ["other"]
    assert complaints == more == []


def test_a_hold_that_is_over_takes_the_offer_away(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    sent(service, 2)
    context.clock.install()
    page, _ = opened(context, f"{gateway.url}/review")
    context.clock.run_for(1_000)
    ready(page)
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.locator(UNDO)).to_be_visible()
    context.clock.fast_forward("01:01")
    expect(page.locator(UNDO)).to_be_hidden()
    page.keyboard.press("Control+z")
    expect(page.locator("main")).to_have_attribute("data-amending", "false")


def _over(valkey: Valkey) -> None:
    """Lets every hold be over."""
    with Redis.from_url(valkey.url) as redis:
        for item in redis.zrange(key("held"), 0, -1):
            redis.zadd(key("held"), {item: 1})
