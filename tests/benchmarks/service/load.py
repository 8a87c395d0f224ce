"""Closed-loop HTTP clients that take little of the machine: bytes in, bytes out, and nothing parsed that is not needed.

A general client would spend more of a core on each request than the gateway that it measures.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import uvloop

_serial = itertools.count()


def sent(url: str, images: Sequence[bytes], seconds: float, clients: int) -> list[float]:
    """Seconds of each POST of an image that `clients` clients made in that time, one after another. Raises RuntimeError for any
    reply but 200.

    Every body is another one: a number stands behind the image's end, so that no store has seen it before.
    """
    return uvloop.run(_sent(url, images, seconds, clients))


async def _sent(url: str, images: Sequence[bytes], seconds: float, clients: int) -> list[float]:
    took: list[float] = []
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    end = time.perf_counter() + seconds
    made = [_Client(place.path, place.netloc, images, index, end, took) for index in range(clients)]
    for client in made:
        await loop.create_connection(lambda client=client: client, place.hostname or "", place.port or 80)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in made))
    return took


class _Client(asyncio.Protocol):
    """One connection: the next request leaves when the reply to the last is whole."""

    def __init__(
        self, path: str, host: str, images: Sequence[bytes], index: int, end: float, took: list[float]
    ) -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\nContent-Length: "
        )
        self._images, self._index, self._end, self._took = images, index, end, took
        self._got = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        if self._begun >= self._end:
            self._transport.close()
            self.done.set_result(None)
            return
        number = next(_serial)
        image = self._images[(self._index + number) % len(self._images)]
        head = f"{self._head}{len(image) + 8}\r\n\r\n".encode()
        self._transport.writelines((head, image, number.to_bytes(8, "big")))

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(self._got.decode(errors="replace"))
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._got = b""
        self._took.append(time.perf_counter() - self._begun)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was lost ({error})")

    def _fail(self, said: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(said))
