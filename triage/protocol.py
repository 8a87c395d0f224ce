"""HTTP as uvicorn speaks it, but that its two plain-text refusals (no HTTP, too many connections) are problems, a reply's head
and body are one write, and heads and bodies have an end, in bytes and in time: the parser keeps what it has of a head or a
trailer, whoever sends it, and copies it with every piece that comes; and a byte a minute would hold a place for hours."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from starlette.types import Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from triage.errors import TooSlow


def _body(title: str, status: int, detail: str, kind: str) -> bytes:
    return msgspec.json.encode(
        {"type": f"urn:secondreader:problem:{kind}", "title": title, "status": status, "detail": detail}
    )


_NO_HTTP = _body(
    "The request cannot be read", 400, "this is no HTTP/1.1 request, or its head is too large; mend the client", "http"
)
_FULL = _body(
    "Too many connections", 503, "this gateway has all the connections that it takes; try again in a moment", "Full"
)
_SLOW = _body(
    TooSlow.title, 408, "the head of this request did not come in time; send it again, and at once", "TooSlow"
)
_LATE = "secondreader.late"
"""In a request's scope, once its body is late: the seconds that it had."""

HEAD_BYTES = 65_536
"""Of a head, of trailers, of a chunk's extension: what makes neither a request nor a part of its body."""


class Protocol(HttpToolsProtocol):
    """One connection. The bound is uvicorn's `limit_concurrency`."""

    _unused = 0
    """Bytes that came since there was a whole head, or something of a body, or its end."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None, *, receive_s: float = 30.0,
    ) -> None:  # fmt: skip
        """`receive_s`: for a whole head, and then for the whole body."""
        super().__init__(config, server_state, app_state, _loop)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._taken = self._timely
        self._inner = self.app
        self._receive_s = receive_s
        self._since: float | None = None
        """When we began to wait for the rest of a head or a body; None while nothing is owed."""
        self._in_body = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]
        self._since = self.loop.time()
        self._watch = self.loop.call_later(self._receive_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._since is None:
            self._since = self.loop.time()
        self._unused += len(data)
        super().data_received(data)
        if self._unused > HEAD_BYTES and not self.transport.is_closing():
            under_way: RequestResponseCycle | None = self.cycle
            if under_way is None or under_way.response_complete:
                self.send_400_response("head")
            else:  # whoever is being answered has the wrong end of a body
                self.transport.close()

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unused = 0
        self._since, self._in_body = None, False
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._unused = 0
        self._since, self._in_body = self.loop.time(), True
        full = self._most is not None and max(len(self.connections), len(self.tasks)) >= self._most
        self.app = _refuse if full else self._taken
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._end(b"400 Bad Request", _NO_HTTP)

    def _end(self, status: bytes, body: bytes) -> None:
        head = (
            b"HTTP/1.1 %s\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % (status, len(body))
        )
        self.transport.write(head + body)
        self.transport.close()

    # One timer a connection that is late by itself, instead of one a request: nothing is paid for requests that are whole.
    def _look(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self.flow.read_paused or self.pipeline:  # it is we who do not read
            self._since = now if self._since is not None else None
        left = self._receive_s if self._since is None else self._since + self._receive_s - now
        if left <= 0:
            self._late()
            left = self._receive_s
        self._watch = self.loop.call_later(max(left, 0.01), self._look)

    def _late(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if not self._in_body:
            if answering:
                return  # the head of a next request: whoever is being answered hears the end first
            if self._unused:
                self._end(b"408 Request Timeout", _SLOW)
            else:
                self.transport.close()
        elif cycle is None or not answering or cycle.response_started or _LATE in cycle.scope:
            self.transport.close()
        else:  # whoever waits for the body tells; the connection ends with the reply, or the next time we look
            cast(dict[str, Any], cycle.scope)[_LATE] = self._receive_s
            cycle.keep_alive = False
            cycle.message_event.set()
            self._since = self.loop.time()

    async def _timely(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def within() -> Message:
            message = await receive()
            if _LATE in scope and message["type"] == "http.request":
                raise TooSlow(f"the body did not come within {scope[_LATE]:g} s; send it again, faster or smaller")
            return message

        await self._inner(scope, within, send)


class _Joined:
    """A transport that sends a reply's head together with what follows it at once: one write, and the client wakes once."""

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self.flush)  # a stream may begin long before there is something to say
        elif self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(_FULL)),
        (b"retry-after", b"2"), (b"connection", b"close"),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _FULL})
