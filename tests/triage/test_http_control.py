"""Site documents, models and rules through real HTTP; every change is in the journal."""

from __future__ import annotations

from typing import Any

import pytest

from model_store.record import EventRecord
from tests.services import eventually
from tests.triage.serving import Served, problem
from triage.journal.segments import read

PATH = "/v1/projects/default/sites/default"


def test_a_change_needs_what_was_read(served: Served) -> None:
    read_first = served.http.get(PATH)
    tag = read_first.headers["etag"]
    changed = served.http.put(PATH, json={**read_first.json(), "mode": "assist"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert served.http.get(PATH).json()["mode"] == "assist"
    stale = served.http.put(PATH, json=read_first.json(), headers={"If-Match": tag})
    problem(stale, 412, changed.headers["etag"], "read it again and repeat the change")
    back = served.http.put(PATH, json=read_first.json(), headers={"If-Match": changed.headers["etag"]})
    assert back.headers["etag"] == tag
    events = [record for _, record in read(served.data.folder / "journal" / "test") if isinstance(record, EventRecord)]
    intended, done = [each for each in events if each.name.startswith("site_")][-2:]
    assert (intended.name, done.name) == ("site_changing", "site_changed")
    assert intended.detail["before"] == done.detail["before"] == changed.headers["etag"]
    assert done.detail["intention"] == intended.id
    assert (done.subject, done.actor) == (tag, intended.actor)
    assert intended.detail["digest"].startswith(f"sha256:{tag.strip(chr(34))}"), (
        "whoever finds only the intention can tell"
    )


def test_a_change_is_in_force_for_the_next_image(served: Served) -> None:
    served.project("changing", mode="capture")
    assert served.predict("red", project="changing")["route"] == "captured"
    tag = served.http.get("/v1/projects/changing/sites/default").headers["etag"]
    body = {"mode": "assist", "model": "colours/1"}
    served.http.put("/v1/projects/changing/sites/default", json=body, headers={"If-Match": tag})
    assert served.predict("red", project="changing")["route"] == "review"


def test_without_a_condition_nothing_changes(served: Served) -> None:
    problem(served.http.put(PATH, json={"mode": "assist"}), 412, "send If-Match with the ETag you read")
    there = {"If-None-Match": "*"}
    problem(served.http.put(PATH, json={"model": "colours/1"}, headers=there), 412, "read it again")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"mode": "on"}, "body.mode"), ({"mood": 1}, "body.mood"), ({"model": "other/1"}, "no model 'other/1'"),
        ({}, "without a model it needs labels"), ({"model": "colours/1", "suspended": ["rot"]}, "mend its spelling"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_is_422(served: Served, body: dict[str, Any], says: str) -> None:
    reply = served.http.put("/v1/projects/new/sites/default", json=body, headers={"If-None-Match": "*"})
    problem(reply, 422, says)
    problem(served.http.get("/v1/projects/new/sites/default"), 404, "declare it with PUT")


@pytest.mark.parametrize("path", ["/v1/projects/A/sites/b", "/v1/projects/a/sites/b%7Ec", "/v1/projects/a/sites/.."])
def test_names_are_of_small_letters(served: Served, path: str) -> None:
    reply = served.http.put(path, json={"model": "colours/1"}, headers={"If-None-Match": "*"})
    assert reply.status_code in (404, 405, 422)
    problem(reply, reply.status_code)


def test_a_broken_file_is_reported_and_the_one_before_serves(served: Served) -> None:
    path = served.data.folder / "control/projects/default/sites/default.json"
    good = path.read_bytes()
    path.write_text("{")
    try:
        why = eventually(lambda: served.http.get("/readyz").json()["why"])
        assert why[0].startswith("default/default: site default/default: ")
        assert served.predict("red")["route"] == "automatic"
    finally:
        path.write_bytes(good)
    eventually(lambda: served.http.get("/readyz").json()["why"] == [])


def test_models_and_rules_are_shown(served: Served) -> None:
    model = served.http.get("/v1/models/colours/1").json()
    assert model["digest"] == served.data.bundle.digest
    assert model["manifest"]["heads"] == ["red", "green", "blue"]
    rules = served.http.get(f"/v1/rules/{served.data.rules.digest}").json()
    assert rules["classes"]["red"]["certificate"]["target"] == 0.95
    problem(served.http.get("/v1/models/colours/2"), 404, "there is colours/1")
    problem(served.http.get("/v1/rules/sha256:" + "0" * 64), 404)
    for path in ("/v1/models/%2e%2e/1", "/v1/rules/..%2fx", "/v1/rules/latest"):
        reply = served.http.get(path)
        assert reply.status_code in (404, 422)
        problem(reply, reply.status_code)
