"""What is no request yet has an end: strangers' heads, trailers and chunk extensions are cut off while they are small."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.bundles import picture
from tests.triage.serving import Served
from triage.protocol import HEAD_BYTES

ENDLESS = {
    "header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ",
    "name": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "url": b"GET /",
    "trailer": b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: ",
    "extension": b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
}
MUCH = 64 * 2**20


def connected(served: Served) -> socket.socket:
    address = urlsplit(served.gateway.url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 80), timeout=20)


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_cut_off(served: Served, what: str) -> None:
    with connected(served) as open_socket:
        open_socket.sendall(ENDLESS[what])
        with pytest.raises(OSError, match=r"reset by peer|Broken pipe"):  # the gateway closes
            open_socket.sendall(b"a" * MUCH)
    assert httpx.get(f"{served.gateway.url}/healthz", trust_env=False).status_code == 200


def test_a_head_that_is_too_large_is_told_so(served: Served) -> None:
    with connected(served) as open_socket:
        open_socket.sendall(ENDLESS["header"])
        open_socket.sendall(b"a" * (HEAD_BYTES + 1))
        assert open_socket.recv(4096).startswith(b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize("size", [1, 100_000])
def test_heads_and_bodies_of_any_cut_are_taken(served: Served, size: int) -> None:
    """Bytes count only while they come to nothing: a body is as long as its own limit says, one after another too."""
    image = picture("red", salt=5) + b"\0" * 150_000
    for _ in range(3):
        chunks = (image[at : at + max(size, 1000)] for at in range(0, len(image), max(size, 1000)))
        assert served.http.post("/v1/predictions", content=chunks).status_code == 200
    with connected(served) as open_socket:
        for each in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1000 + b"\r\n\r\n":
            open_socket.send(bytes([each]))
        assert open_socket.recv(4096).startswith(b"HTTP/1.1 200")
