"""Keys over HTTP and by the command line, at two gateways over one store."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedded.stack import Gateway
from model_store.record import EventRecord
from tests.bundles import picture
from tests.services import Data, eventually, make_data, running_gateway, running_valkey
from tests.triage.holders import Holder, holder
from tests.triage.serving import problem
from tests.triage.test_keys_command import run
from triage.journal.segments import read
from triage.schemas import KeyBody, KeyMade, Me


@dataclass(frozen=True)
class Two:
    """Two gateways over one data folder."""

    data: Data
    gateways: tuple[Gateway, Gateway]
    admin: Holder

    def ask(self, at: int, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.admin.key}", **options.pop("headers", {})}
        return httpx.request(
            method, self.gateways[at].url + path, headers=headers, trust_env=False, timeout=30, **options
        )

    def make(self, *roles: str, **about: Any) -> dict[str, Any]:
        body = {"subject": "pacs", "grants": [{"role": role} for role in roles], **about}
        reply = self.ask(0, "POST", "/v1/keys", json=body)
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    def status(self, at: int, key: str) -> int:
        return self.ask(at, "GET", "/v1/me", key).status_code


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("keys")
    data = make_data(folder / "data")
    admin = holder(data.folder, "admin", subject="ines")
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(data.folder, server.url, node="one") as one,
        running_gateway(data.folder, server.url, node="two") as other,
    ):
        yield Two(data, (one, other), admin)


def test_a_key_is_told_once_and_counts_everywhere(two: Two) -> None:
    made = two.make("caller", note="north wing")
    KeyMade.model_validate(made)
    assert two.status(0, made["key"]) == 200
    eventually(lambda: two.status(1, made["key"]) == 200)
    listed = two.ask(1, "GET", "/v1/keys")
    (mine,) = (each for each in listed.json() if each["prefix"] == made["prefix"])
    assert KeyBody.model_validate(mine).created_by == "ines"
    assert made["key"].rsplit("_", 1)[1] not in listed.text
    everything = b"".join(path.read_bytes() for path in two.data.folder.rglob("*") if path.is_file())
    assert made["key"].rsplit("_", 1)[1].encode() not in everything  # no document, no journal, no log has it


def test_a_revoked_key_ends_at_once_here_and_soon_everywhere(two: Two) -> None:
    made = two.make("caller")
    eventually(lambda: two.status(1, made["key"]) == 200)
    ended = two.ask(0, "DELETE", f"/v1/keys/{made['prefix']}")
    assert KeyBody.model_validate(ended.json()).revoked_by == "ines"
    problem(two.ask(0, "GET", "/v1/me", made["key"]), 401, "this key was revoked on", "ask an admin")
    eventually(lambda: two.status(1, made["key"]) == 401, seconds=2)  # a poll a second, and what it takes to look
    again = two.ask(1, "DELETE", f"/v1/keys/{made['prefix']}")
    assert again.json()["revoked_at"] == ended.json()["revoked_at"]


def test_who_listens_with_a_revoked_key_hears_no_more(two: Two) -> None:
    made = two.make("caller", subject="listener")
    caller, reviewer = two.make("caller")["key"], two.make("reviewer", subject="ada")["key"]
    eventually(lambda: {two.status(at, each) for at in (0, 1) for each in (made["key"], caller, reviewer)} == {200})

    def decided(salt: int) -> str:
        reply = two.ask(0, "POST", "/v1/predictions", caller, content=picture("blue", salt=salt))
        assert reply.json()["route"] == "review", reply.text
        (item,) = two.ask(0, "POST", "/v1/queues/default.review/leases", reviewer, json={}).json()["items"]
        path, words = f"/v1/leases/{item['token']}/verdict", {"answers": {"red": "present"}}
        assert two.ask(0, "POST", path, reviewer, json=words).status_code == 200
        prediction: str = reply.json()["id"]
        return prediction

    headers = {"Authorization": f"Bearer {made['key']}"}
    outcomes = f"{two.gateways[1].url}/v1/outcomes?after=now"
    with httpx.stream("GET", outcomes, headers=headers, timeout=30, trust_env=False) as stream:
        lines = stream.iter_lines()
        next(lines)
        first = decided(1)
        assert first in next(line for line in lines if line.startswith("data:"))
        assert two.ask(0, "DELETE", f"/v1/keys/{made['prefix']}").status_code == 200
        eventually(lambda: two.status(1, made["key"]) == 401)
        second = decided(2)
        assert second not in "".join(lines), "a revoked key was told an outcome"  # and it ends


def test_a_key_whose_document_is_broken_counts_no_more_and_nobody_is_told_what_it_says(two: Two) -> None:
    made = two.make("admin", subject="hasty")
    eventually(lambda: two.status(1, made["key"]) == 200)
    path = two.data.folder / "control" / "keys" / f"{made['prefix']}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": made["key"]}))
    eventually(lambda: two.status(1, made["key"]) == 401)
    said = eventually(lambda: [why for why in two.ask(1, "GET", "/readyz").json()["why"] if made["prefix"] in why])
    assert "sha256" in said[0]
    assert made["key"] not in two.ask(1, "GET", "/readyz").text
    path.unlink()


def test_a_key_expires(two: Two) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    made = two.make("caller", expires_at=soon.isoformat())
    assert two.status(0, made["key"]) == 200
    eventually(lambda: two.status(0, made["key"]) == 401, seconds=3)
    problem(two.ask(0, "GET", "/v1/me", made["key"]), 401, "this key expired on")


def test_one_learns_who_one_is(two: Two) -> None:
    made = two.make("caller", "reviewer", project="skin", names_reviewers=True)
    me = Me.model_validate(two.ask(0, "GET", "/v1/me", made["key"]).json())
    assert (me.subject, me.key, me.project, me.names_reviewers) == ("pacs", made["prefix"], "skin", True)
    assert {grant.role for grant in me.grants} == {"caller", "reviewer"}
    assert {"predict", "lease"} <= set(me.permissions)


def test_an_admin_of_a_project_gives_nothing_beyond_it(two: Two) -> None:
    local = two.make("admin", subject="leo", grants=[{"role": "admin", "projects": ["skin"], "sites": ["*"]}])["key"]

    def give(**grant: Any) -> httpx.Response:
        return two.ask(0, "POST", "/v1/keys", local, json={"subject": "x", "grants": [{"role": "caller", **grant}]})

    for beyond in ({}, {"projects": ["lung"]}, {"projects": ["skin", "lung"]}, {"projects": ["*"]}):
        problem(give(**beyond), 403, "leo is no admin of", "name fewer projects")
    inside = give(projects=["skin"])
    assert inside.status_code == 201
    listed = {each["prefix"] for each in two.ask(0, "GET", "/v1/keys", local).json()}
    assert inside.json()["prefix"] in listed
    assert two.admin.prefix not in listed
    problem(two.ask(0, "DELETE", f"/v1/keys/{two.admin.prefix}", local), 403, "reaches beyond what leo is admin of")
    assert two.ask(0, "DELETE", f"/v1/keys/{inside.json()['prefix']}", local).status_code == 200
    everybody = two.ask(0, "PUT", "/v1/access", local, json={}, headers={"If-None-Match": "*"})
    problem(everybody, 403, "leo may not do this of */*")


def test_what_was_done_to_keys_is_journaled_with_who_did_it(two: Two) -> None:
    made = two.make("caller")
    two.ask(0, "DELETE", f"/v1/keys/{made['prefix']}")
    events = [each for _, each in read(two.data.folder / "journal" / "one") if isinstance(each, EventRecord)]
    mine = [each for each in events if each.name == "key_changed" and each.detail["name"] == made["prefix"]]
    assert [each.actor for each in mine] == ["ines", "ines"]
    assert "revoked_by" in mine[1].detail["document"]


def test_a_key_has_its_own_rate(two: Two) -> None:
    made = two.make("caller", rate=1)
    replies = [two.ask(0, "GET", "/v1/me", made["key"]) for _ in range(6)]
    assert replies[0].status_code == 200
    slow = problem(
        next(each for each in replies if each.status_code == 429), 429, "pacs may ask 1 times a second; wait"
    )
    assert slow.title == "Too many requests"
    assert two.status(0, two.make("caller")["key"]) == 200  # another key has a bucket of its own


def test_a_key_s_own_project_and_site_stand_where_a_request_names_none(two: Two) -> None:
    two.data.declare("north", project="skin")
    made = two.make("caller", project="skin", site="north")["key"]
    eventually(lambda: ("skin", "north") in _sites(two))
    sent = two.ask(0, "POST", "/v1/predictions", made, content=picture("red"))
    assert (sent.json()["project"], sent.json()["site"]) == ("skin", "north")


def _sites(two: Two) -> list[tuple[str, str]]:
    reply = two.ask(0, "GET", "/v1/projects/skin/sites/north")
    return [("skin", "north")] if reply.status_code == 200 else []


def test_the_command_line_makes_lists_and_revokes_over_http(two: Two) -> None:
    at = ("--url", two.gateways[0].url, "--key", two.admin.key)
    code, key, said = run("create", "--role", "caller", "--subject", "cli", "--days", "30", *at)
    assert code == 0, said
    assert two.status(0, key.strip()) == 200
    assert "This is the only time that it is shown" in said
    code, listed, _ = run("list", *at, "--json")
    (mine,) = (each for each in json.loads(listed) if each["subject"] == "cli")
    assert (mine["state"], mine["created_by"]) == ("good", "ines")
    assert run("revoke", key.strip(), *at)[:2] == (0, f"revoked {mine['prefix']}\n")
    assert two.status(0, key.strip()) == 401
    assert run("create", "--role", "caller", "--url", two.gateways[0].url, "--key", "wrong")[0] == 1


def test_while_the_store_is_away_known_keys_stay_known_and_no_others_are(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    known = holder(data.folder, "caller")
    control, away = data.folder / "control", data.folder / "control-away"
    with (
        running_valkey(tmp_path / "valkey") as server,
        running_gateway(data.folder, server.url, control_stale_s="1.5") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=30, headers=known.headers) as http,
    ):
        assert http.post("/v1/predictions", content=picture("red")).json()["route"] == "automatic"
        control.rename(away)
        stale = eventually(lambda: _stale(http), seconds=15)
        assert stale["route"] == "review"
        stranger = http.get("/v1/me", headers={"Authorization": f"Bearer {holder(tmp_path / 'other', 'admin').key}"})
        problem(stranger, 401, "this is no key of this service")
        away.rename(control)
        eventually(lambda: _stale(http) is None, seconds=15)


def _stale(http: httpx.Client) -> dict[str, Any] | None:
    """A prediction that was deferred because nobody could read what is in force; None while it can be."""
    reply = http.post("/v1/predictions", content=picture("red"))
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found if "control_stale" in found["reasons"] else None
