"""When the model comes back: what it would have answered is withdrawn, the rest goes back with scores, nothing loops."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from model_store.errors import UnusableImage
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import state_of
from triage.errors import Unavailable
from triage.journal.segments import read


async def while_away(gateway: Wired, *colours: str) -> list[str]:
    gateway.classifier.away()
    views = [await gateway.predict(colour, salt) for salt, colour in enumerate(colours)]
    assert {view["route"] for view in views} == {"review"}
    assert {tuple(view["reasons"]) for view in views} == {("model_unavailable",)}
    return [view["id"] for view in views]


async def until_quiet(gateway: Wired, most: int = 5) -> None:
    """Steps until nothing is decided again any more. A loop that never ends fails here."""
    for _ in range(most):
        if not await gateway.returning.step():
            return
    pytest.fail("the model decides the same items again and again")


async def test_what_it_would_have_answered_is_withdrawn_and_the_rest_waits(gateway: Wired, redis: Redis) -> None:
    red, blue, green = await while_away(gateway, "red", "blue", "green")
    assert await gateway.returning.step() == 0
    gateway.classifier.back()
    await until_quiet(gateway)
    assert [state_of(redis, each) for each in (red, blue, green)] == ["withdrawn", "waiting", "withdrawn"]
    view, final, _ = await gateway.reviews.view(red)
    assert json.loads(view)["route"] == "automatic"
    assert json.loads(final or b"")["by"] == "model"
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 5, None)
    assert lease.item.id == blue
    assert lease.item.suggestions[0]["id"] == "blue"
    assert lease.item.reasons == ("none_fired",)
    revisions = sorted((record.id, record.revision) for record in gateway.predictions())
    assert revisions == sorted((each, revision) for each in (red, blue, green) for revision in (1, 2))
    events = await gateway.reviews.outcomes(QUEUE, "0", 10)
    assert {json.loads(body)["prediction"] for _, body in events} == {red, green}


async def test_an_item_in_a_person_s_hands_stays_there(gateway: Wired, redis: Redis) -> None:
    (red,) = await while_away(gateway, "red")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    gateway.classifier.back()
    assert await gateway.returning.step() == 0
    assert state_of(redis, red) == "leased"
    await gateway.answering.answer(lease.token, "labels", {"red": "present"}, None, "")
    await until_quiet(gateway)
    assert len(gateway.predictions()) == 1


async def test_a_model_that_goes_again_keeps_no_lease(gateway: Wired, redis: Redis) -> None:
    ids = await while_away(gateway, "red", "red", "red")
    assert await gateway.returning.step() == 0
    assert {state_of(redis, each) for each in ids} == {"waiting"}
    gateway.classifier.back()
    await until_quiet(gateway)
    assert {state_of(redis, each) for each in ids} == {"withdrawn"}


async def test_another_graph_is_a_model_that_is_away(gateway: Wired, redis: Redis) -> None:
    """TorchServe came back with an older archive: its scores mean something else, and no revision is written for them."""
    (red,) = await while_away(gateway, "red")
    gateway.classifier.back()
    gateway.classifier.graph = "sha256:" + "0" * 64
    assert await gateway.returning.step() == 0
    assert len(gateway.predictions()) == 1
    gateway.classifier.graph = None
    await until_quiet(gateway)
    assert state_of(redis, red) == "withdrawn"


async def test_an_image_that_it_cannot_read_is_left_to_people(gateway: Wired, redis: Redis) -> None:
    unreadable, purged = await while_away(gateway, "red", "green")
    gateway.classifier.fault = UnusableImage("the test says so; send another")
    by_id = {record.id: record for record in gateway.predictions()}
    await gateway.blobs.delete(f"default/default/{by_id[purged].sha256}")
    await until_quiet(gateway)
    assert [state_of(redis, each) for each in (unreadable, purged)] == ["waiting", "waiting"]
    assert len(gateway.predictions()) == 2
    asked = gateway.classifier.asked
    assert await gateway.returning.step() == 0
    assert gateway.classifier.asked == asked


async def test_a_site_that_captures_by_now_is_not_decided_again_for_ever(gateway: Wired, redis: Redis) -> None:
    (red,) = await while_away(gateway, "red")
    gateway.classifier.back()
    gateway.data.declare(mode="capture")
    gateway.control.poll()
    await until_quiet(gateway)
    assert state_of(redis, red) == "waiting"  # somebody was asked, and may still answer
    assert len(gateway.predictions()) <= 2


async def test_a_site_without_a_model_stands_in_nobody_s_way(gateway: Wired, redis: Redis) -> None:
    """Its items wait for people and for no model, in the same queue as others."""
    gateway.data.declare("bare", model=None, rules=None, labels=gateway.data.bundle.manifest.labels)
    gateway.control.poll()
    bare = [(await gateway.predict("red", salt, site="bare"))["id"] for salt in range(40)]
    ids = await while_away(gateway, "red", "red")
    gateway.classifier.back()
    await until_quiet(gateway, 10)
    assert [state_of(redis, each) for each in ids] == ["withdrawn", "withdrawn"]
    assert {state_of(redis, each) for each in bare} == {"waiting"}
    assert await gateway.returning.step() == 0


async def test_a_site_that_is_gone_leaves_its_items_to_people(gateway: Wired, redis: Redis) -> None:
    (red,) = await while_away(gateway, "red")
    gateway.classifier.back()
    gateway.data.declare(model=None, rules=None, labels=gateway.data.bundle.manifest.labels)
    gateway.control.poll()
    await until_quiet(gateway)
    assert state_of(redis, red) == "waiting"


async def test_a_broken_journal_withdraws_nothing(gateway: Wired, redis: Redis) -> None:
    (red,) = await while_away(gateway, "red")
    gateway.classifier.back()
    gateway.journal.broken = "the test pulled the disk out"
    with pytest.raises(Exception, match="the journal failed earlier"):
        await gateway.returning.step()
    assert state_of(redis, red) == "waiting"
    assert len(list(read(gateway.journal.folder))) == 1


async def test_whatever_goes_wrong_costs_no_image_an_attempt(
    gateway: Wired, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that expires is one attempt of five: images would be set aside because a store was away for some minutes."""
    ids = await while_away(gateway, "red", "green", "blue")
    gateway.classifier.back()

    async def away(key: str) -> bytes:
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.blobs, "get", away)
        for _ in range(6):
            with pytest.raises(Unavailable):
                await gateway.returning.step()
            assert {state_of(redis, each) for each in ids} == {"waiting"}
    await until_quiet(gateway)
    assert [state_of(redis, each) for each in ids] == ["withdrawn", "withdrawn", "waiting"]
