"""The reviewer's page in a real Chromium, against a real gateway and Valkey."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from redis import Redis

from embedded.stack import Gateway, Valkey
from model_store.labels import Group, Label, LabelSchema
from model_store.record import VerdictRecord
from tests import bundles
from tests.browser import CHROMIUM, opened, running_chromium
from tests.services import client, eventually, make_data, running_gateway, running_valkey
from tests.triage.holders import holder
from triage.client import Client
from triage.index import views
from triage.index.packing import pack
from triage.journal.segments import read
from triage.policy import REASONS
from triage.store.documents import LocalDocuments

pytestmark = pytest.mark.browser
QUEUE = "default.review"
STUDY = LabelSchema(
    labels=(
        Label(id="nodule", name="Nodule", group="findings"),
        Label(id="effusion", name="Effusion", group="findings"),
        Label(id="device", name="Device", group="findings"),
        Label(id="good", name="Good", group="quality"),
        Label(id="poor", name="Poor", group="quality"),
    ),
    groups=(Group(id="findings", kind="independent"), Group(id="quality")),
)


@pytest.fixture(scope="module")
def browser(require: Callable[[str, bool], None]) -> Iterator[Browser]:
    require("chromium", CHROMIUM is not None)
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path, valkey: Valkey) -> Iterator[Gateway]:
    make_data(tmp_path).declare(project="study", mode="assist", model=None, rules=None, labels=STUDY)
    with running_gateway(tmp_path, valkey.url) as server:
        yield server
    _forget(valkey)


def _forget(valkey: Valkey) -> None:
    """An empty index for the next test: its journal is another."""
    with Redis.from_url(valkey.url) as redis:
        redis.flushall()


@pytest.fixture
def service(gateway: Gateway) -> Iterator[Client]:
    with client(gateway) as caller:
        yield caller


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    fresh = browser.new_context(viewport={"width": 1280, "height": 800})
    yield fresh
    fresh.close()


def sent(service: Client, count: int, **about: Any) -> list[str]:
    """Ids of images that no category is certain of, oldest first."""
    return [service.predict(bundles.picture("grey", salt=each), **about)["id"] for each in range(count)]


def ready(page: Page) -> None:
    """The image is on the screen and takes an answer."""
    page.wait_for_selector("main[data-screen=reviewing][data-seen=true]")


def final(service: Client, prediction: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: service.prediction(prediction)["final"])
    return found


def press_then_next(page: Page, *keys: str) -> None:
    """Types an answer, and waits until it is on its way and the next image, if any, is on the screen."""
    ready(page)
    picture = page.locator(".frame img").get_attribute("src")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function(
        "before => document.querySelector('main').dataset.screen !== 'reviewing'"
        " || document.querySelector('main').dataset.seen === 'true'"
        " && document.querySelector('.frame img').src !== before",
        arg=picture,
    )


def test_three_items_are_reviewed_by_keyboard_alone(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    first, second, third = sent(service, 3)
    page, complaints = opened(context, f"{gateway.url}/", reviewer=None)
    page.wait_for_selector("dialog[open]")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    ready(page)
    expect(page.locator("[data-hook=reasons]")).to_have_text("No category was certain enough.")
    expect(page.locator("[data-label=other]")).to_contain_text("people only")
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("none of these labels fits")
    page.keyboard.press("?")
    press_then_next(page, "4", "Enter")  # a digit, then Enter
    press_then_next(page, "1", "1")  # the same digit twice
    press_then_next(page, "n", "Enter")
    expect(page.locator("main")).to_have_attribute("data-screen", "empty")
    expect(page.locator("[data-hook=answered]")).to_have_text("3")
    expect(page.locator("[data-hook=last]")).to_have_text("Last answer: None of these · saved")
    assert final(service, first)["labels"] == ["other"]
    assert final(service, second)["labels"] == ["red"]
    assert final(service, third) | {"labels": [], "outcome": "none_of_these", "by": "people"} == final(service, third)
    assert complaints == []


def test_only_what_was_painted_counts_as_shown(
    gateway: Gateway, service: Client, valkey: Valkey, context: BrowserContext
) -> None:
    first, second = sent(service, 2)
    page, _ = opened(context, f"{gateway.url}/review")
    ready(page)
    with Redis.from_url(valkey.url, decode_responses=True) as redis:

        def shown(item: str) -> bool:
            return bool(redis.hexists(f"sr:{{{QUEUE}}}:item:{item}", "h"))

        eventually(lambda: shown(first))
        eventually(lambda: service.queue(QUEUE)["leased"] == 2)  # the next one is fetched already
        assert not shown(second)
        press_then_next(page, "u", "u")
        eventually(lambda: shown(second))
    assert final(service, first)["outcome"] == "unusable"


def test_an_image_that_is_not_there_yet_takes_no_answer(
    gateway: Gateway, service: Client, context: BrowserContext
) -> None:
    (only,) = sent(service, 1)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    context.route("**/image", hold)
    page, _ = opened(context, f"{gateway.url}/review")
    page.wait_for_selector("[data-label=other]")
    page.keyboard.type("44nn")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_have_attribute("data-screen", "reviewing")
    assert page.locator("[data-answer=present]").count() == 0
    held[0].continue_()
    press_then_next(page, "1", "Enter")
    assert final(service, only)["labels"] == ["red"]


def test_an_image_that_cannot_be_shown_is_called_unusable(
    gateway: Gateway, service: Client, context: BrowserContext
) -> None:
    (only,) = sent(service, 1)
    for blob in (gateway.data / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    page, _ = opened(context, f"{gateway.url}/review")
    expect(page.locator("[data-hook=frame]")).to_contain_text("cannot be shown")
    page.keyboard.type("44uu")
    assert final(service, only)["outcome"] == "unusable"


def test_leaving_gives_the_items_back(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    sent(service, 3)
    page, _ = opened(context, f"{gateway.url}/review")
    page.wait_for_function(
        "() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/image')).length === 2"
    )
    assert service.queue(QUEUE)["leased"] == 2
    page.goto("about:blank")
    eventually(lambda: (service.queue(QUEUE)["waiting"], service.queue(QUEUE)["leased"]) == (3, 0))


def test_leaving_does_not_take_the_last_item_along(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    """A page that still waits for a second item when it closes must not be given the first one again."""
    sent(service, 1)
    for _ in range(3):
        page, _ = opened(context, f"{gateway.url}/review")
        ready(page)
        page.goto("about:blank")
        eventually(lambda: service.queue(QUEUE)["waiting"] == 1)
        (item,) = service.lease(QUEUE, "grace")
        service.give_back(item)


def test_a_queue_that_is_not_there_is_said(gateway: Gateway, context: BrowserContext) -> None:
    page, _ = opened(context, f"{gateway.url}/review?queue=nowhere.review")
    expect(page.locator("main")).to_have_attribute("data-screen", "stopped")
    expect(page.locator("[data-hook=stoppedWhy]")).to_contain_text("nowhere")


def test_a_reviewer_who_walked_away_keeps_nothing(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    sent(service, 3)
    context.clock.install()
    page, _ = opened(context, f"{gateway.url}/review")
    context.clock.run_for(1_000)  # frames follow this clock
    ready(page)
    context.clock.fast_forward("11:00")
    expect(page.locator("main")).to_have_attribute("data-screen", "paused")
    eventually(lambda: service.queue(QUEUE)["leased"] == 0)
    page.keyboard.press("1")  # wakes and does nothing else
    ready(page)
    assert page.locator("[data-answer=present]").count() == 0


def test_a_lost_lease_moves_on(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    first, second = sent(service, 2)
    with context.expect_event("request", lambda request: request.url.endswith("/shown")) as shown:
        page, complaints = opened(context, f"{gateway.url}/review")
    ready(page)
    httpx.delete(shown.value.url.removesuffix("/shown"), trust_env=False).raise_for_status()  # as if it had expired
    (taken,) = service.lease(QUEUE, "grace")
    assert taken.item == first
    service.answer(taken, present=["green"])
    press_then_next(page, "1", "Enter")
    expect(page.locator("[data-hook=notice]")).to_contain_text("Your answer was not needed")
    expect(page.locator("[data-hook=answered]")).to_have_text("0")
    press_then_next(page, "4", "Enter")
    assert final(service, first)["labels"] == ["green"]
    assert final(service, second)["labels"] == ["other"]
    assert [each for each in complaints if "409" not in each] == []


def test_an_answer_outlives_a_gateway(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    first, second = sent(service, 2)
    page, _ = opened(context, f"{gateway.url}/review")
    ready(page)
    eventually(lambda: service.queue(QUEUE)["leased"] == 2)
    gateway.process.kill()
    press_then_next(page, "4", "Enter")  # the next image is here already
    expect(page.locator("[data-hook=banner]")).to_contain_text("1 answer is kept here")
    gateway.start()
    expect(page.locator("[data-hook=banner]")).to_be_hidden()
    assert final(service, first)["labels"] == ["other"]
    press_then_next(page, "1", "Enter")
    assert final(service, second)["labels"] == ["red"]


def test_an_answer_outlives_a_reload(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    (first,) = sent(service, 1)
    page, _ = opened(context, f"{gateway.url}/review")
    ready(page)
    context.route("**/verdict", lambda route: route.abort())
    press_then_next(page, "4", "Enter")
    expect(page.locator("[data-hook=banner]")).to_contain_text("1 answer is kept here")
    context.unroute("**/verdict")
    page.reload()
    assert final(service, first)["labels"] == ["other"]
    expect(page.locator("[data-hook=last]")).to_have_text("Last answer: Other · saved")


def test_a_key_is_asked_for(tmp_path: Path, valkey: Valkey, context: BrowserContext) -> None:
    make_data(tmp_path)
    with (
        running_gateway(tmp_path, valkey.url, api_key="open sesame") as gateway,
        client(gateway, "open sesame") as caller,
    ):
        (only,) = sent(caller, 1)
        page, complaints = opened(context, f"{gateway.url}/review")
        page.wait_for_selector("dialog[open] input[type=password]")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("[data-hook=keyWrong]")).to_be_visible()
        page.keyboard.type("open sesame")
        page.keyboard.press("Enter")
        press_then_next(page, "4", "4")
        assert final(caller, only)["labels"] == ["other"]
        sent(caller, 1, view="second")
        page.reload()  # the key is remembered while the tab lives
        ready(page)
        page.close()  # a waiting page would hold up the gateway's end
    assert [each for each in complaints if "401" not in each] == []
    _forget(valkey)


@pytest.mark.parametrize("way", ["key", "proxy"])
def test_a_person_reviews_under_their_own_name(
    tmp_path: Path, valkey: Valkey, context: BrowserContext, way: str
) -> None:
    data = make_data(tmp_path)
    data.declare(mode="assist")
    mine, sends = holder(tmp_path, "reviewer", subject="ada"), holder(tmp_path, "caller", "auditor", subject="pacs")
    people = b'{"people": {"ada": [{"role": "reviewer"}]}}'
    LocalDocuments(tmp_path / "control").swap("access.json", people, None)
    with (
        running_gateway(tmp_path, valkey.url, proxy_header="X-User", proxy_networks='["127.0.0.0/8"]') as gateway,
        client(gateway, sends.key) as caller,
    ):
        (only,) = sent(caller, 1)
        if way == "proxy":
            context.set_extra_http_headers({"X-User": "ada"})
        page, complaints = opened(context, f"{gateway.url}/review", reviewer=None)
        if way == "key":
            page.wait_for_selector("dialog[open] input[type=password]")
            page.keyboard.type(mine.key)
            page.keyboard.press("Enter")
        press_then_next(page, "4", "4")
        expect(page.locator("[data-hook=reviewer]")).to_have_text("ada")
        expect(page.locator("[data-hook=reviewer]")).to_be_disabled()
        assert final(caller, only)["labels"] == ["other"]
        page.close()
    (verdict,) = (each for _, each in read(tmp_path / "journal" / "test") if isinstance(each, VerdictRecord))
    assert (verdict.reviewer, verdict.principal) == ("ada", "")
    assert [each for each in complaints if "401" not in each] == []
    context.set_extra_http_headers({})
    _forget(valkey)


def test_who_may_not_review_hears_why(tmp_path: Path, valkey: Valkey, context: BrowserContext) -> None:
    make_data(tmp_path)
    with running_gateway(tmp_path, valkey.url, proxy_header="X-User", proxy_networks='["127.0.0.0/8"]') as gateway:
        context.set_extra_http_headers({"X-User": "eve"})
        page, _ = opened(context, f"{gateway.url}/review", reviewer=None)
        expect(page.locator("[data-hook=stoppedWhy]")).to_have_text("Eve is known here and has no role.")
        page.close()
    context.set_extra_http_headers({})


def test_independent_labels_say_only_what_was_touched(
    gateway: Gateway, service: Client, context: BrowserContext
) -> None:
    (only,) = sent(service, 1, project="study")
    page, complaints = opened(context, f"{gateway.url}/review?queue=study.review")
    with page.expect_request("**/verdict") as request:
        press_then_next(page, "1", "2", "2", "4", "Enter")  # present; present, then absent; one of the second group
    expected = {"nodule": "present", "effusion": "absent", "good": "present"}
    assert request.value.post_data_json == {"outcome": "labels", "answers": expected}
    assert final(service, only)["labels"] == ["nodule", "good"]
    assert complaints == []


def test_a_blind_item_hides_the_model_and_takes_one_key(
    tmp_path: Path, valkey: Valkey, context: BrowserContext
) -> None:
    make_data(tmp_path).declare(audit={"probability": 1})
    with running_gateway(tmp_path, valkey.url) as gateway, client(gateway) as caller:
        told = caller.predict(bundles.picture("red"))
        assert (told["route"], told["reasons"], told["review"]) == ("automatic", [], None)
        requests: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        page, complaints = opened(context, f"{gateway.url}/review")
        ready(page)
        expect(page.locator("[data-hook=whyTitle]")).to_have_text("A blind reading")
        expect(page.locator("[data-hook=reasons] li")).to_have_count(1)
        assert page.locator(".bar").count() == 0
        expect(page.locator("[data-hook=rest]")).to_be_hidden()
        with page.expect_request("**/verdict") as request:
            press_then_next(page, "3", "3")
        assert request.value.post_data_json == {"outcome": "labels", "answers": {"blue": "present"}}
        expect(page.locator("[data-hook=last]")).to_have_text("Last answer: Blue · saved")
        assert caller.prediction(told["id"])["final"] == told["final"]
        assert not [url for url in requests if told["id"] in url or "/predictions/" in url]
        expect(page.locator("main")).to_have_attribute("data-screen", "empty")  # the doubt waits for somebody else
        assert caller.queue(QUEUE)["waiting"] == 1
        assert complaints == []
        page.close()
    _forget(valkey)


def test_a_blind_item_of_several_groups_wants_every_label(
    gateway: Gateway, service: Client, valkey: Valkey, context: BrowserContext
) -> None:
    (only,) = sent(service, 1, project="study")
    _make_blind(valkey, "study.review", only)
    page, complaints = opened(context, f"{gateway.url}/review?queue=study.review")
    ready(page)
    expect(page.locator(".group h3").first).to_have_text("findingseach present or absent")
    assert page.locator(".mark", has_text="open").count() == 3
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("[data-hook=notice]")).to_have_text("Still open: Nodule, Device, Good, Poor.")
    expect(page.locator("[data-hook=answer]")).to_be_disabled()
    page.keyboard.press("3")
    page.keyboard.press("3")  # absent
    page.keyboard.press(".")  # and so are the others, but for the group of which one is chosen
    expect(page.locator("[data-label=nodule] .mark")).to_have_text("absent")
    expect(page.locator("[data-hook=answer]")).to_be_disabled()
    with page.expect_request("**/verdict") as request:
        press_then_next(page, "5", "Enter")
    expected = {"nodule": "absent", "effusion": "present", "device": "absent", "poor": "present"}
    assert request.value.post_data_json == {"outcome": "labels", "answers": expected}
    assert final(service, only)["labels"] == ["effusion", "poor"]
    assert complaints == []


def _make_blind(valkey: Valkey, queue: str, item: str) -> None:
    """As a sampling plan would have made it; the site of this schema has no model that could."""
    with Redis.from_url(valkey.url) as redis:
        entry: Any = redis.get(f"sr:view:{item}")
        shown = views.read(entry)
        assert shown is not None
        blind = dataclasses.replace(views.item_of(shown), blind=True, reasons=(), suggestions=())
        redis.set(f"sr:{{{queue}}}:body:{item}", pack(msgspec.msgpack.encode(blind)))


def test_arrows_and_space_choose_too(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    (only,) = sent(service, 1)
    page, _ = opened(context, f"{gateway.url}/review")
    press_then_next(page, "ArrowDown", "ArrowDown", "Space", "Enter")
    assert final(service, only)["labels"] == ["green"]


def test_a_skipped_image_goes_to_somebody_else(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    first, second = sent(service, 2)
    page, _ = opened(context, f"{gateway.url}/review")
    press_then_next(page, "s")
    press_then_next(page, "4", "4")
    final(service, second)
    eventually(lambda: service.queue(QUEUE)["waiting"] == 1)
    (item,) = service.lease(QUEUE, "grace")
    assert item.item == first


def test_an_empty_queue_waits_for_the_next_image(gateway: Gateway, service: Client, context: BrowserContext) -> None:
    page, complaints = opened(context, f"{gateway.url}/review")
    expect(page.locator("main")).to_have_attribute("data-screen", "empty")
    (only,) = sent(service, 1)
    press_then_next(page, "4", "Enter")
    assert final(service, only)["labels"] == ["other"]
    assert complaints == []


def test_every_reason_has_words(gateway: Gateway, context: BrowserContext) -> None:
    page, _ = opened(context, f"{gateway.url}/review")
    words = page.evaluate("async () => (await import('/static/review/reasons.js')).REASONS")
    assert set(words) == set(REASONS)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in words.values())


def test_the_page_carries_nothing_inline(gateway: Gateway, context: BrowserContext) -> None:
    """The policy would refuse it; so would a reader."""
    page, complaints = opened(context, f"{gateway.url}/review")
    markup = page.evaluate("async () => (await fetch('/review')).text()")
    assert '<script type="module" src=' in markup
    for inline in ("<style", " style=", " onclick=", "<script>"):
        assert inline not in markup
    policy = page.evaluate("async () => (await fetch('/static/review/page.js')).headers.get('content-security-policy')")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert complaints == []


def test_the_colours_are_legible_in_light_and_dark() -> None:
    """WCAG 2 AA: contrast 4.5 for text, 3 for marks."""
    sheet = files("triage").joinpath("static/review/review.css").read_text()
    texts = {
        "ink": ("panel", "ground", "tint"), "quiet": ("panel", "ground", "stage", "tint", "track"),
        "accent": ("panel", "tint"), "on-accent": ("accent",), "warn": ("warn-ground",), "wrong": ("panel",),
        "ground": ("ink",),
    }  # fmt: skip
    marks = {"edge": ("panel", "track"), "bar": ("panel", "track")}
    themes = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", theme))
        for pairs, least in ((texts, 4.5), (marks, 3.0)):
            for front, grounds in pairs.items():
                for ground in grounds:
                    assert contrast(colours[front], colours[ground]) >= least, (front, ground)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, `rrggbb`."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in bytes.fromhex(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
