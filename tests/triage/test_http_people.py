"""Under whose name people review, what a lease token is worth to others, and what a grant's sites keep from whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from embedded.stack import Gateway
from model_store.record import EventRecord, PredictionRecord, Record, VerdictRecord
from tests.bundles import picture
from tests.services import Data, eventually, make_data, running_gateway, running_valkey
from tests.triage.holders import Holder, holder
from tests.triage.serving import problem
from triage.journal.segments import read

QUEUE = "default.review"


@dataclass(frozen=True)
class House:
    """A gateway and the keys of those who use it."""

    data: Data
    gateway: Gateway
    keys: dict[str, Holder]

    def ask(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.keys[who].headers
        return httpx.request(method, self.gateway.url + path, headers=headers, trust_env=False, timeout=30, **options)

    def predict(self, who: str = "pacs", salt: int = 0, **about: str) -> dict[str, Any]:
        reply = self.ask(who, "POST", "/v1/predictions", content=picture("blue", salt=salt), params=about)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def lease(self, who: str, queue: str = QUEUE, **body: Any) -> list[dict[str, Any]]:
        reply = self.ask(who, "POST", f"/v1/queues/{queue}/leases", json=body)
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["items"]
        return found

    def answer(self, who: str, token: str) -> httpx.Response:
        return self.ask(who, "POST", f"/v1/leases/{token}/verdict", json={"outcome": "unusable"})

    def journaled(self) -> list[Record]:
        return [record for _, record in read(self.gateway.data / "journal" / "test")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("people")
    data = make_data(folder / "data", ("default", "north", "south"))
    made = {
        "ada": holder(data.folder, "reviewer", subject="ada"),
        "bob": holder(data.folder, "reviewer", subject="bob"),
        "north": holder(data.folder, "reviewer", subject="north", sites=("north",)),
        "nowhere": holder(data.folder, "reviewer", subject="nowhere", projects=("other",)),
        "desk": holder(data.folder, "reviewer", subject="desk", names_reviewers=True),
        "pacs": holder(data.folder, "caller", subject="pacs"),
        "renewed": holder(data.folder, "caller", subject="pacs"),
        "lab": holder(data.folder, "caller", subject="lab"),
        "audit": holder(data.folder, "auditor", subject="iris"),
        "operator": holder(data.folder, "operator", subject="otto"),
    }
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(data.folder, server.url) as gateway,
    ):
        yield House(data, gateway, made)


def project(house: House, name: str, *sites: str, **document: Any) -> str:
    """A project of its own for a test, whose sites only assist; the name of its queue."""
    for site in sites or ("default",):
        body = {"mode": "assist", "model": "colours/1", **document}
        headers = {**house.keys["operator"].headers, "If-None-Match": "*"}
        reply = httpx.put(
            f"{house.gateway.url}/v1/projects/{name}/sites/{site}",
            json=body,
            headers=headers,
            trust_env=False,
            timeout=30,
        )
        assert reply.status_code == 200, reply.text
    return f"{name}.review"


def test_a_person_reviews_under_their_own_name(house: House) -> None:
    queue = project(house, "own")
    sent = [house.predict(salt=salt, project="own") for salt in range(3)]
    (item,) = house.lease("ada", queue)
    assert house.answer("ada", item["token"]).status_code == 200
    (item,) = house.lease("ada", queue, reviewer="ada")
    assert house.answer("ada", item["token"]).status_code == 200
    refused = house.ask("ada", "POST", f"/v1/queues/{queue}/leases", json={"reviewer": "bob"})
    problem(refused, 403, "ada acts under their own name; leave 'reviewer' out")
    (item,) = house.lease("desk", queue, reviewer="carla")
    assert house.answer("desk", item["token"]).status_code == 200
    verdicts = [each for each in house.journaled() if isinstance(each, VerdictRecord) and each.project == "own"]
    assert [(each.reviewer, each.principal) for each in verdicts] == [("ada", ""), ("ada", ""), ("carla", "desk")]
    assert {each.prediction for each in verdicts} == {each["id"] for each in sent}


def test_a_lease_works_only_for_who_holds_it(house: House) -> None:
    queue = project(house, "held")
    house.predict(project="held")
    (item,) = house.lease("ada", queue)
    path = f"/v1/leases/{item['token']}"
    for method, ask, body in (
        ("PATCH", path, None), ("GET", f"{path}/image", None), ("POST", f"{path}/shown", None),
        ("POST", f"{path}/skip", None), ("DELETE", path, None), ("POST", f"{path}/verdict", {"outcome": "unusable"}),
    ):  # fmt: skip
        for other in ("bob", "desk"):
            problem(house.ask(other, method, ask, json=body), 403, "this lease was given to somebody else; take one of")
        problem(house.ask("pacs", method, ask, json=body), 403, "pacs may not do this of held")
    forged = item["token"].rsplit("~", 1)[0] + "~" + _nonce_for("bob")
    problem(house.answer("bob", forged), 409)
    assert house.answer("ada", item["token"]).status_code == 200


def _nonce_for(subject: str) -> str:
    from triage.reviewing.item import nonce

    return nonce(subject)


def test_two_keys_of_one_subject_are_one_person(house: House) -> None:
    """A key that is renewed in the middle of a shift costs nobody an answer."""
    sent = house.predict("pacs", salt=99)
    assert house.ask("renewed", "GET", f"/v1/predictions/{sent['id']}").status_code == 200


def test_sites_that_a_grant_does_not_cover_are_never_leased_to_it(house: House) -> None:
    queue = project(house, "wards", "north", "south")
    for salt, site in enumerate(("south", "north", "south", "north")):
        house.predict(salt=salt, project="wards", site=site)
    leased = house.lease("north", queue, count=10)
    assert [each["site"] for each in leased] == ["north", "north"]
    assert house.lease("north", queue, count=10) == []
    assert {each["site"] for each in house.lease("ada", queue, count=10)} == {"south"}
    problem(
        house.ask("nowhere", "POST", f"/v1/queues/{queue}/leases", json={}), 403, "nowhere may not do this of wards"
    )
    assert house.ask("nowhere", "GET", "/v1/queues").json() == []


def test_a_caller_reads_its_own_and_nobody_else_s(house: House) -> None:
    sent = house.predict("pacs", salt=5)
    for path in (f"/v1/predictions/{sent['id']}", f"/v1/predictions/{sent['id']}/image"):
        assert house.ask("pacs", "GET", path).status_code == 200
        assert house.ask("audit", "GET", path).status_code == 200
        missing = house.ask("lab", "GET", path.replace(sent["id"], "0" * 32))
        other = house.ask("lab", "GET", path)
        assert other.status_code == missing.status_code == 404  # nothing tells that there is one
        assert other.json()["detail"].replace(sent["id"], "0" * 32) == missing.json()["detail"]
        problem(house.ask("ada", "GET", path), 403)
    (record,) = (e for e in house.journaled() if isinstance(e, PredictionRecord) and e.id == sent["id"])
    assert record.caller == "pacs"


def test_a_caller_sees_of_a_case_what_it_sent(house: House) -> None:
    project(house, "cases", cases={})
    mine, theirs = (house.predict(who, case="c9", project="cases") for who in ("pacs", "lab"))
    path = "/v1/projects/cases/sites/default/cases/c9"

    def seen(who: str) -> set[str]:
        return {each["prediction"] for each in house.ask(who, "GET", path).json()["images"]}

    assert seen("pacs") == {mine["id"]}
    assert seen("lab") == {theirs["id"]}
    assert seen("audit") == {mine["id"], theirs["id"]}
    house.keys["other"] = holder(house.data.folder, "caller", subject="other")
    eventually(lambda: house.ask("other", "GET", "/v1/me").status_code == 200)
    for method, where in (("GET", path), ("POST", f"{path}/close")):
        problem(house.ask("other", method, where), 404, "no image of the case 'c9' is known")


def test_privileged_acts_are_journaled_under_the_name_of_who_did_them(house: House) -> None:
    project(house, "acts")
    act = {"reason": "drill", "actor": "somebody else"}
    path = "/v1/projects/default/sites/default/classes/red/suspend"
    problem(house.ask("operator", "POST", path, json=act), 403, "otto acts under their own name")
    assert house.ask("operator", "POST", path, json={"reason": "drill"}).status_code == 200
    events = [each for each in house.journaled() if isinstance(each, EventRecord)]
    changed = [each for each in events if each.project == "acts" and each.name == "site_changed"]
    assert {each.actor for each in changed} == {"otto"}
    (suspended,) = (each for each in events if each.name == "class_suspended")
    assert suspended.actor == "otto"


def test_what_a_grant_s_sites_cover_holds_for_every_route(house: House) -> None:
    where = "/v1/projects/default/sites/south/monitor"
    bound = holder(house.data.folder, "auditor", subject="ivo", sites=("north",))
    house.keys["bound"] = bound
    eventually(lambda: house.ask("bound", "GET", "/v1/me").status_code == 200)
    problem(house.ask("bound", "GET", where), 403, "ivo may not do this of default/south")
    assert house.ask("bound", "GET", where.replace("south", "north")).status_code == 200
    sent = house.predict("pacs", salt=41, site="south")
    assert house.ask("bound", "GET", f"/v1/predictions/{sent['id']}").status_code == 404
    assert json.loads(house.ask("audit", "GET", f"/v1/predictions/{sent['id']}").text)["site"] == "south"
