"""HTTP as uvicorn speaks it, but that its two plain-text refusals (no HTTP, too many connections) are problems, a reply's head
and body are one write, and heads and trailers have an end: the parser keeps what it has of one, whoever sends it, and copies it
with every piece that comes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState


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


HEAD_BYTES = 65_536
"""Of a head, of trailers, of a chunk's extension: what makes neither a request nor a part of its body."""


class Protocol(HttpToolsProtocol):
    """One connection. The bound is uvicorn's `limit_concurrency`."""

    _unused = 0
    """Bytes that came since there was a whole head, or something of a body, or its end."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._taken = self.app

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
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
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._unused = 0
        full = self._most is not None and max(len(self.connections), len(self.tasks)) >= self._most
        self.app = _refuse if full else self._taken
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(_NO_HTTP)
        )
        self.transport.write(head + _NO_HTTP)
        self.transport.close()


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
