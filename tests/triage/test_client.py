"""The client against a real gateway, and against one that misbehaves: what it repeats, for how long, and what it never does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import Valkey
from tests.bundles import picture
from tests.services import eventually, make_data, running_gateway
from tests.triage.serving import KEY, Served
from triage.client import Client, LeaseLost, ServiceError, SignatureError, Unreachable, verify_webhook
from triage.webhook_signature import secret_bytes, signatures


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.gateway.url, KEY) as opened:
        yield opened


@contextmanager
def server(*replies: tuple[int, dict[str, str]] | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Answers each request with the next reply, the last for ever; None breaks the connection. Gives its URL and what came."""
    came: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = replies[min(len(came), len(replies) - 1)]
            came.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            if reply is None:
                self.connection.close()
                return
            status, headers = reply
            body = b'{"id": "p1", "detail": "because"}'
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}", came
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def test_a_prediction_over_a_broken_connection_is_sent_again_under_one_key() -> None:
    with server(None, (503, {"Retry-After": "0"}), (429, {}), (200, {})) as (url, came), Client(url) as client:
        assert client.predict(b"x", case="c1")["id"] == "p1"
    assert len(came) == 4
    assert len({each["idempotency-key"] for each in came}) == 1
    assert {each["path"] for each in came} == {"/v1/predictions?case=c1"}


def test_another_call_has_another_key_and_a_given_one_is_kept() -> None:
    with server((200, {})) as (url, came), Client(url) as client:
        client.predict(b"x")
        client.predict(b"x")
        client.predict(b"x", key="mine", backfill=True)
    first, second, third = (each["idempotency-key"] for each in came)
    assert first != second
    assert third == "mine"
    assert came[2]["secondreader-origin"] == "backfill"


def test_patience_ends_and_a_long_retry_after_is_not_waited_for() -> None:
    with server((503, {"Retry-After": "3600"})) as (url, came), Client(url, patience_s=5) as client:
        with pytest.raises(ServiceError, match="because") as caught:
            client.predict(b"x")
        assert (caught.value.status, caught.value.retry_after_s, len(came)) == (503, 3600, 1)


def test_what_is_refused_is_not_repeated() -> None:
    with server((422, {})) as (url, came), Client(url) as client:
        with pytest.raises(ServiceError):
            client.predict(b"x")
        assert len(came) == 1


def test_what_would_count_twice_is_not_repeated_over_a_broken_connection(served: Served) -> None:
    with server(None) as (url, came), Client(url, patience_s=0.5) as client:
        with pytest.raises(Unreachable, match="broke"):
            client.lease("default.review", "ada")
        assert len(came) == 1


def test_nothing_there_is_said_in_one_sentence() -> None:
    with (
        Client("http://127.0.0.1:9", patience_s=0.2) as client,
        pytest.raises(Unreachable, match=r"nothing answers at http://127\.0\.0\.1:9; start it"),
    ):
        client.predict(b"x")


def test_a_key_of_ones_own_reads_an_image_once(client: Client) -> None:
    first = client.predict(picture("blue", salt=900), key="study-7-image-1")
    assert client.predict(picture("blue", salt=900), key="study-7-image-1")["id"] == first["id"]
    assert client.predict(picture("blue", salt=900))["id"] != first["id"]


def test_a_lease_is_kept_while_its_block_lasts(served: Served, client: Client) -> None:
    queue = served.project("kept")
    client.predict(picture("blue", salt=1), project="kept")
    (item,) = client.lease(queue, "ada", seconds=1)
    with client.holding(item, every_s=0.05) as hold:
        client.extend(item)
        started = time.monotonic()
        eventually(lambda: time.monotonic() - started > 1.5)
        assert client.lease(queue, "bob") == []
        assert not hold.lost
        client.answer(item, present=["blue"])


def test_a_failing_consumer_gives_its_item_back_and_one_that_lost_it_knows(served: Served, client: Client) -> None:
    queue = served.project("failing")
    client.predict(picture("blue", salt=1), project="failing")
    (item,) = client.lease(queue, "ada")
    with pytest.raises(ZeroDivisionError), client.holding(item):
        raise ZeroDivisionError
    (again,) = client.lease(queue, "ada", seconds=60)
    assert again.item == item.item
    with client.holding(again, every_s=0.02) as hold:
        client.give_back(again)
        eventually(lambda: hold.lost)
    with pytest.raises(LeaseLost):
        client.answer(again, present=["blue"])


def test_truths_queues_and_cases(served: Served, client: Client) -> None:
    queue = served.project("whole")
    sent = client.predict(picture("blue", salt=1), project="whole", case="c1")
    client.predict(picture("blue", salt=2), project="whole", case="c1")
    assert queue in [each["queue"] for each in client.queues()]
    items = client.lease(queue, "ada", case=True)
    assert [item.case for item in items] == ["c1", "c1"]
    client.answer(items[0], outcome="new_label", new_label="teal", absent=["red"], unsure=["green"])
    client.skip(items[1])
    assert client.tell_truth(sent["id"], {"blue": "present"})["prediction"] == sent["id"]


def test_an_answer_is_amended_and_an_item_escalated(served: Served, client: Client) -> None:
    queue = served.project("amended")
    document = {"escalate_to": "experts"}
    for name, content in (("experts", {}), ("review", document)):
        path = f"/v1/projects/amended/queues/{name}"
        put = served.http.put(path, json=content, headers={"If-None-Match": "*"})
        assert put.is_success, put.text
    for salt in range(2):
        client.predict(picture("blue", salt=salt), project="amended")
    first, second = eventually(lambda: client.lease(queue, "ada", count=2))
    given = client.answer(first, present=["red"])
    amended = client.amend(given, present=["blue"], reviewer="ada")
    assert (amended["answers"]["blue"], amended["revision"]) == ("present", given["revision"] + 1)
    assert client.amend(given, present=["blue"], reviewer="ada") == amended
    client.escalate(second, "is it teal?")
    (asked,) = client.lease("amended.experts", "eve", wait_s=10)
    assert [each["note"] for each in asked.earlier] == ["is it teal?"]


@pytest.mark.usefixtures("redis")
def test_outcomes_go_on_over_a_gateway_that_is_killed_and_each_comes_once(tmp_path: Path, valkey: Valkey) -> None:
    data = make_data(tmp_path / "data")
    heard: list[str] = []
    with (
        running_gateway(data.folder, valkey.url, hold_s="0") as gateway,
        Client(gateway.url, patience_s=30) as client,
    ):

        def answer(salt: int) -> str:
            sent = str(client.predict(picture("blue", salt=salt))["id"])
            (item,) = client.lease("default.review", "ada", wait_s=5)
            client.answer(item, present=["blue"])
            return sent

        def listen() -> None:
            with Client(gateway.url) as listener:
                for _, outcome in listener.outcomes(project="default", after="now"):
                    heard.append(outcome["prediction"])
                    if len(heard) == 3:
                        return

        listening = threading.Thread(target=listen)
        listening.start()
        metric = "triage_outcome_listeners 1.0"
        eventually(lambda: metric in client._send("GET", "/metrics").text)
        sent = [answer(1)]
        eventually(lambda: len(heard) == 1)
        gateway.process.kill()
        gateway.start()
        sent += [answer(2), answer(3)]
        listening.join(30)
        assert heard == sent


def test_a_webhook_is_verified_or_refused() -> None:
    secret = "whsec_" + "QUJD" * 8
    body = b'{"type": "final", "prediction": "p1"}'
    now = int(time.time())
    signed = signatures([secret_bytes(secret)], "msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signed}
    assert verify_webhook(secret, headers, body) == ("msg_1", {"type": "final", "prediction": "p1"})
    with pytest.raises(SignatureError):
        verify_webhook(["whsec_" + "QUJE" * 8], headers, body)
