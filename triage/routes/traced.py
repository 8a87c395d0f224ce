"""Every request in its place in the caller's trace."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from triage import tracing


class Traced:
    """ASGI middleware. A request without `traceparent` passes through, unless spans are sent somewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
        if header is None and not tracing.sending():
            await self._app(scope, receive, send)
            return
        with tracing.request(header, f"{scope['method']} {_first(scope['path'])}"):
            await self._app(scope, receive, send)


def _first(path: str) -> str:
    """The beginning of a path, which holds no ids."""
    return "/".join(path.split("/")[:3])
