"""The examples of ingestion: S3 events over a real S3 server, and what becomes of Kafka messages, against a real gateway."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import from_url

from embedded.stack import Valkey
from examples.kafka_consumer import Message, Refused, handle
from examples.s3_events import Created, created, documents, send
from tests.bundles import picture
from tests.services import make_data, running_gateway
from tests.triage.object_store import BUCKET, S3
from triage.client import Client, Unreachable

EXAMPLE = Path(__file__).parents[2] / "examples/s3_events.py"


def event(key: str, name: str = "ObjectCreated:Put", etag: str = "e1") -> dict[str, Any]:
    return {"Records": [{"eventName": name, "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "eTag": etag}}}]}


@pytest.fixture
def client(tmp_path: Path, valkey: Valkey, redis: object, s3: S3) -> Iterator[Client]:
    data = make_data(tmp_path / "data")
    settings = {"references": json.dumps({"scans": f"s3://{BUCKET}/scans"}), "source_fields": '["scanner"]'}
    with running_gateway(data.folder, valkey.url, **settings) as gateway, Client(gateway.url) as opened:
        yield opened


def run(client: Client, text: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), "--url", client._transport.url], input=text, check=False,
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1])},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_what_s3_announces_is_read_once_from_the_bucket(client: Client) -> None:
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    obstore.put(store, "scans/leaf one.png", picture("red", salt=1))
    obstore.put(store, "elsewhere/x.png", picture("red", salt=2))
    announced = event("scans/leaf+one.png")
    wrapped = {"Messages": [{"Body": json.dumps({"Message": json.dumps(announced)})}]}
    code, told = run(client, json.dumps(wrapped))
    assert (code, told[0]["route"]) == (0, "automatic")
    assert client.prediction(told[0]["prediction"])["labels"][0]["id"] == "red"
    lines = [
        announced,
        event("scans/gone.png"),
        event("elsewhere/x.png"),
        event("scans/leaf+one.png", "ObjectRemoved:Delete"),
    ]
    code, again = run(client, "\n".join(map(json.dumps, lines)))
    assert code == 0
    assert again[0] == told[0]
    assert ["refused" in each for each in again] == [False, True, True]


def test_an_image_that_cannot_be_sent_now_keeps_its_message(client: Client) -> None:
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    obstore.put(store, "scans/a.png", picture("red", salt=3))
    with Client("http://127.0.0.1:9", patience_s=0.1) as away:
        assert "not_sent" in send(away, Created(BUCKET, "scans/a.png", "e1"), {})
    assert "not_sent" not in send(client, Created(BUCKET, "scans/a.png", "e1"), {})


def test_every_wrapping_is_opened_and_tests_of_s3_announce_nothing() -> None:
    plain = event("a%2Fb+c.png")
    for document in (
        plain, [plain], {"Records": [{"body": json.dumps(plain)}]}, {"Records": [{"Sns": {"Message": json.dumps(plain)}}]},
        {"Body": json.dumps(plain)}, {"Message": json.dumps(plain)},
    ):  # fmt: skip
        assert list(created(document)) == [Created(BUCKET, "a/b c.png", "e1")]
    assert list(created({"Service": "Amazon S3", "Event": "s3:TestEvent"})) == []
    assert list(documents('{"a": 1}\n\n{"b": 2}\n')) == [{"a": 1}, {"b": 2}]


def test_kafka_messages_become_predictions_once_each(client: Client) -> None:
    image = picture("red", salt=9)
    message = Message("images", 0, 7, image, [("case", b"c1"), ("scanner", b"x1"), ("trace-id", b"1"), ("key", b"k")])
    made = handle(client, message)
    assert (made["route"], made["case"]) == ("automatic", "c1")
    assert handle(client, message)["id"] == made["id"]
    assert handle(client, Message("images", 0, 8, image))["id"] != made["id"]
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    obstore.put(store, "scans/k.png", image)
    named = {"uri": "scans:k.png", "sha256": hashlib.sha256(image).hexdigest(), "metadata": {"view": "top"}}
    assert handle(client, Message("images", 0, 9, json.dumps(named).encode()))["route"] == "automatic"


@pytest.mark.parametrize(
    "value",
    [None, b"", b"no image at all", b"{broken", b'{"uri": "scans:x"}', b'{"uri": "http://evil/x", "sha256": "00"}'],
)
def test_what_is_no_image_is_refused_for_good(client: Client, value: bytes | None) -> None:
    with pytest.raises(Refused):
        handle(client, Message("images", 0, 1, value))


def test_what_is_not_the_messages_fault_is_tried_again(client: Client) -> None:
    with Client("http://127.0.0.1:9", patience_s=0.1) as away, pytest.raises(Unreachable):
        handle(away, Message("images", 0, 1, b"x"))
