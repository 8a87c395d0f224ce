"""Queues through real HTTP: documents that route, figures, dead letters, cases, people who leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.services import eventually
from tests.triage.serving import Served, problem
from triage.schemas import DeadItem, LeasedItem, QueueBody


@pytest.fixture
def redis(served: Served) -> Iterator[Redis]:
    with Redis.from_url(served.valkey.url) as client:
        yield client


def declare(served: Served, path: str, **document: Any) -> None:
    """Puts a control document and waits until the gateway follows it."""
    reply = served.http.put(f"/v1/projects/{path}", json=document, headers={"If-None-Match": "*"})
    assert reply.status_code == 200, reply.text


def expire(served: Served, redis: Redis, queue: str, item: str) -> None:
    """Lets a lease be over, and waits for the sweep."""
    redis.zadd(f"sr:{{{queue}}}:leases", {item: 1}, xx=True)
    eventually(lambda: redis.zscore(f"sr:{{{queue}}}:leases", item) is None)


def state(served: Served, queue: str) -> QueueBody:
    return QueueBody.model_validate(served.http.get(f"/v1/queues/{queue}").json())


def test_a_queue_tells_what_waits_and_why(served: Served) -> None:
    queue = served.project("told")
    declare(served, "told/queues/rare", routes=[{"sites": ["nowhere"]}])
    for salt in range(3):
        served.predict("blue", salt, project="told")
    (item,) = served.lease(queue)["items"]
    served.http.post(f"/v1/leases/{item['token']}/verdict", json={"outcome": "unusable"})
    body = eventually(lambda: (found := state(served, queue)).answered_last_hour and found)
    assert (body.waiting, body.leased, body.dead, body.overdue) == (2, 0, 0, 0)
    assert body.reasons == {"none_fired": 2, "site_assisting": 2}
    names = [each["queue"] for each in served.http.get("/v1/queues").json()]
    assert {"told.review", "told.rare"} <= set(names)
    assert state(served, "told.rare").waiting == 0


def test_what_a_document_routes_is_leased_there(served: Served) -> None:
    served.project("routed")
    declare(served, "routed/queues/blues", routes=[{"labels": ["blue"]}])
    sent = served.predict("blue", project="routed")
    assert sent["review"]["queue"] == "routed.blues"
    assert served.lease("routed.review")["items"] == []
    assert [each["item"] for each in served.lease("routed.blues")["items"]] == [sent["id"]]


def test_dead_letters_are_listed_and_put_back(served: Served, redis: Redis) -> None:
    queue = served.project("dying")
    declare(served, "dying/queues/review", attempts=1)
    sent = served.predict("blue", project="dying")
    (item,) = served.lease(queue)["items"]
    expire(served, redis, queue, item["item"])
    (letter,) = [DeadItem.model_validate(each) for each in served.http.get(f"/v1/queues/{queue}/dead").json()]
    assert (letter.item, letter.expiries, letter.died) == (sent["id"], 1, 1)
    assert state(served, queue).dead == 1
    problem(served.http.post(f"/v1/leases/{item['token']}/skip"), 409, "set aside; lease the next one")
    assert served.http.post(f"/v1/queues/{queue}/dead/{sent['id']}/requeue").status_code == 204
    assert [each["item"] for each in served.lease(queue)["items"]] == [sent["id"]]
    problem(served.http.post(f"/v1/queues/{queue}/dead/{sent['id']}/requeue"), 409, "is no dead letter of")
    problem(served.http.get("/v1/queues/dying.reviews/dead"), 404, "GET /v1/queues lists them")


def test_a_caller_is_told_that_the_deadline_passed(served: Served, redis: Redis) -> None:
    queue = served.project("late")
    declare(served, "late/queues/review", deadline_s=3600)
    sent = served.predict("blue", project="late")
    redis.zincrby(f"sr:{{{queue}}}:due", -3_700_000, sent["id"])
    final = served.http.get(f"/v1/predictions/{sent['id']}", params={"wait": 30}).json()["final"]
    assert (final["by"], final["outcome"], final["labels"]) == ("nobody", "unresolved", [])
    assert served.lease(queue)["items"] == []


def test_a_case_is_leased_by_its_best_item(served: Served) -> None:
    queue = served.project("cases")
    for salt, case in enumerate(["c1", "c2", "c1", "c1"]):
        served.predict("blue", salt, project="cases", case=case)
    items = [LeasedItem.model_validate(each) for each in served.lease(queue, case=True)["items"]]
    assert [each.case for each in items] == ["c1"] * 3


def test_whoever_leaves_keeps_nothing(served: Served) -> None:
    queue = served.project("left")
    for salt in range(3):
        served.predict("blue", salt, project="left")
    (item, *_) = served.lease(queue, "ada", count=3)["items"]
    reply = served.http.delete(f"/v1/queues/{queue}/reviewers/ada/leases")
    assert (reply.status_code, reply.json()) == (200, {"returned": 3})
    problem(served.http.patch(f"/v1/leases/{item['token']}"), 409, "waits for the next reviewer")
    served.lease(queue, "ada", count=2)
    declare(served, "left/people/ada", active=False)
    eventually(lambda: state(served, queue).leased == 0)
    problem(
        served.http.post(f"/v1/queues/{queue}/leases", json={"reviewer": "ada"}),
        403,
        "ada does not review here any more;",
    )
