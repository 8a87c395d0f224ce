"""Problems of `/v2` say `error` too, which is all that clients of the Open Inference Protocol read."""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class V2Errors:
    """ASGI middleware. Replies that are no problems, and other paths, pass as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] + "/").startswith("/v2/"):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def read(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and (b"content-type", _PROBLEM) in message["headers"]:
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _with_error(start, b"".join(parts), send)

        await self._app(scope, receive, read)


_PROBLEM = b"application/problem+json"


async def _with_error(start: Message, body: bytes, send: Send) -> None:
    said = msgspec.json.decode(body)
    body = msgspec.json.encode({**said, "error": said.get("detail", said.get("title", ""))})
    headers = [each for each in start["headers"] if each[0] != b"content-length"]
    await send({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
