"""A caller of predictions, for tests: one connection a request, any status is an answer."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 30


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    media_type: str
    body: bytes


def post(url: str, body: bytes, content_type: str = "application/octet-stream") -> Reply:
    """POSTs the body and reads the whole reply."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": content_type})
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers["content-type"], reply.read())
    finally:
        connection.close()


def post_together(url: str, bodies: list[bytes]) -> list[Reply]:
    """POSTs all bodies at the same time, one thread each; replies in the bodies' order."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: post(url, body), bodies))


def status(url: str, path: str, method: str = "GET") -> int:
    """The status of a request without a body; 0 when nobody listens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()
