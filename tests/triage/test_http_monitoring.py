"""The monitor over HTTP, an operator's word, and what is not let go live because nobody would see it fail."""

from __future__ import annotations

from typing import Any

import pytest

from model_store.record import EventRecord
from tests import bundles
from tests.services import eventually
from tests.triage.serving import Served, problem
from triage.journal.segments import read

SITE = "/v1/projects/default/sites/default"
UNDECLARED = (
    "how long a fault would go unseen is not known; declare in audit.images_per_day how many images come each day "
    "(cases, where images come in cases)"
)
WORD = {"reason": "the new scanner came", "actor": "grace"}


def red(served: Served) -> dict[str, Any]:
    reply = served.http.get(f"{SITE}/monitor")
    assert reply.status_code == 200, reply.text
    return next(row for row in reply.json()["classes"] if row["label"] == "red")


def told_of_red(served: Served) -> list[str]:
    return [why for why in served.http.get("/readyz").json()["why"] if "default/default: red" in why]


def say(served: Served, word: str, label: str = "red", **body: Any) -> Any:
    return served.http.post(f"{SITE}/classes/{label}/{word}", json={**WORD, **body})


def events(served: Served) -> list[EventRecord]:
    return [record for _, record in read(served.data.folder / "journal" / "test") if isinstance(record, EventRecord)]


def test_every_automatic_class_is_shown(served: Served) -> None:
    shown = served.http.get(f"{SITE}/monitor").json()
    assert [row["label"] for row in shown["classes"]] == ["red", "green"]
    row = shown["classes"][0]
    assert (row["state"], row["target"], row["audits"], row["errors"], row["pending"]) == ("answering", 0.95, 0, 0, 0)
    assert row["days_to_detect"] == {"days": None, "why": UNDECLARED}
    assert (row["claim"], row["returns"], shown["unwatched"]) == ("present", None, [])
    assert row["rule"] == served.data.rules.classes["red"].certificate.rule  # type: ignore[union-attr]
    problem(served.http.get("/v1/projects/default/sites/nowhere/monitor"), 404, "declare it with PUT")
    assert "suspended" not in served.http.get(SITE).json() or served.http.get(SITE).json()["suspended"] == []


def test_an_operator_suspends_and_resumes_for_a_time(served: Served) -> None:
    before = len(events(served))
    suspended = say(served, "suspend")
    assert suspended.status_code == 200, suspended.text
    assert (suspended.json()["state"], suspended.json()["by"], suspended.json()["why"]) == (
        "suspended", "grace", "the new scanner came",
    )  # fmt: skip
    (why,) = told_of_red(served)
    assert why.startswith("default/default: red is suspended since 20")
    assert why.endswith(" UTC; its images go to people")
    eventually(lambda: served.http.get("/readyz").json() == {"status": "answering", "why": [why]})
    assert served.predict("red", 31)["reasons"] == ["none_fired", "class_suspended"]
    assert red(served)["test"] == {"reads": 0, "needed": red(served)["test"]["needed"], "errors": 0,
                                   "errors_allowed": red(served)["test"]["errors_allowed"], "attempt": 1}  # fmt: skip
    assert served.http.get(SITE).json()["suspended"] == [], "the site's own document shows nothing new"
    needed = red(served)["test"]["needed"]
    assert red(served)["returns"].startswith(f"{needed} blind readings with at most ")
    assert red(served)["returns"].endswith("from images that came after the suspension, or an operator brings it back")
    problem(say(served, "suspend"), 409, "red is suspended at default/default already")
    resumed = say(served, "resume", hours=2, reason="it was the lamp")
    assert (resumed.json()["state"], resumed.json()["until"] > resumed.json()["since"]) == ("resumed", True)
    assert told_of_red(served) == []
    assert served.predict("red", 32)["route"] == "automatic"
    problem(say(served, "resume", hours=3), 409, "red is resumed at default/default already; suspend it first")
    assert say(served, "suspend", reason="no, it was not").json()["state"] == "suspended"
    said = [(each.name, each.subject, each.actor, each.detail["why"]) for each in events(served)[before:]]
    assert said == [
        ("class_suspended", "red", "grace", "the new scanner came"),
        ("class_resumed", "red", "grace", "it was the lamp"),
        ("class_suspended", "red", "grace", "no, it was not"),
    ]
    standing = served.data.folder / "control/projects/default/standing/default.json"
    standing.unlink()
    eventually(lambda: red(served)["state"] == "answering")


@pytest.mark.parametrize(
    ("word", "label", "body", "status", "says"),
    [
        ("suspend", "rot", {}, 422, "'rot' is no label of default/default; choose from red, green, blue, other"),
        ("suspend", "blue", {}, 422, "blue is not automatic at default/default, and answers nothing; certify it first"),
        ("suspend", "red", {"reason": " "}, 422, "say in 'reason' why and in 'actor' who"),
        ("resume", "red", {}, 409, "red is not suspended at default/default; there is nothing to resume"),
        ("resume", "red", {"hours": 169}, 422, "hours is 169; resume for more than 0 and at most 168 hours"),
        ("resume", "red", {"hours": 0}, 422, "hours is 0; resume for more than 0"),
        ("resume", "red", {"hours": "long"}, 422, "body.hours"),
        ("suspend", "red", {"hours": 1}, 422, "body.hours"),
    ],
)
def test_each_mistake_is_one_sentence(
    served: Served, word: str, label: str, body: dict[str, Any], status: int, says: str
) -> None:
    problem(say(served, word, label, **body), status, says)
    assert red(served)["state"] == "answering"


def test_what_nobody_would_see_fail_is_not_let_go_live(served: Served) -> None:
    def put(**audit: Any) -> Any:
        body = {"mode": "live", "model": "colours/1", "rules": rules.digest, "audit": audit}
        tag = served.http.get(path).headers.get("etag")
        condition = {"If-Match": tag} if tag else {"If-None-Match": "*"}
        return served.http.put(path, json=body, headers=condition)

    path = "/v1/projects/seen/sites/default"
    rules = bundles.signed(served.data.folder, bundles.sealed(served.data.rules, project="seen"))
    rare = {"images_per_day": 10, "probability": 0.01}
    refused = problem(
        put(**rare), 422, "site seen/default: faults would go unseen, of red for ", " days, of green for "
    )
    assert "days, and max_days_to_detect is 90; raise the audit probability of each to 0." in refused.detail
    least = float(refused.detail.rsplit(" ", 1)[1])
    problem(put(images_per_day=10, probability=0), 422, "of red for ever, of green for ever", "raise the audit")
    never = problem(
        put(images_per_day=0.1, probability=1), 422, "audit every answer of it and set max_days_to_detect to"
    )
    assert "or name it in suspended" in never.detail
    allowed = put(images_per_day=10, probability=least)
    assert allowed.status_code == 200, allowed.text
    problem(put(labels={"rde": 0.5}), 422, "'rde' is no label of colours/1; mend its spelling")
    days = allowed.json()["days_to_detect"]
    assert days.keys() == {"red", "green"}
    assert days["red"]["days"] <= 90
    shown = served.http.get(f"{path}/monitor").json()["classes"]
    assert {row["label"]: row["days_to_detect"] for row in shown} == days
    assert put(**rare, max_days_to_detect=100_000).status_code == 200
    assert put().json()["days_to_detect"]["red"] == {"days": None, "why": UNDECLARED}


def test_metrics_tell_of_each_class(served: Served) -> None:
    line = 'triage_class_suspended{class="red",project="default",site="default"}'
    eventually(lambda: line in served.http.get("/metrics").text)
    assert served.metric(line) == 0
