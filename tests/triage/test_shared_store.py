"""Two gateways, each with its own data folder and journal, that share only Redis and a bucket: images, documents and keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from embedded.stack import Gateway, Valkey
from tests.bundles import picture
from tests.services import Data, client, eventually, make_data, raw, running_gateway
from tests.triage.object_store import S3
from triage.client import Client, ServiceError
from triage.doctor import examine
from triage.settings import Settings
from triage.store.audit_key import NAME
from triage.store.places import open_objects

OFF = {"answering": False, "reason": "a wrong batch"}
SITE = "/v1/projects/default/sites/default"
Pair = tuple[Gateway, Gateway]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey, s3: S3) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("shared")
    data: Data = make_data(folder / "one")
    shutil.rmtree(folder / "one" / "control")
    shutil.copytree(folder / "one", folder / "two")
    store = s3.url(folder.name)
    with (
        running_gateway(folder / "one", valkey.url, node="one", store=store) as one,
        running_gateway(folder / "two", valkey.url, node="two", store=store) as two,
    ):
        with raw(one) as http:
            body = {"mode": "live", "model": "colours/1", "rules": data.rules.digest, "audit": {"probability": 0}}
            declared = http.put(SITE, json=body, headers={"If-None-Match": "*"})
            assert declared.status_code == 200, declared.text
        yield one, two


def route(gateway: Gateway, salt: int) -> str:
    with client(gateway) as http:
        return str(http.predict(picture("red", salt=salt))["route"])


def test_a_site_that_one_declares_the_other_serves(pair: Pair) -> None:
    one, two = pair
    with raw(one) as first, raw(two) as second:
        eventually(lambda: second.get(SITE).status_code == 200)
        assert second.get(SITE).headers["etag"] == first.get(SITE).headers["etag"]
    assert route(two, 1) == "automatic"


def test_the_switch_of_one_stops_the_other(pair: Pair) -> None:
    one, two = pair
    with raw(one) as http:
        eventually(lambda: route(two, 2) == "automatic")
        made = http.put("/v1/switch", json=OFF, headers={"If-None-Match": "*"})
        assert made.status_code == 200, made.text
        eventually(lambda: route(two, 3) == "review")
        assert http.delete("/v1/switch", headers={"If-Match": made.headers["etag"]}).status_code == 204
        eventually(lambda: route(two, 4) == "automatic")


def test_of_two_changes_of_one_version_one_wins(pair: Pair) -> None:
    one, two = pair
    with raw(one) as first, raw(two) as second:
        eventually(lambda: second.get(SITE).status_code == 200)
        read = first.get(SITE)
        changed = [
            http.put(SITE, json={**read.json(), "always_review": [label]}, headers={"If-Match": read.headers["etag"]})
            for http, label in ((first, "red"), (second, "green"))
        ]
        assert sorted(each.status_code for each in changed) == [200, 412]
        back = first.put(SITE, json=read.json(), headers={"If-Match": changed[0].headers["etag"]})
        assert back.status_code == 200


def test_an_image_that_one_stored_the_other_shows_and_nothing_is_on_their_disks(pair: Pair, s3: S3) -> None:
    one, two = pair
    with client(one) as first, client(two) as second:
        prediction = first.predict(picture("red", salt=5))
        shown = eventually(lambda: _image(second, prediction["id"]))
        assert shown.startswith(b"\x89PNG")
    for gateway in pair:
        assert not {path.name for path in gateway.data.iterdir()} & {"blobs", "control"}
        objects = open_objects(s3.url(gateway.data.parent.name))
        names = {entry.name.split("/")[0] for entry in objects.list()}
        assert {"blobs", "control"} <= names
        assert len(open_objects(s3.url(f"{gateway.data.parent.name}/control")).get(NAME)) == 65


def _image(http: Client, prediction: str) -> bytes:
    try:
        return http.image(prediction)
    except ServiceError:  # not indexed yet
        return b""


async def test_doctor_looks_at_the_bucket(pair: Pair, valkey: Valkey, s3: S3) -> None:
    folder = pair[0].data
    for store, ok in (
        (s3.url(folder.parent.name), True),
        (s3.url("nowhere").replace("tests", "no-such-bucket"), False),
    ):
        settings = Settings.load(data=folder, redis_url=valkey.url, classifier="inprocess", store=store)
        found = {each.part: each for each in await examine(settings)}
        assert found["blobs"].ok is ok, found["blobs"].says
        assert ("site default/default" in found) is ok
        assert ok or "does not answer" in found["control documents"].says
