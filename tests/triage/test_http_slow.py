"""Who sends too slowly, or holds too much, keeps nobody else out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from embedded.stack import Gateway
from tests.bundles import picture
from tests.services import make_data, running_gateway, running_valkey

HEAD = b"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
OTHER = HEAD.replace(b"POST /v1/predictions", b"PUT /v1/projects/a/sites/b") + b"{"
V2 = HEAD.replace(b"/v1/predictions", b"/v2/models/default/infer")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("slow")
    data = make_data(folder / "data")
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(data.folder, server.url, receive_s="0.5", max_in_flight="4") as gateway,
    ):
        yield gateway


def connected(gateway: Gateway) -> socket.socket:
    address = urlsplit(gateway.url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 80), timeout=20)


def heard(open_socket: socket.socket) -> bytes:
    """Everything until the gateway closes."""
    found = b""
    while piece := open_socket.recv(4096):
        found += piece
    return found


def told(reply: bytes) -> dict[str, Any]:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head.lower()
    assert b"application/problem+json" in head
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


@pytest.mark.parametrize("begun", [HEAD, HEAD + b"x" * 10, OTHER, V2], ids=["nothing", "some", "document", "v2"])
def test_a_body_that_does_not_come_is_a_408(gateway: Gateway, begun: bytes) -> None:
    with connected(gateway) as open_socket:
        open_socket.sendall(begun)
        problem = told(heard(open_socket))
    assert (problem["status"], problem["type"]) == (408, "urn:secondreader:problem:TooSlow")
    assert problem["detail"] == "the body did not come within 0.5 s; send it again, faster or smaller"


@pytest.mark.parametrize("begun", [b"GET /heal", HEAD[:-2]])
def test_a_head_that_does_not_come_is_a_408(gateway: Gateway, begun: bytes) -> None:
    with connected(gateway) as open_socket:
        open_socket.sendall(begun)
        assert "did not come in time; send it again" in told(heard(open_socket))["detail"]


def test_a_connection_on_which_nothing_comes_is_closed(gateway: Gateway) -> None:
    with connected(gateway) as open_socket:
        assert heard(open_socket) == b""


def test_a_drip_is_cut_off_and_its_place_is_free(gateway: Gateway) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(gateway)) for _ in range(4)]
        for each in slow:
            each.sendall(HEAD)
            each.settimeout(0.05)
        heard_of = [b"" for _ in slow]
        while not all(heard_of):
            for number, each in enumerate(slow):
                with suppress(TimeoutError):  # a byte, and again one: none of them starts the time anew
                    heard_of[number] += each.recv(4096)
                if not heard_of[number]:
                    each.send(b"x")
        assert all(each.startswith(b"HTTP/1.1 408") for each in heard_of)
    assert httpx.post(f"{gateway.url}/v1/predictions", content=picture("red"), trust_env=False).status_code == 200


def test_a_connection_that_was_answered_is_kept(gateway: Gateway) -> None:
    """What is late is a request, and not the next one: between two of them a client may wait."""
    with httpx.Client(base_url=gateway.url, trust_env=False) as http:
        sent = http.post("/v1/predictions", content=picture("blue")).json()["id"]
        first = http.get("/healthz").extensions["network_stream"].get_extra_info("socket").getsockname()
        assert http.get(f"/v1/predictions/{sent}", params={"wait": 1.5}).status_code == 200  # longer than `receive_s`
        stream = http.get("/healthz").extensions["network_stream"]
        assert stream.get_extra_info("socket").getsockname() == first
