"""Headers of every reply: what a browser must not do with it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""No `Access-Control-*` among them: pages of other sites read nothing here. A page's own policy goes before the second."""
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Sealed:
    """ASGI middleware. A header that the reply brings itself stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                names = {name for name, _ in given}
                message["headers"] = [*given, *(each for each in _RAW if each[0] not in names)]
            await send(message)

        await self._app(scope, receive, sealed)
