"""HTTP/1.1 connections to one server, kept and used again: bytes out, one reply back, and little else on the way.

It stands in the way of every image, on cores that the model wants: a general client took a quarter of the gateway's time. It
knows POST and replies that tell their length; no redirects, no cookies, no proxies.

* At most `most` requests are under way; the others wait for their turn, inside their own time.
* A server may close a connection that it has kept for long. When that meets a request before anything was answered, the
  request goes out once more over a new connection: whoever is asked here must be able to read the same bytes twice.
* A request that was given up, or took too long, takes its connection with it: the late reply must meet nobody else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

_KEPT_S = 30.0
"""An unused connection is closed after so long: before servers and firewalls forget it."""
MOST_REPLY_BYTES = 2**24


class Reply(NamedTuple):
    status: int
    kind: str
    """Content-Type, empty when there is none."""
    body: bytes


class _Forgotten(ConnectionError):
    """The server closed a kept connection, and answered nothing."""


class Connections:
    """`post` from any number of tasks of one event loop."""

    def __init__(self, url: str, most: int) -> None:
        """`url` is `http://host:port` or `https://...`, what follows is put before every path."""
        place = urlsplit(url)
        secure = place.scheme == "https"
        self._host, self._port = place.hostname or "", place.port or (443 if secure else 80)
        self._tls = ssl.create_default_context() if secure else None
        self._before = f"POST {place.path.rstrip('/')}".encode()
        self._after = f" HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/octet-stream\r\n".encode()
        self._turns = asyncio.Semaphore(most)
        self._idle: deque[_Connection] = deque()
        self._closed = False

    async def post(self, path: bytes, body: bytes, timeout_s: float, more: bytes = b"") -> Reply:
        """The reply, whatever its status; `more` are header lines. Raises OSError: TimeoutError after `timeout_s`,
        ConnectionError for a connection that broke or a reply that is no HTTP or larger than `MOST_REPLY_BYTES`."""
        head = b"%b%b%b%bContent-Length: %d\r\n\r\n" % (self._before, path, self._after, more, len(body))
        ends = asyncio.get_running_loop().time() + timeout_s
        if self._turns.locked():
            async with asyncio.timeout_at(ends):
                await self._turns.acquire()
        else:
            await self._turns.acquire()  # there is one: this returns at once
        try:
            kept = self._kept()
            if kept is not None:
                try:
                    return await self._exchange(kept, head, body, ends)
                except _Forgotten:
                    pass
            async with asyncio.timeout_at(ends):
                fresh = await self._connected()
            return await self._exchange(fresh, head, body, ends)
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Ends unused connections now, and the others with their requests."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, connection: _Connection, head: bytes, body: bytes, ends: float) -> Reply:
        try:
            reply = await connection.ask(head, body, ends)
        except BaseException:
            connection.close()
            raise
        if connection.reusable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def _kept(self) -> _Connection | None:
        """The connection used last, so that what a quiet hour does not need falls idle."""
        old = asyncio.get_running_loop().time() - _KEPT_S
        while self._idle and self._idle[0].idle_since < old:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
            connection.close()
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        return connection


class _Connection(asyncio.Protocol):
    """One request at a time. What a parser of httptools calls is public here."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._reply: asyncio.Future[Reply] | None = None
        self._answered = 0
        self._begun = False
        self._kind = b""
        self._parts: list[bytes] = []
        self._size = 0
        self.open = False
        self.reusable = False
        self.idle_since = 0.0

    async def ask(self, head: bytes, body: bytes, ends: float) -> Reply:
        self._kind, self._parts, self._size = b"", [], 0
        self._begun = self.reusable = False
        self._reply = self._loop.create_future()
        self._transport.writelines((head, body))
        timer = self._loop.call_at(ends, self._fail, TimeoutError())
        try:
            return await self._reply
        finally:
            timer.cancel()
            self._reply = None

    def close(self) -> None:
        self.open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.open = False  # also of what nobody asked for
            self._fail(ConnectionError(f"no HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._answered and not self._begun:
            self._fail(_Forgotten())
        else:
            self._fail(error if isinstance(error, OSError) else ConnectionResetError("closed before it answered"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 12 and name.lower() == b"content-type":
            self._kind = value

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MOST_REPLY_BYTES:
            self._fail(ConnectionError(f"a reply of more than {MOST_REPLY_BYTES:,} bytes"))
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        self._answered += 1
        # A server that answers before it has read everything, as to refuse it, may read the rest as another request.
        self.reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
        if self._reply is not None and not self._reply.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._reply.set_result(Reply(self._parser.get_status_code(), self._kind.decode("latin-1"), body))
        else:
            self.open = False  # nobody asked

    def _fail(self, error: Exception) -> None:
        self.open = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
