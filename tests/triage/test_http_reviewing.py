"""Leases, verdicts and outcomes through real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import bundles
from tests.services import client, eventually
from tests.triage.queue_items import expire
from tests.triage.serving import KEY, Served, problem
from triage.client import LeaseLost, ServiceError
from triage.reviewing.item import nonce
from triage.schemas import Leases, QueueBody, VerdictBody


def verdict(served: Served, token: str, **body: Any) -> httpx.Response:
    return served.http.post(f"/v1/leases/{token}/verdict", json=body)


def test_an_item_is_leased_seen_and_answered(served: Served) -> None:
    queue = served.project("seen")
    sent = served.predict("blue", project="seen", case="c7")
    body = Leases.model_validate(served.lease(queue, seconds=120))
    (item,) = body.items
    assert (item.item, item.case, item.project, item.reasons) == (
        sent["id"],
        "c7",
        "seen",
        ["none_fired", "site_assisting"],
    )
    assert [label.id for label in body.labels] == ["red", "green", "blue", "other"]
    assert (item.blind, item.prediction) == (False, sent["id"])
    assert served.http.get(item.image).headers["content-type"] == "image/png"
    assert served.http.post(f"/v1/leases/{item.token}/shown").json()["expires_at"] > item.received_at
    assert served.http.patch(f"/v1/leases/{item.token}").json()["expires_at"] > item.received_at
    given_back = VerdictBody.model_validate(verdict(served, item.token, answers={"blue": "present"}, note="n").json())
    assert (given_back.prediction, given_back.outcome, given_back.answers) == (
        sent["id"],
        "labels",
        {"blue": "present"},
    )
    again = verdict(served, item.token, answers={"blue": "present"}, note="n")
    assert VerdictBody.model_validate(again.json()) == given_back
    problem(verdict(served, item.token, outcome="unusable"), 409, "answered already, and otherwise")
    assert served.http.get(f"/v1/predictions/{sent['id']}").json()["final"]["labels"] == ["blue"]


def test_a_blind_item_names_nothing_and_is_read_by_lease(served: Served) -> None:
    rules = bundles.signed(served.data.folder, bundles.sealed(served.data.rules, sites=("default", "watched")))
    served.data.declare("watched", rules=rules.digest, audit={"probability": 1})
    eventually(lambda: served.http.get("/v1/projects/default/sites/watched").json().get("audit"))
    sent = served.predict("red", 77, site="watched")
    assert (sent["route"], sent["review"], sent["reasons"]) == ("automatic", None, [])
    body = served.lease("default.review")
    item = Leases.model_validate(body).items[0]
    assert (item.blind, item.prediction, item.reasons, item.suggestions) == (True, None, [], [])
    assert sent["id"] not in json.dumps(body)
    assert item.image == f"/v1/leases/{item.token}/image"
    shown, of_caller = served.http.get(item.image), served.http.get(f"/v1/predictions/{sent['id']}/image")
    assert (shown.headers["content-type"], shown.content) == ("image/png", of_caller.content)
    problem(served.http.get(f"/v1/predictions/{item.item}"), 404)
    problem(verdict(served, item.token, answers={"red": "absent"}), 422, "'green' and 2 more; call every label present")
    assert verdict(served, item.token, answers={"green": "present"}).json()["answers"] == {
        "red": "absent", "green": "present", "blue": "absent", "other": "absent",
    }  # fmt: skip
    problem(served.http.get(item.image), 409, "answered already")
    (second,) = served.lease("default.review", "bob")["items"]
    verdict(served, second["token"], answers={"blue": "present"})
    with served.http.stream("GET", "/v1/outcomes") as stream:
        lines = iter(stream.iter_lines())
        assert next(line for line in lines if line.startswith("event: c")) == "event: correction"
        told = json.loads(next(lines).removeprefix("data: "))
    assert (told["type"], told["prediction"], told["final"]["labels"]) == ("correction", sent["id"], ["blue"])
    assert served.http.get(f"/v1/predictions/{sent['id']}").json()["final"] == told["final"]


def test_an_item_given_back_or_skipped_goes_to_somebody_else(served: Served) -> None:
    queue = served.project("skipped")
    served.predict("blue", project="skipped")
    (item,) = served.lease(queue, "ada")["items"]
    assert served.http.delete(f"/v1/leases/{item['token']}").status_code == 204
    (item,) = served.lease(queue, "ada")["items"]
    assert served.http.post(f"/v1/leases/{item['token']}/skip").status_code == 204
    assert served.lease(queue, "ada")["items"] == []
    assert len(served.lease(queue, "bob")["items"]) == 1


def test_a_lost_lease_is_409_for_every_use(served: Served) -> None:
    queue = served.project("lost")
    served.predict("blue", project="lost")
    (item,) = served.lease(queue, "ada", seconds=1)["items"]
    (taken,) = eventually(lambda: served.lease(queue, "bob")["items"])
    assert taken["item"] == item["item"]
    path = f"/v1/leases/{item['token']}"
    for reply in (
        served.http.patch(path), served.http.delete(path), served.http.post(path + "/shown"), served.http.post(path + "/skip"),
        verdict(served, item["token"], outcome="unusable"),
    ):  # fmt: skip
        problem(reply, 409, "; lease the next one")


def test_what_contradicts_the_labels_is_422_and_keeps_the_lease(served: Served) -> None:
    queue = served.project("contradicted")
    served.predict("blue", project="contradicted")
    (item,) = served.lease(queue)["items"]
    for body in (
        {"answers": {"bird": "present"}}, {}, {"answers": {"red": "present", "blue": "present"}},
        {"answers": {"red": "perhaps"}}, {"outcome": "new_label"}, {"outcome": "maybe"}, {"mood": 1},
        {"outcome": "unusable", "note": "x" * 2001},
    ):  # fmt: skip
        problem(verdict(served, item["token"], **body), 422)
    assert verdict(served, item["token"], outcome="new_label", new_label="violet").status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "a~b~c~d", "a~b~1", "~~1~"])
def test_what_is_no_token_is_400(served: Served, token: str) -> None:
    problem(served.http.patch(f"/v1/leases/{token}"), 400, "take one from POST /v1/queues/QUEUE/leases")


def test_a_token_of_nothing_is_409_and_an_unknown_queue_404(served: Served) -> None:
    mine = nonce("development")
    problem(served.http.patch(f"/v1/leases/default.review~x~1~{mine}"), 409, "there is no such item")
    problem(verdict(served, f"nothing.review~x~1~{mine}", outcome="unusable"), 404)
    problem(served.http.patch("/v1/leases/default.review~x~1~y"), 403, "this lease was given to somebody else")
    for queue in ("nothing.review", "default", "seen.reviews"):
        problem(served.http.get(f"/v1/queues/{queue}"), 404)
        problem(served.http.post(f"/v1/queues/{queue}/leases", json={"reviewer": "ada"}), 404)
        problem(served.http.get("/v1/outcomes", params={"queue": queue}), 404)


@pytest.mark.parametrize(
    "body", [{"reviewer": ""}, {"reviewer": "a~b"}, {"reviewer": "a", "count": 0}, {"reviewer": "a", "seconds": 0}]
)
def test_a_lease_is_asked_for_in_the_right_words(served: Served, body: dict[str, Any]) -> None:
    problem(served.http.post("/v1/queues/default.review/leases", json=body), 422, "body.")


def test_queues_tell_their_depth(served: Served) -> None:
    queue = served.project("deep")
    for salt in range(3):
        served.predict("blue", salt, project="deep")
    served.lease(queue)
    body = QueueBody.model_validate(served.http.get(f"/v1/queues/{queue}").json())
    assert (body.waiting, body.leased) == (2, 1)
    assert 0 <= body.oldest_age_seconds < 60
    assert queue in [QueueBody.model_validate(each).queue for each in served.http.get("/v1/queues").json()]


def test_a_queue_whose_sites_are_gone_is_still_listed(served: Served) -> None:
    queue = served.project("closed")
    served.predict("blue", project="closed")
    (served.data.folder / "control/projects/closed/sites/default.json").unlink()
    eventually(lambda: served.http.get("/v1/projects/closed/sites/default").status_code == 404)
    (there,) = [each for each in served.http.get("/v1/queues").json() if each["queue"] == queue]
    assert (there["waiting"], there["labels"]) == (1, [])


def test_waiting_at_a_queue_ends_when_an_item_comes(served: Served) -> None:
    queue = served.project("awaited")
    with client(served.gateway, KEY) as library:
        assert library.lease(queue, "ada", wait_s=0.2) == []
        served.predict("blue", project="awaited")
        assert len(library.lease(queue, "ada", wait_s=30)) == 1


def events(served: Served, count: int, **about: Any) -> list[tuple[str, dict[str, Any]]]:
    """The next events of an outcome stream."""

    def parsed(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        name = ""
        for line in lines:
            if line.startswith("id: "):
                name = line[4:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])

    found = []
    with served.http.stream("GET", "/v1/outcomes", **about) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        for event in parsed(stream.iter_lines()):
            found.append(event)
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


def test_outcomes_come_as_events_and_resume(served: Served) -> None:
    queue = served.project("told")
    ids = [served.predict("blue", salt, project="told")["id"] for salt in range(4)]
    for item in served.lease(queue, count=4)["items"]:
        verdict(served, item["token"], answers={"blue": "present"})
    told = events(served, 4, params={"queue": queue})
    assert [body["prediction"] for _, body in told] == ids
    assert told[0][1]["type"] == "final"
    assert told[0][1]["final"]["labels"] == ["blue"]
    resumed = events(served, 2, params={"queue": queue}, headers={"Last-Event-ID": told[1][0]})
    assert resumed == told[2:]
    assert events(served, 1, params={"queue": queue, "after": told[2][0]}) == told[3:]
    problem(served.http.get("/v1/outcomes", headers={"Last-Event-ID": "yesterday"}), 400, "leave it out to begin")


def test_more_listeners_than_connections_stop_nobody(served: Served) -> None:
    queue = served.project("heard")
    limits = httpx.Limits(max_connections=100)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(
        base_url=served.gateway.url, trust_env=False, timeout=30, limits=limits, headers=headers
    ) as listener:
        streams = [listener.stream("GET", "/v1/outcomes", params={"queue": queue}) for _ in range(80)]
        opened = [each.__enter__() for each in streams]
        try:
            assert {each.status_code for each in opened} == {200}
            for salt in range(5):
                served.predict("blue", salt, project="heard")
            assert len(served.lease(queue, count=5)["items"]) == 5
        finally:
            for each in streams:
                each.__exit__(None, None, None)


def test_the_client_library_speaks_all_of_it(served: Served) -> None:
    queue = served.project("library")
    with client(served.gateway, KEY) as library:
        for salt in range(4):
            served.predict("blue", salt, project="library")
        answered, given_back, skipped, kept = library.lease(queue, "ada", count=4)
        library.shown(answered)
        assert library.leased_image(answered) == library.image(answered.item)
        assert library.leased_image(answered).startswith(b"\x89PNG")
        library.answer(answered, present=["blue"], absent=["red"])
        library.give_back(given_back)
        library.skip(skipped)
        assert library.extend(kept) >= kept.expires_at
        with pytest.raises(LeaseLost):
            library.answer(given_back, outcome="unusable")
        assert library.queue(queue)["waiting"] == 2
        assert library.prediction(answered.item, wait_s=5)["final"]["labels"] == ["blue"]
        _, outcome = next(library.outcomes(queue))
        assert outcome["prediction"] == answered.item
        with pytest.raises(ServiceError, match="there is no prediction nobody") as refused:
            library.prediction("nobody")
        assert refused.value.status == 404
    with client(served.gateway, "wrong") as stranger, pytest.raises(ServiceError, match="no key of this service"):
        next(stranger.outcomes(queue))


def test_an_answer_left_behind_is_finished(served: Served) -> None:
    """`expire` is the queue's clock; the gateway's own sweeper does the rest."""
    from redis import Redis

    served.predict("blue", 501)
    item = next(each for each in served.lease("default.review", count=100)["items"])
    with Redis.from_url(served.valkey.url) as redis:
        expire(redis, item["item"])
    eventually(lambda: any(each["item"] == item["item"] for each in served.lease("default.review", count=100)["items"]))
