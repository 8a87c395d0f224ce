"""Bounds bodies that are no images: FastAPI reads a JSON body whole, and before it asks who sent it."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.errors import TooSlow

LIMIT = 2**20
_OWN_LIMITS = ("/v1/predictions", "/v2/models/")


class Bounded:
    """ASGI middleware. Images are counted by their own routes, against the setting `max_body_bytes`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _counts(scope["path"]):
            await self._app(scope, receive, send)
            return
        size = 0

        async def measured() -> Message:
            nonlocal size
            try:
                message = await receive()
            except TooSlow as error:  # FastAPI lets no other exception of a body through
                raise HTTPException(error.status, str(error)) from error
            size += len(message.get("body", b""))
            if size > LIMIT:
                raise HTTPException(413, f"The body has more than {LIMIT:,} bytes")
            return message

        await self._app(scope, measured, send)


def _counts(path: str) -> bool:
    """Whether the route of a path counts its body itself."""
    return path == _OWN_LIMITS[0] or path.startswith(_OWN_LIMITS[1])
