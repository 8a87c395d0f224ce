"""Figures of how people read, from a gateway's own log: over HTTP and as a table."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import secondreader
from tests.services import client
from tests.triage.serving import KEY, Served, problem
from triage.schemas import PeopleFigures


def read_twice(served: Served, project: str) -> None:
    """Two readers of three images: they agree about two."""
    queue = served.project(project)
    document = {"hold_s": 0, "agree": 2, "readers": 3}
    made = served.http.put(f"/v1/projects/{project}/queues/review", json=document, headers={"If-None-Match": "*"})
    assert made.status_code == 200, made.text
    for salt in range(3):
        served.predict("blue", salt, project=project)
    with client(served.gateway, KEY) as speaks:
        for reviewer, labels in (("ada", ("blue", "blue", "blue")), ("bob", ("blue", "green", "blue"))):
            for label in labels:
                (item,) = speaks.lease(queue, reviewer, wait_s=10)
                speaks.shown(item)
                speaks.answer(item, present=[label])


def test_what_people_did_is_counted(served: Served) -> None:
    read_twice(served, "counted")
    body = PeopleFigures.model_validate(served.http.get("/v1/projects/counted/people/figures").json())
    ada, bob = body.people
    assert (ada.reviewer, ada.answered, bob.answered) == ("ada", 3, 3)
    assert (ada.agrees.of, ada.agrees.hits) == (3, 2)
    assert (ada.accepts_right.of, ada.accepts_right.hits) == (2, 2)  # of the images that were decided
    assert ada.median_seconds is not None
    (agreed,) = body.agreement
    assert (agreed.of, agreed.images) == ("group main", 3)
    assert agreed.alpha == pytest.approx(0.0)  # 5 blue, 1 green: 1 - (6 - 1) * 2 / (5 * 1 + 1 * 5)
    assert served.http.get("/v1/projects/counted/people/figures", params={"days": 1e-9}).json()["people"] == []


def test_who_and_what_is_not_there(served: Served) -> None:
    problem(served.http.get("/v1/projects/nowhere/people/figures"), 404, "there is no project 'nowhere'")
    problem(served.http.get("/v1/projects/default/people/figures", params={"days": 0}), 422, "days")


def test_the_table(served: Served) -> None:
    read_twice(served, "tabled")
    base = ["people", "--project", "tabled", "--url", served.gateway.url, "--key", KEY]
    told = CliRunner().invoke(secondreader.main, base, env={"COLUMNS": "160"})
    assert told.exit_code == 0, told.output
    assert "2 of 3" in told.output
    assert "Krippendorff's alpha of group main, 3 images: 0.000" in told.output
    as_json = CliRunner().invoke(secondreader.main, [*base, "--json"])
    assert [each["reviewer"] for each in json.loads(as_json.output)["people"]] == ["ada", "bob"]
    nobody = CliRunner().invoke(
        secondreader.main, ["people", "--project", "nowhere", "--url", served.gateway.url, "--key", KEY]
    )
    assert (nobody.exit_code, "there is no project" in nobody.output) == (1, True)
