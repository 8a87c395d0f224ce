"""Forms, references, metadata through a real gateway: what they say is recorded, nothing is fetched that is not allowed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_store.record import EventRecord, PredictionRecord
from tests.bundles import picture
from tests.services import Data, blob_files, eventually, make_data, raw, running_gateway, running_valkey
from tests.triage.serving import problem
from triage.journal.segments import read
from triage.store.person_key import keyed_person, person_key

IMAGE = picture("red", salt=77)
SHA = hashlib.sha256(IMAGE).hexdigest()


class Sender:
    def __init__(self, data: Data, scans: Path, http: httpx.Client) -> None:
        self.data, self.scans, self.http = data, scans, http

    def post(self, **options: Any) -> httpx.Response:
        return self.http.post("/v1/predictions", **options)

    def refer(self, uri: str, sha256: str = SHA, **metadata: Any) -> httpx.Response:
        return self.post(json={"uri": uri, "sha256": sha256, "metadata": metadata})

    def journaled(self) -> list[Any]:
        return [record for _, record in read(self.data.folder / "journal" / "bodies")]

    def record(self, reply: httpx.Response) -> PredictionRecord:
        assert reply.status_code == 200, reply.text
        found = [each for each in self.journaled() if each.id == reply.json()["id"]]
        assert len(found) == 1
        assert isinstance(found[0], PredictionRecord)
        return found[0]

    def refusals(self, code: str) -> list[EventRecord]:
        found = [each for each in self.journaled() if isinstance(each, EventRecord) and each.name == "refused"]
        return [each for each in found if each.detail["code"] == code]


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    folder = tmp_path_factory.mktemp("bodies")
    data = make_data(folder / "data")
    data.declare("north", project="default", mode="assist", rules=None)
    scans = folder / "scans"
    (scans / "2026").mkdir(parents=True)
    (scans / "2026" / "a b.png").write_bytes(IMAGE)
    (scans / "large.png").write_bytes(bytes(200_001))
    (folder / "secret.png").write_bytes(IMAGE)
    (scans / "link.png").symlink_to(folder / "secret.png")
    (scans / "inner.png").symlink_to(scans / "2026" / "a b.png")
    (scans / "out").symlink_to(folder)
    os.mkfifo(scans / "pipe.png")
    settings = {
        "node": "bodies", "max_body_bytes": "200000", "source_fields": '["scanner", "age"]',
        "references": json.dumps({"scans": f"file://{scans}"}),
    }  # fmt: skip
    with (
        running_valkey(folder / "valkey") as valkey,
        running_gateway(data.folder, valkey.url, **settings) as gateway,
        raw(gateway) as http,
    ):
        yield Sender(data, scans, http)


def test_a_form_with_metadata(sender: Sender) -> None:
    said = {
        "site": "north",
        "case": "c7",
        "view": "front",
        "role": "prior",
        "age": 61,
        "scanner": "x1",
        "other": "dropped",
    }
    files = {"image": ("leaf.png", IMAGE, "image/png"), "metadata": (None, json.dumps(said))}
    record = sender.record(sender.post(files=files))
    assert (record.site, record.case, record.view, record.role) == ("north", "c7", "front", "prior")
    assert record.source == {"age": "61", "scanner": "x1"}
    assert record.sha256 == SHA
    assert record.caller == "local"


def test_metadata_says_more_than_the_query(sender: Sender) -> None:
    files = {"image": IMAGE, "metadata": b'{"case": "inner"}'}
    record = sender.record(sender.post(files=files, params={"case": "outer", "view": "side"}))
    assert (record.case, record.view) == ("inner", "side")


def test_a_person_is_kept_as_a_keyed_hash_only(sender: Sender) -> None:
    record = sender.record(sender.post(files={"image": IMAGE, "metadata": b'{"person": "Ada Lovelace"}'}))
    assert record.person == keyed_person(person_key(sender.data.folder / "control"), "default", "Ada Lovelace")
    key = sender.data.folder / "control" / "person.key"
    assert key.stat().st_mode & 0o777 == 0o600
    for file in (sender.data.folder / "journal").rglob("*"):
        assert not file.is_file() or b"Lovelace" not in file.read_bytes()


@pytest.mark.parametrize("uri", ["scans:2026/a b.png", "{url}/2026/a b.png"])
def test_an_image_by_reference(sender: Sender, uri: str) -> None:
    record = sender.record(sender.refer(uri.format(url=f"file://{sender.scans}"), case="by-reference"))
    assert (record.sha256, record.case) == (SHA, "by-reference")
    assert sender.refer(uri.format(url=f"file://{sender.scans}"), "sha256:" + SHA).status_code == 200


@pytest.mark.parametrize(
    ("uri", "status", "says"),
    [
        ("http://127.0.0.1/a.png", 403, "is in no store that this service reads; use one of these: scans:"),
        ("https://example.com/a.png", 403, "is in no store"),
        ("file:///etc/passwd", 403, "is in no store"),
        ("s3://bucket/a.png", 403, "is in no store"),
        ("SCANS:2026/a b.png", 403, "is in no store"),
        ("scans://2026/a b.png", 403, "is in no store"),
        ("scans:", 422, "is not normal"),
        ("scans:../secret.png", 422, "is not normal"),
        ("scans:2026/../../secret.png", 422, "is not normal"),
        ("scans:./2026/a b.png", 422, "is not normal"),
        ("scans:2026//a b.png", 422, "is not normal"),
        ("scans:/2026/a b.png", 422, "is not normal"),
        ("scans:2026%2Fa b.png", 422, "is not normal"),
        ("scans:2026\\a b.png", 422, "is not normal"),
        ("scans:2026/a b.png?x", 422, "is not normal"),
        ("scans:2026/a\x00b.png", 422, "is not normal"),
        ("scans:link.png", 403, "goes through a symbolic link"),
        ("scans:inner.png", 403, "goes through a symbolic link"),
        ("scans:out/secret.png", 404, ""),
        ("scans:2026", 404, "is no file; name a file of that store"),
        ("scans:pipe.png", 404, "is no file"),
        ("scans:none.png", 404, "there is no scans:none.png; name a file of that store"),
        ("scans:2026/a b.png/x", 404, "there is no"),
        ("scans:large.png", 413, "more than 200,000 bytes"),
        ("scans:" + "n" * 300, 404, "there is no"),
    ],
)  # fmt: skip
def test_nothing_else_is_read(sender: Sender, uri: str, status: int, says: str) -> None:
    blobs = blob_files(sender.data.folder)
    problem(sender.refer(uri), status, says)
    assert blob_files(sender.data.folder) == blobs


def test_nobody_is_asked_for_a_url(sender: Sender) -> None:
    """A listener that would see a request: none comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        for uri in (f"http://127.0.0.1:{port}/a.png", f"scans:http://127.0.0.1:{port}/a.png"):
            assert sender.refer(uri).status_code in (403, 422)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_reference_is_what_it_says(sender: Sender) -> None:
    problem(sender.refer("scans:2026/a b.png", "0" * 64), 422, "has another content than the sha256 that was sent")
    problem(sender.refer("scans:2026/a b.png", "abc"), 422, "sha256 is no digest")
    problem(sender.post(json={"uri": "scans:2026/a b.png"}), 422, "the reference is none")
    problem(sender.post(json={"uri": 5, "sha256": SHA}), 422, "the reference is none")
    problem(sender.post(json=[]), 422, "the reference is none")
    problem(sender.post(content=b'{"uri"', headers={"Content-Type": "application/json"}), 400, "is no JSON")


def test_metadata_that_contradicts(sender: Sender) -> None:
    for text, status, says in (
        (b"[]", 400, "the metadata is no JSON object"),
        (b'{"role": "next"}', 422, "role: "),
        (b'{"age": [1]}', 422, "age is neither text nor a number"),
        (b'{"scanner": "' + b"x" * 501 + b'"}', 422, "scanner has more than 500 characters"),
        (b'{"site": "nowhere"}', 404, "declare it with PUT"),
        (b'{"case": "\\ud800"}', 400, "no JSON object"),
    ):
        problem(sender.post(files={"image": IMAGE, "metadata": text}), status, says)


def test_what_is_refused_is_journaled_with_who_and_why(sender: Sender) -> None:
    for code, options in (
        ("too_large", {"content": bytes(200_001)}),
        ("format", {"content": IMAGE, "headers": {"Content-Type": "multipart/mixed"}}),
        ("contradicts", {"content": IMAGE, "params": {"role": "next"}}),
    ):
        before = len(sender.refusals(code))
        headers = {"Idempotency-Key": f"order-{code}", **options.pop("headers", {})}  # type: ignore[dict-item]
        params = {"case": "c9", **options.pop("params", {})}  # type: ignore[dict-item]
        refused = sender.post(**options, headers=headers, params=params)
        (event,) = sender.refusals(code)[before:]
        assert event.id == refused.json()["prediction_id"]
        assert (event.actor, event.detail["key"]) == ("local", f"order-{code}")
        assert event.detail["why"] == refused.json()["detail"]


def test_bytes_in_flight_are_bounded(sender: Sender, tmp_path: Path) -> None:
    """Two bodies declare more together than may be in flight: the second is refused while the first is not whole."""
    hold, begun = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield IMAGE[:10]
        begun.set()
        hold.wait(30)
        yield IMAGE[10:]

    replies: list[httpx.Response] = []
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_gateway(sender.data.folder, valkey.url, node="bounded", max_bytes_in_flight="1024") as gateway,
        raw(gateway) as http,
    ):
        body = IMAGE + bytes(900)
        thread = threading.Thread(
            target=lambda: replies.append(
                http.post("/v1/predictions", content=slowly(), headers={"Content-Length": str(len(IMAGE))})
            )
        )
        thread.start()
        try:
            assert begun.wait(30)
            refused = eventually(
                lambda: (reply := http.post("/v1/predictions", content=body)).status_code != 200 and reply
            )
            problem(refused, 429, "are in flight; send this one again in a moment")
        finally:
            hold.set()
        thread.join(30)
        assert replies[0].status_code == 200
        assert http.post("/v1/predictions", content=body).status_code == 200, "alone, a large body is taken"
