"""Who is given some sites of a project changes nothing of the others, by no document of all of them and by no verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.bundles import picture
from tests.services import eventually, make_data, running_gateway, running_valkey
from tests.triage.holders import Holder, holder
from tests.triage.serving import problem

PROJECT = "/v1/projects/default"
DOCUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "switch": ("operator", {"answering": False, "reason": "a drill"}),
    "webhooks/mine": ("operator", {"url": "https://elsewhere.example", "secrets": ["env:WEBHOOK_SECRET_X"]}),
    "retention/south": ("operator", {"images_days": 1}),
    "queues/mine": ("manager", {"routes": [{"sites": ["south"]}]}),
    "people/ada": ("manager", {"active": False}),
    "golds/mine": ("manager", {"site": "south", "sha256": 64 * "0", "answers": {"red": "present"}}),
    "holds/mine": ("admin", {"why": "a drill"}),
}  # fmt: skip
"""Of all sites of a project, or of another one -> the role that writes them, and what it would write."""


@dataclass(frozen=True)
class Apart:
    """A gateway with the sites `north` and `south`, and holders of roles for `north` alone."""

    http: httpx.Client
    north: dict[str, Holder]
    all: dict[str, Holder]

    def ask(self, who: Holder, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**who.headers, **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)

    def put(self, who: Holder, path: str, document: dict[str, Any]) -> httpx.Response:
        return self.ask(who, "PUT", path, json=document, headers={"If-None-Match": "*"})

    def predict(self, site: str, salt: int) -> dict[str, Any]:
        reply = self.ask(
            self.all["caller"], "POST", "/v1/predictions", params={"site": site}, content=picture("blue", salt=salt)
        )
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def leased(self, who: Holder, queue: str = "default.review") -> list[dict[str, Any]]:
        reply = self.ask(who, "POST", f"/v1/queues/{queue}/leases", json={"count": 100})
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["items"]
        return found


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("apart")
    data = make_data(folder / "data", ("north", "south")).folder
    roles = ("operator", "manager", "admin", "auditor")
    north = {role: holder(data, role, subject=f"{role} of north", sites=("north",)) for role in roles}
    everywhere = {role: holder(data, role) for role in ("caller", "reviewer", "operator", "manager", "admin")}
    adjudicator = {
        "grants": [{"role": "reviewer"}, {"role": "adjudicator", "sites": ["north"]}], "subject": "adjudicator of north",
    }  # fmt: skip
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(data, server.url) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http,
    ):
        made = Apart(http, north, everywhere)
        reply = made.ask(everywhere["admin"], "POST", "/v1/keys", json=adjudicator)
        assert reply.status_code == 201, reply.text
        north["adjudicator"] = Holder(reply.json()["prefix"], reply.json()["key"])
        yield made


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_all_sites_are_written_by_who_is_given_all_of_them(apart: Apart, name: str) -> None:
    role, document = DOCUMENTS[name]
    path = f"{PROJECT}/{name}"
    problem(apart.put(apart.north[role], path, document), 403, "may not do this of default")
    there = apart.put(apart.all[role], path, document)
    assert there.status_code == 200, there.text
    match = {"If-Match": there.headers["etag"]}
    problem(apart.ask(apart.north[role], "DELETE", path, headers=match), 403)
    assert apart.ask(apart.all[role], "DELETE", path, headers=match).status_code == 204


def test_what_is_of_one_site_alone_is_written_by_who_is_given_that_site(apart: Apart) -> None:
    assert apart.put(apart.north["operator"], f"{PROJECT}/retention/north", {"images_days": 900}).status_code == 200
    problem(apart.ask(apart.north["auditor"], "GET", f"{PROJECT}/retention/south"), 403)


def test_deliveries_tell_of_every_site_and_so_are_shown_to_who_is_given_all(apart: Apart) -> None:
    document = {"url": "https://elsewhere.example", "secrets": ["env:WEBHOOK_SECRET_X"], "enabled": False}
    path = f"{PROJECT}/webhooks/told"
    assert apart.put(apart.all["operator"], path, document).status_code == 200
    problem(apart.ask(apart.north["auditor"], "GET", f"{path}/deliveries"), 403)
    problem(apart.ask(apart.north["operator"], "POST", f"{path}/replay", json={"after": "0"}), 403)
    assert apart.ask(apart.all["operator"], "GET", f"{path}/deliveries").status_code == 200


def test_nobody_makes_a_gold_of_a_site_that_they_do_not_manage(apart: Apart) -> None:
    told = {"answers": {"red": "present"}}
    for site, status in (("south", 403), ("north", 201)):
        gold = {"prediction": apart.predict(site, 1)["id"], **told}
        reply = apart.ask(apart.north["manager"], "POST", f"{PROJECT}/golds", json=gold)
        assert reply.status_code == status, reply.text
    problem(
        apart.ask(apart.north["manager"], "POST", f"{PROJECT}/golds", json={"image": "aGk=", "site": "south", **told}),
        403,
    )


def test_dead_letters_are_shown_and_put_back_by_who_manages_their_site(apart: Apart) -> None:
    manager = apart.all["manager"]
    document = {"attempts": 1, "priority": 0, "routes": [{"reasons": ["none_fired"]}]}
    there = apart.put(manager, f"{PROJECT}/queues/fatal", document)
    assert there.status_code == 200, there.text
    for salt, site in enumerate(("north", "south")):
        apart.predict(site, 20 + salt)
    path = "/v1/queues/default.fatal"
    assert (
        apart.ask(apart.all["reviewer"], "POST", f"{path}/leases", json={"count": 2, "seconds": 1}).status_code == 200
    )

    def dead(who: Holder) -> dict[str, str]:
        return {each["site"]: each["item"] for each in apart.ask(who, "GET", f"{path}/dead").json()}

    found = eventually(lambda: each if set(each := dead(manager)) == {"north", "south"} else None)
    assert dead(apart.north["manager"]) == {"north": found["north"]}
    problem(apart.ask(apart.north["manager"], "POST", f"{path}/dead/{found['south']}/requeue"), 403, "does not manage")
    assert apart.ask(apart.north["manager"], "POST", f"{path}/dead/{found['north']}/requeue").status_code == 204
    match = {"If-Match": there.headers["etag"]}
    assert apart.ask(manager, "DELETE", f"{PROJECT}/queues/fatal", headers=match).status_code == 204


def test_an_adjudicator_of_one_site_neither_takes_nor_amends_what_is_of_another(apart: Apart) -> None:
    manager, judge, reader = apart.all["manager"], apart.north["adjudicator"], apart.all["reviewer"]
    assert apart.put(manager, f"{PROJECT}/queues/judges", {}).status_code == 200
    assert apart.put(manager, f"{PROJECT}/queues/review", {"escalate_to": "judges"}).status_code == 200
    for salt, site in enumerate(("north", "south", "north", "south")):
        apart.predict(site, 10 + salt)
    verdicts: dict[str, str] = {}
    for item in apart.leased(reader):
        path = f"/v1/leases/{item['token']}"
        if item["site"] in verdicts:
            assert apart.ask(reader, "POST", f"{path}/escalate", json={}).status_code == 200
        else:
            reply = apart.ask(reader, "POST", f"{path}/verdict", json={"answers": {"red": "present"}})
            verdicts[item["site"]] = reply.json()["id"]
    assert set(verdicts) == {"north", "south"}
    found = eventually(lambda: apart.leased(judge, "default.judges"))
    assert {item["site"] for item in found} == {"north"}
    words = {"revision": 1, "answers": {"green": "present"}}
    problem(
        apart.ask(judge, "POST", f"/v1/verdicts/{verdicts['south']}/amend", json=words), 403, "did not give this answer"
    )
    assert apart.ask(judge, "POST", f"/v1/verdicts/{verdicts['north']}/amend", json=words).status_code == 200


def test_an_admin_of_one_project_does_not_read_who_is_who_of_all(apart: Apart) -> None:
    there = apart.put(apart.all["admin"], "/v1/access", {"people": {"ada": [{"role": "reviewer"}]}})
    assert there.status_code == 200, there.text
    problem(apart.ask(apart.north["admin"], "GET", "/v1/access"), 403)
    assert apart.ask(apart.all["admin"], "GET", "/v1/access").json()["people"]
