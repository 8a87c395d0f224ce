"""Through a real gateway: nothing is answered by rules that are not signed, have ended, or whose conditions are not met."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from embedded.stack import Gateway, Valkey
from model_store import keys, signing
from model_store import rules as rule_files
from model_store.conditions import Condition
from model_store.record import PredictionRecord
from model_store.rules import Rules
from tests import bundles
from tests.services import Data, eventually, running_gateway
from tests.triage.serving import problem
from triage.control.catalog import Catalog
from triage.doctor import examine
from triage.explain import explain
from triage.journal.segments import nodes, read
from triage.settings import Settings

CONDITIONS = (Condition(field="scanner", one_of=("x1", "x2")), Condition(field="age", at_least=18, at_most=90),
              Condition(field="view", one_of=("front",)))  # fmt: skip
FIELDS = '["scanner", "age"]'
SITE = "/v1/projects/default/sites/default"
MET = {"scanner": "x1", "age": "40", "view": "front"}


@dataclass(frozen=True)
class Running:
    data: Data
    http: httpx.Client

    def predict(self, **about: str) -> dict[str, Any]:
        reply = self.http.post("/v1/predictions", content=bundles.picture("red"), params=about)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def name(self, rules: Rules, **changes: Any) -> httpx.Response:
        """Asks for these rules at the site `default`."""
        now = self.http.get(SITE)
        body = {**now.json(), "rules": rules.digest, **changes}
        return self.http.put(SITE, json=body, headers={"If-Match": now.headers["etag"]})

    def why(self) -> list[str]:
        found: list[str] = self.http.get("/readyz").json()["why"]
        return found

    def explained(self) -> int:
        """How many records there are; each is decided again and has to agree exactly."""
        catalog = Catalog(self.data.folder)
        records = [record for node in nodes(self.data.folder / "journal") for _, record in read(node)]
        predictions = [record for record in records if isinstance(record, PredictionRecord)]
        for record in predictions:
            assert explain(record, catalog).agrees, explain(record, catalog).disagreements
        return len(predictions)


@pytest.fixture
def running(data: Data, valkey: Valkey, redis: object) -> Iterator[Running]:
    with running_gateway(data.folder, valkey.url, source_fields=FIELDS) as gateway, opened(gateway) as http:
        yield Running(data, http)


def opened(gateway: Gateway) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, trust_env=False, timeout=30)


def ended(rules: Rules, until: datetime.datetime) -> Rules:
    """The same rules with certificates that end then."""
    proof = bundles.certificate(valid_until=until)
    automatic = {label: rules.classes[label].model_copy(update={"certificate": proof}) for label in ("red", "green")}
    return bundles.sealed(rules, classes={**rules.classes, **automatic})


def rules_file(data: Data) -> Path:
    return rule_files.path_of(data.folder, data.rules.digest)


def test_what_fails_or_lacks_a_condition_goes_to_a_person(running: Running) -> None:
    strict = bundles.signed(running.data.folder, bundles.sealed(running.data.rules, conditions=CONDITIONS))
    assert running.name(strict).status_code == 200
    assert running.predict(**MET)["route"] == "automatic"
    wrong = [{**MET, "scanner": "x3"}, {**MET, "age": "17"}, {**MET, "age": "forty"}, {**MET, "view": "side"}]
    missing = [{name: value for name, value in MET.items() if name != left_out} for left_out in MET]
    for about in [*wrong, *missing, {}]:
        told = running.predict(**about)
        assert (told["route"], told["reasons"], told["labels"]) == ("review", ["out_of_scope"], []), about
    assert running.explained() == 9
    assert running.why() == []


def test_the_record_says_which_fields_failed(running: Running) -> None:
    strict = bundles.signed(running.data.folder, bundles.sealed(running.data.rules, conditions=CONDITIONS))
    running.name(strict)
    running.predict(scanner="x1", age="seventeen", other="dropped")
    (node,) = nodes(running.data.folder / "journal")
    (record,) = [record for _, record in read(node) if isinstance(record, PredictionRecord)]
    assert record.policy.out_of_scope == ("age", "view")
    assert record.source == {"scanner": "x1", "age": "seventeen"}


def test_a_condition_on_metadata_that_is_not_recorded_is_refused(running: Running) -> None:
    impossible = bundles.sealed(running.data.rules, conditions=(Condition(field="ward", one_of=("7",)),))
    bundles.signed(running.data.folder, impossible)
    problem(running.name(impossible), 422, "a use condition on 'ward'", "add 'ward' to TRIAGE_SOURCE_FIELDS")
    assert running.predict()["route"] == "automatic"


def test_a_gateway_that_stops_recording_a_field_says_so_and_answers_nothing(data: Data, valkey: Valkey) -> None:
    strict = bundles.signed(data.folder, bundles.sealed(data.rules, conditions=CONDITIONS))
    data.declare(rules=strict.digest)
    with running_gateway(data.folder, valkey.url, source_fields='["age"]') as gateway, opened(gateway) as http:
        running = Running(data, http)
        assert running.predict(**MET)["reasons"] == ["out_of_scope"]
        (why,) = running.why()
        assert why.startswith("default/default: its rules have a use condition on 'scanner'")


def test_rules_that_have_ended_only_assist(running: Running) -> None:
    past = bundles.WHEN + datetime.timedelta(days=1)
    old = bundles.signed(running.data.folder, ended(running.data.rules, past))
    assert running.name(old).status_code == 200
    told = running.predict()
    assert (told["route"], told["reasons"]) == ("review", ["site_assisting"])
    assert told["suggestions"][0]["id"] == "red"
    assert running.why() == [
        "default/default: its rules ended on 2026-01-02, so that it only assists; certify again and name the new rules"
    ]
    assert running.explained() == 1


def test_rules_of_another_site_only_assist(running: Running) -> None:
    elsewhere = bundles.signed(running.data.folder, bundles.sealed(running.data.rules, sites=("north",)))
    running.name(elsewhere)
    assert running.predict()["reasons"] == ["site_assisting"]
    assert "its rules are certified for default/north" in running.why()[0]
    assert running.explained() == 1


def test_rules_that_are_edited_under_a_running_gateway_change_nothing(running: Running) -> None:
    path = rules_file(running.data)
    path.write_bytes(path.read_bytes().replace(b"0.9,", b"0.1,", 1))
    assert running.predict()["route"] == "automatic"
    assert running.predict()["labels"][0]["threshold"] == 0.9


def test_rules_that_nobody_signed_do_not_come_into_force(running: Running) -> None:
    other = bundles.sealed(running.data.rules, typicality_floor=0.01)
    path = rule_files.write(running.data.folder, other)
    problem(running.name(other), 422, "are not signed", f"secondreader rules sign {path} --key KEY")
    signing.write(path, signing.read(rules_file(running.data)))
    problem(running.name(other), 422, "is of other rules")
    stranger = Ed25519PrivateKey.generate()
    signing.write(path, signing.sign(other, stranger))
    problem(running.name(other), 422, "which is not trusted here", "secondreader rules trust PUBLIC.pem")
    told = running.predict()
    assert told["model"]["rules"] == running.data.rules.digest, "what was in force stays"
    assert told["route"] == "automatic"

    keys.trust(keys.trusted_folder(running.data.folder), stranger.public_key())  # needs no restart
    assert running.name(other).status_code == 200
    assert running.predict()["model"]["rules"] == other.digest


def test_a_document_on_disk_that_names_unsigned_rules_is_reported_and_the_one_before_serves(running: Running) -> None:
    """Whoever can write the data folder goes round HTTP, but not round the signature."""
    other = bundles.sealed(running.data.rules, typicality_floor=0.01)
    path = rule_files.write(running.data.folder, other)
    document = running.data.folder / "control" / "projects" / "default" / "sites" / "default.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), "rules": other.digest}))
    why = eventually(running.why)
    assert why[0].startswith(f"default/default: rules {other.digest[:19]} are not signed")
    assert running.predict()["model"]["rules"] == running.data.rules.digest
    signing.write(path, signing.sign(other, keys.signing_key(running.data.folder)))
    eventually(lambda: running.why() == [])
    assert running.predict()["model"]["rules"] == other.digest


@pytest.mark.parametrize("what", ["edited", "signature gone", "key gone", "trusts another folder"])
def test_a_gateway_that_starts_over_rules_it_cannot_trust_answers_nothing(
    data: Data, valkey: Valkey, tmp_path: Path, what: str
) -> None:
    path, settings, says = rules_file(data), {}, ""
    if what == "edited":
        path.write_bytes(path.read_bytes().replace(b"0.9,", b"0.1,", 1))
        says = "was changed after it was certified (its digest is not its name); certify again"
    elif what == "signature gone":
        signing.path_of(path).unlink()
        says = "are not signed"
    elif what == "key gone":
        for key in keys.trusted_folder(data.folder).iterdir():
            key.unlink()
        says = "which is not trusted here"
    else:
        settings, says = {"trusted_keys": str(tmp_path / "elsewhere")}, "which is not trusted here"
    with running_gateway(data.folder, valkey.url, **settings) as gateway, opened(gateway) as http:
        reply = http.get("/readyz")
        assert reply.status_code == 503
        assert any(says in why for why in reply.json()["why"]), reply.json()
        refused = http.post("/v1/predictions", content=bundles.picture("red"))
        assert refused.status_code == 404


async def test_doctor_tells_of_every_kind(data: Data, valkey: Valkey, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    soon = bundles.signed(data.folder, ended(data.rules, now + datetime.timedelta(days=9, hours=1)))
    past = bundles.signed(data.folder, ended(data.rules, bundles.WHEN + datetime.timedelta(days=1)))
    strict = bundles.signed(data.folder, bundles.sealed(data.rules, sites=("strict",), conditions=CONDITIONS))
    assist = data.rules.classes["blue"]
    bare = {**data.rules.classes, "red": assist, "green": assist}
    none = bundles.signed(data.folder, bundles.sealed(data.rules, classes=bare))
    for site, rules in (("nothing", none), ("default", data.rules), ("soon", soon), ("past", past), ("strict", strict)):
        data.declare(site, rules=rules.digest)
    data.declare("hushed", suspended=("red",))
    data.declare("unruled", rules=None)
    data.declare("assisting", rules=None, mode="assist")
    settings = Settings(data=data.folder, redis_url=valkey.url, classifier="inprocess", source_fields=("age",))
    found = {(each.part, each.says) for each in await examine(settings) if not each.ok}
    said = {part: " ".join(says for other, says in found if other == part) for part, _ in found}
    assert "site default/default" not in said
    assert "site default/assisting" not in said
    assert "it is live without rules, so that nothing answers" in said["site default/unruled"]
    assert "no class of its rules is automatic" in said["site default/nothing"]
    assert "red is suspended by its document; its images go to people" in said["site default/hushed"]
    assert ", in 9 days, and then it only assists; certify again" in said["site default/soon"]
    assert "its rules ended on 2026-01-02" in said["site default/past"]
    assert "add 'scanner' to TRIAGE_SOURCE_FIELDS" in said["site default/strict"]
    blind = Settings(data=data.folder, redis_url=valkey.url, classifier="inprocess", trusted_keys=tmp_path / "none")
    told = [each.says for each in await examine(blind) if not each.ok and each.part == "site default/default"]
    assert len(told) == 1
    assert "which is not trusted here" in told[0]
