"""Webhooks from real gateways to a real receiver: signed, in order, again after every kind of failure, and never nowhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from embedded.stack import Gateway, Valkey
from model_store.record import EventRecord
from tests.bundles import picture
from tests.services import eventually, make_data, raw, running_gateway
from tests.triage.receiver import SECRET, Receiver, receiving
from tests.triage.serving import problem
from triage.journal.segments import read


@dataclass
class Site:
    """Gateways over one data folder and one Valkey, and what the tests do with them."""

    folder: Path
    valkey: Valkey
    stack: ExitStack
    gateways: list[Gateway] = field(default_factory=list)
    http: httpx.Client = field(init=False)
    _salt: int = 0

    def open(self, **settings: str) -> Gateway:
        told = {"webhook_hosts": '["127.0.0.1"]', "hold_s": "0", "node": f"g{len(self.gateways)}", **settings}
        gateway = self.stack.enter_context(running_gateway(self.folder, self.valkey.url, **told))
        self.gateways.append(gateway)
        self.http = self.stack.enter_context(raw(gateway))
        return gateway

    def hook(self, receiver: Receiver | str, name: str = "w", **changes: Any) -> None:
        url = receiver if isinstance(receiver, str) else receiver.url
        document = {"url": url, "secrets": ["file:lab"], "first_retry_s": 0.05, "timeout_s": 5, **changes}
        path = f"/v1/projects/default/webhooks/{name}"
        reply = self.http.put(path, json=document, headers={"If-None-Match": "*"})
        assert reply.status_code == 200, reply.text

    def answer(self, count: int) -> list[str]:
        """Predictions that people answered, in the order in which they did."""
        sent = []
        for _ in range(count):
            self._salt += 1
            reply = self.http.post("/v1/predictions", content=picture("blue", salt=self._salt))
            sent.append(reply.json()["id"])
        items = self.http.post("/v1/queues/default.review/leases", json={"reviewer": "ada", "count": count}).json()
        assert [each["prediction"] for each in items["items"]] == sent
        for item in items["items"]:
            reply = self.http.post(f"/v1/leases/{item['token']}/verdict", json={"answers": {"blue": "present"}})
            assert reply.status_code == 200, reply.text
        return sent

    def state(self, name: str = "w") -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/projects/default/webhooks/{name}/deliveries").json()
        return found

    def tried(self, name: str) -> bool:
        return self.state(name)["last"] is not None

    def replay(self, name: str = "w", **body: Any) -> dict[str, Any]:
        reply = self.http.post(f"/v1/projects/default/webhooks/{name}/replay", json=body)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def events(self, name: str) -> list[EventRecord]:
        folder = self.folder / "journal"
        found = [record for node in folder.iterdir() if node.is_dir() for _, record in read(node)]
        return [each for each in found if isinstance(each, EventRecord) and each.name == name]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path / "receiver") as started:
        yield started


@pytest.fixture
def site(tmp_path: Path, valkey: Valkey, redis: Redis) -> Iterator[Site]:
    data = make_data(tmp_path / "data")
    secrets = data.folder / "webhook-secrets"
    secrets.mkdir()
    (secrets / "lab").write_text(SECRET + "\n")
    (secrets / "next").write_text("whsec_" + "QUJD" * 8)
    with ExitStack() as stack:
        yield Site(data.folder, valkey, stack)


def test_what_listeners_hear_is_sent_signed_and_in_order(site: Site, receiver: Receiver) -> None:
    site.open()
    site.hook(receiver, secrets=["file:lab", "file:next"])
    sent = site.answer(8)
    eventually(lambda: len(receiver.came) == 8)
    assert sorted(receiver.taken()) == sorted(sent)
    assert {each["signatures"] for each in receiver.came} == {2}
    assert len({each["id"] for each in receiver.came}) == 8
    with site.http.stream("GET", "/v1/outcomes") as stream:
        lines = (line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: "))
        heard = [json.loads(next(lines)) for _ in range(8)]
    assert sorted(heard, key=lambda body: body["prediction"]) == sorted(
        (each["body"] for each in receiver.came), key=lambda body: body["prediction"]
    )
    done = eventually(lambda: (told := site.state())["cursor"] and told["last"] and told)
    assert (done["enabled"], done["problem"], done["holder"], done["dead"]) == (True, None, "g0", 0)
    assert done["last"]["taken"]


def test_a_failing_receiver_is_tried_again_under_the_same_id(site: Site, receiver: Receiver) -> None:
    site.open()
    receiver.script(status=500)
    site.hook(receiver)
    sent = site.answer(3)
    eventually(lambda: len(receiver.came) >= 5)
    assert receiver.taken() == []
    receiver.script(status=200)
    eventually(lambda: sorted(receiver.taken()) == sorted(sent))
    assert len({each["id"] for each in receiver.came}) == 3
    metrics = site.http.get("/metrics").text
    assert 'triage_webhook_deliveries_total{project="default",result="delivered",webhook="w"} 3.0' in metrics


def test_a_letter_that_nobody_takes_is_dead_is_told_of_and_can_be_sent_again(site: Site, receiver: Receiver) -> None:
    site.open()
    site.hook(receiver, tries=3)
    (poison,) = site.answer(1)
    eventually(lambda: receiver.taken() == [poison])
    (again,) = site.answer(1)
    eventually(lambda: len(receiver.taken()) == 2)
    receiver.script(poison={poison: 422})
    assert site.replay(after="0")["from"].keys() == {"review"}
    told = eventually(lambda: (state := site.state())["dead"] and state)
    (letter,) = told["letters"]
    assert (letter["outcome"]["prediction"], letter["why"]) == (poison, "status 422")
    assert letter["tries"] >= 3
    (event,) = site.events("webhook_dead")
    assert (event.subject, event.detail["webhook"]) == (poison, "w")
    assert [each["body"]["prediction"] for each in receiver.came].count(again) >= 2
    receiver.script()
    before = len(receiver.came)
    assert site.replay(dead=True)["letters"] == 1
    eventually(lambda: [each["body"]["prediction"] for each in receiver.came[before:]] == [poison])
    eventually(lambda: (state := site.state())["dead"] == state["redo"] == 0)
    assert receiver.came[-1]["id"] == letter["message"]
    problem(site.http.post("/v1/projects/default/webhooks/w/replay", json={}), 422, "nothing is named")
    problem(site.http.post("/v1/projects/default/webhooks/x/replay", json={"dead": True}), 404)


def test_a_receiver_that_is_gone_is_sent_nothing_more(site: Site, receiver: Receiver) -> None:
    site.open()
    receiver.script(status=410)
    site.hook(receiver)
    wrote = site.http.get("/v1/projects/default/webhooks/w")
    site.answer(1)
    told = eventually(lambda: not (state := site.state())["enabled"] and state)
    assert not told["last"]["taken"]
    assert "410" in told["gone"]["because"]
    stands = site.http.get("/v1/projects/default/webhooks/w")
    assert stands.headers["etag"] == wrote.headers["etag"], "the document is its author's"
    eventually(lambda: site.state()["holder"] is None, 20)
    came = len(receiver.came)
    receiver.script()
    site.answer(2)
    # The same document again, and one that names the same address, wake nobody.
    again = site.http.put(
        "/v1/projects/default/webhooks/w", json=stands.json(), headers={"If-Match": stands.headers["etag"]}
    )
    more = {**stands.json(), "timeout_s": 3}
    again = site.http.put("/v1/projects/default/webhooks/w", json=more, headers={"If-Match": again.headers["etag"]})
    assert again.is_success
    assert (site.state()["enabled"], len(receiver.came)) == (False, came)
    back = "/v1/projects/default/webhooks/w/gone"
    assert site.http.delete(back).status_code == 204
    assert site.state()["gone"] is None
    eventually(lambda: len(receiver.taken()) == 3)
    assert len(receiver.came) == came + 3
    problem(site.http.delete(back), 404, "did not say that it is gone")
    assert [event.actor for event in site.events("webhook_gone_changed")] == ["webhooks"]
    assert len(site.events("webhook_gone_removed")) == 1


def test_redirects_are_not_followed(site: Site, receiver: Receiver) -> None:
    site.open()
    receiver.script(status=302, header={"Location": "/elsewhere"})
    site.hook(receiver)
    site.answer(1)
    eventually(lambda: len(receiver.came) >= 2)
    assert {each["path"] for each in receiver.came} == {"/hook"}
    assert "redirects are not followed" in site.state()["last"]["says"]


def test_a_receiver_that_hangs_holds_up_no_other(site: Site, receiver: Receiver, tmp_path: Path) -> None:
    site.open()
    receiver.script(hang_s=60)
    with receiving(tmp_path / "other") as other:
        site.hook(receiver, "slow", timeout_s=0.3)
        site.hook(other, "quick")
        sent = site.answer(20)
        eventually(lambda: sorted(other.taken()) == sorted(sent))
        eventually(lambda: site.state("slow")["last"])
        assert site.state("slow")["last"]["says"] == "no answer within 0.3 s"


def test_a_receiver_that_dies_loses_nothing(site: Site, receiver: Receiver) -> None:
    site.open()
    receiver.script(die_after=3)
    site.hook(receiver, at_once=1)
    sent = site.answer(10)
    eventually(lambda: not receiver.process.running)
    receiver.script()
    receiver.start()
    eventually(lambda: sorted(receiver.taken()) == sorted(sent))


def test_when_the_gateway_that_delivers_is_killed_another_goes_on(site: Site, receiver: Receiver) -> None:
    first = site.open()
    site.hook(receiver)
    sent = site.answer(3)
    eventually(lambda: sorted(receiver.taken()) == sorted(sent))
    receiver.script(status=503)
    sent += site.answer(5)
    site.open()
    eventually(lambda: len(receiver.came) > 8)
    first.process.kill()
    receiver.script()
    sent += site.answer(3)
    eventually(lambda: sorted(receiver.taken()) == sorted(sent))
    assert site.state()["holder"] == "g1"
    ids: dict[str, set[str]] = {}
    for each in receiver.came:
        ids.setdefault(each["body"]["prediction"], set()).add(each["id"])
    assert all(len(found) == 1 for found in ids.values())


def test_after_redis_was_wiped_everything_kept_is_sent_again_under_its_id(
    site: Site, receiver: Receiver, redis: Redis
) -> None:
    site.open()
    site.hook(receiver)
    sent = site.answer(4)
    eventually(lambda: len(receiver.taken()) == 4)
    redis.flushall()
    eventually(lambda: len(receiver.came) >= 8)
    assert sorted(receiver.taken()) == sorted(sent)
    assert len({each["id"] for each in receiver.came}) == 4


def test_only_what_is_wanted_is_sent(site: Site, receiver: Receiver) -> None:
    site.open()
    site.hook(receiver, "recalls", events=["recall"])
    site.hook(receiver, "elsewhere", sites=["north"])
    site.hook(receiver, "later", after="2099-01-01T00:00:00Z")
    site.answer(2)
    eventually(lambda: site.state("recalls")["cursor"] and site.state("elsewhere")["cursor"])
    eventually(lambda: site.state("later")["holder"])
    assert receiver.came == []


def test_an_address_inside_is_never_called(site: Site, receiver: Receiver) -> None:
    site.open(webhook_hosts="[]")
    site.hook(receiver)
    site.hook(f"https://localhost:{receiver.port}/hook", "named")
    site.answer(1)
    for name, says in (("w", "is not called without TLS"), ("named", "has no public address")):
        eventually(partial(site.tried, name))
        assert says in site.state(name)["last"]["says"]
    assert receiver.came == []


def test_a_missing_secret_is_told_of_and_nothing_is_sent_unsigned(site: Site, receiver: Receiver) -> None:
    site.open()
    shutil.move(site.folder / "webhook-secrets/lab", site.folder / "lab")
    site.hook(receiver)
    sent = site.answer(1)
    told = eventually(lambda: (state := site.state())["problem"] and state["last"] and state)
    assert "the secret file:lab is not in" in told["problem"]
    assert receiver.came == []
    shutil.move(site.folder / "lab", site.folder / "webhook-secrets/lab")
    eventually(lambda: receiver.taken() == sent)
