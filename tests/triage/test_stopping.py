"""A gateway that is told to stop, and what is no HTTP: what is under way ends well, everybody is told in problems."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from embedded.stack import Gateway, Valkey
from tests.bundles import picture
from tests.services import DEADLINE_S, Data, eventually, raw, running_gateway
from tests.triage.serving import Served, problem


@contextmanager
def stopping(data: Data, valkey: Valkey, **settings: str) -> Iterator[tuple[Gateway, httpx.Client]]:
    with running_gateway(data.folder, valkey.url, node="stops", **settings) as gateway, raw(gateway) as http:
        yield gateway, http


def tell(gateway: Gateway) -> None:
    os.kill(gateway.process.pid, signal.SIGTERM)


def ended(gateway: Gateway) -> bool:
    return not gateway.process.running


def test_it_finishes_what_is_under_way_and_sends_the_rest_elsewhere(data: Data, valkey: Valkey, redis: object) -> None:
    hold, begun = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield picture()[:10]
        begun.set()
        hold.wait(DEADLINE_S)
        yield picture()[10:]

    replies: list[httpx.Response] = []
    with (
        stopping(data, valkey) as (gateway, http),
        raw(gateway) as other,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as poll,
    ):
        waiting = http.post("/v1/predictions", content=picture("blue")).json()
        sending = threading.Thread(target=lambda: replies.append(http.post("/v1/predictions", content=slowly())))
        sending.start()
        assert begun.wait(DEADLINE_S)
        poll.sendall(f"GET /v1/predictions/{waiting['id']}?wait=50 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert other.get("/healthz").status_code == 200  # what was sent before has been read
        tell(gateway)
        eventually(lambda: other.get("/readyz").status_code == 503)
        assert other.get("/readyz").json() == {"status": "not_ready", "why": ["this gateway stops"]}
        assert other.get("/healthz").status_code == 200
        for reply in (
            other.post("/v1/predictions", content=picture("red", salt=1)), other.get("/v1/queues"),
            other.post("/v2/models/default/infer", content=b"{}"),
        ):  # fmt: skip
            problem(reply, 503, "this gateway stops; send this again, and another one takes it")
            assert reply.headers["connection"] == "close"
        ended_poll = poll.recv(65536)
        assert ended_poll.startswith(b"HTTP/1.1 200 ")
        assert ended_poll.endswith(b'"final":null}'), "the long poll ended with what was known"
        hold.set()
        sending.join(DEADLINE_S)
        assert replies[0].status_code == 200
        eventually(lambda: ended(gateway))


def test_it_goes_on_telling_for_as_long_as_the_setting_says(data: Data, valkey: Valkey, redis: object) -> None:
    """Nothing is in flight, and it still answers: a load balancer needs time to see it."""
    with stopping(data, valkey, drain_s="600") as (gateway, http):
        tell(gateway)
        eventually(lambda: http.get("/readyz").status_code == 503)
        problem(http.get("/v1/queues"), 503, "this gateway stops")
        assert not ended(gateway)
        tell(gateway)  # a second time waits no longer
        eventually(lambda: ended(gateway))


def test_what_is_no_http_is_a_problem(served: Served) -> None:
    for sent in (
        b"hello\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    ):
        with socket.create_connection(("127.0.0.1", served.gateway.port), timeout=DEADLINE_S) as connection:
            connection.sendall(sent)
            reply = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in head
        assert json.loads(body)["status"] == 400


def test_too_many_connections_is_a_problem(data: Data, valkey: Valkey, redis: object, tmp_path: Path) -> None:
    """1,025 connections are open and one more comes: those that come last are told so, the others go on."""
    with stopping(data, valkey, max_listeners="1") as (gateway, http):
        assert http.get("/healthz").status_code == 200
        opened: list[socket.socket] = []
        try:
            for _ in range(1025):
                opened.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S))
            full = eventually(
                lambda: (reply := httpx.get(gateway.url + "/healthz", trust_env=False)).status_code == 503 and reply
            )
            problem(full, 503, "all the connections that it takes; try again in a moment")
        finally:
            for each in opened:
                each.close()
        eventually(lambda: httpx.get(gateway.url + "/healthz", trust_env=False).status_code == 200)


def test_an_upgrade_to_another_protocol_is_not_followed(served: Served) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert served.http.get("/healthz", headers=headers).json() == {"status": "alive"}
