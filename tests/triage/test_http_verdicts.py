"""Escalations and amendments through real HTTP, by the client and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services import client, eventually
from tests.triage.serving import KEY, Served, problem
from triage.client import LeaseLost
from triage.schemas import Leases, VerdictBody

PROJECTS = iter(range(100))


def queue_with(served: Served, **document: Any) -> str:
    """A project of its own whose queue has this document, in force."""
    project = f"v{next(PROJECTS)}"
    queue = served.project(project)
    if document.get("escalate_to"):
        path = f"/v1/projects/{project}/queues/{document['escalate_to']}"
        assert served.http.put(path, json={}, headers={"If-None-Match": "*"}).status_code == 200
    put = served.http.put(f"/v1/projects/{project}/queues/review", json=document, headers={"If-None-Match": "*"})
    assert put.status_code == 200, put.text
    return queue


def answered(served: Served, queue: str, reviewer: str = "ada") -> tuple[dict[str, Any], dict[str, Any]]:
    """A prediction, and the verdict that calls it blue."""
    sent = served.predict("blue", project=queue.partition(".")[0])
    with client(served.gateway, KEY) as speaks:
        (item,) = speaks.lease(queue, reviewer, wait_s=5)
        return sent, speaks.answer(item, present=["blue"])


def final(served: Served, sent: dict[str, Any]) -> Any:
    return served.http.get(f"/v1/predictions/{sent['id']}").json()["final"]


def test_a_verdict_says_until_when_it_can_be_taken_back(served: Served) -> None:
    queue = queue_with(served, hold_s=600)
    sent, given = answered(served, queue)
    body = VerdictBody.model_validate(given)
    assert (body.revision, body.reviewer) == (1, "ada")
    assert body.held_until is not None
    assert body.held_until > body.at
    assert final(served, sent) is None
    with client(served.gateway, KEY) as speaks:
        amended = speaks.amend(given, present=["green"], reviewer="ada")
        assert amended == speaks.amend(given, present=["green"], reviewer="ada")
        assert (amended["id"], amended["revision"], amended["answers"]) == (body.id, 2, {"green": "present"})
        with pytest.raises(LeaseLost, match="is at revision 2 and not 1"):
            speaks.amend(given, present=["red"], reviewer="ada")


def test_what_is_told_at_once_is_corrected(served: Served) -> None:
    queue = queue_with(served, hold_s=0)
    sent, given = answered(served, queue)
    assert given["held_until"] is None
    assert final(served, sent)["labels"] == ["blue"]
    with client(served.gateway, KEY) as speaks:
        speaks.amend(given, present=["green"], reviewer="eve")  # the development key may adjudicate
        eventually(lambda: final(served, sent)["labels"] == ["green"])
        told = speaks.outcomes(queue)
        assert [next(told)[1]["type"], next(told)[1]["type"]] == ["final", "correction"]


def test_a_short_hold_ends_by_itself(served: Served) -> None:
    queue = queue_with(served, hold_s=0.2)
    sent, _ = answered(served, queue)
    assert eventually(lambda: final(served, sent))["labels"] == ["blue"]


def test_adjudicators_are_told_what_was_said(served: Served) -> None:
    queue = queue_with(served, hold_s=0, escalate_to="last")
    sent = served.predict("blue", project=queue.partition(".")[0])
    last = queue.replace(".review", ".last")
    with client(served.gateway, KEY) as speaks:
        (item,) = speaks.lease(queue, "ada", wait_s=5)
        assert item.earlier == ()
        left = speaks.escalate(item, "a crack or a hair?")
        assert left == speaks.escalate(item, "a crack or a hair?")
        assert (left["outcome"], final(served, sent)) == ("escalated", None)
    body = Leases.model_validate(served.http.post(f"/v1/queues/{last}/leases", json={"reviewer": "eve"}).json())
    (found,) = body.items
    assert [(each.reviewer, each.outcome, each.note) for each in found.earlier] == [
        ("ada", "escalated", "a crack or a hair?")
    ]
    served.http.post(f"/v1/leases/{found.token}/verdict", json={"outcome": "new_label", "new_label": "hair"})
    assert final(served, sent)["new_label"] == "hair"


def test_without_adjudicators_the_reply_says_what_to_do(served: Served) -> None:
    queue = queue_with(served, hold_s=0)
    served.predict("blue", project=queue.partition(".")[0])
    (item,) = served.lease(queue)["items"]
    problem(served.http.post(f"/v1/leases/{item['token']}/escalate", json={}), 422, "names nobody to escalate to")


@pytest.mark.parametrize(
    ("verdict", "body", "status", "says"),
    [
        ("nonsense", {"revision": 1}, 400, "this is no id of a verdict"),
        ("default.review~x~y", {"revision": 1, "outcome": "unusable"}, 404, "there is no such verdict"),
        ("default.review~x~y", {"outcome": "unusable"}, 422, "revision"),
        ("default.review~x~y", {"revision": 1, "answers": {"bird": "present"}}, 422, "no label of this queue"),
    ],
)
def test_an_amendment_that_cannot_be(served: Served, verdict: str, body: Any, status: int, says: str) -> None:
    problem(served.http.post(f"/v1/verdicts/{verdict}/amend", json=body), status, says)


def test_a_body_that_is_no_json_is_said_to_be_none(served: Served) -> None:
    broken = served.http.post(
        "/v1/leases/x/verdict", content=b'{"answers": {', headers={"Content-Type": "application/json"}
    )
    problem(broken, 400, "the body is no JSON")
