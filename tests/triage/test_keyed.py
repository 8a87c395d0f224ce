"""Idempotency keys, through two gateways: one prediction a key, with Redis, without it, and after it was wiped."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from embedded.stack import Gateway, Valkey
from model_store.record import PredictionRecord
from tests.bundles import picture
from tests.services import Data, eventually, make_data, raw, running_gateway, running_valkey
from tests.triage.serving import problem
from triage.calling.about import About
from triage.calling.keyed import check, fingerprint, keyed_id
from triage.errors import BadRequest
from triage.journal.segments import read


class Two:
    """Two gateways over one data folder and one Valkey, which audit every answer."""

    def __init__(self, data: Data, valkey: Valkey, gateways: list[Gateway], http: list[httpx.Client]) -> None:
        self.data, self.valkey, self.gateways, self.http = data, valkey, gateways, http

    def post(self, key: str, which: int = 0, colour: str = "red", salt: int = 0, **params: str) -> httpx.Response:
        return self.http[which].post(
            "/v1/predictions", content=picture(colour, salt=salt), headers={"Idempotency-Key": key}, params=params
        )

    def journaled(self, prediction: str) -> list[PredictionRecord]:
        found = [record for node in ("one", "two") for _, record in read(self.data.folder / "journal" / node)]
        return [each for each in found if isinstance(each, PredictionRecord) and each.id == prediction]

    def waiting(self) -> int:
        return int(self.http[0].get("/v1/queues/default.review").json()["waiting"])

    def settled(self) -> None:
        eventually(lambda: all(http.get("/readyz").json()["why"] == [] for http in self.http))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    data = make_data(folder / "data", ("default", "audited"))
    data.declare("audited", audit={"probability": 1.0, "suspended": 1.0})
    with (
        running_valkey(folder / "valkey") as valkey,
        running_gateway(data.folder, valkey.url, node="one") as one,
        running_gateway(data.folder, valkey.url, node="two") as other,
        raw(one) as first,
        raw(other) as second,
    ):
        yield Two(data, valkey, [one, other], [first, second])


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def test_the_same_request_gives_the_same_prediction_anywhere(two: Two, key: str) -> None:
    for colour in ("red", "blue"):
        replies = [two.post(key + colour, which, colour) for which in (0, 0, 1, 1, 0)]
        assert {reply.status_code for reply in replies} == {200}
        assert {reply.content for reply in replies} == {replies[0].content}
        assert [reply.headers.get("idempotent-replayed") for reply in replies] == [None, *["true"] * 4]
        assert len(two.journaled(replies[0].json()["id"])) == 1


def test_a_form_sent_again_is_the_same_request_whatever_its_boundary(two: Two, key: str) -> None:
    files = {"image": picture("blue"), "metadata": b'{"case": "c1"}'}
    replies = [http.post("/v1/predictions", files=files, headers={"Idempotency-Key": key}) for http in two.http]
    assert replies[0].request.headers["content-type"] != replies[1].request.headers["content-type"]
    assert replies[0].content == replies[1].content
    assert replies[0].content == two.post(key, 0, "blue", case="c1").content, "nor the kind of its body"


@pytest.mark.parametrize("other", [{"salt": 5}, {"case": "c2"}, {"colour": "blue"}], ids=str)
def test_another_request_with_the_same_key_is_refused(two: Two, key: str, other: dict[str, Any]) -> None:
    assert two.post(key).status_code == 200
    for which in (0, 1):
        problem(two.post(key, which, **other), 422, "another image or other metadata; use a new key for a new request")
    assert two.post(key, 1).status_code == 200


def test_a_key_is_its_caller_s_and_readable(two: Two) -> None:
    problem(two.post(""), 400, "1 to 255 printable ASCII characters; send a UUID")
    problem(two.post("k" * 256), 400)
    assert two.post("k" * 255).status_code == 200


def test_at_once_on_both_gateways_is_one_item_and_one_draw(two: Two) -> None:
    before = two.waiting()
    keys = [str(uuid.uuid4()) for _ in range(8)]
    start = threading.Barrier(16)

    def send(job: tuple[int, str]) -> httpx.Response:
        start.wait(30)
        return two.post(job[1], job[0], salt=int(job[1][:4], 16), site="audited")

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(send, [(which, key) for key in keys for which in (0, 1)]))
    assert {reply.status_code for reply in replies} == {200}, [reply.text for reply in replies]
    for first, second in zip(replies[::2], replies[1::2], strict=True):
        assert first.content == second.content
        assert first.json()["route"] == "automatic"
        records = two.journaled(first.json()["id"])
        assert len({(each.audit_u, each.drawn) for each in records}) == 1
        assert records[0].drawn == ("red",)
    eventually(lambda: two.waiting() == before + len(keys))


def test_a_refused_image_is_refused_again_and_leaves_its_key_free(two: Two, key: str) -> None:
    def broken(which: int) -> httpx.Response:
        content = picture(format="JPEG")[:-20]
        return two.http[which].post("/v1/predictions", content=content, headers={"Idempotency-Key": key})

    said = [problem(broken(which), 422, "send an intact file") for which in (0, 1)]
    assert said[0].prediction_id == said[1].prediction_id
    assert two.post(key).status_code == 200


def test_without_redis_the_same_gateway_repeats_itself_and_the_other_agrees(two: Two, key: str) -> None:
    before = two.post(key + "before").content
    two.valkey.process.kill()
    try:
        assert two.post(key + "before").content == before
        replies = [two.post(key, which, "blue", salt=9) for which in (0, 0, 1)]
        assert {reply.status_code for reply in replies} == {200}
        ids = {reply.json()["id"] for reply in replies}
        assert len(ids) == 1
        assert replies[0].content == replies[1].content
        same = [{name: value for name, value in reply.json().items() if name != "received_at"} for reply in replies]
        assert same[0] == same[2]
        problem(two.post(key, 0, "red"), 422, "use a new key")
    finally:
        two.valkey.start()
    two.settled()
    waiting = two.waiting()
    assert two.post(key, 1, "blue", salt=9).json()["id"] in ids
    assert two.waiting() == waiting, "the two records are one item"


def test_after_redis_was_wiped_the_answer_is_found_again(two: Two, key: str) -> None:
    replies = [two.post(key + colour, 0, colour, salt=3) for colour in ("red", "blue")]
    with Redis.from_url(two.valkey.url) as client:
        client.flushall()
    eventually(lambda: two.http[1].get(f"/v1/predictions/{replies[0].json()['id']}").status_code == 200)
    two.settled()
    for colour, reply in zip(("red", "blue"), replies, strict=True):
        again = two.post(key + colour, 1, colour, salt=3)
        assert again.content == reply.content
        assert again.headers["idempotent-replayed"] == "true"
        assert len(two.journaled(reply.json()["id"])) == 1


def test_what_people_answered_since_changes_nothing_of_the_first_reply(two: Two, key: str) -> None:
    first = two.post(key, 0, "blue", salt=11)
    lease = two.http[0].post("/v1/queues/default.review/leases", json={"reviewer": "ada", "count": 100}).json()
    for item in lease["items"]:
        if item["prediction"] == first.json()["id"]:
            answer = {"answers": {"blue": "present"}}
            assert two.http[0].post(f"/v1/leases/{item['token']}/verdict", json=answer).status_code == 200
        else:
            two.http[0].delete(f"/v1/leases/{item['token']}")
    eventually(lambda: two.http[1].get(f"/v1/predictions/{first.json()['id']}").json()["final"] is not None)
    assert two.post(key, 1, "blue", salt=11).content == first.content


@given(st.text(max_size=300))
def test_a_key_is_printable_ascii_or_refused(key: str) -> None:
    fits = 1 <= len(key) <= 255 and all(" " <= letter <= "~" for letter in key)
    try:
        taken = check(key) == key
    except BadRequest:
        taken = False
    assert taken == fits


_texts = st.text(max_size=5)
_abouts = st.builds(
    About, _texts, _texts, _texts, _texts, person=_texts, source=st.dictionaries(_texts, _texts, max_size=2)
)


@given(_texts, _texts, _abouts, _texts, _texts, _abouts)
def test_ids_are_the_same_exactly_for_the_same_caller_key_and_request(
    subject: str, key: str, about: About, other: str, second: str, changed: About
) -> None:
    mine = keyed_id(subject, key, fingerprint("s", about))
    theirs = keyed_id(other, second, fingerprint("s", changed))
    plain = "\0" not in subject + key + other + second
    assert not plain or (mine == theirs) == ((subject, key, about) == (other, second, changed))
    assert mine != keyed_id(subject, key, fingerprint("t", about))
    assert str(uuid.UUID(mine)) == mine
