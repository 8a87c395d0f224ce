"""One image in, one prediction out: whatever goes wrong with the model is a person's, whatever is wrong with the image leaves
nothing behind."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis

from model_store.errors import EmptyImage, ImageError, UnusableImage
from model_store.record import EventRecord
from tests.bundles import picture
from tests.model_store import images
from tests.services import blob_files
from tests.triage.gateway_parts import QUEUE, Wired
from triage.errors import NotFound
from triage.intake import Request
from triage.schemas import PredictionBody


@pytest.mark.parametrize(("colour", "route", "labels"), [("red", "automatic", ["red"]), ("blue", "review", [])])
async def test_a_prediction_is_what_the_schema_says(gateway: Wired, colour: str, route: str, labels: list[str]) -> None:
    view = await gateway.predict(colour, case="c1", view="front")
    body = PredictionBody.model_validate(view)
    assert body.route == route
    assert [label.id for label in body.labels] == labels
    (record,) = gateway.predictions()
    assert (record.id, record.case, record.view, record.route) == (body.id, "c1", "front", route)
    assert (record.format, record.width, record.height) == ("PNG", 32, 24)
    assert record.heads == ("red", "green", "blue")
    assert len(record.probabilities()) == 3
    assert set(record.timings_ms) == {"receive", "classify", "decide", "decode", "run"}
    assert await gateway.blobs.get(f"default/default/{record.sha256}") == picture(colour)


async def test_a_suspended_class_waits_for_a_person(gateway: Wired) -> None:
    gateway.data.declare(suspended=("red",))
    gateway.control.poll()
    assert (await gateway.predict("red"))["reasons"] == ["none_fired", "class_suspended"]
    assert (await gateway.predict("green"))["route"] == "automatic"


async def test_each_site_mode_routes_as_it_says(gateway: Wired) -> None:
    for site, mode, rules, route, reasons in (
        ("a", "assist", gateway.data.rules.digest, "review", ["site_assisting"]),
        ("b", "capture", gateway.data.rules.digest, "captured", ["site_capturing"]),
        ("c", "live", gateway.data.rules.digest, "review", ["site_assisting"]),  # certified for `default` only
        ("d", "live", None, "review", ["none_fired", "site_assisting"]),
    ):
        gateway.data.declare(site, mode=mode, rules=rules)
        gateway.control.poll()
        view = await gateway.predict("red", site=site)
        assert (view["route"], view["reasons"]) == (route, reasons), site


async def test_a_site_without_a_model_stores_and_asks(gateway: Wired) -> None:
    gateway.data.declare("bare", model=None, rules=None, labels=gateway.data.bundle.manifest.labels)
    gateway.control.poll()
    view = await gateway.predict("red", site="bare")
    assert (view["route"], view["reasons"], view["model"]) == ("review", ["model_unavailable"], None)
    with pytest.raises(ImageError):
        await gateway.intake.predict(images.encoded("JPEG")[:-20], Request(site="bare"))
    assert len(blob_files(gateway.data.folder)) == 1


@pytest.mark.parametrize("where", ["away", "other graph", "stale"])
async def test_in_doubt_a_person(gateway: Wired, where: str) -> None:
    if where == "away":
        gateway.classifier.away()
    elif where == "other graph":
        gateway.classifier.graph = "sha256:" + "0" * 64
    else:
        gateway.control._read_at -= 11
    view = await gateway.predict("red")
    assert view["route"] == "review"
    assert view["reasons"] == (["control_stale"] if where == "stale" else ["model_unavailable"])
    assert view["labels"] == []
    assert view["final"] is None


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(
    "bad", [b"", images.TEXTS["text"], images.encoded("JPEG")[:-20], images.bomb(), images.animated("PNG")]
)
async def test_a_refusal_is_journaled_without_pixels_and_leaves_nothing(
    gateway: Wired, redis: Redis, away: bool, bad: bytes
) -> None:
    if away:
        gateway.classifier.away()
    with pytest.raises(ImageError) as refused:
        await gateway.intake.predict(bad, Request(case="c9"))
    (event,) = gateway.journaled()
    assert isinstance(event, EventRecord)
    assert (event.name, event.subject, event.detail["code"]) == ("refused", "c9", refused.value.code)
    assert blob_files(gateway.data.folder) == set()
    assert (await gateway.reviews.stats(QUEUE)).waiting == 0
    assert redis.keys("sr:view:*") == []


async def test_a_bad_copy_never_takes_a_good_image_away(gateway: Wired) -> None:
    """The same bytes were accepted before: a later refusal, as after a change of formats, deletes nothing."""
    await gateway.predict("red")
    gateway.classifier.fault = UnusableImage("refused by the test; send another")
    with pytest.raises(UnusableImage):
        await gateway.predict("red")
    assert len(blob_files(gateway.data.folder)) == 1


async def test_a_cancelled_request_takes_nobody_s_image_away(gateway: Wired) -> None:
    for turns in range(8):
        image = picture("blue", salt=turns)
        leaves = asyncio.create_task(gateway.intake.predict(image, Request()))
        stays = asyncio.create_task(gateway.intake.predict(image, Request()))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        await stays
    stored = {path.rsplit("/", 1)[1] for path in blob_files(gateway.data.folder)}
    assert {record.sha256 for record in gateway.predictions()} <= stored


async def test_neighbours_of_a_bad_image_are_answered(gateway: Wired) -> None:
    good = [gateway.predict("red", salt) for salt in range(5)]
    bad = [gateway.intake.predict(b"", Request()) for _ in range(5)]
    results = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert [result["route"] for result in results[:5] if isinstance(result, dict)] == ["automatic"] * 5
    assert [type(result) for result in results[5:]] == [EmptyImage] * 5


async def test_a_site_nobody_declared_is_not_found(gateway: Wired) -> None:
    with pytest.raises(NotFound, match="declare it with PUT /v1/projects/default/sites/wrad"):
        await gateway.predict("red", site="wrad")
    assert blob_files(gateway.data.folder) == set()


async def test_what_happens_is_counted(gateway: Wired) -> None:
    await gateway.predict("red")
    await gateway.predict("blue")
    with pytest.raises(EmptyImage):
        await gateway.intake.predict(b"", Request())
    value = gateway.metrics.registry.get_sample_value
    where = {"project": "default", "site": "default"}
    assert value("triage_decisions_total", {**where, "route": "automatic"}) == 1
    assert value("triage_decisions_total", {**where, "route": "review"}) == 1
    assert value("triage_reasons_total", {"site": "default", "reason": "none_fired"}) == 1
    assert value("triage_class_fired_total", {"class": "red"}) == 1
    assert value("triage_refusals_total", {"code": "empty"}) == 1
    assert value("triage_classifier_up", {"version": "colours/1"}) == 1
    assert value("triage_stage_duration_seconds_count", {"stage": "classify"}) == 2
